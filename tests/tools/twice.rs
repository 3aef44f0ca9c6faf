//! An operation that is asked for twice: what gets lost, who repeats what, and
//! what the server still knows after a crash.
//!
//! Where a tool is missing, a test is skipped by name.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use crate::flow::{Capture, after, machine};
use crate::packets::{Packet, SERVER, html_table, side};
use crate::support::net::{missing, ports};
use crate::support::scene::Scene;
use crate::support::{
    Ended, Program, bands, bin, is_installed, signal, snapshot, trial, unread,
    wait_until,
};
use libtest_mimic::Trial;
use tempfile::{TempDir, tempdir};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    let bash = (!is_installed("bash", "--version")).then_some("needs bash");
    let linux = linux.or(bash);
    let strace = (!is_installed("strace", "-V")).then_some("needs strace");
    let nft = (!is_installed("nft", "-v")).then_some("needs nft");
    vec![
        trial("twice::a lost reply", linux, lost_reply),
        trial("twice::four ways", linux.or(strace), four_ways),
        trial("twice::both layers", missing().or(nft), both_layers),
        trial("twice::killed", linux, killed),
        trial("twice::a journal, byte by byte", linux, bytes),
        trial("twice::a full disk", linux, full_disk),
        trial("twice::a journal that cannot be used", linux, unusable),
    ]
}

// ---- Programs in terminals

const JOURNAL: &str = "--journal journal.bin";
const FULL: &str = "--journal full.bin";

/// A server on a free port, in a folder of its own. `limits` are commands of
/// the shell before it.
fn server(folder: &TempDir, limits: &str, options: &str) -> Program {
    let address = "server --addr 127.0.0.1:0";
    let step7 = bin("step7");
    shell(folder, &format!("{limits}exec {step7} {address} {options}"))
}

fn shell(folder: &TempDir, script: &str) -> Program {
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).current_dir(folder);
    Program::spawn(&mut bash, false)
}

/// The variables that a client has.
const ONCE: &str = "TCP_ATTEMPTS=1 ";
const OFTEN: &str = "";

/// A client, with its two outputs in one.
fn client(set: &str, addr: SocketAddr, arguments: &str) -> Program {
    let step7 = bin("step7");
    let client = format!("{set}{step7} client --addr {addr} {arguments}");
    let mut bash = Command::new("bash");
    Program::spawn(bash.args(["-c", &format!("({client}) 2>&1")]), false)
}

/// A server whose terminal sees it end and start again.
struct Restarted {
    folder: TempDir,
    scene: Scene,
    addr: SocketAddr,
    second: Option<(String, Program)>,
}

impl Restarted {
    fn start(limits: &str, options: &str, shown: &str) -> Restarted {
        let folder = tempdir().unwrap();
        let mut scene = Scene::new();
        let server = server(&folder, limits, options);
        let addr = server.addr();
        scene.rename(addr, 8888);
        scene.terminal("the server", shown, server);
        scene.stays_silent(0);
        Restarted { folder, scene, addr, second: None }
    }

    /// What the second server prints stands below what the first one did.
    fn start_again(&mut self, options: &str) {
        let server = server(&self.folder, "", options);
        self.addr = server.addr();
        self.scene.rename(self.addr, 8888);
        let shown = format!("cargo run --bin step7 -- server {options}");
        self.second = Some((shown.trim_end().to_owned(), server));
    }

    /// Asks, in the second terminal.
    fn ask(&mut self, set: &str, arguments: &str) {
        let program = client(set, self.addr, arguments);
        let shown = format!("{set}cargo run --bin step7 -- client {arguments}");
        let (scene, n) = (&mut self.scene, 1);
        if scene.last() == 0 {
            scene.terminal("the client", &shown, program);
            return scene.wait_end(n);
        }
        let printed = String::from_utf8(program.finish().stdout).unwrap();
        scene.add(n, format!("$ {shown}\n{printed}"));
    }

    /// Presses Ctrl-Z in the first terminal, and kills.
    fn kill(&mut self) {
        self.scene.note(0, "ended", "^Z\n$ kill -9 %1\n");
        self.scene.program(0).kill();
    }

    fn text(mut self, last: &str, n: usize) -> String {
        let (shown, server) = self.second.take().unwrap();
        let printed = server.wait_for_times(last, n);
        self.scene.add(0, format!("$ {shown}\n{printed}"));
        self.scene.text().trim_end().to_owned()
    }
}

// ---- The payment

/// A connection that loses one reply: a client that asks again under another
/// number, and one that keeps the number.
fn lost_reply() {
    let mut scene = between("reply");
    let relay = scene.program(1).addr();
    let run = "cargo run --bin step7 -- client --addr 127.0.0.1:8889";
    let pay = ["--client-id 7 --add 5", "--client-id 7 --seq 2 --add 5"];
    let shown = pay.map(|arguments| format!("{ONCE}{run} {arguments}"));
    scene.terminal("the client", &shown[0], client(ONCE, relay, pay[0]));
    scene.wait_end(2);
    let again = client(ONCE, relay, pay[1]).finish();
    let printed = String::from_utf8(again.stdout).unwrap();
    scene.add(2, format!("$ {}\n{printed}", shown[1]));
    scene.wait_for(1, "lost", 1);
    scene.wait_for(0, "ended", 2);
    scene.snapshot("twice-another-number");

    let mut scene = between("reply");
    let relay = scene.program(1).addr();
    let client = client(OFTEN, relay, "--add 5");
    scene.terminal("the client", &format!("{run} --add 5"), client);
    scene.wait_end(2);
    scene.wait_for(1, "lost", 1);
    scene.wait_for(0, "ended", 2);
    scene.snapshot("twice-the-same-number");
}

/// A server, and a bad connection to it.
fn between(lost: &str) -> Scene {
    let mut scene = Scene::new();
    let addr = scene.server("step7");
    let relay = cut(lost, addr);
    scene.rename(relay.addr(), 8889);
    let shown = format!("cargo run --bin cut -- {lost}");
    scene.terminal("a bad connection", &shown, relay);
    scene
}

fn cut(lost: &str, server: SocketAddr) -> Program {
    Program::start("cut", &[lost, "127.0.0.1:0", &server.to_string()])
}

#[derive(Clone, Copy)]
enum Way {
    LostRequest,
    LostReply,
    CrashBefore,
    CrashAfter,
}

/// What the table calls each, whether the server has added 5, and the totals:
/// the client does not ask again, asks under another number, keeps the number.
const WAYS: [(Way, &str, bool, [i64; 3]); 4] = [
    (Way::LostRequest, "the request gets lost", false, [0, 5, 5]),
    (Way::LostReply, "the reply gets lost", true, [5, 10, 5]),
    (Way::CrashBefore, "the server crashes before it adds", false, [0, 5, 5]),
    (Way::CrashAfter, "the server crashes after it", true, [5, 10, 5]),
];

fn four_ways() {
    let mut text = "| what went wrong | did the server add 5? | \
        the client does not ask again | it asks with another number | \
        it asks with the same number |\n\
        | --- | --- | ---: | ---: | ---: |\n"
        .to_owned();
    for (way, title, is_added, totals) in WAYS {
        let seen = thread::scope(|scope| {
            let again = [None, Some(2), Some(1)];
            let run = |seq| scope.spawn(move || total_after(way, seq));
            again.map(run).map(|thread| thread.join().unwrap())
        });
        assert_eq!(seen, totals, "{title}");
        let added = if is_added { "yes" } else { "no" };
        let cells = totals.map(|total| match total {
            5 => "5".to_owned(),
            wrong => format!("**{wrong}**"),
        });
        text += &format!("| {title} | {added} | {} |\n", cells.join(" | "));
    }
    snapshot("twice-four-ways", text.trim_end());
}

/// Pays 5, which goes wrong in this way, perhaps asks again with `seq`, and
/// returns the total.
fn total_after(way: Way, seq: Option<u64>) -> i64 {
    let folder = tempdir().unwrap();
    let mut server = match way {
        Way::CrashAfter => dies_at_its_reply(&folder),
        _ => server(&folder, "", JOURNAL),
    };
    let addr = server.addr();
    fail(way, &mut server, addr);
    if let Way::CrashBefore | Way::CrashAfter = way {
        server.wait_end();
        server = self::server(&folder, "", JOURNAL);
    }
    let add = |seq: u64, amount| {
        let arguments = format!("--client-id 7 --seq {seq} --add {amount}");
        let reply = client(ONCE, server.addr(), &arguments).finish().stdout;
        String::from_utf8(reply).unwrap().trim_end().parse::<i64>().unwrap()
    };
    if let Some(seq) = seq {
        add(seq, 5);
    }
    add(3, 0)
}

/// The call that would send its first reply kills it. The tracer is not the
/// parent (-D), so that to kill the program is to kill the server.
fn dies_at_its_reply(folder: &TempDir) -> Program {
    let strace = "strace -D -f -qq -o /dev/null -e trace=sendto \
                  -e inject=sendto:signal=KILL";
    let step7 = bin("step7");
    let server = format!("{step7} server --addr 127.0.0.1:0 {JOURNAL}");
    shell(folder, &format!("exec {strace} {server}"))
}

/// Whatever goes wrong, the client says the same.
fn fail(way: Way, server: &mut Program, addr: SocketAddr) {
    let pay = |addr| client(ONCE, addr, "--client-id 7 --add 5");
    let asking = match way {
        Way::LostRequest => ask_through("request", addr),
        Way::LostReply => ask_through("reply", addr),
        Way::CrashAfter => pay(addr).finish(),
        Way::CrashBefore => {
            signal(server.id(), "-STOP");
            let asking = pay(addr);
            wait_until("the request", || unread(addr) > 0);
            server.kill();
            asking.finish()
        }
    };
    let printed = String::from_utf8(asking.stdout).unwrap();
    assert!(printed.contains("outcome unknown"), "{printed}");
}

fn ask_through(lost: &str, server: SocketAddr) -> Ended {
    let relay = cut(lost, server);
    let asking = client(ONCE, relay.addr(), "--client-id 7 --add 5");
    relay.wait_for("lost");
    asking.finish()
}

// ---- The two layers

/// The first request gets lost once, and the first connection loses each
/// reply; the second connection is good.
const LOSSES: &str = "nft '
    add table ip t
    add chain ip t input { type filter hook input priority 0; }
    add rule ip t input tcp sport 50001 tcp flags & psh == psh \
        limit rate 1/day burst 1 packets drop
    add rule ip t input tcp dport 50001 tcp flags & psh == psh drop'";

fn both_layers() {
    let net = machine("layers");
    let _server = net.server("step7");
    net.shell(LOSSES);
    net.shell(&ports(50001, 50001));
    let capture = Capture::start(&net, "lo");
    let mut client = net.command(bin("step7"));
    client.args(["client", "--client-id", "7", "--add", "5"]);
    let client = Program::spawn(client.env("TCP_REQUEST_MS", "1200"), false);
    capture.wait_for("a connection", |all| !all.is_empty());
    net.shell(&ports(50002, 50002));
    let is_last =
        |p: &Packet| (p.from, p.to) == (SERVER, 50002) && !p.payload.is_empty();
    let packets = capture.until(is_last);
    assert_eq!(client.finish().stdout, b"5\n");
    snapshot("twice-both-layers", &layers(&packets));
}

/// The packets of both connections, without those of the handshakes that only
/// answer. Of the server's lost replies, the first two are enough.
fn layers(packets: &[Packet]) -> String {
    let mut rows = Vec::new();
    for connection in [50001, 50002] {
        let all = packets.iter().filter(|p| p.client() == connection);
        let all: Vec<&Packet> = all.collect();
        let acked = all.iter().position(|p| p.from == SERVER && p.ack > 1);
        let mut replies = 0;
        for (i, p) in all.iter().enumerate() {
            let is_data = !p.payload.is_empty();
            replies += usize::from(is_data && p.from == SERVER);
            let is_end = p.has("FIN") && p.to == SERVER;
            let is_start = p.flags == ["SYN"] || is_end;
            if replies == 3 && is_data {
                rows.push(vec!["…".to_owned()]);
            } else if is_start || is_data && replies < 3 || acked == Some(i) {
                rows.push(row(&all[..=i]));
            }
        }
    }
    let head = ["from", "to", "flags", "seq", "data", "remark"];
    html_table(&head, rows)
}

/// The last of these packets. The first connection loses replies, and the
/// first copy of the request.
fn row(all: &[&Packet]) -> Vec<String> {
    let (p, before) = all.split_last().unwrap();
    let same = |q: &Packet| (q.from, q.seq, q.payload.clone());
    let mut before = before.iter().rev();
    let earlier = before.find(|q| same(q) == same(p));
    let is_first = p.client() == 50001;
    let remark = match (earlier, p.from == SERVER) {
        _ if p.flags == ["SYN"] && is_first => "",
        _ if p.flags == ["SYN"] => "a new connection",
        _ if p.has("FIN") => "gives up on this connection",
        _ if p.payload.is_empty() => "has all bytes, says TCP",
        (None, _) if is_first => "lost",
        (Some(first), false) => &format!("TCP repeats, {}", after(first, p)),
        (Some(first), true) => {
            &format!("TCP repeats, {}: lost", after(first, p))
        }
        (None, false) => "the client repeats",
        (None, true) => "the ledger repeats",
    };
    let [from, to] = [p.from, p.to].map(|port| side(port).to_owned());
    let (seq, data) = (p.seq.to_string(), said(&p.payload));
    vec![from, to, p.flags.join(" "), seq, data, remark.to_owned()]
}

/// What a frame of step 7 says.
fn said(frame: &[u8]) -> String {
    let (name, last) = match frame.get(4) {
        None => return String::new(),
        Some(0x03) => ("ADD", "amount"),
        Some(0x83) => ("83", "total"),
        Some(other) => panic!("kind {other:02x}"),
    };
    let numbers = frame[5..].chunks(8);
    let numbers = numbers.map(|n| u64::from_be_bytes(n.try_into().unwrap()));
    let [client, seq, n] = numbers.collect::<Vec<_>>()[..] else { panic!() };
    format!("{name}: client {client}, seq {seq}, {last} {n}")
}

// ---- The journal

/// Killed and started again: with a journal, and without one.
fn killed() {
    for (options, name) in [(JOURNAL, "kept"), ("", "forgotten")] {
        let shown = format!("cargo run --bin step7 -- server {options}");
        let mut scene = Restarted::start("", options, shown.trim_end());
        scene.ask(OFTEN, "--client-id 7 --add 5 --add 7");
        scene.kill();
        scene.start_again(options);
        scene.ask(OFTEN, "--client-id 7 --seq 2 --add 7 --add 1");
        let text = scene.text("ended", 1);
        snapshot(&format!("twice-{name}"), &text);
    }
}

/// The journal of two operations.
fn journal(folder: &TempDir) -> Vec<u8> {
    let server = server(folder, "", JOURNAL);
    let client = client(ONCE, server.addr(), "--client-id 7 --add 5 --add=-3");
    assert_eq!(client.finish().stdout, b"5\n2\n");
    drop(server);
    fs::read(folder.path().join("journal.bin")).unwrap()
}

fn bytes() {
    let file = journal(&tempdir().unwrap());
    let hex = |bytes: &[u8]| {
        let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
        hex.collect::<Vec<_>>().join(" ")
    };
    let (magic, records) = file.split_at(8);
    assert_eq!((magic, records.len()), (&b"ledger1\n"[..], 2 * 28));
    let mut rows = format!(
        "<tr><th scope=\"row\">0</th><td colspan=\"4\">{} (\"ledger1\\n\")\
         </td></tr>\n",
        hex(magic)
    );
    for (i, record) in records.chunks(28).enumerate() {
        let parts = [0..8, 8..16, 16..24, 24..28];
        let cells = parts.map(|part| {
            format!("<td class=\"hex\">{}</td>", hex(&record[part]))
        });
        let at = 8 + 28 * i;
        let cells = cells.concat();
        rows += &format!("<tr><th scope=\"row\">{at}</th>{cells}</tr>\n");
    }
    let columns = ["at", "client", "seq", "amount", "CRC32"];
    let note = "After client 7 has added 5 and −3: the name of the format, and a row for each record.";
    let table = bands::figure("journal", &columns, &rows, note);
    snapshot("twice-journal", &table);
}

/// A limit of 1024 bytes stands for the disk's; SIGXFSZ would be the end.
fn full_disk() {
    let limits = "trap '' XFSZ; ulimit -f 1; ";
    let step7 = format!("target/debug/step7 server {FULL}");
    let shown = format!("({limits}{step7})");
    let mut scene = Restarted::start(limits, FULL, &shown);
    scene.ask(ONCE, "--client-id 7 --add={1..40} | tail -1");
    scene.scene.wait_end(0);
    scene.start_again(FULL);
    scene.ask(ONCE, "--client-id 7 --seq 37 --add={37..40} | tail -1");
    // A task may say this before the program ends, or not.
    let is_luck = |line: &&str| line.contains("the ledger has stopped");
    let text = scene.text("ended", 1);
    let lines: Vec<&str> = text.lines().filter(|l| !is_luck(l)).collect();
    snapshot("twice-full-disk", &lines.join("\n"));
}

/// Damaged in the middle, another file, and in use.
fn unusable() {
    let folder = tempdir().unwrap();
    journal(&folder);
    let path = folder.path().join("journal.bin");
    let damage = "printf x | dd of=journal.bin bs=1 seek=20 conv=notrunc";
    let whole = fs::read(&path).unwrap();
    shell(&folder, damage).wait_end();
    let damaged = fs::read(&path).unwrap();
    let shown = format!("$ {damage} status=none\n");
    refuses(&folder, &shown, JOURNAL, "error-journal-damaged");
    assert_eq!(fs::read(&path).unwrap(), damaged);

    fs::write(&path, whole).unwrap();
    let first = server(&folder, "", JOURNAL);
    first.addr();
    refuses(&folder, "", JOURNAL, "error-journal-in-use");
}

/// A server that ends at once.
fn refuses(folder: &TempDir, before: &str, options: &str, name: &str) {
    let ended = server(folder, "", options).finish();
    assert_eq!((ended.code, ended.stdout), (Some(1), Vec::new()));
    let shown = format!("$ cargo run --bin step7 -- server {options}");
    let text = format!("{before}{shown}\n{}", ended.stderr);
    snapshot(name, text.trim_end());
}

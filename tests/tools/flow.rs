//! What the kernels do between a write and a read: the chapter's transcripts
//! of held programs, of `ss`, and of packets.
//!
//! Each test makes a network of its own and removes it. Where it can not (not
//! Linux, not root, a tool is missing), the tests are skipped by name.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::packets::{Packet, SERVER, html_table, read, side, table};
use crate::support::net::{Namespace, missing};
use crate::support::scene::Scene;
use crate::support::{
    Program, ROOT, bin, is_installed, signal, snapshot, trial, wait_until,
};
use libtest_mimic::Trial;
use regex::{Captures, Regex};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let ss = (!is_installed("ss", "-V")).then_some("needs ss");
    let missing = missing().or(ss);
    let strace = (!is_installed("strace", "-V")).then_some("needs strace");
    let python =
        (!is_installed("python3", "--version")).then_some("needs python3");
    let tun = (!Path::new("/dev/net/tun").exists()).then_some("needs a tun");
    let cable_is_missing = python.or(tun);
    let nft = (!is_installed("nft", "-v")).then_some("needs nft");
    vec![
        trial("flow::three writes, one read", missing.or(strace), three_writes),
        trial("flow::flush makes no call", missing.or(strace), flush),
        trial("flow::write_all returns, nobody reads", missing, written),
        trial("flow::close returns, the kernel sends", missing, closed),
        trial("flow::a window of zero", missing, window),
        trial("flow::one write, seven packets", missing, segments),
        trial("flow::a pulled cable is not noticed", missing, cable),
        trial("flow::slow start", missing.or(cable_is_missing), slow_start),
        trial("flow::two clients, one port", missing, same_port),
        trial("flow::the last ACK is lost", missing.or(nft), time_wait),
    ]
}

// ---- The networks

/// One machine whose buffers and whose congestion control are those that most
/// machines have, whatever this one has.
pub fn machine(name: &str) -> Namespace {
    let net = Namespace::new(name);
    // Packets as they are on a cable, not put together for speed.
    net.shell("ip link set lo gso_max_segs 1");
    usual(&net);
    net
}

fn usual(net: &Namespace) {
    for (name, value) in [
        // That of RFC 5681; each Linux has it, and lets a namespace have it.
        ("tcp_congestion_control", "reno"),
        ("tcp_rmem", "4096 131072 6291456"),
        ("tcp_wmem", "4096 16384 4194304"),
        // Otherwise a lost or unanswered packet may be sent twice: as a probe
        // at once, and again when its timer fires.
        ("tcp_early_retrans", "0"),
        ("tcp_invalid_ratelimit", "0"), // answer every probe of the window
    ] {
        set(net, name, value);
    }
}

pub fn set(net: &Namespace, name: &str, value: &str) {
    net.shell(&format!("echo {value} > /proc/sys/net/ipv4/{name}"));
}

/// Two machines, 10.0.0.1 and 10.0.0.2, and what connects them.
pub struct Road {
    pub a: Namespace,
    pub b: Namespace,
    pub between: Namespace,
}

impl Road {
    fn new(name: &str) -> Road {
        let [a, b, between] = ["a", "b", "between"]
            .map(|part| Namespace::new(&format!("{name}-{part}")));
        usual(&a);
        usual(&b);
        Road { a, b, between }
    }

    /// A switch, with a cable from each machine to its ports left and right.
    pub fn switch(name: &str) -> Road {
        let road = Road::new(name);
        road.between
            .shell("ip link add switch type bridge && ip link set switch up");
        for (net, port) in [(&road.a, "left"), (&road.b, "right")] {
            let there = &road.between.name;
            net.shell(&format!(
                "ip link add eth0 type veth peer name {port} netns {there}"
            ));
            let plug = format!("ip link set {port} up master switch");
            road.between.shell(&plug);
        }
        road.up()
    }

    /// A cable on which each packet takes 50 ms. It lives as long as the
    /// program.
    pub fn long(name: &str) -> (Road, Program) {
        let road = Road::new(name);
        // First in line for a processor: on a busy machine, too, it is a cable.
        let mut cable = road.between.command("nice");
        cable.args(["-n", "-20", "python3"]);
        cable.arg(format!("{ROOT}/tests/peers/python/long_cable.py"));
        let cable = Program::spawn(&mut cable, false);
        cable.wait_for("there");
        for (net, end) in [(&road.a, "left"), (&road.b, "right")] {
            let there = &net.name;
            let plug = format!("ip link set {end} netns {there} name eth0");
            road.between.shell(&plug);
        }
        (road.up(), cable)
    }

    fn up(self) -> Road {
        for (net, address) in
            [(&self.a, "10.0.0.1/24"), (&self.b, "10.0.0.2/24")]
        {
            net.shell(&format!(
                "ip address add {address} dev eth0 && \
                 ip link set eth0 up gso_max_segs 1"
            ));
        }
        self
    }
}

/// A capture that is under way.
pub struct Capture {
    file: tempfile::NamedTempFile,
    tcpdump: Program,
}

impl Capture {
    pub fn start(net: &Namespace, interface: &str) -> Capture {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let filter = format!("tcp port {SERVER}");
        let tcpdump = net.tcpdump(interface, path, &filter);
        Capture { file, tcpdump }
    }

    /// The packets so far.
    pub fn packets(&self) -> Vec<Packet> {
        let file = fs::read(self.file.path()).unwrap();
        if file.len() < 24 { Vec::new() } else { read(&file) }
    }

    pub fn wait_for(&self, what: &str, found: impl Fn(&[Packet]) -> bool) {
        wait_until(what, || found(&self.packets()));
    }

    /// Ends with the first packet that `is_last`.
    pub fn until(self, is_last: impl Fn(&Packet) -> bool) -> Vec<Packet> {
        let find = |all: &[Packet]| all.iter().position(&is_last);
        self.wait_for("the last packet", |all| find(all).is_some());
        signal(self.tcpdump.id(), "-TERM");
        self.tcpdump.wait_end();
        let mut packets = self.packets();
        let last = find(&packets).unwrap();
        packets.truncate(last + 1);
        packets
    }
}

// ---- What ss says

pub const SS: &str = "ss -tn sport = 8888 or dport = 8888";
pub const SS_TIMERS: &str = "ss -tno sport = 8888 or dport = 8888";
const SS_MORE: &str = "ss -tnoi sport = 8888 or dport = 8888";

/// The lines of `ss`, in columns of our own, the client's before the server's.
/// (Its own columns are as wide as the terminal.)
pub fn ss(net: &Namespace, command: &str) -> String {
    let mut args = command.split(' ');
    let mut ss = net.command(args.next().unwrap());
    let output = ss.arg("-HO").args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|line| line.split_whitespace().collect());
    let mut rows: Vec<Vec<&str>> = rows.collect();
    rows.sort_by_key(|row| (row[3].ends_with(":8888"), row[3], row[4]));
    let [local, peer] = ["Local Address:Port", "Peer Address:Port"];
    let head = vec!["State", "Recv-Q", "Send-Q", local, peer];
    rows.insert(0, head);
    let mut text = format!("$ {command}\n");
    for row in rows {
        let [state, unread, unsent, local, peer] = row[..5] else { panic!() };
        let line = format!(
            "{state:<10}  {unread:>6}  {unsent:>6}  {local:<18}  {peer:<17}  {}",
            row[5..].join(" ")
        );
        text += &format!("{}\n", line.trim_end());
    }
    text
}

/// Waits until `ss` prints a line that begins like this, with these queues.
fn wait_for_ss(net: &Namespace, line: &str) {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" +");
    let line = Regex::new(&format!("(?m)^{line} ")).unwrap();
    wait_until(line.as_str(), || line.is_match(&ss(net, SS)));
}

// ---- Programs in terminals

pub fn start(net: &Namespace, name: &str, args: &[&str]) -> Program {
    Program::spawn(net.command(bin(name)).args(args), false)
}

/// A server of this name in the first terminal, stopped by Ctrl-Z.
fn held(net: &Namespace, scene: &mut Scene, name: &str, args: &[&str]) {
    let server = start(net, name, args);
    server.addr();
    let shown = format!("cargo run --bin {name} -- {}", args.join(" "));
    let shown = shown.trim_end_matches(" -- ").to_owned();
    scene.terminal("the server", &shown, server);
    signal(scene.program(0).id(), "-STOP");
    scene.note(0, "", "^Z\n");
}

/// Lets the server of the first terminal go on.
fn go_on(scene: &mut Scene) {
    scene.note(0, "", "$ fg\n");
    signal(scene.program(0).id(), "-CONT");
}

/// `write-and-leave` in the second terminal, until it has ended.
fn leave(net: &Namespace, scene: &mut Scene, bytes: u32) {
    let script = format!(
        "{} 127.0.0.1:8888 {bytes}; echo \"exit code $?\"",
        bin("write-and-leave")
    );
    let mut sh = net.command("sh");
    let client = Program::spawn(sh.args(["-c", &script]), false);
    let shown = format!(
        "cargo run --bin write-and-leave -- 127.0.0.1:8888 {bytes}; \
         echo \"exit code $?\""
    );
    scene.terminal("the client", &shown, client);
    scene.wait_end(1);
}

// ---- The tests

/// Three packets that the server reads at once: it is stopped meanwhile.
fn three_writes() {
    let net = machine("three-writes");
    let capture = Capture::start(&net, "lo");
    let mut scene = Scene::new();
    held(&net, &mut scene, "step1", &["server"]);
    let mut sh = net.command("sh"); // its two outputs, as in a terminal
    let script = format!("strace -e trace=sendto {} 2>&1", bin("three-writes"));
    let client = Program::spawn(sh.args(["-c", &script]), false);
    let shown = "strace -e trace=sendto target/debug/three-writes";
    scene.terminal("the client", shown, client);
    wait_for_ss(&net, "CLOSE-WAIT 12 0"); // and the FIN
    go_on(&mut scene);
    scene.wait_end(1);
    scene.wait_for(0, "closes\n", 1);
    snapshot("frames-three-writes", scene.text().trim_end());
    let is_last = |p: &Packet| p.from == SERVER && p.has("FIN");
    let mut packets = capture.until(is_last);
    packets.retain(|p| !p.is_plain_ack());
    snapshot("frames-three-writes-capture", &table(&packets));
}

/// The bytes are in the kernel, and die with the server's program.
fn written() {
    let net = machine("written");
    let mut scene = Scene::new();
    held(&net, &mut scene, "sink", &[]);
    leave(&net, &mut scene, 1000);
    wait_for_ss(&net, "CLOSE-WAIT 1001 0");
    wait_for_ss(&net, "FIN-WAIT-2 0 0");
    let text = ss(&net, SS);
    scene.add(1, text);
    scene.note(0, "", "$ kill -9 %1\n");
    scene.program(0).kill();
    scene.stays_silent(0);
    scene.snapshot("flow-written");
}

/// The client is gone, and its kernel goes on.
fn closed() {
    let net = machine("closed");
    let mut scene = Scene::new();
    held(&net, &mut scene, "sink", &[]);
    leave(&net, &mut scene, 500_000);
    let mut text = String::new();
    wait_until("bytes on both sides", || {
        text = ss(&net, SS);
        queued(&text) == 500_001 // and the FIN
    });
    scene.add(1, without_numbers(&text));
    go_on(&mut scene);
    scene.wait_for(0, "the end", 1);
    scene.snapshot("flow-closed");
}

/// How many bytes are in all queues together.
fn queued(text: &str) -> u64 {
    let queues = Regex::new(r"(?m)^\S+ +(\d+) +(\d+) ").unwrap();
    let found = queues.captures_iter(text);
    let number = |text: &str| text.parse::<u64>().unwrap();
    found.map(|row| number(&row[1]) + number(&row[2])).sum()
}

/// The call of `flush` is not there.
fn flush() {
    let net = machine("flush");
    let server = start(&net, "sink", &[]);
    server.addr();
    let mut strace = net.command("strace");
    strace.args(["-e", "trace=connect,sendto,write,close"]);
    let ended =
        Program::spawn(strace.arg(bin("write-and-leave")), false).finish();
    let calls = ended.stderr.lines();
    let calls = calls.skip_while(|line| !line.starts_with("connect"));
    let calls = calls.filter(|line| !line.starts_with("+++"));
    let calls: Vec<&str> = calls.collect();
    let shown = "$ strace -e trace=connect,sendto,write,close \
                 target/debug/write-and-leave > /dev/null";
    snapshot("flow-flush", &format!("{shown}\n…\n{}", calls.join("\n")));
}

/// The server does not read, and its kernel says so.
fn window() {
    let net = machine("window");
    let capture = Capture::start(&net, "lo");
    let mut scene = Scene::new();
    held(&net, &mut scene, "sink", &[]);
    let args = ["127.0.0.1:8888", "4000000"];
    let client = start(&net, "write-and-leave", &args);
    let shown = "cargo run --bin write-and-leave -- 127.0.0.1:8888 4000000";
    scene.terminal("the client", shown, client);
    let probes = |all: &[Packet]| notes(all, "probe").len();
    capture.wait_for("three probes", |all| probes(all) >= 3);
    let text = ss(&net, SS_TIMERS);
    look(&mut scene, "beside them", &without_numbers(&text));
    scene.stays_silent(0);
    scene.stays_silent(1);
    snapshot("flow-window", scene.text().trim_end());

    signal(scene.program(0).id(), "-CONT");
    let room = |all: &[Packet]| !notes(all, "there is room").is_empty();
    capture.wait_for("room", room);
    let packets = capture.packets();
    snapshot("flow-window-capture", &windows(&packets));
}

/// What Wireshark would write behind a packet.
fn note(all: &[Packet], i: usize) -> String {
    let p = &all[i];
    let before = all[..i].iter().rev();
    let mut before = before.filter(|other| other.from != p.from);
    let heard = before.next();
    if let Some(size) = p.mss {
        return format!("mss {size}");
    }
    if p.from == SERVER {
        let mut own = all[..i].iter().rev().filter(|o| o.from == SERVER);
        let was_full = own.next().is_some_and(|other| other.window == 0);
        return match (p.window, was_full) {
            (0, _) => "no room".to_owned(),
            (_, true) => "there is room".to_owned(),
            _ => String::new(),
        };
    }
    let is_probe = heard.is_some_and(|other| {
        other.window == 0 && p.payload.is_empty() && p.seq + 1 == other.ack
    });
    if is_probe { "probe".to_owned() } else { String::new() }
}

/// The time from one packet to the next, as the timers of TCP are set: 0.2
/// seconds (and some thousandths), and then twice as long each time. A busy
/// machine may be late, and never early.
pub fn after(earlier: &Packet, later: &Packet) -> String {
    let seconds = (later.time - earlier.time).as_secs_f64();
    let doubled = ((seconds / 0.2).log2() + 0.15).floor();
    format!("after {:.1} s", 0.2 * doubled.exp2())
}

/// The packets of which `note` says this.
fn notes(all: &[Packet], what: &str) -> Vec<usize> {
    (0..all.len()).filter(|&i| note(all, i) == what).collect()
}

/// The packets around a window of zero: the first with data, those from the
/// last before the server's buffer is full to the third probe, and the one
/// that ends the wait.
fn windows(packets: &[Packet]) -> String {
    let data = packets.iter().position(|p| !p.payload.is_empty()).unwrap();
    let full = notes(packets, "no room")[0];
    let probes = notes(packets, "probe");
    let room = notes(packets, "there is room")[0];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (i, p) in packets.iter().enumerate().take(room + 1) {
        let is_shown =
            i <= data || i == room || (full..probes[2] + 2).contains(&i);
        if !is_shown {
            if rows.last().unwrap().len() > 1 {
                rows.push(vec!["…".to_owned()]);
            }
            continue;
        }
        let window = if i == room { "N".into() } else { p.window.to_string() };
        let mut remark = note(packets, i);
        if let Some(nth) = probes.iter().position(|&probe| probe == i) {
            let earlier = if nth == 0 { full } else { probes[nth - 1] };
            remark += &format!(" {}", after(&packets[earlier], p));
        }
        let [from, to] = [p.from, p.to].map(|port| side(port).to_owned());
        let n = p.payload.len().to_string();
        rows.push(vec![from, to, p.flags.join(" "), n, window, remark]);
    }
    let head = ["from", "to", "flags", "bytes", "window", "remark"];
    html_table(&head, rows)
}

/// Numbers in what `ss` prints that are never twice the same: how much the
/// queues hold, and when a timer fires.
fn without_numbers(text: &str) -> String {
    let queue = Regex::new(r" (\d{5,})  ").unwrap();
    let text = queue.replace_all(text, |found: &Captures| {
        format!(" {:>width$}  ", "N", width = found[1].len().min(6))
    });
    let timer = Regex::new(r"timer:\((\w+),[^,]*,\d+\)").unwrap();
    timer.replace_all(&text, "timer:($1,…)").into_owned()
}

/// A command in a terminal of its own, with its output: `text` begins with it.
pub fn look(scene: &mut Scene, title: &'static str, text: &str) {
    let (command, output) = text.split_once('\n').unwrap();
    let nothing = Program::spawn(&mut Command::new("true"), false);
    scene.terminal(title, command.trim_start_matches("$ "), nothing);
    let last = scene.last();
    scene.wait_end(last);
    scene.add(last, output.to_owned());
}

/// One write on Ethernet, captured where it arrives.
fn segments() {
    let road = Road::switch("segments");
    let args = ["10.0.0.2:8888"];
    let server = start(&road.b, "sink", &args);
    server.addr();
    let capture = Capture::start(&road.b, "eth0");
    let args = ["10.0.0.2:8888", "10000"];
    start(&road.a, "write-and-leave", &args).wait_end();
    server.wait_for("read 10000 bytes");
    let mut packets = capture.until(|p| p.from != SERVER && p.has("FIN"));
    packets.retain(|p| !p.is_plain_ack());
    let mut text = "$ cargo run --bin write-and-leave -- 10.0.0.2:8888 10000\n\
                    from    to      flags      seq  bytes\n"
        .to_owned();
    for (i, p) in packets.iter().enumerate() {
        let line = format!(
            "{}  {}  {:7}  {:5}  {:5}  {}",
            side(p.from),
            side(p.to),
            p.flags.join(" "),
            p.seq,
            p.payload.len(),
            note(&packets, i)
        );
        text += &format!("{}\n", line.trim_end());
    }
    snapshot("flow-segments", text.trim_end());
}

/// A cable is pulled, a line is sent, and the cable is put in again.
fn cable() {
    let road = Road::switch("cable");
    let capture = Capture::start(&road.a, "eth0");
    let mut scene = Scene::new();
    converse(&road, &mut scene);
    let before = essence(&ss(&road.a, SS_MORE));
    look(&mut scene, "beside the client", &before);
    road.between.shell("ip link set right down");
    look(&mut scene, "the switch", "$ ip link set right down\n");
    scene.type_line(1, "two", ""); // there is no answer
    let mut of_client = String::new();
    wait_until("the third time", || {
        of_client = essence(&ss(&road.a, SS_MORE));
        of_client.contains("retrans:1/3")
    });
    look(&mut scene, "beside the client", &of_client);
    look(&mut scene, "beside the server", &ss(&road.b, SS));
    scene.stays_silent(1);
    snapshot("flow-cable", scene.text().trim_end());

    road.between.shell("ip link set right up");
    scene.program(1).wait_for("two\n");
    let is_echo = |p: &Packet| p.from == SERVER && p.payload == b"two\n";
    let text = again(&capture.until(is_echo));
    snapshot("flow-cable-capture", &text);
}

/// A server and a client, and one line that is answered.
pub fn converse(road: &Road, scene: &mut Scene) {
    let args = ["server", "--addr", "10.0.0.2:8888"];
    let server = start(&road.b, "step3", &args);
    server.addr();
    let shown = "cargo run --bin step3 -- server --addr 10.0.0.2:8888";
    scene.terminal("the server, 10.0.0.2", shown, server);
    let mut client = road.a.command(bin("step3"));
    client.args(["client", "--addr", "10.0.0.2:8888"]);
    let client = Program::spawn(&mut client, true);
    let shown = "cargo run --bin step3 -- client --addr 10.0.0.2:8888";
    scene.terminal("the client, 10.0.0.1", shown, client);
    scene.type_line(1, "one", "one\n");
    scene.wait_for(0, "connected", 1);
}

/// The packets with the line `two`: the first four, and the last ones.
fn again(packets: &[Packet]) -> String {
    let packets = packets.iter().filter(|p| p.payload == b"two\n");
    let packets: Vec<&Packet> = packets.collect();
    let mut rows = Vec::new();
    for (i, p) in packets.iter().enumerate() {
        if i == 4 && p.from != SERVER {
            rows.push(vec!["…".to_owned()]);
        }
        if i < 4 || p.from == SERVER {
            let [from, to] = [p.from, p.to].map(|port| side(port).to_owned());
            let remark = match i {
                0 => String::new(),
                _ if p.from == SERVER => String::new(),
                _ => format!("again {}", after(packets[i - 1], p)),
            };
            let data = "\"two\\n\"".to_owned();
            rows.push(vec![from, to, p.seq.to_string(), data, remark]);
        }
    }
    html_table(&["from", "to", "seq", "data", "remark"], rows)
}

/// Of the many things that `ss -i` says, those of which the page speaks.
fn essence(text: &str) -> String {
    let names = ["timer", "backoff", "cwnd", "retrans"];
    let field = Regex::new(r" (\w+):\S+").unwrap();
    let mut short = String::new();
    for line in text.lines() {
        let (row, more) = line.split_at(line.len().min(66));
        short += row;
        let fields = field.captures_iter(more);
        for found in fields.filter(|found| names.contains(&&found[1])) {
            short += &found[0];
        }
        short.push('\n');
    }
    without_numbers(&short)
}

/// How many packets travel together in each round trip: once with the usual
/// receive buffer, once with a small one.
fn slow_start() {
    let mut text =
        "receive buffer  round-trip time  round trips  packets in each\n"
            .to_owned();
    for (buffer, shown) in [(131_072, "128 KiB"), (16_384, "16 KiB")] {
        let packets = long_write(buffer);
        let flights = flights(&packets);
        // The small buffer takes a few round trips more or fewer, and not
        // each of them carries the same.
        let is_small = flights.len() > 10;
        let trips = match flights.len() {
            _ if is_small => "over 10".to_owned(),
            n => n.to_string(),
        };
        let count = |n: &&usize| flights.iter().filter(|m| m == n).count();
        let sizes = match flights.iter().max_by_key(count) {
            Some(n) if is_small => format!("{n} in most"),
            _ => flights.iter().map(|n| format!("{n} ")).collect(),
        };
        let time = format!("{:.1} s", round_trip(&packets).as_secs_f64());
        let line = format!("{shown:14}  {time:15}  {trips:11}  {sizes}");
        text += &format!("{}\n", line.trim_end());
    }
    snapshot("flow-slow-start", text.trim_end());
}

/// Writes 100 kB over a long road, to a machine with this receive buffer. If a
/// busy machine lets the reader come late, a large buffer fills up, too, and
/// the sender waits: then once more.
fn long_write(buffer: usize) -> Vec<Packet> {
    let attempt = |n| {
        let (road, _cable) = Road::long(&format!("slow-start-{buffer}-{n}"));
        set(&road.b, "tcp_rmem", &format!("4096 {buffer} {buffer}"));
        over(&road, 100_000)
    };
    let is_held_up = |packets: &Vec<Packet>| {
        let flights = flights(packets);
        flights.len() < 10 && flights.windows(2).any(|f| f[1] < 2 * f[0])
    };
    let mut packets = attempt(0);
    for n in 1..5 {
        if is_held_up(&packets) {
            packets = attempt(n);
        }
    }
    packets
}

/// From the shortest wait for the acknowledgement of a packet.
fn round_trip(packets: &[Packet]) -> Duration {
    let sent = packets.iter().enumerate().filter(|(_, p)| p.to == SERVER);
    let waits = sent.filter_map(|(i, p)| {
        let mut later = packets[i..].iter();
        let answer = later.find(|q| q.from == SERVER && q.ack > p.seq)?;
        Some(answer.time.saturating_sub(p.time))
    });
    waits.min().unwrap()
}

/// The packets of one write over a road, captured where it starts.
fn over(road: &Road, bytes: u32) -> Vec<Packet> {
    let server = start(&road.b, "sink", &["10.0.0.2:8888"]);
    server.addr();
    let capture = Capture::start(&road.a, "eth0");
    let bytes = bytes.to_string();
    start(&road.a, "write-and-leave", &["10.0.0.2:8888", &bytes]).wait_end();
    server.wait_for("the end");
    capture.until(|p| p.from == SERVER && p.has("FIN"))
}

/// A round trip ends when the first of its packets has been acknowledged.
fn flights(packets: &[Packet]) -> Vec<usize> {
    let mut flights: Vec<usize> = Vec::new();
    let (mut first, mut is_over) = (0, true);
    for p in packets {
        if p.from == SERVER {
            is_over |= p.ack > first;
        } else if !p.payload.is_empty() {
            if is_over {
                flights.push(0);
                (first, is_over) = (p.seq, false);
            }
            *flights.last_mut().unwrap() += 1;
        }
    }
    flights
}

/// Two connections that differ in nothing but the address of the client.
fn same_port() {
    let net = machine("same-port");
    let mut scene = Scene::new();
    let server = start(&net, "step3", &["server"]);
    server.addr();
    scene.terminal("the server", "cargo run --bin step3 -- server", server);
    let client = Program::spawn(&mut net.command(bin("same-port")), true);
    scene.terminal("two clients", "cargo run --bin same-port", client);
    scene.wait_for(1, "answers", 2);
    scene.wait_for(0, "connected", 2);
    look(&mut scene, "beside them", &ss(&net, SS));
    scene.snapshot("flow-same-port");
}

/// The server closes first and ends. The ACK of the client's FIN gets lost, so
/// the client's kernel repeats the FIN, and the server's kernel answers it.
fn time_wait() {
    let road = Road::switch("time-wait");
    let args = ["answer-once", "--addr", "10.0.0.2:8888"];
    let server = start(&road.b, "article", &args);
    server.addr();
    let capture = Capture::start(&road.b, "eth0");
    let mut client = road.a.command(bin("step2"));
    client.args(["client", "--addr", "10.0.0.2:8888"]);
    let mut client = Program::spawn(&mut client, true);
    client.write(b"hi\n");
    client.wait_for("Hello, client!");
    server.wait_end();
    wait_for_ss(&road.b, "FIN-WAIT-2 0 0");
    lose_the_next_ack(&road.a);
    client.end_input();
    client.wait_end();
    let is_fin = |p: &Packet| p.to == SERVER && p.has("FIN");
    let acks = |all: &[Packet]| {
        let later = all.iter().skip_while(|p| !is_fin(p));
        later.filter(|p| p.from == SERVER).count()
    };
    capture.wait_for("two ACKs of the FIN", |all| acks(all) >= 2);
    let mut packets = capture.packets();
    packets.drain(..packets.iter().position(is_fin).unwrap());
    let text = ss(&road.b, "ss -tanp sport = 8888 or dport = 8888");
    assert!(text.contains("TIME-WAIT"), "{text}");
    let text = format!("{}\n{}", repeated(&packets), text.trim_end());
    snapshot("flow-time-wait", &text);
}

/// One ACK from the server does not get into this machine; the next one does.
fn lose_the_next_ack(net: &Namespace) {
    net.shell(
        "nft 'add table ip t; add chain ip t input \
         { type filter hook input priority 0; }; add rule ip t input \
         tcp sport 8888 tcp flags == ack limit rate 1/day burst 1 packets drop'",
    );
}

/// A FIN that is sent twice, because its first ACK got lost.
fn repeated(packets: &[Packet]) -> String {
    let [fin, lost, again, _] = packets else { panic!("{packets:?}") };
    assert_eq!((&fin.flags, fin.seq), (&again.flags, again.seq));
    assert!(lost.is_plain_ack());
    let remarks =
        ["", "  dropped", &format!("  again {}", after(fin, again)), ""];
    let mut text = "from    to      flags    seq  ack\n".to_owned();
    for (p, remark) in packets.iter().zip(remarks) {
        let (from, to, flags) = (side(p.from), side(p.to), p.flags.join(" "));
        text += &format!(
            "{from}  {to}  {flags:7}  {:3}  {:3}{remark}\n",
            p.seq, p.ack
        );
    }
    text
}

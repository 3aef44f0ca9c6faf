//! Three peers that fall silent: one is killed, one is frozen, and one is
//! unplugged. What their kernels say, and who notices, and when.
//!
//! Each test makes a network of its own and removes it. Where it can not (not
//! Linux, not root, a tool is missing), the tests are skipped by name.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::flow::{Capture, Road, SS_TIMERS, look, set, ss, start};
use crate::packets::{Packet, SERVER, html_table, side};
use crate::support::net::{Namespace, missing, ports};
use crate::support::scene::Scene;
use crate::support::{
    Program, ROOT, bin, is_installed, signal, snapshot, trial, wait_until,
};
use libtest_mimic::Trial;
use regex::Regex;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let ss = (!is_installed("ss", "-V")).then_some("needs ss");
    let python =
        (!is_installed("python3", "--version")).then_some("needs python3");
    let missing = missing().or(ss).or(python);
    vec![
        trial("silence::a killed peer", missing, killed),
        trial("silence::a frozen peer", missing, frozen),
        trial("silence::an unplugged peer", missing, unplugged),
        trial("silence::a frozen peer and a heartbeat", missing, heartbeat),
        trial("silence::who asks, and who answers", missing, asked),
        trial("silence::who notices, and when", missing, noticed),
    ]
}

// ---- Programs in terminals

const CLIENT: &str = "python3 tests/peers/python/patient_client.py";

/// The client that waits, with its options.
fn patient(net: &Namespace, addr: &str, options: &[&str]) -> Program {
    let mut python = net.command("python3");
    python.arg(format!("{ROOT}/tests/peers/python/patient_client.py"));
    Program::spawn(python.arg(addr).args(options), true)
}

/// A server in the first terminal, and a client in the next one, which has
/// got an answer.
fn converse(net: &Namespace, scene: &mut Scene, options: &[&str]) {
    let server = net.server("step3");
    scene.terminal("the server", "cargo run --bin step3 -- server", server);
    let addr = "127.0.0.1:8888";
    let client = patient(net, addr, options);
    let shown = format!("{CLIENT} {addr} {}", options.join(" "));
    scene.terminal("the client", shown.trim_end(), client);
    scene.type_line(1, "one", "one\n");
    scene.wait_for(0, "connected", 1);
}

/// Presses Ctrl-Z in the first terminal.
fn freeze(scene: &mut Scene) {
    scene.note(0, "connected", "^Z\n");
    signal(scene.program(0).id(), "-STOP");
}

// ---- The three peers

/// Its kernel ends the connection for it.
fn killed() {
    let net = Namespace::new("killed");
    let mut scene = Scene::new();
    converse(&net, &mut scene, &[]);
    freeze(&mut scene);
    scene.note(0, "connected", "$ kill -9 %1\n");
    scene.program(0).kill();
    scene.wait_end(1);
    snapshot("silence-killed", scene.text().trim_end());
}

/// Its kernel answers for it.
fn frozen() {
    let net = Namespace::new("frozen");
    let mut scene = Scene::new();
    converse(&net, &mut scene, &[]);
    freeze(&mut scene);
    scene.type_line(1, "two", ""); // there is no answer
    let mut text = String::new();
    let queues = Regex::new(r"ESTAB +0 +0 .*\nESTAB +4 +0 ").unwrap();
    wait_until("an acknowledged line that nobody reads", || {
        text = ss(&net, SS_TIMERS);
        queues.is_match(&text)
    });
    look(&mut scene, "beside them", &text);
    scene.stays_silent(1);
    snapshot("silence-frozen", scene.text().trim_end());
}

/// The same, and the client of step 6 asks the program itself.
fn heartbeat() {
    let net = Namespace::new("heartbeat");
    let mut scene = Scene::new();
    let server = net.server("step6");
    scene.terminal("the server", "cargo run --bin step6 -- server", server);
    net.shell(&ports(50001, 50001));
    let arguments = "client --heartbeat-ms 1000";
    let mut sh = net.command("sh"); // its two outputs, as in a terminal
    let script = format!("exec {} {arguments} 2>&1", bin("step6"));
    let client = Program::spawn(sh.args(["-c", &script]), true);
    let shown = format!("cargo run --bin step6 -- {arguments}");
    scene.terminal("the client", &shown, client);
    scene.type_line(1, "one", "one\n");
    freeze(&mut scene);
    scene.program(1).wait_for("no sign of life in time\n");
    scene.note(0, "connected", "$ fg\n");
    signal(scene.program(0).id(), "-CONT");
    scene.program(0).wait_for("ended");
    net.shell(&ports(50002, 50002));
    scene.type_line(1, "two", "two\n");
    scene.wait_for(0, "connected", 2);
    scene.stays_silent(1);
    snapshot("silence-heartbeat", scene.text().trim_end());
}

/// Nobody says anything: one client waits without a timer, and another one
/// lets its kernel ask, at the time that is usual.
fn unplugged() {
    let road = switch("unplugged");
    let mut scene = Scene::new();
    let addr = "10.0.0.2:8888";
    let server = start(&road.b, "step3", &["server", "--addr", addr]);
    server.addr();
    let shown = format!("cargo run --bin step3 -- server --addr {addr}");
    scene.terminal("the server, 10.0.0.2", &shown, server);
    for (client, options) in [(1, &[][..]), (2, &["keepalive"])] {
        road.a.shell(&ports(50000 + client, 50000 + client));
        let title = "a client, 10.0.0.1";
        let program = patient(&road.a, addr, options);
        let shown = format!("{CLIENT} {addr} {}", options.join(" "));
        scene.terminal(title, shown.trim_end(), program);
        scene.type_line(client.into(), "one", "one\n");
        scene.wait_for(0, "connected", client.into());
    }
    road.between.shell("ip link set right down");
    look(&mut scene, "the switch", "$ ip link set right down\n");
    let mut text = String::new();
    wait_until("a little less than two hours", || {
        text = ss(&road.a, SS_TIMERS);
        text.contains("timer:(keepalive,119min,0)")
    });
    look(&mut scene, "beside the clients", &text);
    scene.stays_silent(1);
    scene.stays_silent(2);
    snapshot("silence-unplugged", scene.text().trim_end());
}

/// Two machines and a switch. A kernel that cannot ask for the address of its
/// neighbour any more would say so; here it knows it for long enough.
fn switch(name: &str) -> Road {
    let road = Road::switch(name);
    for net in [&road.a, &road.b] {
        net.shell(
            "echo 3600000 > \
             /proc/sys/net/ipv4/neigh/eth0/base_reachable_time_ms",
        );
    }
    road
}

// ---- Who asks, and who answers

/// What a kernel that asks each second hears of each of the three.
fn asked() {
    let mut rows = Vec::new();
    for fault in FAULTS {
        let road = switch(&format!("asked-{fault:?}"));
        let capture = Capture::start(&road.a, "eth0");
        let server = start(&road.b, "step3", &["server", "--addr", ADDR]);
        server.addr();
        let mut client = patient(&road.a, ADDR, &["keepalive=1"]);
        client.write(b"one\n");
        client.wait_for("one\n");
        fault.happens(&road, &[&server]);
        let is_end = |p: &Packet| p.has("RST") || p.has("FIN");
        let packets = match fault {
            Fault::Frozen => {
                capture.wait_for("answers", |all| probes(all).len() > 3);
                capture.packets()
            }
            _ => capture.until(is_end),
        };
        rows.push(vec![format!("the server is {}", fault.name())]);
        rows.extend(questions(&packets));
    }
    let head = ["from", "to", "flags", "remark"];
    snapshot("silence-asked", &html_table(&head, rows));
}

/// The packets that carry nothing and stand one byte before what the other
/// end has acknowledged, so that it answers.
fn probes(all: &[Packet]) -> Vec<usize> {
    let is_probe = |&i: &usize| {
        let p = &all[i];
        let mut before = all[..i].iter().rev();
        let heard = before.find(|q| q.from == SERVER && q.has("ACK"));
        p.from != SERVER
            && p.is_plain_ack()
            && heard.is_some_and(|q| p.seq + 1 == q.ack)
    };
    (0..all.len()).filter(is_probe).collect()
}

/// Three questions, with their answers if there are any, and the end.
fn questions(packets: &[Packet]) -> Vec<Vec<String>> {
    let probes = probes(packets);
    let last = packets.len() - 1;
    let start = probes.first().copied().unwrap_or(last);
    let end = probes.get(3).copied().unwrap_or(packets.len());
    let row = |i: usize| {
        let p = &packets[i];
        let remark = match probes.contains(&i) {
            true => "keep-alive: are you there?",
            _ if p.has("RST") => "gives up",
            _ if p.has("FIN") => "its kernel ends the connection",
            _ => "its kernel says yes",
        };
        let [from, to] = [p.from, p.to].map(|port| side(port).to_owned());
        vec![from, to, p.flags.join(" "), remark.to_owned()]
    };
    (start..end).map(row).collect()
}

// ---- Who notices, and when

const ADDR: &str = "10.0.0.2:8888";
const ADDR6: &str = "10.0.0.2:8889"; // of step 6

#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Frozen,
    Unplugged,
}

const FAULTS: [Fault; 3] = [Fault::Killed, Fault::Frozen, Fault::Unplugged];

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Killed => "killed",
            Fault::Frozen => "frozen",
            Fault::Unplugged => "unplugged",
        }
    }

    /// Happens to these programs on the machine `b`.
    fn happens(self, road: &Road, programs: &[&Program]) {
        match self {
            Fault::Killed => {
                programs.iter().for_each(|p| signal(p.id(), "-KILL"));
            }
            Fault::Frozen => {
                programs.iter().for_each(|p| signal(p.id(), "-STOP"));
            }
            Fault::Unplugged => road.between.shell("ip link set right down"),
        }
    }
}

/// A client that watches the silence of its server: what the table calls it,
/// its options, whether it sends, and when it must notice each fault, in
/// seconds. Without options it is the client of step 6.
struct Watcher {
    title: &'static str,
    options: Option<&'static [&'static str]>,
    is_writing: bool,
    notices: [Option<u64>; 3],
}

impl Watcher {
    /// Starts it with a port of its own, and waits for its first answer.
    fn start(&self, net: &Namespace, port: u16) -> Program {
        net.shell(&ports(port, port));
        let mut client = match self.options {
            Some(options) => patient(net, ADDR, options),
            None => {
                let mut step6 = net.command(bin("step6"));
                step6.args(["client", "--addr", ADDR6]);
                Program::spawn(step6.env("TCP_HEARTBEAT_MS", "1000"), true)
            }
        };
        client.write(b"one\n");
        client.wait_for("one\n");
        client
    }
}

const AT_ONCE: Option<u64> = Some(0);
const NEVER: Option<u64> = None;

const WATCHERS: [Watcher; 5] = [
    Watcher {
        title: "reads",
        options: Some(&[]),
        is_writing: false,
        notices: [AT_ONCE, NEVER, NEVER],
    },
    Watcher {
        title: "writes a line, then reads (`tcp_retries2` = 2)",
        options: Some(&[]),
        is_writing: true,
        notices: [AT_ONCE, NEVER, Some(3)],
    },
    Watcher {
        title: "the same with `TCP_USER_TIMEOUT` of 2 s",
        options: Some(&["user-timeout=2"]),
        is_writing: true,
        notices: [AT_ONCE, NEVER, Some(2)],
    },
    Watcher {
        title: "reads, with `SO_KEEPALIVE` after 1 s, and 3 times",
        options: Some(&["keepalive=1"]),
        is_writing: false,
        notices: [AT_ONCE, NEVER, Some(4)],
    },
    Watcher {
        title: "reads, with a heartbeat of 1 s: step 6",
        options: None,
        is_writing: false,
        notices: [AT_ONCE, Some(3), Some(3)],
    },
];

/// For how long each watcher may notice.
const LONG: Duration = Duration::from_secs(8);

/// How much later than it must a watcher may notice, on a busy machine.
const SLACK: Duration = Duration::from_millis(1500);

fn noticed() {
    let columns = thread::scope(|scope| {
        let play = |fault| scope.spawn(move || watched(fault));
        FAULTS.map(play).map(|column| column.join().unwrap())
    });
    let mut text = "| a client that … | killed | frozen | unplugged |\n\
                    | --- | --- | --- | --- |\n"
        .to_owned();
    for (i, watcher) in WATCHERS.iter().enumerate() {
        let cells = columns.each_ref().map(|column| column[i].clone());
        text += &format!("| {} | {} |\n", watcher.title, cells.join(" | "));
    }
    snapshot("silence-noticed", text.trim_end());
}

/// What the table says of each watcher, when this happens to its server.
fn watched(fault: Fault) -> Vec<String> {
    let road = switch(&format!("noticed-{fault:?}"));
    set(&road.a, "tcp_retries2", "2");
    let servers = [("step3", ADDR), ("step6", ADDR6)]
        .map(|(step, addr)| start(&road.b, step, &["server", "--addr", addr]));
    servers.iter().for_each(|server| drop(server.wait_for("listening on ")));
    let clients = WATCHERS.iter().zip(50001..);
    let mut clients: Vec<(Program, u16)> =
        clients.map(|(w, port)| (w.start(&road.a, port), port)).collect();
    let started = Instant::now();
    fault.happens(&road, &servers.each_ref());
    for ((client, _), watcher) in clients.iter_mut().zip(&WATCHERS) {
        if watcher.is_writing {
            client.write(b"two\n");
        }
    }
    let mut ends = vec![None; clients.len()];
    while started.elapsed() < LONG && ends.contains(&None) {
        for ((client, port), end) in clients.iter_mut().zip(&mut ends) {
            if end.is_none() && has_noticed(client, *port) {
                *end = Some(started.elapsed());
            }
        }
        thread::sleep(Duration::from_millis(50)); // the kernel's table is large
    }
    let cells = WATCHERS.iter().zip(ends);
    cells.map(|(watcher, end)| cell(fault, watcher, end)).collect()
}

/// Has the client ended, or closed its connection? The client of step 6 waits
/// for its user, and makes a new one then.
fn has_noticed(client: &mut Program, port: u16) -> bool {
    let path = format!("/proc/{}/net/tcp", client.id());
    let table = fs::read_to_string(path).unwrap_or_default();
    let local = format!(":{port:04X}");
    let is_open = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_open = [ESTABLISHED, CLOSE_WAIT].contains(&columns[3]);
        columns[1].ends_with(&local) && is_open
    };
    !client.is_running() || !table.lines().any(is_open)
}

/// How the kernel writes two of its states.
const ESTABLISHED: &str = "01";
const CLOSE_WAIT: &str = "08";

/// Asserts that the watcher noticed when it must.
fn cell(fault: Fault, watcher: &Watcher, end: Option<Duration>) -> String {
    let must = watcher.notices[fault as usize];
    let is_right = match (must, end) {
        (Some(must), Some(end)) => {
            let must = Duration::from_secs(must);
            (must.mul_f64(0.8)..must + SLACK).contains(&end)
        }
        (None, None) => true,
        _ => false,
    };
    let title = watcher.title;
    assert!(is_right, "{fault:?}, {title}: {end:?}, not {must:?}");
    match must {
        AT_ONCE => "at once".to_owned(),
        Some(must) => format!("after {must} s"),
        NEVER => format!("not in {} s", LONG.as_secs()),
    }
}

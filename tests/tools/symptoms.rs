//! Makes what the page "Errors by symptom" shows: errors, hangs, and what the
//! tools of Linux say about them.
//!
//! Each test plays in network namespaces of its own, which are machines with a
//! loopback, ports and a firewall. A command runs as the page prints it, only
//! without Cargo. What is not installed is skipped by name.

use std::fmt::Write;
use std::io::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::net::{Namespace, ip, missing, ports};
use crate::support::{
    DEADLINE, Program, ROOT, bin, is_installed, signal, snapshot, trial,
    wait_until,
};
use libtest_mimic::Trial;
use regex::{Captures, Regex};

/// A test, and the programs that it needs besides `ip` and root.
type Symptom = (&'static str, &'static [&'static str], fn());

const SYMPTOMS: [Symptom; 22] = [
    ("each error has a name in Rust and in Python", &["python3"], names),
    ("ss names the program that has the port", &["ss"], in_use),
    ("a client finds no free port", &["ss", "python3"], no_ports),
    ("a neighbour that is not there", &["python3"], no_route),
    ("a network without a road to it", &["python3"], unreachable),
    ("the kernel gives up on a silent machine", &["nft", "python3"], timed_out),
    ("a firewall says what it likes", &["nft"], firewall),
    ("others do not hear a server on loopback", &["ss"], other_machine),
    ("tcpdump shows who resets", &["tcpdump"], reset),
    ("a limit of files is raised", &["prlimit", "python3"], open_files),
    ("no descriptor for the runtime", &[], no_runtime),
    ("no memory for a thread", &[], no_thread),
    ("a stdin that does not block", &["python3"], would_block),
    ("a limit that is no number", &[], bad_limit),
    ("two writes and 40 ms", &["tcpdump"], forty_ms),
    ("a server never closes", &["ss", "python3"], close_wait),
    ("a client's cable is cut", &["ss"], half_open),
    ("a hang: nobody accepts", &["ss"], hang_accept),
    ("a hang: nobody reads", &["ss"], hang_write),
    ("a hang: both wait to receive", &["ss", "python3"], hang_read),
    ("a hang: nobody answers", &["ss"], hang_connect),
    ("tcpdump shows each packet", &["tcpdump"], packets),
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let no_namespace = missing();
    let trials = SYMPTOMS.map(|(title, needs, test)| {
        let absent = needs.iter().find(|program| !has(program));
        let absent = absent.map(|program| format!("needs {program}"));
        let title = format!("symptoms::{title}");
        trial(&title, no_namespace.or(absent.as_deref()), test)
    });
    trials.into()
}

pub fn has(program: &str) -> bool {
    is_installed(program, if program == "nft" { "-v" } else { "-V" })
        || is_installed(program, "--version")
}

// ---- What a reader types, and what is printed then

/// A command for the shell: the page says `cargo run`, the test starts what
/// Cargo has built.
fn real(shown: &str) -> String {
    let cargo = r"(?:cargo run --bin |target/debug/)([a-z0-9-]+)(?: --)?";
    let program = |found: &Captures| bin(&found[1]).to_owned();
    Regex::new(cargo).unwrap().replace_all(shown, program).into_owned()
}

/// A machine of its own, where a client has one port.
pub fn machine(name: &str) -> Namespace {
    let net = Namespace::new(name);
    net.shell(&ports(50001, 50001));
    net
}

/// Two machines, joined by a cable: 10.0.0.1 and 10.0.0.2.
fn pair(name: &str) -> [Namespace; 2] {
    let nets = [1, 2].map(|n| machine(&format!("{name}-{n}")));
    let [a, b] = [&nets[0], &nets[1]].map(|net| net.name.as_str());
    let cable =
        format!("link add eth0 netns {a} type veth peer name eth0 netns {b}");
    ip(&cable.split(' ').collect::<Vec<_>>());
    for (net, n) in nets.iter().zip([1, 2]) {
        net.shell(&format!(
            "ip address add 10.0.0.{n}/24 dev eth0 && ip link set eth0 up"
        ));
    }
    nets
}

/// Runs a script of the shell, with both outputs in one, and its stdin open.
fn run(net: &Namespace, script: &str) -> Program {
    let mut sh = net.command("sh");
    sh.args(["-c", &format!("exec 2>&1; {}", real(script))]);
    Program::spawn(sh.current_dir(ROOT), true)
}

/// Starts a command that is meant to stay.
pub fn start(net: &Namespace, shown: &str) -> Program {
    run(net, &format!("exec {shown}"))
}

/// Starts a server, and waits until it listens.
pub fn serve(net: &Namespace, shown: &str) -> Program {
    let server = start(net, shown);
    server.wait_for("listening on ");
    server
}

/// A client without a text, with this port, which waits for its user.
pub fn silent_client(net: &Namespace, step: &str, port: u16) -> Program {
    net.shell(&ports(port, port));
    start(net, &format!("cargo run --bin {step} -- client"))
}

/// A command, and what its program has printed so far.
pub fn printed(shown: &str, program: &Program) -> String {
    let text = String::from_utf8(program.texts().0).unwrap();
    // Of a traceback of Python, the last line says what happened.
    let text = match text.split_once("Traceback") {
        Some((before, trace)) => {
            let last = trace.trim_end().lines().last().unwrap();
            format!("{before}…\n{last}\n")
        }
        None => text,
    };
    format!("$ {shown}\n{text}")
}

/// Types a command that ends by itself.
pub fn typed(net: &Namespace, shown: &str) -> String {
    let mut program = run(net, shown);
    program.end_input();
    program.wait_end();
    printed(shown, &program)
}

/// A client in Python that only connects.
fn python(host: &str) -> String {
    format!(
        "python3 -c \"import socket; \
         socket.create_connection(('{host}', 8888))\""
    )
}

const LOCAL: &str = "Local Address:Port";
const PEER: &str = "Peer Address:Port";

/// Types `ss`, and prints its table with columns as narrow as they can be and
/// its lines in the order of their addresses.
pub fn ss(net: &Namespace, shown: &str) -> String {
    let text = typed(net, shown);
    let mut lines = text.lines().skip(1);
    let header = lines.next().unwrap_or_default();
    let mut rows: Vec<Vec<&str>> =
        lines.map(|line| line.split_whitespace().collect()).collect();
    rows.sort_by_key(|row| {
        let addresses = row.iter().filter(|cell| cell.contains(':'));
        addresses.take(2).map(|cell| cell.to_string()).collect::<Vec<_>>()
    });
    let mut names = Vec::from(["Recv-Q", "Send-Q", LOCAL, PEER]);
    if header.starts_with("State") {
        names.insert(0, "State");
    }
    names.push("Process");
    rows.insert(0, names);
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i));
        cells.map(|cell| cell.len()).max().unwrap_or_default()
    };
    let mut table = format!("$ {shown}\n");
    for row in &rows {
        let cells = row.iter().enumerate();
        let cells = cells.map(|(i, cell)| format!("{cell:w$}", w = width(i)));
        let cells: Vec<String> = cells.collect();
        writeln!(table, "{}", cells.join("  ")).unwrap();
    }
    table
}

/// Waits until the table of `ss` with these arguments has `part`.
pub fn wait_for_ss(net: &Namespace, arguments: &str, part: &str) {
    let command = format!("ss {arguments}");
    let words: Vec<&str> = part.split(' ').collect();
    wait_until(part, || {
        let text = typed(net, &command);
        text.lines().any(|line| {
            let line: Vec<&str> = line.split_whitespace().collect();
            line.starts_with(&words)
        })
    });
}

/// Parts of a page, each with what stands in it.
pub fn terminals(parts: &[(&str, &str)]) -> String {
    let parts = parts.iter().enumerate();
    let parts = parts.map(|(i, (title, text))| {
        format!("# terminal {}: {title}\n{text}", i + 1)
    });
    parts.collect::<Vec<_>>().join("\n")
}

/// Keeps a text as the page prints it: the processes are numbered from 4001
/// in order, a line ends where its text does and has at most 110 characters.
pub fn keep(name: &str, text: &str) {
    let mut ids: Vec<String> = Vec::new();
    let process = Regex::new(r"(pid=|/proc/|--pid |-p |\[pid )(\d+)").unwrap();
    let text = process.replace_all(text, |found: &Captures| {
        let id = ids.iter().position(|id| *id == found[2]);
        let id = id.unwrap_or_else(|| {
            ids.push(found[2].to_owned());
            ids.len() - 1
        });
        format!("{}{}", &found[1], 4001 + id)
    });
    let short = |line: &str| match line.chars().count() {
        ..=110 => format!("{}\n", line.trim_end()),
        _ => line.chars().take(109).chain("…\n".chars()).collect(),
    };
    let text: String = text.lines().map(short).collect();
    snapshot(name, text.trim_end());
}

// ---- Errors

const ERRORS: [(i32, &str); 10] = [
    (111, "connection-refused"),
    (98, "address-in-use"),
    (99, "address-not-available"),
    (113, "no-route"),
    (101, "unreachable"),
    (110, "no-answer"),
    (104, "connection-reset"),
    (32, "broken-pipe"),
    (24, "too-many-open-files"),
    (11, "would-block"),
];

/// The same numbers, as Rust and Python call them.
fn names() {
    let script = "import errno, sys\n\
                  for n in map(int, sys.argv[1:]):\n \
                  print(errno.errorcode[n], type(OSError(n, '')).__name__)";
    let numbers = ERRORS.map(|(number, _)| number.to_string());
    let mut python = Command::new("python3");
    python.args(["-c", script]).args(numbers);
    let ended = Program::spawn(&mut python, false).finish();
    let lines = String::from_utf8(ended.stdout).unwrap();
    let rows = ERRORS.into_iter().zip(lines.lines());
    let rows = rows.map(|((number, anchor), line)| row(number, anchor, line));
    let rows: String = rows.collect();
    let header = "| what you read | its name | `ErrorKind::` | in Python |\n\
                  | --- | --- | --- | --- |\n";
    snapshot("symptom-names", (header.to_owned() + &rows).trim_end());
}

/// An error, with the name and the class that Python gives to its number.
fn row(number: i32, anchor: &str, line: &str) -> String {
    let (name, class) = line.split_once(' ').unwrap();
    let error = Error::from_raw_os_error(number);
    let words = error.to_string();
    let words = words.split(" (os").next().unwrap();
    let kind = match format!("{:?}", error.kind()).as_str() {
        "Uncategorized" => "none".to_owned(),
        kind => format!("`{kind}`"),
    };
    format!("| [{words}](#{anchor}) | {name} | {kind} | `{class}` |\n")
}

fn in_use() {
    let net = machine("in-use");
    let _server = serve(&net, "cargo run --bin step1 -- server");
    let error = typed(&net, "cargo run --bin step1 -- server");
    assert!(error.contains("Address already in use"), "{error}");
    keep("symptom-in-use", &ss(&net, "ss -ltnp 'sport = :8888'"));
}

/// Two ports for clients, and two clients that have them.
fn no_ports() {
    let net = machine("no-ports");
    net.shell(&ports(50001, 50002));
    let server = serve(&net, "cargo run --bin step3 -- server");
    let client = "cargo run --bin step3 -- client";
    let _clients = [(); 2].map(|()| start(&net, client));
    server.wait_for_times(" connected", 2);
    let mut text = String::new();
    text += &typed(&net, "cat /proc/sys/net/ipv4/ip_local_port_range");
    text += &ss(&net, "ss -tn 'dport = :8888'");
    text += &typed(&net, "cargo run --bin step3 -- client 'one more'");
    text += &typed(&net, &python("127.0.0.1"));
    keep("symptom-no-ports", &text);
}

/// The kernel asks three times, a second each, who has the address: a limit
/// of three seconds would hide what it then says.
fn no_route() {
    let [_there, net] = pair("no-route");
    let started = Instant::now();
    let client = "cargo run --bin step5 -- client --attempts 1 \
                  --addr 10.0.0.7:8888 hi";
    let mut text = typed(&net, client);
    assert!(started.elapsed() > Duration::from_secs(3));
    text += &typed(&net, "ip neighbour show 10.0.0.7");
    text += &typed(&net, &python("10.0.0.7"));
    keep("symptom-no-route", &text);
}

fn unreachable() {
    let net = machine("unreachable");
    let client = "cargo run --bin step5 -- client --attempts 1 \
                  --addr 192.0.2.1:8888 hi";
    let mut text = typed(&net, client);
    text += &typed(&net, "ip route get 192.0.2.1");
    text += &typed(&net, &python("192.0.2.1"));
    keep("symptom-unreachable", &text);
}

/// The rule of a firewall for port 8888.
fn set_rule(net: &Namespace, rule: &str) {
    net.shell(&format!(
        "nft 'flush ruleset; add table ip t; add chain ip t input \
         {{ type filter hook input priority 0; }}; \
         add rule ip t input tcp dport 8888 {rule}'"
    ));
}

/// All the repeated SYNs take two minutes; the test sets their number to 1.
fn timed_out() {
    let [there, net] = pair("timed-out");
    set_rule(&there, "drop");
    let sysctl = "sysctl -w net.ipv4.tcp_syn_retries=1";
    net.shell("echo 1 > /proc/sys/net/ipv4/tcp_syn_retries");
    let mut text = format!("$ {sysctl}\nnet.ipv4.tcp_syn_retries = 1\n");
    let client = "cargo run --bin step3 -- client --addr 10.0.0.1:8888 hi";
    text += &typed(&net, client);
    text += &typed(&net, &python("10.0.0.1"));
    keep("symptom-timed-out", &text);
}

/// The same server, and three firewalls in front of it.
fn firewall() {
    let [there, net] = pair("firewall");
    let server = "cargo run --bin step3 -- server --addr 0.0.0.0:8888";
    let running = serve(&there, server);
    let client = "cargo run --bin step3 -- client --addr 10.0.0.1:8888 hi";
    let patient = "TCP_CONNECT_MS=1000 TCP_ATTEMPTS=1 cargo run --bin step5 \
                   -- client --addr 10.0.0.1:8888 hi";
    let mut text = String::new();
    for (rule, client) in [
        ("reject", client),
        ("reject with icmp type admin-prohibited", client),
        ("drop", patient),
    ] {
        set_rule(&there, rule);
        let said = typed(&net, client);
        writeln!(text, "# rule of the firewall: tcp dport 8888 {rule}")
            .unwrap();
        text += &said;
    }
    let text = [
        ("10.0.0.1, with a server", &printed(server, &running)[..]),
        ("10.0.0.2, a client", &text),
    ];
    keep("symptom-firewall", &terminals(&text));
}

fn other_machine() {
    let [here, there] = pair("other-machine");
    let server = "cargo run --bin step3 -- server";
    let client =
        |addr| format!("cargo run --bin step3 -- client --addr {addr}:8888 hi");
    let mut running = serve(&here, server);
    let mut mine = ss(&here, "ss -ltn");
    mine += &typed(&here, &client("127.0.0.1"));
    mine += "\n";
    mine += &typed(&here, &client("10.0.0.1"));
    let mut others = typed(&there, &client("10.0.0.1"));
    running.wait_for("ended");
    let first = format!("{}^C\n", printed(server, &running));
    running.kill();

    let everywhere = "cargo run --bin step3 -- server --addr 0.0.0.0:8888";
    let running = serve(&here, everywhere);
    others += "# now with the second server\n";
    others += &typed(&there, &client("10.0.0.1"));
    running.wait_for("ended");
    let servers = first + &printed(everywhere, &running);
    let text = [
        ("10.0.0.1, the server", &servers[..]),
        ("10.0.0.1, while the first server runs", &mine),
        ("10.0.0.2, another machine", &others),
    ];
    keep("symptom-other-machine", &terminals(&text));
}

/// With so few descriptors, the runtime does not even start.
fn no_runtime() {
    let net = machine("no-runtime");
    let text = typed(&net, "(ulimit -n 4; target/debug/step1 server)");
    keep("symptom-no-runtime", &panic(&text));
}

/// Each thread needs some of the memory that the process may have.
fn no_thread() {
    let net = machine("no-thread");
    let limit = "ulimit -v 60000; TOKIO_WORKER_THREADS=64";
    let server = "target/debug/step1 server";
    let program = run(&net, &format!("{limit} exec {server}"));
    program.wait_for("(os error 11)");
    let text = printed(&format!("({limit} {server})"), &program);
    keep("symptom-no-thread", &panic(&text));
}

/// A panic, without what depends on the version of Rust.
fn panic(text: &str) -> String {
    let lines = text.lines().filter(|line| {
        line.starts_with('$') || line.contains("Os {") || line.contains("OS ")
    });
    lines.map(|line| format!("{line}\n")).collect()
}

fn would_block() {
    let net = machine("would-block");
    let _server = serve(&net, "cargo run --bin step1 -- server");
    let other = "python3 -c 'import os; os.set_blocking(0, False)'";
    let client = "cargo run --bin step1 -- client";
    let program = run(&net, &format!("{other}; {client}"));
    program.wait_end();
    let text = printed(&format!("{other}\n$ {client}"), &program);
    keep("symptom-would-block", &text);
}

fn bad_limit() {
    let net = machine("bad-limit");
    let text = typed(&net, "TCP_IDLE_MS=soon cargo run --bin step5 -- server");
    keep("symptom-bad-limit", &text);
}

/// The server is at its limit, and then it gets more. Whatever files the test
/// itself has open, the server starts with three.
fn open_files() {
    let net = machine("open-files");
    net.shell(&ports(50001, 50099));
    let start_with = "
import os, resource, sys
os.closerange(3, 4096)
resource.setrlimit(resource.RLIMIT_NOFILE, (12, 4096))
os.execv(sys.argv[1], sys.argv[1:])";
    let server = "target/debug/step3 server";
    let server = run(&net, &format!("exec python3 -c '{start_with}' {server}"));
    server.wait_for("listening on ");
    let client = "cargo run --bin step3 -- client";
    let _clients = [(); 12].map(|()| start(&net, client));
    server.wait_for("Too many open files");
    let id = server.id();
    let mut text = typed(&net, &format!("grep files /proc/{id}/limits"));
    text += &typed(&net, &format!("ls /proc/{id}/fd | wc -l"));
    text += &typed(&net, &format!("prlimit --pid {id} --nofile=1024:"));
    server.wait_for_times(" connected", 12);
    text += &typed(&net, &format!("ls /proc/{id}/fd | wc -l"));
    keep("symptom-open-files", &text);
}

// ---- No error, and yet

/// Runs tcpdump while `play` does something, until `is_all` says so of what
/// it has printed.
fn tcpdump(
    net: &Namespace,
    shown: &str,
    play: impl FnOnce(),
    is_all: impl Fn(&str) -> bool,
) -> String {
    // As in a terminal: each line at once.
    let options = "tcpdump -l --immediate-mode";
    let tcpdump = start(net, &shown.replacen("tcpdump", options, 1));
    tcpdump.wait_for("listening on");
    play();
    wait_until("the packets", || is_all(&printed(shown, &tcpdump)));
    let text = printed(shown, &tcpdump);
    let text = Regex::new(r"win \d+, options \[[^]]*\]")
        .unwrap()
        .replace_all(&text, "…");
    let text =
        Regex::new(r"(seq|ack) \d{4,}").unwrap().replace_all(&text, "$1 …");
    let time = Regex::new(r"(?m)^\d\d:\d\d:\d\d\.\d{6}").unwrap();
    time.replace_all(&text, "12:34:56.…").into_owned()
}

fn reset() {
    let net = machine("reset");
    let _server = serve(&net, "cargo run --bin step3 -- server");
    let shown =
        "tcpdump -i lo -nn 'port 8888 and tcp[tcpflags] & tcp-rst != 0'";
    let client = "cargo run --bin reset";
    let mut said = String::new();
    let play = || said = typed(&net, client);
    let packets = tcpdump(&net, shown, play, |text| text.contains("[R"));
    let text = [("the packets with RST", &packets[..]), ("the client", &said)];
    keep("symptom-reset", &terminals(&text));
}

/// Now and then a machine is slow, and an acknowledgement goes alone that
/// mostly goes with data. Then this tries again, until `play` returns packets
/// with these flags, and these hundredths of a second in front of them.
fn packets_like(usual: &[[&str; 2]], play: impl Fn() -> String) -> String {
    let end = Instant::now() + DEADLINE;
    let packet = r"(?m)^[0-9:]+\.(\d*)… .* Flags \[([A-Z.]+)\]";
    let packet = Regex::new(packet).unwrap();
    loop {
        let text = play();
        let found = packet.captures_iter(&text);
        let found: Vec<[&str; 2]> = found.map(|f| f.extract().1).collect();
        if found == usual {
            return text;
        }
        assert!(Instant::now() < end, "not {usual:?}:\n{text}");
    }
}

/// The second message: the first one finds a receiver that acknowledges at
/// once, as Linux does at the start of a connection.
fn forty_ms() {
    let usual = [
        ["00", "P."], // the header
        ["04", "."],  // too late
        ["00", "P."], // the text
        ["00", "."],
        ["00", "P."], // the reply
    ];
    keep("symptom-forty-ms", &packets_like(&usual, second_message));
}

fn second_message() -> String {
    let net = machine("forty-ms");
    let _server = serve(&net, "cargo run --bin step4 -- server");
    let shown = "tcpdump -i lo -nn -ttt port 8888";
    let play = || drop(typed(&net, "cargo run --bin two-writes"));
    let text = tcpdump(&net, shown, play, |text| text.contains("[F"));
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|l| l.contains("seq 9:14")).unwrap();
    let last = lines.iter().position(|l| l.contains("seq 9:17")).unwrap();
    let text = format!("$ {shown}\n…\n{}\n…", lines[first..=last].join("\n"));
    let time = Regex::new(r"(?m)^ *00:00:00\.(\d\d)\d{4}").unwrap();
    let text = time.replace_all(&text, |found: &Captures| {
        let is_long = (3..20).contains(&found[1].parse::<u32>().unwrap());
        format!("00:00:00.{}…", if is_long { "04" } else { "00" })
    });
    text.into_owned()
}

fn close_wait() {
    let net = machine("close-wait");
    let shown = "cargo run --bin never-closes";
    let server = serve(&net, shown);
    let client = "python3 tests/peers/python/connect_only_client.py 8888";
    let mut clients = String::new();
    for port in [50001, 50002, 50003] {
        net.shell(&ports(port, port));
        clients += &typed(&net, client);
    }
    server.wait_for_times("has ended", 3);
    let table = ss(&net, "ss -tnp state close-wait");
    let text = [
        ("the server", &printed(shown, &server)[..]),
        ("three clients, which are gone", &clients),
        ("what the server still has", &table),
    ];
    keep("symptom-close-wait", &terminals(&text));
}

fn half_open() {
    let [here, there] = pair("half-open");
    let server = "cargo run --bin step3 -- server --addr 0.0.0.0:8888";
    let running = serve(&here, server);
    let shown = "cargo run --bin step3 -- client --addr 10.0.0.1:8888";
    let mut client = start(&there, shown);
    client.write(b"one\n");
    client.wait_for("one\n");
    let cut = "ip link set eth0 down";
    there.shell(cut);
    signal(client.id(), "-TERM");
    client.wait_end();
    let text = printed(shown, &client).replacen("one\n", "one\none\n^C\n", 1);
    let text = [
        ("10.0.0.1, the server", &printed(server, &running)[..]),
        ("10.0.0.2, a client", &text),
        ("10.0.0.2, before the Ctrl-C", &format!("$ {cut}\n")),
        ("10.0.0.1, after it", &ss(&here, "ss -tnpo 'sport = :8888'")),
    ];
    keep("symptom-half-open", &terminals(&text));
}

/// Client 1 is being served. Two more have connected, and have sent.
fn hang_accept() {
    let net = machine("hang-accept");
    let server = serve(&net, "cargo run --bin step2 -- server");
    let _first = silent_client(&net, "step2", 50001);
    server.wait_for("connected");
    let mut others = Vec::new();
    for port in [50002, 50003] {
        let mut other = silent_client(&net, "step2", port);
        other.write(b"two\n");
        let end = format!("ESTAB 4 0 127.0.0.1:8888 127.0.0.1:{port}");
        wait_for_ss(&net, "-tn", &end);
        others.push(other);
    }
    let mut text = ss(&net, "ss -ltnp 'sport = :8888'");
    text += &ss(&net, "ss -tnp 'sport = :8888'");
    keep("symptom-hang-accept", &text);
}

/// Client and server write, and neither reads.
fn hang_write() {
    let net = machine("hang-write");
    let _server = serve(&net, "cargo run --bin step2 -- server");
    let client = start(&net, "cargo run --bin write-first");
    let shown = "ss -tnp";
    let mut before = String::new();
    let large = Regex::new(r"(?m)^ESTAB +\d{5,} +\d{5,} .*\n").unwrap();
    let mut look = || {
        let now = ss(&net, shown);
        let seen = (large.find_iter(&now).count() == 2, now == before);
        before = now;
        seen
    };
    wait_until("full buffers", || {
        if !look().0 {
            return false;
        }
        signal(client.id(), "-STOP"); // it would give up soon
        let is_at_rest = (0..20).any(|_| look() == (true, true));
        if !is_at_rest {
            signal(client.id(), "-CONT"); // there was room again
        }
        is_at_rest
    });
    let queues = Regex::new(r"(?m)^(ESTAB|State) +\S+ +\S+ +").unwrap();
    let text =
        queues.replace_all(&before, |found: &Captures| match &found[1] {
            "State" => "State  Recv-Q  Send-Q  ".to_owned(),
            _ => "ESTAB  N       N       ".to_owned(),
        });
    keep("symptom-hang-write", &text);
}

/// A server that reads until the end, and a client that waits for an answer.
fn hang_read() {
    let net = machine("hang-read");
    let folder = "tests/peers/python";
    let server =
        serve(&net, &format!("python3 {folder}/receive_loop_server.py"));
    let client = start(
        &net,
        &format!("python3 {folder}/send_and_receive_client.py 8888"),
    );
    client.wait_for("sending");
    server.wait_for("received");
    wait_for_ss(&net, "-tn 'dport = :8888'", "ESTAB 0 0");
    keep("symptom-hang-read", &ss(&net, "ss -tnp"));
}

fn hang_connect() {
    let net = machine("hang-connect");
    let _server = serve(&net, "cargo run --bin black-hole");
    net.shell(&ports(50002, 50002));
    let _client = start(&net, "cargo run --bin step4 -- client hi");
    let state = "-tnp state syn-sent";
    wait_for_ss(&net, state, "0 1");
    keep("symptom-hang-connect", &ss(&net, &format!("ss {state}")));
}

/// A greeting of step 1.
fn packets() {
    let flags = ["S", "S.", ".", "P.", ".", "F.", "P.", ".", "F.", "."];
    let usual = flags.map(|flags| ["", flags]);
    keep("symptom-packets", &packets_like(&usual, greeting));
}

fn greeting() -> String {
    let net = machine("packets");
    let server = serve(&net, "cargo run --bin step1 -- server");
    let client = "cargo run --bin step1 -- client 'Hello, Server!'";
    let mut said = String::new();
    let play = || said = typed(&net, client);
    let is_over = |text: &str| {
        let fins = text.matches("Flags [F.]").count();
        let last = text.lines().last().unwrap_or_default();
        fins == 2 && last.contains("Flags [.]")
    };
    let packets = tcpdump(&net, "tcpdump -i lo -nn port 8888", play, is_over);
    server.wait_for("closes");
    let text =
        [("the packets", &packets[..]), ("the client", &format!("{said}\n"))];
    terminals(&text)
}

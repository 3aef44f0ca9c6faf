//! What a server spends its time on: where perf finds it, a thousand times a
//! second, and which calls it makes, counted by strace.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use regex::Regex;

use super::support::{DEADLINE, Program, bin, is_installed, signal};

/// A title; the server; bytes of a message; messages in one write of a client.
type Case = (&'static str, &'static str, usize, usize);

const CASES: [Case; 3] = [
    ("step 3, 64 B", "step3", 64, 1),
    ("step 3, 64 KiB", "step3", 65_536, 1),
    ("step 4, 16 × 64 B", "step4", 64, 16),
];

const CLIENTS: usize = 8;

/// How long perf looks, in seconds.
const SECONDS: &str = "3";

/// Where perf found the server. The first row that fits counts.
const PLACES: [(&str, &[&str]); 5] = [
    ("copying bytes", &["copy"]),
    ("waiting, and waking the other side", WAKING),
    ("the rest of `recvfrom`", &["sys_recvfrom"]),
    ("the rest of `sendto`", &["sys_sendto"]),
    ("the kernel otherwise", &[""]),
];

/// The place of a sample without a function of the kernel.
const PROGRAM: &str = "the program and its libraries";

/// Names of kernel functions in which a thread waits, or wakes another one.
const WAKING: &[&str] =
    &["epoll", "futex", "schedule", "wake_up", "sock_def_readable"];

const CALLS: [&str; 4] = ["recvfrom", "sendto", "epoll_wait", "futex"];

fn head(first: &str) -> String {
    let titles = CASES.map(|(title, ..)| title).join(" | ");
    format!("| {first} | {titles} |\n| --- | ---: | ---: | ---: |\n")
}

// ---- Where is the server, whenever one looks?

/// Empty if perf is missing, or may not look into the kernel.
pub fn shares() -> String {
    if !is_installed("perf", "--version") {
        println!("spends: skipped, needs perf");
        return String::new();
    }
    let seen = CASES.map(look);
    if !seen.iter().all(|(found, _)| found.contains_key(PLACES[3].0)) {
        println!("spends: skipped, perf needs the rights of root");
        return String::new();
    }
    let total = |found: &BTreeMap<_, usize>| found.values().sum::<usize>();
    let mut table = head("share of the server's time");
    for place in PLACES.map(|(place, _)| place).into_iter().chain([PROGRAM]) {
        let cells = seen.each_ref().map(|(found, _)| {
            let count = found.get(place).copied().unwrap_or_default();
            format!("{:.0} %", 100.0 * count as f64 / total(found) as f64)
        });
        table += &format!("| {place} | {} |\n", cells.join(" | "));
    }
    let cost = seen.each_ref().map(|(_, cost)| format!("{cost:.1} µs"));
    table +=
        &format!("| processor time for a message | {} |\n", cost.join(" | "));
    table
}

/// How often perf found the server at each place, and its processor time for
/// a message in microseconds.
fn look(case: Case) -> (BTreeMap<&'static str, usize>, f64) {
    let (server, addr) = Program::server(case.1);
    let file = tempfile::NamedTempFile::new().unwrap();
    let is_over = AtomicBool::new(false);
    let messages = thread::scope(|scope| {
        let clients = scope.spawn(|| {
            clients(addr, case, &|_| !is_over.load(Relaxed)) // until perf ends
        });
        // Of all programs: were the clock set for one program alone, it would
        // be set again at each switch, and perf would mostly find itself.
        let mut perf = Command::new("perf");
        perf.args(["record", "-q", "-g", "-e", "cpu-clock", "-F", "1000"]);
        perf.args(["-a", "-o"]).arg(file.path());
        let ended = perf.args(["--", "sleep", SECONDS]).output();
        is_over.store(true, Relaxed);
        ended.unwrap();
        clients.join().unwrap()
    });
    let cost = processor_time(server.id()) * 1e6 / messages as f64;
    let mut script = Command::new("perf");
    script.args(["script", "-F", "ip,sym,dso", "-i"]).arg(file.path());
    script.args(["--pid", &server.id().to_string()]);
    let samples = script.output().unwrap().stdout;
    let mut found = BTreeMap::new();
    let samples = String::from_utf8_lossy(&samples).into_owned();
    for sample in samples.split("\n\n").filter(|text| !text.is_empty()) {
        *found.entry(place(sample)).or_default() += 1;
    }
    (found, cost)
}

/// A sample has a line for each function, the innermost first.
fn place(sample: &str) -> &'static str {
    let kernel = sample.lines().filter(|line| line.contains("[kernel"));
    let kernel: Vec<&str> = kernel.collect();
    if kernel.is_empty() {
        return PROGRAM;
    }
    let is_in = |name: &&str| kernel.iter().any(|line| line.contains(name));
    let mut places = PLACES.iter();
    places.find(|(_, names)| names.iter().any(is_in)).unwrap().0
}

/// In seconds, in the program and in the kernel: fields 14 and 15 of
/// `/proc/PID/stat`, in hundredths (proc(5)).
fn processor_time(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap(); // from field 3
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

// ---- Which calls does it make?

/// Messages that each client sends while strace counts.
const MESSAGES: usize = 800;

/// Empty if strace is missing.
pub fn calls() -> String {
    if !is_installed("strace", "-V") {
        println!("calls: skipped, needs strace");
        return String::new();
    }
    let seen = CASES.map(count);
    let mut table = head("calls for 1000 messages");
    for name in CALLS {
        let cells = seen.each_ref().map(|calls| {
            let calls = calls.get(name).copied().unwrap_or_default();
            format!("{:.0}", calls * 1000.0 / (CLIENTS * MESSAGES) as f64)
        });
        table += &format!("| `{name}` | {} |\n", cells.join(" | "));
    }
    table
}

/// What `strace -c` prints when the server ends, about its whole life.
fn count(case: Case) -> BTreeMap<String, f64> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-c", "-o"]).arg(file.path()); // -D: its parent
    strace.arg(bin(case.1)).args(["server", "--addr", "127.0.0.1:0"]);
    let server = Program::spawn(&mut strace, false);
    clients(server.addr(), case, &|n| n < MESSAGES);
    signal(server.id(), "-TERM");
    server.finish();
    let table = fs::read_to_string(file.path()).unwrap();
    // % time, seconds, microseconds a call, calls, maybe errors, name
    let row = Regex::new(r"(?m)^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*\b(\w+)$");
    let row = row.unwrap();
    let rows = row.captures_iter(&table);
    rows.map(|row| (row[2].to_owned(), row[1].parse().unwrap())).collect()
}

// ---- Clients that each wait for their replies before they send more.

/// Each asks as long as `more` says so of the number of messages it has
/// sent. Returns how many all of them have sent.
fn clients(
    addr: SocketAddr,
    case: Case,
    more: &(dyn Fn(usize) -> bool + Sync),
) -> usize {
    thread::scope(|scope| {
        let client = || scope.spawn(|| ask(addr, case, more));
        let clients: Vec<_> =
            std::iter::repeat_with(client).take(CLIENTS).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

fn ask(
    addr: SocketAddr,
    (_, name, size, batch): Case,
    more: &dyn Fn(usize) -> bool,
) -> usize {
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(3 * DEADLINE)).unwrap();
    let length = (size as u32 + 1).to_be_bytes();
    let of_kind = |kind| match name {
        "step3" => vec![b'x'; size], // no frames yet
        _ => [&length[..], &[kind], &vec![b'x'; size]].concat().repeat(batch),
    };
    let (request, reply) = (of_kind(0x01), of_kind(0x81));
    let mut received = reply.clone();
    let mut messages = 0;
    while more(messages) {
        client.write_all(&request).unwrap();
        client.read_exact(&mut received).unwrap();
        assert!(received == reply, "a wrong reply from {name}");
        messages += batch;
    }
    messages
}

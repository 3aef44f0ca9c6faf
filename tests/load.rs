//! The load generator, against our servers and against servers that are
//! wrong in one way each. Nothing here asserts how fast anything is.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::env::consts::OS;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use support::{Program, ROOT, again, bin, refusing, trial};
use tempfile::TempDir;

/// How long a run may take on a busy machine; the longest takes 8 s.
const DEADLINE: Duration = Duration::from_secs(90);

fn main() {
    let args = Arguments::from_args();
    let not_here = (OS != "linux").then_some("needs Linux");
    let mut trials = vec![
        trial("load::step3_answers_raw_echoes", None, step3),
        trial("load::step4_answers_frames_of_any_size", None, step4),
        trial("load::step8_answers_echo_and_add_in_turn", None, step8),
        trial("load::a_connection_for_each_request", None, reconnect),
        trial("load::the_open_loop_sends_by_the_clock", None, rate),
        trial("load::only_the_open_loop_sees_a_pause", None, pause),
        trial("load::a_pause_that_outlasts_the_time_is_seen", None, stall),
        trial("load::the_open_loop_waits_for_the_last_replies", None, last),
        trial("load::time_counts_from_when_it_was_due", None, queue),
        trial("load::requests_are_in_flight_together", None, four),
        trial("load::the_open_loop_gives_up_on_silence", None, black_hole),
        trial("load::a_reply_byte_by_byte_is_given_up", None, trickle),
        trial("load::an_error_costs_one_request_of_many", None, one_error),
        trial("load::cpu_and_memory_of_the_server", not_here, server),
        trial("load::idle_connections_answer_pings", None, idle),
        trial("load::a_full_step8_is_named", None, full),
        trial("load::a_refused_connection_is_named", None, refused),
        trial("load::the_report_as_text", None, text),
        trial("load::the_report_as_json_and_csv", None, formats),
        trial("load::two_reports_side_by_side", None, comparison),
        trial("load::options_that_cannot_be_used", None, usage),
    ];
    trials.extend(wrong_servers());
    libtest_mimic::run(&args, trials).exit();
}

/// What a run of `load` has printed.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    fn json(&self) -> Value {
        let value = serde_json::from_str(&self.stdout);
        value.unwrap_or_else(|_| panic!("{}{}", self.stdout, self.stderr))
    }

    /// The report of a run in which all went well.
    fn right(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        let report = self.json();
        assert!(report["requests"].as_u64().unwrap() > 0, "{report}");
        let errors = report["errors"].as_object().unwrap();
        assert!(errors.values().all(|count| *count == 0), "{report}");
        report
    }
}

fn load(args: &[&str]) -> Run {
    let mut program = Program::start("load", args);
    let end = Instant::now() + DEADLINE;
    while program.is_running() {
        assert!(Instant::now() < end, "load {args:?} has not ended");
        thread::sleep(Duration::from_millis(20));
    }
    let ended = program.finish();
    let stdout = String::from_utf8(ended.stdout).unwrap();
    Run { code: ended.code, stdout, stderr: ended.stderr }
}

/// A short run that prints JSON.
fn short(addr: SocketAddr, args: &[&str]) -> Run {
    let addr = addr.to_string();
    let start = ["--seconds", "0.3", "--warm-up", "0.1", "--format", "json"];
    load(&[&start[..], args, &[&addr]].concat())
}

/// Builds the steps, which another package has.
fn steps() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(ROOT).args(["build", "--quiet"]);
        if bin("load").contains("/release/") {
            cargo.arg("--release");
        }
        for name in ["step3", "step4", "step8"] {
            cargo.args(["--bin", name]);
        }
        assert!(cargo.status().unwrap().success(), "{cargo:?}");
    });
}

fn step(name: &str) -> (Program, SocketAddr) {
    steps();
    Program::server(name)
}

fn step3() {
    let (_server, addr) = step("step3");
    for size in ["1", "64", "300000"] {
        let run = short(addr, &["--speak", "raw", "--size", size]);
        assert_eq!(run.right()["connect"]["count"], 50);
    }
    let many = ["--speak", "raw", "--in-flight", "16"];
    short(addr, &many).right();
}

fn step4() {
    let (_server, addr) = step("step4");
    for size in ["0", "1", "64", "65535"] {
        short(addr, &["--size", size, "--in-flight", "7"]).right();
    }
}

fn step8() {
    let (_server, addr) = step("step8");
    for work in ["echo", "add", "mixed"] {
        short(addr, &["--work", work, "--in-flight", "4"]).right();
    }
}

fn reconnect() {
    let (_server, addr) = step("step3");
    let args = ["--speak", "raw", "--reconnect", "--connections", "8"];
    let report = short(addr, &args).right();
    let count = |value: &Value| value.as_u64().unwrap();
    let connects = count(&report["connect"]["count"]);
    let requests = count(&report["requests"]);
    assert!(connects.abs_diff(requests) <= 8, "{report}");
    let (_server, addr) = step("step4");
    short(addr, &["--reconnect", "--rate", "100"]).right();
    let (_server, addr) = step("step8");
    for work in ["add", "mixed"] {
        short(addr, &["--reconnect", "--work", work]).right();
    }
}

fn rate() {
    let (_server, addr) = step("step4");
    let report = short(addr, &["--rate", "1000"]).right();
    // All that was due was sent, however late.
    let requests = report["requests"].as_u64().unwrap();
    assert!((299..=301).contains(&requests), "{report}");
    assert!(report["generator"]["late_us"]["p99"].is_number(), "{report}");
}

/// Serves each client in a thread of its own: `serve` gets its stream.
fn scripted(serve: fn(&mut TcpStream) -> std::io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // An error is the end of a client, whose load has ended.
            thread::spawn(move || stream.and_then(|mut it| serve(&mut it)));
        }
    });
    addr
}

/// Answers each request of 64 bytes with what `answer` makes of it; it gets
/// the number of the request, from 0.
fn answer(
    stream: &mut TcpStream,
    mut answer: impl FnMut(usize, &mut Vec<u8>),
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    for n in 0.. {
        let mut bytes = vec![0; 64];
        stream.read_exact(&mut bytes)?;
        answer(n, &mut bytes);
        stream.write_all(&bytes)?;
        if bytes.len() < 64 {
            break;
        }
    }
    Ok(())
}

/// A server that stops for half a second, once for each client.
fn pauses(stream: &mut TcpStream) -> std::io::Result<()> {
    let start = Instant::now();
    let mut has_paused = false;
    answer(stream, |_, _| {
        if !has_paused && start.elapsed() > Duration::from_millis(800) {
            has_paused = true;
            thread::sleep(Duration::from_millis(500));
        }
    })
}

/// One connection at a time would ask 100 times or more in this time.
fn pause() {
    let addr = scripted(pauses).to_string();
    let p99 = |args: &[&str]| {
        let all = [
            args,
            &["--speak", "raw", "--connections", "1", "--seconds", "2"],
            &["--warm-up", "0.2", "--format", "json", &addr],
        ];
        let report = load(&all.concat()).right();
        report["latency_us"]["p99"].as_f64().unwrap()
    };
    let (closed, open) = (p99(&[]), p99(&["--rate", "200"]));
    assert!(open >= 400_000.0, "{open} µs");
    assert!(closed < open / 2.0, "closed {closed} µs, open {open} µs");
}

/// A server that stops shortly before the end of a run of 2.2 s.
fn stalls(stream: &mut TcpStream) -> std::io::Result<()> {
    let start = Instant::now();
    let mut has_paused = false;
    answer(stream, |_, _| {
        if !has_paused && start.elapsed() > Duration::from_millis(1500) {
            has_paused = true;
            thread::sleep(Duration::from_millis(1500));
        }
    })
}

/// Runs `load` against a server of raw echoes.
fn against(
    serve: fn(&mut TcpStream) -> std::io::Result<()>,
    options: &str,
) -> Run {
    let addr = scripted(serve).to_string();
    let mut args = vec!["--speak", "raw", "--format", "json", &addr];
    args.extend(options.split_whitespace());
    load(&args)
}

fn stall() {
    let options = "--connections 3 --seconds 2 --warm-up 0.2";
    let report = against(stalls, options).right();
    let max = report["latency_us"]["max"].as_f64().unwrap();
    assert!(max >= 1_000_000.0, "{report}");
}

fn last() {
    let serve = |stream: &mut TcpStream| {
        answer(stream, |_, _| thread::sleep(Duration::from_millis(600)))
    };
    let options = "--rate 100 --seconds 0.3 --warm-up 0.1";
    let report = against(serve, options).right();
    let requests = report["requests"].as_u64().unwrap();
    assert!((29..=31).contains(&requests), "{report}");
}

/// A server of 50 requests per second gets 100. Each is sent when the one
/// before it has ended.
fn queue() {
    let serve = |stream: &mut TcpStream| {
        answer(stream, |_, _| thread::sleep(Duration::from_millis(20)))
    };
    let options = "--reconnect --connections 1 --rate 100 --seconds 0.6 \
                   --warm-up 0";
    let report = against(serve, options).right();
    let max = report["latency_us"]["max"].as_f64().unwrap();
    assert!(max >= 300_000.0, "{report}");
}

/// The server answers four requests when all of them have come.
fn four() {
    let serve = |stream: &mut TcpStream| {
        let mut bytes = [0; 4 * 64];
        loop {
            stream.read_exact(&mut bytes)?;
            stream.write_all(&bytes)?;
        }
    };
    let options = "--in-flight 4 --seconds 0.3 --warm-up 0.1";
    let report = against(serve, options).right();
    assert_eq!(report["in_flight"], 4);
}

/// What we send must not count as progress. (After 25 s, another limit ends
/// this.)
fn black_hole() {
    let options = "--connections 1 --rate 100 --timeout 2.5 --seconds 60";
    let run = against(silent, options);
    assert_eq!(run.code, Some(1));
    let report = run.json();
    assert_eq!(report["errors"]["timeout"], 1, "{report}");
    assert!(report["seconds"].as_f64().unwrap() < 20.0, "{report}");
}

fn trickle() {
    let serve = |stream: &mut TcpStream| {
        stream.set_nodelay(true)?;
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte)?;
            thread::sleep(Duration::from_millis(100));
            stream.write_all(&byte)?;
        }
    };
    let options = "--connections 1 --timeout 0.4 --seconds 60";
    let run = against(serve, options);
    assert_eq!(run.code, Some(1));
    assert_eq!(run.json()["errors"]["timeout"], 1, "{}", run.stdout);
}

/// The server leaves every third client without a reply.
fn one_error() {
    static CLIENTS: AtomicUsize = AtomicUsize::new(0);
    let serve = |stream: &mut TcpStream| {
        if CLIENTS.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            return ends(stream);
        }
        answer(stream, |_, _| {})
    };
    let options = "--reconnect --connections 1 --seconds 1 --warm-up 0";
    let run = against(serve, options);
    assert_eq!(run.code, Some(1));
    let report = run.json();
    let ended = report["errors"]["ended"].as_u64().unwrap();
    assert!(ended >= 2, "{report}");
    assert!(report["requests"].as_u64().unwrap() > ended, "{report}");
}

/// A name, what the server does, the key in `errors`, and a part of the text.
type Wrong = (
    &'static str,
    fn(&mut TcpStream) -> std::io::Result<()>,
    &'static str,
    &'static str,
);

const WRONG: [Wrong; 10] = [
    ("two_swapped_bytes", swaps, "wrong_reply", "reply 4 differs"),
    ("a_reply_that_comes_twice", twice, "wrong_reply", "unasked"),
    ("a_reply_of_another_request", old, "wrong_reply", "reply 4 differs"),
    ("a_reply_that_is_cut", cuts, "ended", "inside reply 4, after 60 bytes"),
    ("an_end_between_replies", ends, "ended", "before reply 1"),
    ("a_reset", resets, "reset", "reset"),
    ("silence", silent, "timeout", "sent nothing before reply 1"),
    ("an_error_frame", error, "other", "ERROR 3 (UNKNOWN_KIND): \\u{1b}no"),
    ("a_goaway", goaway, "other", "GOAWAY: it is shutting down"),
    ("an_unknown_kind", kind, "wrong_reply", "a frame of kind 42 with 1 byte"),
];

fn wrong_servers() -> Vec<Trial> {
    let trials = WRONG.into_iter().map(|(name, serve, key, part)| {
        let title = format!("load::wrong_server::{name}_is_named");
        trial(&title, None, move || {
            let frames = ["an_error_frame", "a_goaway", "an_unknown_kind"];
            let is_frames = frames.contains(&name);
            let speak = if is_frames { "frames" } else { "raw" };
            let limit = if name == "silence" { "0.5" } else { "30" };
            let addr = scripted(serve).to_string();
            // It ends when no connection is left.
            let run = load(
                &[
                    &["--speak", speak, "--timeout", limit, "--seconds", "60"]
                        [..],
                    &["--format", "json", &addr],
                ]
                .concat(),
            );
            assert_eq!(run.code, Some(1), "{}", run.stdout);
            let report = run.json();
            let errors = report["errors"].as_object().unwrap();
            for (kind, count) in errors {
                let due = if kind == key { 50 } else { 0 };
                assert_eq!(*count, due, "{kind}: {report}");
            }
            assert!(run.stderr.contains(part), "{}", run.stderr);
        })
    });
    trials.collect()
}

fn swaps(stream: &mut TcpStream) -> std::io::Result<()> {
    answer(stream, |n, bytes| {
        if n == 3 {
            bytes.swap(20, 21);
        }
    })
}

fn twice(stream: &mut TcpStream) -> std::io::Result<()> {
    answer(stream, |n, bytes| {
        if n == 3 {
            bytes.extend_from_within(..);
        }
    })
}

fn old(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut last = Vec::new();
    answer(stream, |n, bytes| {
        if n == 3 {
            bytes.clone_from(&last);
        }
        last.clone_from(bytes);
    })
}

fn cuts(stream: &mut TcpStream) -> std::io::Result<()> {
    answer(stream, |n, bytes| bytes.truncate(if n == 3 { 60 } else { 64 }))
}

/// Reads all of the first request, so that the end is not a reset.
fn ends(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 64])
}

/// Closing with unread input resets the connection.
fn resets(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 10])
}

fn silent(stream: &mut TcpStream) -> std::io::Result<()> {
    while again(|| stream.read(&mut [0; 100]))? > 0 {}
    Ok(())
}

/// Reads a whole request, sends this, and waits for the client to close.
fn say(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 69])?;
    stream.write_all(bytes)?;
    silent(stream)
}

fn error(stream: &mut TcpStream) -> std::io::Result<()> {
    say(stream, b"\0\0\0\x05\x7f\x03\x1bno")
}

fn goaway(stream: &mut TcpStream) -> std::io::Result<()> {
    say(stream, &[0, 0, 0, 2, 4, 1])
}

fn kind(stream: &mut TcpStream) -> std::io::Result<()> {
    say(stream, &[0, 0, 0, 2, 0x42, 1])
}

fn refused() {
    let (_socket, addr) = refusing();
    let run = short(addr, &[]);
    assert_eq!(run.code, Some(1));
    assert_eq!(run.json()["errors"]["refused"], 50);
    let part = format!("cannot connect to {addr} (is the server running?)");
    assert!(run.stderr.contains(&part), "{}", run.stderr);
}

fn full() {
    steps();
    let args = ["server", "--addr", "127.0.0.1:0", "--max-conns", "5"];
    let server = Program::start("step8", &args);
    let run = short(server.addr(), &["--connections", "8"]);
    assert_eq!(run.code, Some(1));
    assert_eq!(run.json()["errors"]["other"], 3, "{}", run.stdout);
    let part = "ERROR 6 (OVERLOADED): too many connections (3 times)";
    assert!(run.stderr.contains(part), "{}", run.stderr);
}

fn server() {
    let (server, addr) = step("step4");
    // Long enough for a few hundredths of a second of CPU.
    let addr = addr.to_string();
    let run = load(&["--seconds", "1", "--format", "json", &addr]);
    let report = run.right();
    let seen = &report["server"];
    assert_eq!(seen["pid"], server.id());
    let keys = ["cpu_seconds", "cpu_us_per_request"];
    let keys = keys.iter().chain(&["memory_kb_before", "memory_kb_after"]);
    for key in keys {
        assert!(seen[*key].as_f64().unwrap() > 0.0, "{key}: {report}");
    }
    assert!(report["generator"]["busy"].as_f64().unwrap() > 0.0, "{report}");
}

/// If `load` did not answer PINGs, the server would drop it after 0.9 s.
fn idle() {
    steps();
    let mut command = Command::new(bin("step8"));
    command.args(["server", "--addr", "127.0.0.1:0"]);
    let server = Program::spawn(command.env("TCP_HEARTBEAT_MS", "300"), false);
    let report = short(server.addr(), &["--idle", "200"]).right();
    let idle = &report["idle"];
    assert_eq!(idle["connections"], 200);
    assert_eq!(report["connect"]["count"], 202);
    for key in ["alone_us", "among_us"] {
        assert!(idle[key]["p99"].as_f64().unwrap() > 0.0, "{report}");
    }
    if OS == "linux" {
        assert!(idle["kb_before"].as_f64().unwrap() > 0.0, "{report}");
    }
}

fn text() {
    let (_server, addr) = step("step4");
    let run = load(&["--quick", &addr.to_string()]);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    println!("{}", run.stdout); // kept in the log
    let names = ["server ", "load ", "replies ", "latency ", "connect "];
    for (line, name) in run.stdout.lines().zip(names) {
        assert!(line.starts_with(name), "{name}: {}", run.stdout);
    }
    assert_eq!(run.stderr, "");
}

/// What the report promises to the programs that read it.
const KEYS: [&str; 20] = [
    "addr",
    "speak",
    "work",
    "connections",
    "size",
    "in_flight",
    "rate",
    "reconnect",
    "planned_seconds",
    "warm_up",
    "seconds",
    "requests",
    "requests_per_second",
    "bytes_per_second",
    "latency_us",
    "latency_curve",
    "connect",
    "errors",
    "generator",
    "warnings",
];

fn formats() {
    let (_server, addr) = step("step4");
    let report = short(addr, &[]).right();
    for key in KEYS.iter().chain(&["server"]) {
        assert!(report.get(key).is_some(), "{key}: {report}");
    }
    let number = |key: &str| report[key].as_f64().unwrap();
    let rate = number("requests") / number("seconds");
    let ratio = number("requests_per_second") / rate;
    assert!((0.99..1.01).contains(&ratio), "{report}");
    let latency = &report["latency_us"];
    let points = ["p50", "p90", "p99", "p99_9", "max"];
    let values = points.map(|key| latency[key].as_f64().unwrap());
    assert!(values.is_sorted(), "{report}");
    let curve = report["latency_curve"].as_array().unwrap();
    let point = |at: &Value| at.as_array().unwrap()[1].as_f64().unwrap();
    assert!(curve.iter().map(point).is_sorted(), "{report}");
    assert_eq!(curve.last().unwrap()[0], 100.0);

    let run = load(&["--quick", "--format", "csv", &addr.to_string()]);
    let lines: Vec<&str> = run.stdout.lines().collect();
    let [names, values] = lines[..] else { panic!("{}", run.stdout) };
    let count = |line: &str| line.split(',').count();
    assert_eq!(count(names), count(values), "{}", run.stdout);
    assert!(names.contains("latency_us.p99,"), "{names}");
}

fn comparison() {
    let (_server, addr) = step("step4");
    let folder = TempDir::new().unwrap();
    let keep = |name: &str, args: &[&str]| {
        let path = folder.path().join(name);
        let run = short(addr, args);
        run.right();
        std::fs::write(&path, run.stdout).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (a, b) = (keep("a.json", &[]), keep("b.json", &[]));
    let other = keep("other.json", &["--size", "65"]);
    let run = load(&["--compare", &a, &b]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let names = ["requests/s", "p50", "p99", "CPU per request"];
    let lines: Vec<&str> = run.stdout.lines().skip(1).collect();
    assert_eq!(lines.len(), names.len(), "{}", run.stdout);
    for (line, name) in lines.iter().zip(names) {
        assert!(line.starts_with(name), "{}", run.stdout);
    }
    not_compared(&a, &other);
    ratio(&a, &b);
}

fn not_compared(a: &str, other: &str) {
    let broken = changed(a, "/errors/reset", 1.0);
    let longer = changed(a, "/planned_seconds", 0.5);
    for (file, part) in [
        (other, "--size is 64 in the first and 65 in the second"),
        (broken.as_str(), "its run had errors"),
        (&longer, "--seconds is 0.3 in the first and 0.5 in the second"),
    ] {
        let run = load(&["--compare", a, file]);
        assert_eq!(run.code, Some(1));
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
}

fn ratio(a: &str, b: &str) {
    let one = changed(a, "/requests_per_second", 100.0);
    let two = changed(b, "/requests_per_second", 250.0);
    let run = load(&["--compare", &one, &two]);
    let line = run.stdout.lines().nth(1).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["requests/s", "100", "250", "2.50"]);
}

/// Writes a report with one other value beside it.
fn changed(path: &str, pointer: &str, value: f64) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let mut report: Value = serde_json::from_str(&text).unwrap();
    let place = report.pointer_mut(pointer).unwrap();
    *place = if place.is_u64() { (value as u64).into() } else { value.into() };
    let path = format!("{path}{}", pointer.replace('/', "."));
    std::fs::write(&path, report.to_string()).unwrap();
    path
}

fn usage() {
    let refused: [(&[&str], &str); 8] = [
        (&["--size", "65536"], "cannot use --size 65536"),
        (&["--speak", "raw", "--size", "0"], "cannot use --size 0"),
        (&["--speak", "raw", "--work", "add"], "cannot use --work"),
        (&["--connections", "0"], "cannot measure with 0 connections"),
        (&["--rate", "0"], "cannot use --rate 0"),
        (&["--in-flight", "1025"], "cannot use --in-flight 1025: 1 to 1024"),
        (&["--seconds", "0"], "cannot measure for 0 seconds"),
        (&["--connections", "99999999999"], "cannot open 99999999999"),
    ];
    for (args, part) in refused {
        let run = load(&[args, &["127.0.0.1:9"]].concat());
        assert_eq!(run.code, Some(1), "{args:?}");
        assert!(run.stderr.contains(part), "{args:?}: {}", run.stderr);
    }
    let run = load(&[]);
    assert!(run.stderr.contains("<IP:PORT>"), "{}", run.stderr);
}

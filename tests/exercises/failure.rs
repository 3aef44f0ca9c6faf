//! The exercises and questions from *Heartbeat* to *How fast is it?*.

use std::env::consts::OS;
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use regex::Regex;
use tempfile::{TempDir, tempdir};

use super::copy::{Solved, print};
use super::support::scene::Scene;
use super::support::{
    DEADLINE, Program, ROOT, again, ends, is_installed, signal, snapshot,
    trial, unread, wait_for_fin, wait_until,
};

pub fn trials() -> Vec<Trial> {
    let linux = (OS != "linux").then_some("needs Linux");
    let python = !is_installed("python3", "--version");
    let python = python.then_some("needs python3");
    let both = linux.or(python);
    vec![
        trial("heartbeat::an_old_client_hears_a_ping", linux, old_clients),
        trial("heartbeat::a_pong_that_waits_its_turn", linux, pong_in_turn),
        trial("heartbeat::a_frozen_client", linux, frozen_client),
        trial("heartbeat::a_server_in_python", both, heartbeat_server),
        trial("heartbeat::a_busy_connection", None, busy),
        trial("ledger::one_number_too_many", None, window),
        trial("ledger::a_kill_is_no_power_cut", linux, without_sync),
        trial("ledger::a_server_in_python", both, ledger_server),
        trial("ledger::a_client_that_is_killed", both, payer),
        trial("ledger::one_number_two_amounts", None, conflict),
        trial("ledger::a_copy_after_other_operations", None, first_answer),
        trial("drain::nobody_gets_the_sign", linux, no_sign),
        trial("drain::no_time_to_cross", None, no_grace),
        trial("drain::a_server_in_python", both, drain_server),
        trial("drain::a_listener_that_is_closed", linux, closed_listener),
        trial("performance::more_than_it_can_do", linux, overload),
        trial("performance::an_open_loop_in_python", both, open_loop),
        trial("performance::waiting_lines", python, waiting),
    ]
}

// ---- Programs in terminals

/// A program in a folder that goes away with it.
type Built = (TempDir, String);

fn built(step: &str) -> Built {
    Solved::with("").program(step)
}

/// A program with both outputs in one, as in a terminal.
fn start(set: &str, program: &str, arguments: impl Display) -> Program {
    let script = format!("{set} exec {program} {arguments} 2>&1");
    Program::spawn(Command::new("sh").args(["-c", &script]), true)
}

fn server(program: &str, options: &str) -> (Program, SocketAddr) {
    let arguments = format!("server --addr 127.0.0.1:0 {options}");
    let server = start("", program, arguments.trim_end());
    let addr = server.addr();
    (server, addr)
}

/// How a reader starts it.
fn typed(step: &str, arguments: &str) -> String {
    format!("cargo run --bin {step} -- {arguments}").trim_end().to_owned()
}

/// A client without a text, in the next terminal, which has got an answer.
fn typing_client(
    scene: &mut Scene,
    title: &'static str,
    addr: SocketAddr,
    step: (&str, &str),
    options: &str,
) -> usize {
    let arguments = format!("client --addr {addr} {options}");
    let client = start("", step.1, arguments);
    let shown = typed(step.0, &format!("client {options}"));
    scene.terminal(title, &shown, client);
    let index = scene.last();
    scene.type_line(index, "one", "one\n");
    index
}

// ---- Heartbeat

/// A PING arrives while the client waits for its user, and one of them reads.
fn old_clients() {
    let [step4, step5, step6] = ["step4", "step5", "step6"].map(built);
    let (_server, addr) = server(&step6.1, "--heartbeat-ms 3000");
    let mut scene = Scene::new();
    let pinged = || {
        let mut ends = ends(addr).into_iter();
        ends.any(|end| !end.is_server && end.unread == 13)
    };
    let step = ("step4", step4.1.as_str());
    let old = typing_client(&mut scene, "the client of step 4", addr, step, "");
    scene.wait_end(old); // by itself, at the PING
    let step = ("step5", step5.1.as_str());
    let new = typing_client(&mut scene, "the client of step 5", addr, step, "");
    wait_until("a PING", pinged);
    scene.type_line(new, "two", "two\n");
    scene.stays_silent(new);
    print("heartbeat-old", &scene.text());
}

fn pong_in_turn() {
    let solved = Solved::with("heartbeat-pong");
    solved.run("cargo build --bin step6").succeeds();
    let options = "server step6 --case S6-06 \\\n  \
                   --cmd 'target/debug/step6 server --addr {addr}'";
    let checked = solved.check(options);
    let parts = ["S6-06  ", "expected", "actual", "with a warning"];
    print("heartbeat-pong", &checked.shown(&parts));
}

fn frozen_client() {
    let step6 = built("step6");
    let (program, addr) = server(&step6.1, "--heartbeat-ms 2000");
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    let shown = typed("step6", "server --heartbeat-ms 2000");
    scene.terminal("the server", &shown, program);
    let step = ("step6", step6.1.as_str());
    let options = "--heartbeat-ms 2000";
    let client = typing_client(&mut scene, "the client", addr, step, options);
    signal(scene.program(client).id(), "-STOP");
    scene.note(client, "one\n", "^Z\n");
    scene.program(0).wait_for("no sign of life in time");
    wait_for_fin(addr);
    scene.note(client, "one\n", "$ fg\n");
    signal(scene.program(client).id(), "-CONT");
    scene.type_line(client, "two", "two\n");
    scene.wait_for(0, "connected", 2);
    scene.stays_silent(client);
    print("heartbeat-frozen", &scene.text());
}

/// The command that tries a server in Python, for a few cases of a step.
fn checks(step: &str, cases: &str, journal: &str) -> String {
    let cases = cases.split(' ').map(|case| format!(" --case {case}"));
    let cases: String = cases.collect();
    let peer = "tests/peers/python/heartbeat_server.py";
    format!(
        "server {step} --jobs 1 \\\n \
         {cases} \\\n  --cmd 'python3 {peer} {{port}}{journal}'"
    )
}

fn heartbeat_server() {
    let line = checks("step6", "S6-01 S6-02 S6-03 S6-06 S6-13 S6-16", "");
    let checked = Solved::with("").check(&line);
    print("heartbeat-build", &checked.cases());
}

/// Reads one frame, or `None` at the end.
fn frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes(head[..4].try_into().unwrap());
    let mut payload = vec![0; length as usize - 1];
    stream.read_exact(&mut payload).ok()?;
    Some((head[4], payload))
}

const PING: u8 = 0x02;

/// How many PINGs a client hears while it asks all the time, and after that.
fn busy() {
    let step6 = built("step6");
    let (_server, addr) = server(&step6.1, "--heartbeat-ms 2000");
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let (start, mut while_busy) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(5) {
        client.write_all(b"\0\0\0\x03\x01hi").unwrap();
        while frame(&mut client).unwrap().0 == PING {
            while_busy += 1;
        }
    }
    let kinds = std::iter::from_fn(|| frame(&mut client));
    let after = kinds.filter(|frame| frame.0 == PING).count();
    let text = format!(
        "| the client … | PINGs of the server |\n| --- | ---: |\n\
         | asks again and again, for 5 s | {while_busy} |\n\
         | then is silent, until the server ends the connection | {after} |"
    );
    snapshot("heartbeat-busy", &text);
}

// ---- Ledger

/// Several clients of step 7, one after the other, in one terminal.
fn adds(addr: SocketAddr, step7: &str, arguments: &[&str]) -> String {
    let mut text = String::new();
    for arguments in arguments {
        let all = format!("client --addr {addr} {arguments}");
        let printed = start("", step7, all).finish().stdout;
        let printed = String::from_utf8(printed).unwrap();
        let shown = typed("step7", &format!("client {arguments}"));
        text += &format!("$ {shown}\n{printed}");
    }
    text
}

fn window() {
    let solved = Solved::with("ledger-window");
    let tested = solved.run("cargo test --bin step7").fails();
    let parts = ["    ledger::tests::the_highest", "    ledger::tests::the_w"];
    let mut text = tested.shown(&parts);
    let step7 = solved.program("step7");
    let (_server, addr) = server(&step7.1, "");
    let commands = ["--add 5", "--seq 65 --add 1", "--add 5"];
    let commands = commands.map(|more| format!("--client-id 7 {more}"));
    text += "\n# beside a server of this step 7\n";
    text += &adds(addr, &step7.1, &commands.each_ref().map(|s| s.as_str()));
    print("ledger-window", &text);
}

fn without_sync() {
    let solved = Solved::with("ledger-sync");
    let tested = solved.run("cargo test --bin step7").fails();
    assert!(tested.text.contains("; 1 failed;"), "{}", tested.text);
    let mut text = tested.shown(&["    journal::tests::"]);
    let step7 = solved.program("step7");
    let folder = tempdir().unwrap();
    let journal = folder.path().join("journal.bin");
    let options = format!("--journal {}", journal.display());
    let (mut first, addr) = server(&step7.1, &options);
    text += "\n# beside a server with a journal\n";
    text += &adds(addr, &step7.1, &["--client-id 7 --add 5"]);
    first.kill();
    let (_second, addr) = server(&step7.1, &options);
    text += "\n# after kill -9, beside the next server\n";
    text += &adds(addr, &step7.1, &["--client-id 7 --seq 2 --add 7"]);
    print("ledger-sync", &text);
}

fn ledger_server() {
    let solved = Solved::with("ledger-build");
    let cases = "S7-03 S7-04 S7-06 S7-09 S7-14 S7-18";
    let line = checks("step7", cases, " --journal {journal}");
    let checked = solved.check(&line);
    print("ledger-build", &checked.cases());
}

/// The solution, in a process group with the client that it runs.
fn pay(folder: &TempDir, step7: &str, addr: SocketAddr, sum: &str) -> Program {
    let mut python = Command::new("python3");
    python.arg(format!("{ROOT}/tests/exercises/payer.py"));
    python.args(["state.json", &addr.to_string(), sum]);
    python.env("STEP7", step7).current_dir(folder).process_group(0);
    Program::spawn(&mut python, false)
}

/// Killed while its server, which is frozen, has the operation unread.
fn payer() {
    let step7 = built("step7");
    let (server, addr) = server(&step7.1, "");
    let folder = tempdir().unwrap();
    let pay = |sum| pay(&folder, &step7.1, addr, sum);
    let shown = |sum: &str, program: Program, word: &str| {
        let ended = program.finish();
        assert_eq!(ended.stderr, "");
        let printed = String::from_utf8(ended.stdout).unwrap();
        let run = "python3 tests/exercises/payer.py state.json 127.0.0.1:8888";
        format!("$ {run} {sum}\n{printed}{word}")
    };
    let mut text = shown("5", pay("5"), "");
    signal(server.id(), "-STOP");
    let killed = pay("7");
    wait_until("the operation", || unread(addr) > 0);
    let group = format!("-{}", killed.id());
    let kill = Command::new("kill").args(["-KILL", "--", &group]).status();
    assert!(kill.unwrap().success());
    text += &shown("7", killed, "Killed\n");
    signal(server.id(), "-CONT");
    text += &shown("1", pay("1"), "");
    print("ledger-payer", &text);
}

fn conflict() {
    let step7 = built("step7");
    let (_server, addr) = server(&step7.1, "");
    let commands = ["--client-id 7 --add 5", "--client-id 7 --add 6"];
    snapshot("ledger-conflict", adds(addr, &step7.1, &commands).trim_end());
}

fn first_answer() {
    let step7 = built("step7");
    let (_server, addr) = server(&step7.1, "");
    let commands = ["--client-id 7 --add 5 --add 7", "--client-id 7 --add 5"];
    snapshot("ledger-copy", adds(addr, &step7.1, &commands).trim_end());
}

// ---- Drain

fn no_sign() {
    let step8 = Solved::with("drain-sign").program("step8");
    let (program, addr) = server(&step8.1, "--drain-ms 3000");
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    let shown = typed("step8", "server --drain-ms 3000");
    scene.terminal("the server", &shown, program);
    let step = ("step8", step8.1.as_str());
    let client = typing_client(&mut scene, "the client", addr, step, "");
    scene.note(0, "connected", "^C\n");
    signal(scene.program(0).id(), "-INT");
    scene.wait_end(0);
    scene.program(client).end_input();
    scene.wait_end(client);
    // The task may say so before the program ends, or not.
    let text = scene.text();
    let is_luck = |line: &&str| line.contains("ended after");
    let lines: Vec<&str> = text.lines().filter(|l| !is_luck(l)).collect();
    print("drain-sign", &lines.join("\n"));
}

fn no_grace() {
    let solved = Solved::with("drain-grace");
    let tested = solved.run("cargo test --bin step8").fails();
    print("drain-grace", &tested.shown(&["    server::tests::"]));
}

fn drain_server() {
    let solved = Solved::with_all(&["ledger-build", "drain-build"]);
    let cases = "S8-01 S8-02 S8-06 S8-07 S8-08 S8-09";
    let line = checks("step8", cases, " --journal {journal}");
    let checked = solved.check(&line);
    print("drain-build", &checked.cases());
}

/// The kernel has let the client in, and no program has accepted it.
fn closed_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"hello").unwrap();
    wait_until("its text", || unread(addr) == 5);
    drop(listener);
    let reads = again(|| client.read(&mut [0; 9])).unwrap_err();
    let text = format!(
        "| what the client does | what it sees |\n| --- | --- |\n\
         | connect, before any `accept` | succeeds |\n\
         | write `hello` | succeeds |\n\
         | read, when the listener is closed | {reads} |"
    );
    snapshot("drain-listener", &text);
}

// ---- Performance

/// Runs `load` for a moment, and returns its median, in µs, and its rate.
fn median(solved: &Solved, addr: SocketAddr, options: &str) -> (f64, f64) {
    let load = "cargo run -q -p load -- --format json --seconds 0.3 \
                --warm-up 0.1 --connections 5";
    let report = solved.run(&format!("{load} {options} {addr}")).succeeds();
    let number = |name: &str| {
        let number = Regex::new(&format!("\"{name}\": *([0-9.]+)")).unwrap();
        let found = number.captures(&report.text).unwrap()[1].to_owned();
        found.parse::<f64>().unwrap()
    };
    (number("p50"), number("requests_per_second"))
}

/// Again if the machine has become faster meanwhile.
fn overload() {
    let step4 = built("step4");
    let (_server, addr) = server(&step4.1, "");
    let solved = Solved::with("");
    for _ in 0..5 {
        let (calm, rate) = median(&solved, addr, "--in-flight 16");
        let twice = format!("--rate {:.0}", 2.0 * rate);
        if median(&solved, addr, &twice).0 > 10.0 * calm {
            let text = "| `load` against step 4 | p50 |\n| --- | --- |\n\
                        | `--in-flight 16` | 1 |\n\
                        | `--rate`, twice as many | more than 10 |";
            return print("performance-overload", text);
        }
    }
    panic!("no line at twice the rate");
}

fn open_loop() {
    let step4 = built("step4");
    let (program, addr) = server(&step4.1, "");
    let freeze = "(sleep 2; kill -STOP $PID; sleep 0.5; kill -CONT $PID) &";
    let loop_ = "python3 tests/exercises/open_loop.py";
    let solved = Solved::with("");
    let run = |before: &str| {
        let line = format!("PID={}; {before} {loop_} {addr} 5", program.id());
        let text = solved.run(&line).succeeds().text;
        let p99 = Regex::new(r"p99 ([0-9.]+) ms").unwrap();
        let p99 = p99.captures(&text).unwrap()[1].parse::<f64>().unwrap();
        (text, p99)
    };
    let (text, p99) = run(freeze);
    // 500 of 5000 requests were due while it stood still.
    assert!(p99 >= 400.0, "{text}");
    let number = Regex::new(r"\d+\.\d ms").unwrap();
    let text = number.replace_all(&text, "… ms");
    let shown = format!("$ {freeze}\n$ {loop_} 127.0.0.1:8888 5\n{text}");
    print("performance-open", &shown);
}

fn waiting() {
    let line = "python3 tests/exercises/waiting.py";
    let printed = Solved::with("").run(line).succeeds();
    let text = format!("$ {line}\n{}", printed.text);
    print("performance-waiting", &text);
}

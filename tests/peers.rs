//! Programs in other languages against our steps, in both directions.
//!
//! `tests/peers` has four small programs in each of three languages: a server
//! that only receives, a server that answers once, a client that only
//! connects, and a client that sends and receives once. What is not installed
//! is skipped by name.

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};

use libtest_mimic::{Arguments, Trial};
use support::language::Language::{self, Go, Java, Python};
use support::scene::Scene;
use support::{Program, wait_until};

const STEPS: [&str; 3] = ["step1", "step2", "step3"];

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for language in [Python, Java, Go] {
        let (name, needs) = language.names();
        let is_missing = !language.is_installed();
        let skipped = match is_missing {
            true => format!(" (skipped: needs {needs})"),
            false => String::new(),
        };
        let mut add = |what: String, test: fn(Language, &str), step| {
            let trial =
                Trial::test(format!("{name}: {what}{skipped}"), move || {
                    test(language, step);
                    Ok(())
                });
            trials.push(trial.with_ignored_flag(is_missing));
        };
        for step in STEPS {
            let client = format!("client of {step}");
            let server = format!("server of {step}");
            add(format!("receive-loop server, {client}"), receive_loop, step);
            add(format!("answer-once server, {client}"), answer_once, step);
            add(format!("connect-only client, {server}"), connect_only, step);
            add(format!("send-and-receive client, {server}"), ask, step);
        }
    }
    let no_python = !Python.is_installed();
    let linux = cfg!(target_os = "linux");
    for (name, test) in SCENES {
        let name = match (linux, no_python) {
            (true, false) => name.to_owned(),
            (true, true) => format!("{name} (skipped: needs python3)"),
            (false, _) => format!("{name} (skipped: needs Linux)"),
        };
        let trial = Trial::test(name, move || {
            test();
            Ok(())
        });
        trials.push(trial.with_ignored_flag(!linux || no_python));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Starts a server of another language on a free port.
fn server(language: Language, program: &str) -> (Program, SocketAddr) {
    let mut command = language.command(program);
    let server = Program::spawn(command.arg("0"), false);
    let addr = server.addr();
    (server, addr)
}

/// Runs a client of another language to its end.
fn client(language: Language, program: &str, addr: SocketAddr) -> String {
    let mut command = language.command(program);
    let client = Program::spawn(command.arg(addr.port().to_string()), false);
    let ended = client.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    String::from_utf8(ended.stdout).unwrap()
}

fn receive_loop(language: Language, step: &str) {
    let (server, addr) = server(language, "receive_loop_server");
    let ended = Program::client(step, addr, Some("Hello, Server!")).finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.is_empty(), "it never answers");
    server.wait_for("Hello, Server!");
    server.wait_for("the client has ended");
    assert_eq!(server.finish().code, Some(0));
}

fn answer_once(language: Language, step: &str) {
    let (server, addr) = server(language, "answer_once_server");
    let ended = Program::client(step, addr, Some("Hello, Server!")).finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout, b"Hello, client!");
    server.wait_for("Hello, Server!");
    assert_eq!(server.finish().code, Some(0));
}

/// The server survives it, and serves the next client.
fn connect_only(language: Language, step: &str) {
    let (_server, addr) = Program::server(step);
    assert_eq!(
        client(language, "connect_only_client", addr).trim(),
        "connected"
    );
    let ended = Program::client(step, addr, Some("next")).finish();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stdout.is_empty());
}

fn ask(language: Language, step: &str) {
    let (server, addr) = Program::server(step);
    let printed = client(language, "send_and_receive_client", addr);
    let answer = match step {
        "step1" => "Hello, client!",
        _ => "Hello, Server!",
    };
    let last = printed.lines().last().unwrap();
    assert!(last.contains(answer), "{printed}");
    server.wait_for("14 bytes");
}

// ---- Scenes of the book that need Python

const SCENES: [(&str, fn()); 4] = [
    ("scene: the article's two programs never meet", never_meet),
    ("scene: two programs that wait for each other", both_wait),
    ("scene: the step 1 client ends that wait", half_close_ends_it),
    ("scene: a port in TIME_WAIT", time_wait),
];

fn python(program: &str, port: u16) -> Program {
    let mut command = Python.command(program);
    Program::spawn(command.arg(port.to_string()), false)
}

/// The server listens on 8888, the client connects to 9999.
fn never_meet() {
    let mut scene = Scene::new();
    let (server, addr) = server(Python, "receive_loop_server");
    scene.rename(addr, 8888);
    scene.terminal("the server", "python3 receive_loop_server.py", server);
    // A port that nobody listens on: bound and given back at once. Were it
    // taken by somebody in between, the snapshot would show that.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    drop(other);
    let client = python("send_and_receive_client", port);
    scene.terminal("the client", "python3 send_and_receive_client.py", client);
    scene.wait_end(1);
    let text = scene.text();
    // Of Python's traceback, the last line says what happened.
    let start = text.find("Traceback").unwrap();
    let end = text.rfind("ConnectionRefusedError").unwrap();
    let text = format!("{}…\n{}", &text[..start], &text[end..]);
    support::snapshot("python-never-meet", text.trim_end());
}

/// The same two programs on one port: the server waits for more or the end,
/// the client waits for an answer.
fn both_wait() {
    let mut scene = Scene::new();
    let (server, addr) = server(Python, "receive_loop_server");
    scene.rename(addr, 8888);
    scene.terminal("the server", "python3 receive_loop_server.py", server);
    let client = python("send_and_receive_client", addr.port());
    let shown = "python3 send_and_receive_client.py 8888";
    scene.terminal("the client", shown, client);
    scene.program(0).wait_for("received");
    // No byte is under way and both programs sleep: nothing can ever change.
    wait_until("stillness", || is_still(addr));
    for terminal in [0, 1] {
        wait_until("sleep", || sleeps(scene.program(terminal)));
        assert!(scene.program(terminal).is_running());
    }
    assert!(is_still(addr));
    scene.snapshot("python-both-wait");
}

/// Are all connections of `addr` established, with empty queues in both
/// directions? (`/proc/net/tcp`, proc(5))
fn is_still(addr: SocketAddr) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", addr.port());
    let mut ends = 0;
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_ours =
            columns[1].ends_with(&port) || columns[2].ends_with(&port);
        if is_ours && columns[3] != "0A" {
            ends += 1;
            if columns[3] != "01" || columns[4] != "00000000:00000000" {
                return false;
            }
        }
    }
    ends == 2
}

/// Does the program wait in the kernel (state S, proc(5))?
fn sleeps(program: &Program) -> bool {
    let path = format!("/proc/{}/stat", program.id());
    let stat = fs::read_to_string(path).unwrap();
    stat.rsplit_once(')').unwrap().1.trim_start().starts_with('S')
}

/// Our client says that it has sent all: the server's loop ends.
fn half_close_ends_it() {
    let mut scene = Scene::new();
    let (server, addr) = server(Python, "receive_loop_server");
    scene.rename(addr, 8888);
    scene.terminal("the server", "python3 receive_loop_server.py", server);
    let client = Program::client("step1", addr, Some("Hello, Server!"));
    let shown = "cargo run --bin step1 -- client 'Hello, Server!'";
    scene.terminal("the client", shown, client);
    scene.wait_end(1);
    scene.wait_end(0);
    scene.snapshot("python-half-close-ends-it");
}

/// A server that closed first, and did not set SO_REUSEADDR, cannot start
/// again on its port. (Step 1 can: the scene `step1_restarts`.)
fn time_wait() {
    let (first, addr) = server(Python, "answer_once_server");
    let ended = Program::client("step1", addr, Some("hi")).finish();
    assert_eq!(ended.stdout, b"Hello, client!");
    let printed = first.finish();
    assert_eq!(printed.code, Some(0));

    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    let second = python("answer_once_server", addr.port());
    second.wait_end();
    let error = second.texts().1;
    let error = error.lines().last().unwrap();
    let first = String::from_utf8(printed.stdout).unwrap();
    let shown = "$ python3 answer_once_server.py";
    let text = format!("{shown}\n{first}{shown}\n…\n{error}");
    support::snapshot("python-time-wait", &scene.ports(&text));
}

//! Programs in other languages against our steps, in both directions.
//!
//! `tests/peers` has four small programs in each of three languages that send
//! raw bytes (for those that send frames, see `tests/framed.rs`): a server
//! that only receives, a server that answers once, a client that only
//! connects, and a client that sends and receives once. What is not installed
//! is skipped by name.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::fs;
use std::net::SocketAddr;

use libtest_mimic::{Arguments, Trial};
use support::language::Language::{self, Go, Java, Python};
use support::scene::Scene;
use support::wire::refusing;
use support::{ESTABLISHED, End, Program, ends, wait_until};

const STEPS: [&str; 3] = ["step1", "step2", "step3"];

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for language in [Python, Java, Go] {
        for step in STEPS {
            trials.extend(pairs(language, step));
        }
    }
    trials.extend(SCENES.map(|(name, test)| scene(name, test)));
    libtest_mimic::run(&arguments, trials).exit();
}

/// A program of theirs, the end of ours that it meets, and the test.
type Pair = (&'static str, &'static str, fn(Language, &str));

/// Each program of a language against one step.
fn pairs(language: Language, step: &'static str) -> Vec<Trial> {
    let (name, needs) = language.names();
    let is_missing = !language.is_installed();
    let skipped = match is_missing {
        true => format!(" (skipped: needs {needs})"),
        false => String::new(),
    };
    let pairs: [Pair; 4] = [
        ("receive-loop server", "client", receive_loop),
        ("answer-once server", "client", answer_once),
        ("connect-only client", "server", connect_only),
        ("send-and-receive client", "server", ask),
    ];
    let trials = pairs.map(|(theirs, ours, test)| {
        let title = format!("{name}: {theirs}, {ours} of {step}{skipped}");
        let trial = Trial::test(title, move || {
            test(language, step);
            Ok(())
        });
        trial.with_ignored_flag(is_missing)
    });
    trials.into()
}

fn scene(name: &str, test: fn()) -> Trial {
    let missing = match (cfg!(target_os = "linux"), Python.is_installed()) {
        (true, true) => None,
        (true, false) => Some("python3"),
        (false, _) => Some("Linux"),
    };
    let title = match missing {
        Some(what) => format!("{name} (skipped: needs {what})"),
        None => name.to_owned(),
    };
    let trial = Trial::test(title, move || {
        test();
        Ok(())
    });
    trial.with_ignored_flag(missing.is_some())
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
    let (_other, elsewhere) = refusing();
    let port = elsewhere.port();
    let client = python("send_and_receive_client", port);
    scene.terminal("the client", "python3 send_and_receive_client.py", client);
    scene.wait_end(1);
    scene.stays_silent(0);
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
    scene.wait_for(0, "received", 1);
    scene.wait_for(1, "sending", 1);
    // No byte is under way and both programs sleep: nothing can ever change.
    wait_until("stillness", || is_still(addr));
    for terminal in [0, 1] {
        wait_until("sleep", || sleeps(scene.program(terminal)));
        assert!(scene.program(terminal).is_running());
    }
    assert!(is_still(addr));
    scene.snapshot("python-both-wait");
}

/// Are both ends of the connection open, with nothing on its way?
fn is_still(addr: SocketAddr) -> bool {
    let still =
        |end: &End| (end.state, end.unsent, end.unread) == (ESTABLISHED, 0, 0);
    let ends = ends(addr);
    ends.len() == 2 && ends.iter().all(still)
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
/// again on its port. (Step 1 can: the scene `step1_restarts`.) The client
/// keeps its direction open until the server has ended.
fn time_wait() {
    let (first, addr) = server(Python, "answer_once_server");
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    scene.terminal("the server", "python3 answer_once_server.py", first);
    scene.client("step2", None, "cargo run --bin step2 -- client");
    scene.type_line(1, "hi", "Hello, client!");
    scene.wait_end(0);
    scene.program(1).end_input();
    scene.wait_end(1);

    let second = python("answer_once_server", addr.port());
    second.wait_end();
    let error = second.texts().1;
    let error = error.lines().last().unwrap();
    let again = "$ python3 answer_once_server.py";
    scene.add(0, format!("{again}\n…\n{error}\n"));
    scene.snapshot("python-time-wait");
}

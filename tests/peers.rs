//! Programs in other languages against our steps, in both directions.
//!
//! `tests/peers` has four small programs in each of three languages that send
//! raw bytes: a server that only receives, a server that answers once, a
//! client that only connects, and a client that sends and receives once. In
//! five languages it has a server and a client that send frames, and in two a
//! client that tries again: the checker tries whether they keep the contract
//! (`tests/check/tests/peers.rs`); here they talk to ours. What is not
//! installed is skipped by name.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::fs;
use std::net::SocketAddr;

use support::arguments::arguments;
use support::language::Language::{self, C, Go, Java, Node, Python};
use support::scene::Scene;
use support::{ESTABLISHED, End, Program, ends, refusing, trial, wait_until};

fn main() {
    let mut trials = Vec::new();
    for language in [Python, Java, Go, C, Node] {
        let (name, program) = language.names();
        let missing = match language {
            C if !cfg!(unix) => Some("needs Unix".to_owned()),
            _ if language.is_installed() => None,
            _ => Some(format!("needs {program}")),
        };
        let missing = missing.as_deref();
        for (theirs, ours, steps, test) in pairs(language) {
            trials.extend(steps.iter().map(|step| {
                let title = format!("{name}: {theirs}, {ours} of {step}");
                trial(&title, missing, move || test(language, step))
            }));
        }
        if language == Python {
            let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
            let scene = |(name, test)| trial(name, missing.or(linux), test);
            trials.extend(SCENES.map(scene));
        }
    }
    libtest_mimic::run(&arguments(), trials).exit();
}

/// A program of theirs, the end of ours that it meets, our steps, and the
/// test.
type Pair =
    (&'static str, &'static str, &'static [&'static str], fn(Language, &str));

const BYTES: &[&str] = &["step1", "step2", "step3"];
const FRAMES: &[&str] = &["step4", "step5"];

const RAW: [Pair; 4] = [
    ("receive-loop server", "client", BYTES, receive_loop),
    ("answer-once server", "client", BYTES, answer_once),
    ("connect-only client", "server", BYTES, connect_only),
    ("send-and-receive client", "server", BYTES, ask),
];
const FRAMED: [Pair; 2] = [
    ("framed server", "client", FRAMES, framed_server),
    ("framed client", "server", FRAMES, framed_client),
];
const RETRY: [Pair; 1] = [("retry client", "server", FRAMES, retry_client)];

/// What the programs of a language meet.
fn pairs(language: Language) -> Vec<Pair> {
    match language {
        Python | Go => [&RAW[..], &FRAMED, &RETRY].concat(),
        Java => [&RAW[..], &FRAMED].concat(),
        C | Node => FRAMED.into(),
    }
}

/// Starts a server of another language on a free port.
fn server(language: Language, program: &str) -> (Program, SocketAddr) {
    let mut command = language.command(program);
    let server = Program::spawn(command.arg("0"), false);
    let addr = server.addr();
    (server, addr)
}

/// Runs a client of another language to its end.
fn client(
    language: Language,
    program: &str,
    addr: SocketAddr,
    texts: &[&str],
) -> String {
    let mut command = language.command(program);
    command.arg(addr.port().to_string()).args(texts);
    let ended = Program::spawn(&mut command, false).finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    String::from_utf8(ended.stdout).unwrap()
}

// ---- Frames

/// Lines on stdin, and 3 MB of them at once.
fn framed_server(language: Language, step: &str) {
    let (_server, addr) = server(language, "framed_server");
    let small = b"one\n\nthree\n".to_vec();
    let letters = (b'a'..=b'z').cycle().take(300);
    let lines = letters.map(|letter| [vec![letter; 9_999], vec![b'\n']]);
    let large = lines.flatten().flatten().collect();
    for input in [small, large] {
        let mut client = Program::client(step, addr, None);
        client.feed(input.clone());
        let ended = client.finish();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout == input, "the echo differs");
    }
}

/// One text; empty ones, lines and a long one; and 200.
fn framed_client(language: Language, step: &str) {
    let (_server, addr) = Program::server(step);
    let large = "x".repeat(20_000);
    let numbers: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    for texts in [&["hi"], &["", "two\nlines", &large, ""][..], &numbers] {
        let printed = client(language, "framed_client", addr, texts);
        assert_eq!(printed, texts.join("\n") + "\n");
    }
}

fn retry_client(language: Language, step: &str) {
    let (_server, addr) = Program::server(step);
    assert_eq!(client(language, "retry_client", addr, &["hi"]), "hi\n");
}

// ---- Raw bytes

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
        client(language, "connect_only_client", addr, &[]).trim(),
        "connected"
    );
    let ended = Program::client(step, addr, Some("next")).finish();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stdout.is_empty());
}

fn ask(language: Language, step: &str) {
    let (server, addr) = Program::server(step);
    let printed = client(language, "send_and_receive_client", addr, &[]);
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

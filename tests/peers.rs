//! Programs in other languages against our steps, in both directions.
//!
//! `tests/peers` has four small programs in each of three languages that send
//! raw bytes: a server that only receives, a server that answers once, a
//! client that only connects, and a client that sends and receives once. In
//! five languages it has the smallest client that is correct (`hello`), and a
//! server and a client that send frames, and in two a client that tries again:
//! the checker tries whether they keep the contract
//! (`tests/check/tests/peers.rs`); here they talk to ours. What is not
//! installed is skipped by name.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use libtest_mimic::Trial;
use support::arguments::arguments;
use support::language::Language::{self, C, Go, Java, Node, Python};
use support::scene::Scene;
use support::{DEADLINE, Program, ends, refusing, trial, wait_until};

fn main() {
    let mut trials = Vec::new();
    for language in LANGUAGES {
        let (name, _) = language.names();
        let missing = missing(language);
        let missing = missing.as_deref();
        for (theirs, ours, steps, test) in pairs(language) {
            trials.extend(steps.iter().map(|step| {
                let title = format!("{name}: {theirs}, {ours} of {step}");
                trial(&title, missing, move || test(language, step))
            }));
        }
        for (what, test) in HELLO {
            let title = format!("{name}: hello {what}");
            trials.push(trial(&title, missing, move || test(language)));
        }
    }
    trials.push(hello_scene());
    libtest_mimic::run(&arguments(), trials).exit();
}

const LANGUAGES: [Language; 5] = [Python, Java, Go, C, Node];

/// What this machine lacks for the programs of a language.
fn missing(language: Language) -> Option<String> {
    match language {
        C if !cfg!(unix) => Some("needs Unix".to_owned()),
        _ if language.is_installed() => None,
        _ => Some(format!("needs {}", language.names().1)),
    }
}

/// A program of theirs, the end of ours that it meets, our steps, and the
/// test.
type Pair =
    (&'static str, &'static str, &'static [&'static str], fn(Language, &str));

const BYTES: &[&str] = &["step1", "step2", "step3"];
const FRAMES: &[&str] = &["step4", "step5"];

const RAW: [Pair; 5] = [
    ("hello", "server", BYTES, hello),
    ("receive-loop server", "client", BYTES, receive_loop),
    ("answer-once server", "client", BYTES, answer_once),
    ("connect-only client", "server", BYTES, connect_only),
    ("send-and-receive client", "server", BYTES, ask),
];
/// What `hello` does, and the test; no server of ours takes part.
type Own = (&'static str, fn(Language));

const HELLO: [Own; 2] = [
    ("receives an answer in two pieces", two_pieces),
    ("says so where no server listens", no_server),
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
        C | Node => [&RAW[..1], &FRAMED].concat(), // of the raw ones, hello
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

// ---- Hello

fn hello(language: Language, step: &str) {
    let (server, addr) = Program::server(step);
    let answer = match step {
        "step1" => "Hello, client!",
        _ => "Hello, Server!",
    };
    assert_eq!(client(language, "hello", addr, &[]).trim_end(), answer);
    server.wait_for("14 bytes");
}

/// A server that reads to the end, and answers in two pieces. The second one
/// leaves when the client has read the first, and is larger than its buffer.
fn two_pieces(language: Language) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut command = language.command("hello");
    command.arg(addr.port().to_string());
    let client = Program::spawn(&mut command, false);
    let mut stream = accept(&listener);
    let mut greeting = Vec::new();
    stream.read_to_end(&mut greeting).unwrap();
    assert_eq!(greeting, b"Hello, Server!");
    stream.write_all(b"Hello, ").unwrap();
    if cfg!(target_os = "linux") {
        wait_until("the first piece to be read", || {
            ends(addr).iter().all(|end| (end.unsent, end.unread) == (0, 0))
        });
    }
    stream.write_all(&[b'x'; 200_000]).unwrap();
    drop(stream);
    let ended = client.finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let answer = format!("Hello, {}", "x".repeat(200_000));
    let printed = String::from_utf8(ended.stdout).unwrap();
    assert!(printed.trim_end() == answer, "the answer differs");
}

/// Waits for a client, with a deadline; and so does each read from it.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    wait_until("a client", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, _) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn no_server(language: Language) {
    let (_socket, addr) = refusing();
    let mut command = language.command("hello");
    command.arg(addr.port().to_string());
    let ended = Program::spawn(&mut command, false).finish();
    assert_eq!((ended.code, ended.stdout), (Some(1), Vec::new()));
    assert!(ended.stderr.to_lowercase().contains("refused"));
}

/// The five of them, one after another, as the book shows them.
fn hello_scene() -> Trial {
    let missing = LANGUAGES.into_iter().find_map(missing);
    trial("scene: hello in five languages", missing.as_deref(), || {
        let mut scene = Scene::new();
        let addr = scene.server("step1");
        let [first, others @ ..] = HELLO_COMMANDS;
        let mut command = first.0.command("hello");
        command.arg(addr.port().to_string());
        let program = Program::spawn(&mut command, false);
        scene.terminal("the clients", first.1, program);
        scene.wait_end(1);
        for (language, shown) in others {
            let printed = client(language, "hello", addr, &[]);
            scene.add(1, format!("$ {shown}\n{printed}"));
        }
        scene.wait_for(0, "closes\n", 5);
        scene.snapshot("hello-in-five-languages");
    })
}

const HELLO_COMMANDS: [(Language, &str); 5] = [
    (Python, "python3 tests/peers/python/hello.py"),
    (Java, "java tests/peers/java/Hello.java"),
    (Go, "go run tests/peers/go/hello.go"),
    (C, "cc -o target/hello tests/peers/c/hello.c && target/hello"),
    (Node, "node tests/peers/node/hello.mjs"),
];

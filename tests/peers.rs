//! Programs in other languages against our steps, in both directions.
//!
//! `tests/peers` has four small programs in each of three languages that send
//! raw bytes: a server that only receives, a server that answers once, a
//! client that only connects, and a client that sends and receives once. In
//! five languages it has the smallest client that is correct (`hello`), and a
//! server and a client that send frames; in two of them a client that tries
//! again, a server and a client with a heartbeat, and a client whose requests
//! have an identity. Whether they keep the contract, the checker tries
//! (`tests/check/tests/peers.rs`); here they talk to ours. What is not
//! installed is skipped by name.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use libtest_mimic::Trial;
use support::arguments::arguments;
use support::language::Language::{self, C, Go, Java, Node, Python};
use support::scene::Scene;
use support::{
    DEADLINE, Program, again, bin, ends, refusing, trial, wait_until,
};

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
        for (what, test) in alone(language) {
            let title = format!("{name}: {what}");
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

// The first step that speaks so, and the last: those between say the same.
const BYTES: &[&str] = &["step1", "step3"];
const FRAMES: &[&str] = &["step4", "step8"];
const ALIVE: &[&str] = &["step6", "step8"];
const ADDS: &[&str] = &["step7"];

const RAW: [Pair; 5] = [
    ("hello", "server", BYTES, hello),
    ("receive-loop server", "client", BYTES, receive_loop),
    ("answer-once server", "client", BYTES, answer_once),
    ("connect-only client", "server", BYTES, connect_only),
    ("send-and-receive client", "server", BYTES, ask),
];
/// What a client does, and the test; no server of ours takes part.
type Own = (&'static str, fn(Language));

const HELLO: [Own; 2] = [
    ("hello receives an answer in two pieces", two_pieces),
    ("hello says so where no server listens", no_server),
];
const OUTCOMES: [Own; 2] = [
    ("idempotent client answers a PING and ends with 4", no_reply),
    ("idempotent client ends with 3 if it is refused", never_connected),
];
const FRAMED: [Pair; 2] = [
    ("framed server", "client", FRAMES, framed_server),
    ("framed client", "server", FRAMES, framed_client),
];
const RETRY: [Pair; 1] = [("retry client", "server", FRAMES, retry_client)];
const HEARTBEAT: [Pair; 2] = [
    ("heartbeat server", "idle client", ALIVE, heartbeat_server),
    ("idle heartbeat client", "server", ALIVE, heartbeat_client),
];
const IDEMPOTENT: [Pair; 1] =
    [("idempotent client", "server", ADDS, idempotent_client)];

/// What the programs of a language meet.
fn pairs(language: Language) -> Vec<Pair> {
    match language {
        Python | Go => {
            [&RAW[..], &FRAMED, &RETRY, &HEARTBEAT, &IDEMPOTENT].concat()
        }
        Java => [&RAW[..], &FRAMED].concat(),
        C | Node => [&RAW[..1], &FRAMED].concat(), // of the raw ones, hello
    }
}

fn alone(language: Language) -> Vec<Own> {
    match language {
        Python | Go => [HELLO, OUTCOMES].concat(),
        _ => HELLO.to_vec(),
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

// ---- Heartbeat

const HEARTBEAT_MS: &str = "TCP_HEARTBEAT_MS";
/// Each end in turn asks a silent one. The other one, which does not, gets
/// twice 700 ms to answer, enough on a busy machine, too.
const WHO_ASKS: [[&str; 2]; 2] = [["700", "60000"], ["60000", "700"]];

fn heartbeat_server(language: Language, step: &str) {
    for [theirs, ours] in WHO_ASKS {
        let mut server = language.command("heartbeat_server");
        server.arg("0").env(HEARTBEAT_MS, theirs);
        let server = Program::spawn(&mut server, false);
        let (addr, pongs) = between(server.addr());
        let mut client = Command::new(bin(step));
        client.args(["client", "--addr", &addr.to_string()]);
        stays(client.env(HEARTBEAT_MS, ours), &pongs);
    }
}

fn heartbeat_client(language: Language, step: &str) {
    for [theirs, ours] in WHO_ASKS {
        let mut server = Command::new(bin(step));
        server.args(["server", "--addr", "127.0.0.1:0"]);
        let server = Program::spawn(server.env(HEARTBEAT_MS, ours), false);
        let (addr, pongs) = between(server.addr());
        let mut client = language.command("heartbeat_client");
        client.arg(addr.port().to_string()).env(HEARTBEAT_MS, theirs);
        stays(&mut client, &pongs);
    }
}

/// A client asks once, is silent for a while, and asks again. It has only one
/// connection for that.
fn stays(client: &mut Command, pongs: &AtomicUsize) {
    let mut client = Program::spawn(client, true);
    client.write(b"first\n");
    client.wait_for("first\n");
    wait_until("two PONGs", || pongs.load(Relaxed) >= 2);
    client.write(b"last\n");
    let ended = client.finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout, b"first\nlast\n");
}

/// Stands between one client and the server at `addr`: where the client must
/// connect to, and how many PONGs it has passed on.
fn between(addr: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = listener.local_addr().unwrap();
    let pongs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&pongs);
    thread::spawn(move || {
        let client = accept(&listener);
        drop(listener); // a second connection is refused
        let server = TcpStream::connect(addr).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| pass_on(&client, &server, &counter));
            pass_on(&server, &client, &counter);
        });
    });
    (ours, pongs)
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream, pongs: &AtomicUsize) {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = again(|| from.read(&mut buffer)) {
        all.extend_from_slice(&buffer[..n]);
        let is_pong = |bytes: &&[u8]| *bytes == b"\0\0\0\x09\x82";
        let count = all.windows(5).filter(is_pong).count();
        pongs.fetch_max(count, Relaxed); // only one end sends them
        let _ = to.write_all(&buffer[..n]);
    }
    let _ = to.shutdown(Shutdown::Write);
}

// ---- Identity

/// Each run is a new process, with the identity that it is given. The reply to
/// the first ADD is lost on the way, so that one is sent twice.
fn idempotent_client(language: Language, step: &str) {
    let (_server, addr) = Program::server(step);
    let args = ["reply", "127.0.0.1:0", &addr.to_string()];
    let cut = Program::start("cut", &args);
    let add = |seq, amount| add(language, cut.addr(), [seq, amount]);
    for (seq, amount, total) in
        [("1", "5", "5\n"), ("2", "7", "12\n"), ("2", "7", "12\n")]
    {
        assert_eq!(add(seq, amount), (Some(0), total.to_owned()));
    }
    cut.wait_for("lost the reply");
    let conflict = (Some(6), String::new());
    assert_eq!(add("2", "-7"), conflict, "the number is taken");
    assert_eq!(add("3", "-7"), (Some(0), "5\n".to_owned()));
}

/// Adds under an identity: the exit code, and what it prints.
fn add(
    language: Language,
    addr: SocketAddr,
    [seq, amount]: [&str; 2],
) -> (Option<i32>, String) {
    let mut client = adding(language, addr, amount);
    client.env("TCP_CLIENT_ID", "9").env("TCP_SEQ", seq);
    let ended = Program::spawn(&mut client, false).finish();
    (ended.code, String::from_utf8(ended.stdout).unwrap())
}

fn adding(language: Language, addr: SocketAddr, amount: &str) -> Command {
    let mut client = language.command("idempotent_client");
    client.arg(addr.port().to_string()).args(["--add", amount]);
    client
}

/// It answers a PING meanwhile; that the connection ends is no answer.
fn no_reply(language: Language) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut client = adding(language, addr, "5");
    let client = Program::spawn(client.env("TCP_ATTEMPTS", "1"), false);
    let mut stream = accept(&listener);
    stream.read_exact(&mut [0; 29]).unwrap();
    stream.write_all(b"\0\0\0\x09\x02question").unwrap();
    let mut pong = [0; 13];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\0\0\0\x09\x82question");
    drop(stream);
    let ended = client.finish();
    assert_eq!((ended.code, ended.stdout), (Some(4), Vec::new()));
}

fn never_connected(language: Language) {
    let (_socket, addr) = refusing();
    let mut client = adding(language, addr, "5");
    let ended = Program::spawn(client.env("TCP_ATTEMPTS", "2"), false).finish();
    assert_eq!((ended.code, ended.stdout), (Some(3), Vec::new()));
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
    let said = "ends with code 1, with nothing on stdout and why on stderr";
    assert_eq!(ended.code, Some(1), "{said}: {}", ended.stderr);
    assert!(ended.stdout.is_empty(), "{said}: {:?}", ended.stdout);
    let is_told = ended.stderr.to_lowercase().contains("refused");
    assert!(is_told, "{said}: {}", ended.stderr);
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

//! Tests of `steps/chat`: real processes over real sockets, Python's
//! `websockets`, and a real browser (`tests/next/chat.mjs`).

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)] // the table needs less than a client does
#[path = "../../steps/chat/ws.rs"]
mod ws;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use regex::{Captures, Regex};
use socket2::{Domain, Socket, Type};
use support::arguments::arguments;
use support::scene::rename_ports;
use support::{
    DEADLINE, Program, ROOT, again, bin, is_installed, signal, snapshot, trial,
};
use ws::{Decoder, Message, TEXT};

#[path = "chat/frames.rs"]
mod frames;
#[path = "chat/latency.rs"]
mod latency;

fn main() {
    let arguments = arguments();
    let unix = (!cfg!(unix)).then_some("needs Unix");
    let mut trials = browser();
    trials.extend([
        trial("the demo", None, demo),
        trial("the handshake", None, handshake),
        trial("frames, as a table", None, table),
        trial("a fragment at a time does not stop the clock", None, drip),
        trial("a message in time, each byte alone", None, slow_but_fine),
        trial("no request, half a request", None, no_request),
        trial("a page that nobody takes", None, page_unread),
        trial("the policy of the page", None, policy),
        trial("few old dots are in the kernel", None, few_old_dots),
        trial("a request and frames in one piece", None, one_piece),
        trial("a page of another site gets 403", None, foreign),
        trial("one client too many gets 503", None, full),
        trial("it asks a silent client, and gives up on it", None, silent),
        trial(
            "a client that does not read costs the others nothing",
            None,
            slow,
        ),
        trial("a client that writes too fast is not read", None, fast),
        trial("the server stops, and says so", unix, stop),
        trial("Python's websockets", python(), websockets),
        trial("messages wait behind others", latency::missing(), latency::run),
    ]);
    libtest_mimic::run(&arguments, trials).exit();
}

// ---- A real browser

fn browser() -> Vec<Trial> {
    let modules = Path::new(ROOT).join("tests/browser/node_modules");
    let chromium = ["chromium", "google-chrome"]
        .iter()
        .any(|name| is_installed(name, "--version"));
    let missing = if !is_installed("node", "--version") {
        Some("needs node")
    } else if !modules.exists() {
        Some("needs npm --prefix tests/browser ci")
    } else {
        (!chromium).then_some("needs chromium")
    };
    let scene = |(name, what): (&'static str, &str)| {
        trial(&format!("browser::{what}"), missing, move || play(name))
    };
    [
        ("frozen", "a frozen tab costs the others nothing"),
        ("looks", "it looks fine, light, dark, small and by keyboard"),
        ("restart", "a restart loses no text and doubles none"),
        ("together", "three tabs see the same, and HTML is text"),
        ("stopped", "a page that was stopped enters again"),
        ("reload", "a reload stays who it was"),
        ("silence", "a silent server is left, and found again"),
        ("origin", "another page may not ask"),
    ]
    .map(scene)
    .into()
}

fn play(scene: &str) {
    let script = format!("{ROOT}/tests/next/chat.mjs");
    let mut node = Command::new("node");
    let output = node.args([&script, &bin("chat"), scene]).output().unwrap();
    let [out, err] = [output.stdout, output.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{out}{err}");
}

// ---- A client by hand

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn server(args: &[&str]) -> (Program, SocketAddr) {
    let mut all = vec!["server", "--addr", "127.0.0.1:0"];
    all.extend(args);
    let program = Program::start("chat", &all);
    let addr = program.addr();
    (program, addr)
}

fn request(addr: SocketAddr, more: &str) -> String {
    format!(
        "GET /room HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

fn text(line: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    ws::encode(TEXT, line.as_bytes(), Some([1, 2, 3, 4]), &mut frame);
    frame
}

/// A WebSocket, and what came over it.
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    decoder: Decoder,
}

/// How a stream ended.
#[derive(Debug, PartialEq)]
enum End {
    Close(Option<u16>),
    Fin,
    Reset,
}

impl Client {
    fn open(addr: SocketAddr) -> Client {
        Client::over(TcpStream::connect(addr).unwrap(), addr)
    }

    fn over(mut stream: TcpStream, addr: SocketAddr) -> Client {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(request(addr, "").as_bytes()).unwrap();
        let head = head(&mut stream);
        let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(accept));
        let (input, decoder) = (Vec::new(), Decoder::new(false));
        Client { stream, input, decoder }
    }

    fn join(addr: SocketAddr, name: &str, id: u64, last: &str) -> Client {
        let mut client = Client::open(addr);
        client.join_as(name, id, last);
        client
    }

    fn join_as(&mut self, name: &str, id: u64, last: &str) {
        self.say(&format!("join lobby {name} {last} {id:016x}"));
        self.hear("welcome");
    }

    fn say(&mut self, line: &str) {
        self.stream.write_all(&text(line)).unwrap();
    }

    /// The next message, or how the stream ends.
    fn next(&mut self) -> Result<Message, End> {
        loop {
            let mut rest = &self.input[..];
            let message = self.decoder.decode(&mut rest).unwrap();
            self.input = rest.to_vec();
            match message {
                Some(Message::Close(code)) => return Err(End::Close(code)),
                Some(message) => return Ok(message),
                None => {}
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> Result<(), End> {
        let mut buffer = [0; 4096];
        match again(|| self.stream.read(&mut buffer)) {
            Ok(0) => return Err(End::Fin),
            Ok(n) => self.input.extend(&buffer[..n]),
            Err(error) => {
                let reset = std::io::ErrorKind::ConnectionReset;
                assert_eq!(error.kind(), reset, "nothing comes");
                return Err(End::Reset);
            }
        }
        Ok(())
    }

    /// Waits for a line that begins with `word`.
    fn hear(&mut self, word: &str) -> String {
        loop {
            if let Message::Text(line) = self.next().unwrap()
                && line.starts_with(word)
            {
                return line;
            }
        }
    }

    /// Waits for the end, and says which.
    fn end(mut self) -> End {
        loop {
            if let Err(end) = self.next() {
                return end;
            }
        }
    }
}

/// Reads an answer's head.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let n = again(|| stream.read(&mut byte)).unwrap();
        assert_eq!(n, 1, "the end, not a head");
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// Sends a request and returns the status, and whether FIN follows the answer.
fn ask(addr: SocketAddr, request: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let status = head(&mut stream)[9..12].to_owned();
    (status, stream.read_to_end(&mut Vec::new()).is_ok())
}

// ---- The tests

/// Ports and the time, which is in each id, as the book prints them.
fn steady(text: &str) -> String {
    let id = Regex::new(r"\b1[0-9]{12}-\d+\b").unwrap();
    let mut seen: Vec<String> = Vec::new();
    let text = id.replace_all(text, |found: &Captures| {
        let at = seen.iter().position(|id| *id == found[0]);
        let at = at.unwrap_or_else(|| {
            seen.push(found[0].to_owned());
            seen.len() - 1
        });
        format!("17960000{at:02}000-0")
    });
    rename_ports(&text, |_| None)
}

fn demo() {
    let ended = Program::start("chat", &[]).finish();
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    let text = String::from_utf8(ended.stdout).unwrap();
    let text = format!("$ cargo run -p chat\n{}", steady(&text));
    snapshot("chat-demo", text.trim_end());
}

fn handshake() {
    let (_server, addr) = server(&[]);
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = request(addr, &format!("Origin: http://{addr}\r\n"));
    stream.write_all(request.as_bytes()).unwrap();
    let text = format!("{request}{}", head(&mut stream)).replace('\r', "");
    snapshot("chat-handshake", rename_ports(&text, |_| None).trim_end());
}

fn table() {
    snapshot("chat-frames", frames::table().trim_end());
}

const SECOND: Duration = Duration::from_secs(1);

/// A limit holds from 0.9 of it to a second more: this machine is busy.
fn assert_took(start: Instant, limit: Duration) {
    let took = start.elapsed();
    assert!(took >= limit.mul_f64(0.9), "too early: {took:?}");
    assert!(took <= limit + 4 * SECOND, "too late: {took:?}");
}

fn drip() {
    let (_server, addr) = server(&["--frame-ms", "1000"]);
    let mut client = Client::join(addr, "ann", 1, "0-0");
    let start = Instant::now();
    let end = start + DEADLINE;
    // Each fragment is whole at once, and nothing of it must be kept.
    client.stream.write_all(b"\x01\x80\0\0\0\0").unwrap();
    let mut writer = client.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        while Instant::now() < end {
            if writer.write_all(b"\x00\x80\0\0\0\0\x89\x80\0\0\0\0").is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(client.end(), End::Close(Some(1008)));
    assert_took(start, SECOND);
    writer.join().unwrap();
}

fn slow_but_fine() {
    let (_server, addr) = server(&["--frame-ms", "10000"]);
    let mut client = Client::join(addr, "ann", 1, "0-0");
    for byte in text("say 1 byte by byte") {
        client.stream.write_all(&[byte]).unwrap();
        client.stream.set_nodelay(true).unwrap();
    }
    assert!(client.hear("message").ends_with(" ann byte by byte"));
}

fn no_request() {
    let (_server, addr) = server(&["--frame-ms", "500"]);
    let start = Instant::now();
    let (status, is_fin) = ask(addr, "GET /room HTT");
    assert_eq!((&*status, is_fin), ("408", true));
    assert_took(start, SECOND / 2);
    let mut silent = TcpStream::connect(addr).unwrap();
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    let n = again(|| silent.read(&mut [0])).unwrap();
    assert_eq!(n, 0); // and no answer
    // What comes behind the last request must not turn the end into a reset.
    let last = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let more = "x".repeat(100_000);
    assert_eq!(ask(addr, &format!("{last}{more}")), ("200".to_owned(), true));
    let wrong = request(addr, "").replace("Version: 13", "Version: 7");
    assert_eq!(ask(addr, &wrong), ("426".to_owned(), true));
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(wrong.as_bytes()).unwrap();
    let head = head(&mut stream); // says what we would take (RFC 9110 15.5.22)
    let fields = ["Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    assert!(fields.iter().all(|field| head.contains(field)), "{head}");
    unread(addr, &more);
}

/// A client that sends more than it should, and is slow to read: what has not
/// left yet when the server is done must still leave.
fn unread(addr: SocketAddr, more: &str) {
    let mut stream = narrow_stream(addr);
    let request = format!(
        "GET /chat.js HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n\
         {more}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    std::thread::sleep(SECOND / 10); // so that a server that is wrong is done
    let length = content_length(&head(&mut stream));
    let mut page = Vec::new();
    let end = stream.read_to_end(&mut page);
    assert_eq!((end.is_ok(), page.len()), (true, length));
}

fn content_length(head: &str) -> usize {
    let length = head.split("Content-Length: ").nth(1).unwrap();
    length.split("\r\n").next().unwrap().parse().unwrap()
}

/// A request that asks for a page and never takes it: it has a limit, too.
fn page_unread() {
    let (server, addr) = server(&["--write-ms", "500"]);
    let mut stream = narrow_stream(addr);
    let page = format!("GET /chat.js HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    stream.write_all(page.repeat(20).as_bytes()).unwrap();
    server.wait_for("stood still");
}

/// What the page may do, in the field that tells the browser.
fn policy() {
    let (_server, addr) = server(&[]);
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let head = head(&mut stream);
    let field = "Content-Security-Policy: default-src 'none'; \
        script-src 'self'; style-src 'self'; img-src 'self'; \
        connect-src 'self'; base-uri 'none'; form-action 'none'; \
        frame-ancestors 'none'\r\n";
    assert!(head.contains(field), "{head}");
}

fn one_piece() {
    let (_server, addr) = server(&[]);
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let page = format!("GET /chat.js HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let mut bytes = page.into_bytes();
    bytes.extend(request(addr, "").as_bytes());
    bytes.extend(text("join lobby ann 0-0 0000000000000001"));
    bytes.extend(text("say 1 hello"));
    stream.write_all(&bytes).unwrap();
    let page = head(&mut stream);
    stream.read_exact(&mut vec![0; content_length(&page)]).unwrap();
    assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
    let (input, decoder) = (Vec::new(), Decoder::new(false));
    let mut client = Client { stream, input, decoder };
    assert!(client.hear("message").ends_with(" ann hello"));
}

fn foreign() {
    let (_server, addr) = server(&["--host", "chat.example"]);
    let own = format!("Origin: http://{addr}\r\n");
    for (more, host, status) in [
        ("Origin: http://evil.example\r\n", None, "403"),
        ("Origin: null\r\n", None, "403"),
        (&*own, Some("evil.example"), "421"),
        ("Origin: http://evil.example\r\n", Some("evil.example"), "421"),
        ("Origin: http://evil.example\r\n", Some("chat.example"), "403"),
    ] {
        let mut request = request(addr, more);
        if let Some(host) = host {
            let old = format!("Host: {addr}");
            request = request.replace(&old, &format!("Host: {host}"));
        }
        assert_eq!(ask(addr, &request), (status.to_owned(), true), "{more}");
    }
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(request(addr, &own).as_bytes()).unwrap();
    assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
}

fn full() {
    let (server, addr) = server(&["--max-conns", "1"]);
    let first = Client::join(addr, "ann", 1, "0-0");
    let (status, is_fin) =
        ask(addr, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((&*status, is_fin), ("503", true));
    drop(first);
    server.wait_for("ended without a goodbye");
    support::wait_until("a free slot", || {
        let page = "GET / HTTP/1.0\r\n\r\n"
            .replace("1.0\r\n", "1.0\r\nHost: localhost\r\n");
        ask(addr, &page).0 == "200"
    });
}

fn silent() {
    let (server, addr) = server(&["--heartbeat-ms", "300"]);
    let mut client = Client::join(addr, "ann", 1, "0-0");
    let mut pong = Vec::new();
    ws::encode(ws::PONG, b"", Some([9; 4]), &mut pong);
    let mut start = Instant::now();
    for _ in 0..4 {
        assert_eq!(client.next(), Ok(Message::Ping(Vec::new())));
        start = Instant::now(); // before the server can have the PONG
        client.stream.write_all(&pong).unwrap();
    }
    assert_eq!(client.next(), Ok(Message::Ping(Vec::new())));
    assert_eq!(client.end(), End::Close(Some(1013)));
    assert_took(start, Duration::from_millis(900));
    server.wait_for("no sign of life in time");
}

/// A client whose kernel takes little.
fn narrow(addr: SocketAddr) -> Client {
    Client::over(narrow_stream(addr), addr)
}

fn narrow_stream(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&addr.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Dots that wait in the kernel cannot be overwritten, so few may wait there.
fn few_old_dots() {
    let (_server, addr) = server(&[]);
    let mut slow = narrow(addr);
    slow.join_as("bob", 1, "0-0");
    let name = "n".repeat(24);
    let mut movers: Vec<Client> =
        (2..32).map(|id| Client::join(addr, &name, id, "0-0")).collect();
    let mut quick = Client::join(addr, "cid", 99, "0-0");
    for x in 0..40 {
        for mover in &mut movers {
            mover.say(&format!("dot {x} 500"));
        }
        for _ in &movers {
            // The server has sent these to whoever takes them.
            while !quick.hear("dot").ends_with(&format!(" {x} 500")) {}
        }
    }
    let (mut newest, mut old) = (0, 0);
    while newest < movers.len() {
        let dot = slow.hear("dot");
        let is_newest = dot.ends_with(" 39 500");
        *(if is_newest { &mut newest } else { &mut old }) += 1;
    }
    assert!(old < 700, "{old} old dots of 1170");
}

fn slow() {
    let (server, addr) = server(&[]);
    let mut slow = narrow(addr);
    slow.join_as("bob", 2, "0-0");
    let mut quick = Client::join(addr, "cid", 3, "0-0");
    let mut ann = Client::join(addr, "ann", 1, "0-0");
    let before = memory(&server);
    let long = "x".repeat(990);
    let mut seq = 0;
    let mut worst = Duration::ZERO;
    while !said(&server).contains("you read too slowly (1013)") {
        seq += 1;
        assert!(seq < 2000, "nobody drops it");
        let start = Instant::now();
        ann.say(&format!("say {seq} {long}"));
        ann.hear("ack");
        quick.hear("message");
        worst = worst.max(start.elapsed());
    }
    // Far more than it takes, and less than any limit of the slow reader.
    assert!(worst < SECOND, "the others waited: {worst:?}");
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB for one slow reader");
    // What it has not read must not stay in the server's kernel.
    support::wait_until("a reset", || {
        slow.stream.take_error().unwrap().is_some()
    });
    // It comes back, and hears what the room remembers.
    let mut back = Client::join(addr, "bob", 2, "1-0");
    back.hear("gone");
    let first = back.hear("message");
    assert!(first.contains(" ann "), "{first}");
}

fn said(server: &Program) -> String {
    String::from_utf8_lossy(&server.texts().0).into_owned()
}

/// What a process has in memory, in KiB; 0 where there is no `/proc`.
fn memory(server: &Program) -> u64 {
    let path = format!("/proc/{}/status", server.id());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.map_or(0, |number| number.parse().unwrap())
}

/// 50 messages at once, and then one in 10 ms; and PINGs are messages, too.
fn fast() {
    let (_server, addr) = server(&[]);
    let mut client = Client::join(addr, "ann", 1, "0-0");
    let start = Instant::now();
    let mut ping = Vec::new();
    ws::encode(ws::PING, b"", Some([9; 4]), &mut ping);
    for _ in 0..75 {
        client.stream.write_all(&ping).unwrap();
        client.say("ping");
    }
    for _ in 0..75 {
        client.hear("pong");
    }
    assert_took(start, SECOND);
    let mut other = Client::join(addr, "bob", 2, "0-0");
    other.say("say 1 quick");
    other.hear("ack 1");
}

fn stop() {
    let (server, addr) = server(&[]);
    let mut ann = Client::join(addr, "ann", 1, "0-0");
    let mut bob = Client::join(addr, "bob", 2, "0-0");
    let spare = TcpStream::connect(addr).unwrap(); // as browsers open them
    ann.say("say 1 goodbye");
    ann.hear("ack 1");
    signal(server.id(), "-TERM");
    assert!(bob.hear("message").ends_with(" ann goodbye"));
    assert_eq!(ann.end(), End::Close(Some(1001)));
    assert_eq!(bob.end(), End::Close(Some(1001)));
    let ended = server.finish();
    assert_eq!(ended.code, Some(0));
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(said.contains("server: stopped, 0 clients cut off"), "{said}");
    drop(spare);
}

// ---- Python

fn python() -> Option<&'static str> {
    let import = ["-c", "import websockets"];
    let found = Command::new("python3").args(import).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    (!is_there).then_some("needs python3-websockets")
}

fn websockets() {
    let (_server, addr) = server(&["--heartbeat-ms", "1000"]);
    let script = format!("{ROOT}/tests/next/chat/client.py");
    let mut python = Command::new("python3");
    let output = python.args([script, addr.to_string()]).output().unwrap();
    let [out, err] = [output.stdout, output.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out, "fine\n");
}

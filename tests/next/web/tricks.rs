//! Requests that two programs could read in two ways. Each is followed, on the
//! same connection, by an honest one, as if a proxy had sent both.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use regex::Regex;

use crate::support::{DEADLINE, Program, again, bin, signal, snapshot};

/// What it is called, and its bytes.
type Trick = (&'static str, String);

const HOST: &str = "Host: a\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"; // 35 bytes
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A GET with these lines, and then a smuggled one.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\n{HOST}{lines}\r\n\r\n{SMUGGLED}")
}

/// A GET with these lines, without a body.
fn plain(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\n{HOST}{lines}\r\n\r\n")
}

/// Where does the body end?
#[expect(clippy::too_many_lines)] // it is a table
pub fn lengths() {
    assert_eq!(SMUGGLED.len(), 35);
    let n = "Content-Length: 35\r\n";
    let chunked = "Transfer-Encoding: chunked";
    let chunks = |lines: &str, body: &str| format!("{}{body}", plain(lines));
    compare(
        "web-lengths",
        &[
            ("a body that a GET does not need", get("Content-Length: 35")),
            (
                "a body that is asked for first",
                get(&format!("{n}Expect: 100-continue")),
            ),
            (
                "two lengths, 0 and 35",
                get("Content-Length: 0\r\nContent-Length: 35"),
            ),
            ("two lengths, both 35", get(&format!("{n}Content-Length: 35"))),
            ("two lengths in one field", get("Content-Length: 35, 35")),
            ("a length of +35", get("Content-Length: +35")),
            ("a length of -1", get("Content-Length: -1")),
            ("a length of 0x23", get("Content-Length: 0x23")),
            ("a length of 3 5", get("Content-Length: 3 5")),
            ("a length without a number", get("Content-Length:")),
            (
                "a length of 35 and a no-break space",
                get("Content-Length: 35\u{a0}"),
            ),
            (
                "a length of more than 64 bits",
                get("Content-Length: 18446744073709551650"),
            ),
            (
                "Content-Length and chunks (CL.TE)",
                chunks(
                    &format!("{n}{chunked}"),
                    &format!("0\r\n\r\n{SMUGGLED}"),
                ),
            ),
            (
                "chunks and Content-Length (TE.CL)",
                chunks(
                    &format!("{chunked}\r\nContent-Length: 4"),
                    &format!("23\r\n{SMUGGLED}\r\n0\r\n\r\n"),
                ),
            ),
            (
                "an unknown coding and a length",
                get(&format!("{n}Transfer-Encoding: xchunked")),
            ),
            (
                "a vertical tab before chunked",
                get(&format!("{n}Transfer-Encoding: \x0bchunked")),
            ),
            (
                "a space before the colon",
                get(&format!("{n}Transfer-Encoding : chunked")),
            ),
            (
                "chunked on a folded line",
                get(&format!("{n}Transfer-Encoding:\r\n chunked")),
            ),
            (
                "chunked, then identity",
                chunks(
                    &format!("{chunked}\r\nTransfer-Encoding: identity"),
                    &format!("0\r\n\r\n{SMUGGLED}"),
                ),
            ),
            (
                "chunks in HTTP/1.0",
                format!(
                    "GET / HTTP/1.0\r\n{HOST}Connection: keep-alive\r\n{chunked}\r\n\r\n0\r\n\r\n{SMUGGLED}"
                ),
            ),
            ("honest chunks", chunks(chunked, "3\r\nabc\r\n0\r\n\r\n")),
            (
                "a chunk whose size ends in a bare LF",
                chunks(chunked, "3\nabc\r\n0\r\n\r\n"),
            ),
            (
                "a chunk extension that ends in a bare LF",
                chunks(chunked, "3;x\nabc\r\n0\r\n\r\n"),
            ),
            (
                "a length that Connection names",
                get(&format!("{n}Connection: Content-Length")),
            ),
            (
                "an upgrade to HTTP/2",
                plain(
                    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
                ),
            ),
        ],
    );
}

/// Where does a line end, and what does it say?
#[expect(clippy::too_many_lines)] // it is a table
pub fn lines() {
    let first = |line: &str| format!("{line}\r\n{HOST}\r\n");
    compare(
        "web-lines",
        &[
            (
                "a bare LF after the first line",
                format!("GET / HTTP/1.1\n{HOST}\r\n"),
            ),
            ("a bare LF after a field", plain("X: 1\nY: 2")),
            ("bare LFs everywhere", "GET / HTTP/1.1\nHost: a\n\n".to_owned()),
            (
                "a bare LF as the empty line",
                format!("GET / HTTP/1.1\r\n{HOST}\n"),
            ),
            ("bare CRs", "GET / HTTP/1.1\rHost: a\r\r".to_owned()),
            ("CR CR LF", plain("X: 1\r\r\nY: 2")),
            ("a CR in a value", plain("X: 1\rY: 2")),
            ("a folded line (obs-fold)", plain("X: 1\r\n 2")),
            (
                "a fold before all fields",
                format!("GET / HTTP/1.1\r\n X: 1\r\n{HOST}\r\n"),
            ),
            ("a space before the colon", plain("X : 1")),
            ("a tab before the colon", plain("X\t: 1")),
            ("a line without a colon", plain("X")),
            ("a field without a name", plain(": 1")),
            ("a NUL in a value", plain("X: a\0b")),
            ("a NUL in a name", plain("X\0: 1")),
            ("a name that is not ASCII", plain("X\u{e9}: 1")),
            ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
            ("two Hosts", plain("Host: b")),
            ("two Hosts, both the same", plain("Host: a")),
            (
                "a Host with a path",
                "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(),
            ),
            ("a target with another host", first("GET http://b/ HTTP/1.1")),
            ("a target that is no path", first("GET a HTTP/1.1")),
            ("a target with a tab", first("GET /\t HTTP/1.1")),
            ("a target that is not ASCII", first("GET /\u{e9} HTTP/1.1")),
            ("a target with %0d%0a", first("GET /%0d%0aX:%201 HTTP/1.1")),
            ("two spaces in the first line", first("GET  / HTTP/1.1")),
            ("a space at its end", first("GET / HTTP/1.1 ")),
            ("a tab in it", first("GET\t/ HTTP/1.1")),
            ("HTTP/0.9", "GET /\r\n\r\n".to_owned()),
            ("http/1.1", first("GET / http/1.1")),
            ("HTTP/1.10", first("GET / HTTP/1.10")),
            ("HTTP/1.2", first("GET / HTTP/1.2")),
            ("HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
            ("an empty line first", format!("\r\n{}", plain("X: 1"))),
            ("two empty lines first", format!("\r\n\r\n{}", plain("X: 1"))),
            ("a bare LF first", format!("\n{}", plain("X: 1"))),
            ("a method that is no word", first("G(T / HTTP/1.1")),
            ("get", first("get / HTTP/1.1")),
            ("CONNECT", first("CONNECT a:443 HTTP/1.1")),
            ("TRACE", first("TRACE / HTTP/1.1")),
            ("TLS", "\x16\x03\x01\0\u{1}\0\0\x03\x03".to_owned()),
            ("two requests at once", plain("X: 1") + &plain("X: 1")),
            ("an end, and more", plain("Connection: close")),
        ],
    );
}

/// Sends each trick to our server and to that of axum, and asserts what came
/// back as a table.
fn compare(name: &str, tricks: &[Trick]) {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in
        [("index.html", "home"), ("smuggled", "smuggled"), ("next", "next")]
    {
        fs::write(folder.path().join(file), format!("{text}\n")).unwrap();
    }
    let [web, axum] = servers(folder.path());
    let answers = |addr: SocketAddr| -> Vec<String> {
        thread::scope(|scope| {
            let all = tricks.iter().map(|(_, trick)| {
                let bytes = format!("{trick}{NEXT}");
                scope.spawn(move || answers(addr, bytes.as_bytes()))
            });
            let all: Vec<_> = all.collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    };
    let (ours, theirs) = (answers(web.addr()), answers(axum.addr()));
    let mut table = format!("{:14}{}\n", "ours", "axum");
    for (((trick, _), ours), theirs) in tricks.iter().zip(ours).zip(theirs) {
        assert!(!ours.contains("SMUGGLED"), "{trick}: {ours}");
        assert!(!ours.contains('…'), "{trick}: {ours}");
        table += &format!("{ours:14}{theirs:14}{trick}\n");
    }
    snapshot(name, table.trim_end());
}

/// Half a head keeps axum's server waiting, even when it has to stop: it has a
/// limit for a head only if it is given a timer.
pub fn half_a_head() {
    let folder = tempfile::tempdir().unwrap();
    let [web, mut axum] = servers(folder.path());
    let half = |addr: SocketAddr| {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };
    let theirs = half(axum.addr());
    let hears_of_it = || {
        let mut answer = [0; 12];
        half(web.addr()).read_exact(&mut answer).unwrap(); // after 2 s
        assert_eq!(&answer, b"HTTP/1.1 408");
    };
    hears_of_it();
    signal(axum.id(), "-INT");
    hears_of_it();
    assert!(axum.is_running());
    drop(theirs);
    assert_eq!(axum.finish().code, Some(0));
}

fn servers(folder: &Path) -> [Program; 2] {
    let any = "127.0.0.1:0";
    let mut web = Command::new(bin("web"));
    web.arg(folder).args(["--addr", any, "--request-ms", "2000"]);
    let mut axum = Command::new(bin("examples/axum"));
    axum.arg(folder).arg(any);
    [web, axum].map(|mut command| Program::spawn(&mut command, false))
}

/// How long we look whether a server that waits says more.
const LOOK: Duration = Duration::from_secs(4);

/// The answers to all that: a status each, or whose page it is, or `…` if the
/// server still waits for more of the trick, and the honest request is a part
/// of it.
fn answers(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_read_timeout(Some(LOOK)).unwrap();
    let _ = stream.write_all(bytes); // it may be refused meanwhile
    let mut heard = Vec::new();
    let is_waiting = loop {
        let mut piece = [0; 1000];
        match again(|| stream.read(&mut piece)) {
            Ok(0) => break false,
            Ok(n) => heard.extend(&piece[..n]),
            Err(e) => {
                let late = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                break late.contains(&e.kind());
            }
        }
    };
    let mut all = statuses(&String::from_utf8_lossy(&heard));
    if is_waiting {
        all.push("…".to_owned());
    }
    match all.is_empty() {
        true => "(closed)".to_owned(),
        false => all.join(" "),
    }
}

/// The status of each answer, or whose page it is.
fn statuses(text: &str) -> Vec<String> {
    let status = Regex::new(r"HTTP/1\.[01] (\d{3}) ").unwrap();
    let answers = status.split(text).skip(1).zip(status.captures_iter(text));
    let names = answers.map(|(answer, found)| {
        let body = answer.split_once("\r\n\r\n").map_or("", |parts| parts.1);
        match body.trim_end() {
            "smuggled" => "SMUGGLED".to_owned(),
            "next" => "next".to_owned(),
            _ => found[1].to_owned(),
        }
    });
    names.collect()
}

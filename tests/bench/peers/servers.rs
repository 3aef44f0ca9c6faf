//! The servers: how each is built, started, and tried before it is measured.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::{self, Program, ROOT};

/// A server that this bench can start.
pub struct Server {
    pub name: &'static str,
    /// Does it speak our frames? Otherwise it echoes bytes.
    pub is_framed: bool,
    /// The program without which it cannot be built or started, or "".
    needs: &'static str,
    /// `{bin}` is the folder of the release build, `{out}` that of the peers
    /// which [`build`] makes, `{peers}` that of their sources.
    command: &'static str,
}

const fn raw(
    name: &'static str,
    needs: &'static str,
    command: &'static str,
) -> Server {
    Server { name, is_framed: false, needs, command }
}

const fn framed(
    name: &'static str,
    needs: &'static str,
    command: &'static str,
) -> Server {
    Server { name, is_framed: true, needs, command }
}

/// What all the others are divided by.
pub const LIMIT: &str = "C epoll";

pub const SERVERS: [Server; 19] = [
    raw(LIMIT, "cc", "{out}/echo_epoll raw 0"),
    raw("step 3", "", "{bin}/step3 server --addr 127.0.0.1:0"),
    raw(
        "step 3, 1 worker",
        "",
        "env TOKIO_WORKER_THREADS=1 {bin}/step3 server --addr 127.0.0.1:0",
    ),
    raw("tokio's example", "", "{bin}/examples/echo-tcp 127.0.0.1:0"),
    raw("std threads", "", "{bin}/threads 127.0.0.1:0"),
    raw("Go loop", "go", "{out}/echo raw 0"),
    raw("Go io.Copy", "go", "{out}/echo copy 0"),
    raw("Java NIO", "javac", "java -cp {out} EchoNio 0"),
    raw("asyncio", "python3", "python3 {peers}/python/echo.py 0"),
    raw("Node", "node", "node {peers}/node/echo.mjs 0"),
    framed(LIMIT, "cc", "{out}/echo_epoll frames 0"),
    framed("step 4", "", "{bin}/step4 server --addr 127.0.0.1:0"),
    framed(
        "step 4, 1 worker",
        "",
        "env TOKIO_WORKER_THREADS=1 {bin}/step4 server --addr 127.0.0.1:0",
    ),
    framed("step 5", "", "{bin}/step5 server --addr 127.0.0.1:0"),
    framed("step 7", "", "{bin}/step7 server --addr 127.0.0.1:0"),
    framed("step 8", "", "{bin}/step8 server --addr 127.0.0.1:0"),
    framed("codec feed", "", "{bin}/examples/codec feed 127.0.0.1:0"),
    framed("codec send", "", "{bin}/examples/codec send 127.0.0.1:0"),
    framed("Go bufio", "go", "{out}/echo frames 0"),
];

/// The peers that a compiler other than Cargo builds: which, and how.
const BUILDS: [(&str, &str); 3] = [
    ("cc", "cc -std=c11 -O2 -o {out}/echo_epoll {peers}/c/echo_epoll.c"),
    ("go", "go build -o {out}/echo {peers}/go/echo.go"),
    ("javac", "javac -d {out} {peers}/java/EchoNio.java"),
];

/// What asks each of the other programs for its version.
pub const VERSIONS: [(&str, &str); 5] = [
    ("cc", "--version"),
    ("go", "version"),
    ("javac", "-version"),
    ("python3", "--version"),
    ("node", "--version"),
];

/// The folder of what the bench builds; its journals are there, too.
pub fn out() -> String {
    format!("{ROOT}target/peers")
}

/// A command from one of the tables above.
fn command(text: &str) -> Command {
    let bin = support::bin("load");
    let bin = bin.strip_suffix("/load").unwrap();
    let mut words = text.split(' ').map(|word| {
        let word = word.replace("{bin}", bin).replace("{out}", &out());
        word.replace("{peers}", &format!("{ROOT}tests/peers"))
    });
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

/// Builds all servers, so that none is older than its source.
pub fn build() {
    let _ = fs::remove_dir_all(out()); // what an older source has left
    fs::create_dir_all(out()).unwrap();
    let steps = ["step3", "step4", "step5", "step7", "step8", "threads"];
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release"]).current_dir(ROOT);
    run(cargo.args(steps.iter().flat_map(|step| ["--bin", *step])));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "-p", "load"]);
    let examples = ["--example", "codec", "--example", "echo-tcp"];
    run(cargo.args(examples).current_dir(ROOT));
    for (tool, build) in BUILDS {
        let status = is_there(tool).then(|| command(build).status());
        if status.is_some_and(|status| !status.is_ok_and(|s| s.success())) {
            println!("cannot build a peer with {build:?}");
        }
    }
}

fn run(build: &mut Command) {
    let status = build.status();
    let is_built = status.is_ok_and(|status| status.success());
    assert!(is_built, "cannot build the servers with {build:?}");
}

/// Can the program be started?
pub fn is_there(tool: &str) -> bool {
    let flag = VERSIONS.iter().find(|(name, _)| *name == tool);
    support::is_installed(tool, flag.map_or("--version", |(_, flag)| *flag))
}

impl Server {
    /// Finds a server of the table.
    pub fn find(name: &str, is_framed: bool) -> &'static Server {
        let mut servers = SERVERS.iter();
        let found = |server: &&Server| {
            server.name == name && server.is_framed == is_framed
        };
        servers.find(found).unwrap()
    }

    pub fn speaks(&self) -> &'static str {
        if self.is_framed { "frames" } else { "raw" }
    }

    /// Why it cannot be measured, if it cannot: a program is not installed, or
    /// it does not echo what it should.
    pub fn trouble(&self) -> Option<String> {
        if !self.needs.is_empty() && !is_there(self.needs) {
            return Some(format!("needs {}", self.needs));
        }
        let tried = attempt(|| {
            let server = self.start("", &[]);
            let (sent, expected) = check(self.is_framed);
            echoes(server.addr(), sent, &expected)
        });
        tried.err()
    }

    /// How long it gets to warm up, in seconds, at least `least`: the two that
    /// compile while they run need more than the others.
    pub fn warm_up(&self, least: &'static str) -> &'static str {
        let compiles = ["javac", "node"].contains(&self.needs);
        if compiles && least != "0.1" { "1" } else { least }
    }

    /// Starts it, by way of `taskset` if you like. What it prints goes to a
    /// pipe that a thread of ours reads, as with all the others.
    pub fn start(&self, taskset: &str, more: &[&str]) -> Program {
        let mut command = command(&format!("{taskset}{}", self.command));
        // Step 8 serves 1024 clients unless it is told otherwise.
        command.args(more).env("TCP_MAX_CONNS", "20000");
        Program::spawn(&mut command, false)
    }
}

/// Does what may panic, such as to start a program that is not there. One
/// server that fails must not end a run of many minutes.
pub fn attempt<T>(
    what: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    let outcome = catch_unwind(AssertUnwindSafe(what));
    outcome.unwrap_or(Err("it does not run, see above".to_owned()))
}

/// What one client sends to try a server, and what it must get back.
fn check(is_framed: bool) -> (Vec<u8>, Vec<u8>) {
    let bytes: Vec<u8> =
        (0..200_000_u32).map(|i| (i * i / 251) as u8).collect();
    if !is_framed {
        return (bytes.clone(), bytes);
    }
    let frames = |kind| {
        let frame = |size: usize| {
            let length = (size as u32 + 1).to_be_bytes();
            [&length[..], &[kind], &bytes[..size]].concat()
        };
        [0, 3, 65_535].map(frame).concat() // the smallest, one, the largest
    };
    (frames(0x01), frames(0x81))
}

/// Sends `sent` in slices of odd sizes, then FIN. All of `expected` must come
/// back, and then the end.
fn echoes(
    addr: SocketAddr,
    sent: Vec<u8>,
    expected: &[u8],
) -> Result<(), String> {
    let text = |error: std::io::Error| format!("does not echo right: {error}");
    let mut reader = TcpStream::connect(addr).map_err(text)?;
    reader.set_nodelay(true).map_err(text)?;
    reader.set_read_timeout(Some(support::DEADLINE)).map_err(text)?;
    reader.set_write_timeout(Some(support::DEADLINE)).map_err(text)?;
    let mut writer = reader.try_clone().map_err(text)?;
    let writing = thread::spawn(move || {
        let mut rest = &sent[..];
        for size in [1, 3, 7, 997, 4, 16_385, 2].into_iter().cycle() {
            let (slice, behind) = rest.split_at(size.min(rest.len()));
            writer.write_all(slice)?;
            thread::sleep(Duration::from_millis(1)); // a packet of its own
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        writer.shutdown(Shutdown::Write)
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).map_err(text)?;
    writing.join().unwrap().map_err(text)?;
    if received == expected {
        return Ok(());
    }
    Err(format!("does not echo right: {} bytes came back", received.len()))
}

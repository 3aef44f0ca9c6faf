//! What TLS costs, measured beside step 8 in one run.
//!
//!     cargo bench -p tls
//!
//! writes the table `tests/bench/tls.md`; that takes about 20 seconds. The
//! ratios are what counts. Both ends are in one thread, and what counts is the
//! processor time of both. Needs Linux.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report
#![allow(unused)] // of each file only a part, and none of its own tests

#[path = "../../steps/tls/certificates.rs"]
mod certificates;
#[path = "../../steps/step8/connection.rs"]
mod connection;
#[path = "../../steps/step8/drain.rs"]
mod drain;
#[path = "../../steps/step8/frame.rs"]
mod frame;
#[path = "../../steps/step8/heartbeat.rs"]
mod heartbeat;
#[path = "../../steps/step8/journal.rs"]
mod journal;
#[path = "../../steps/step8/ledger.rs"]
mod ledger;
#[path = "../../steps/step8/limits.rs"]
mod limits;
#[path = "../../steps/step8/listener.rs"]
mod listener;
#[path = "../../steps/step8/server.rs"]
mod plain;
#[path = "../../steps/step8/replies.rs"]
mod replies;
#[path = "../../steps/step8/retry.rs"]
mod retry;
#[path = "../../steps/tls/server.rs"]
mod server;
#[path = "../../steps/tls/stream.rs"]
mod stream;
#[path = "../../steps/tls/tls.rs"]
mod tls;

use std::env;
use std::fmt::Display;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::pki_types::ServerName;

use certificates::Certificates;
use drain::Drain;
use limits::{PeerLimits, ServerLimits};

const PROJECT: &str = env!("PROJECT");

const MINUTE: Duration = Duration::from_secs(60);

const LIMITS: PeerLimits =
    PeerLimits { heartbeat: MINUTE, frame: MINUTE, write: MINUTE };

/// A measurement is the best of so many, which take turns.
const ROUNDS: usize = 7;

fn say(_: impl Display) {}

/// A program that starts itself once more, as a server of which only the
/// memory is measured, has this variable: the port, then the certificate.
const CHILD: &str = "TLS_BENCH_SERVER";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if !cfg!(target_os = "linux") {
        return println!("skipped: needs Linux");
    }
    if let Ok(files) = env::var(CHILD) {
        return child(&files).await;
    }
    let (from, to) = certificates::validity(1);
    let names = ["127.0.0.1".to_owned()];
    let made = certificates::make(&names, from, to).unwrap();
    let both = Both {
        plain: start(None).await,
        tls: start(Some(&made)).await,
        ca: made.ca.clone(),
    };
    let mut table = "| | step 8 | TLS | TLS, resumed |\n\
        | --- | ---: | ---: | ---: |\n"
        .to_owned();
    table += &bytes(&both).await;
    table += &connections(&both).await;
    table += &echoes(&both, 64, 4000, "64").await;
    table += &echoes(&both, 60_000, 300, "60 000").await;
    table += &memory(&made).await;
    println!("{table}");
    let path = format!("{PROJECT}/tests/bench/tls.md");
    fs::write(path, table).expect("the table is written");
}

struct Both {
    plain: SocketAddr,
    tls: SocketAddr,
    ca: String,
}

/// Starts a server in this thread: step 8's, or ours.
async fn start(made: Option<&Certificates>) -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = listener::bind(any).unwrap();
    let addr = listener.local_addr().unwrap();
    let own = ServerLimits { connections: 1024, drain: MINUTE };
    let (ledger, receiver) = mpsc::channel(1000);
    let tls = made.map(|made| {
        tls::acceptor(made.server.as_bytes(), made.key.as_bytes()).unwrap()
    });
    tokio::spawn(async move {
        let _receiver = receiver; // nobody sends an ADD
        let drain = Drain::new(own);
        match tls {
            Some(tls) => {
                let handshake = MINUTE;
                let shared = server::Shared { ledger, tls, handshake };
                let shared = Arc::new(shared);
                server::run(&listener, LIMITS, &shared, &drain).await;
            }
            None => plain::run(&listener, LIMITS, &ledger, &drain).await,
        }
    });
    addr
}

// ---- The client

/// A stream that counts its bytes.
struct Counted {
    stream: TcpStream,
    up: usize,
    down: usize,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.down += buffer.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.up += n;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn connect(addr: SocketAddr) -> Counted {
    let stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Counted { stream, up: 0, down: 0 }
}

type Secure = tokio_rustls::client::TlsStream<Counted>;

async fn secure(addr: SocketAddr, tls: &TlsConnector) -> Secure {
    let name = ServerName::from(addr.ip());
    tls.connect(name, connect(addr).await).await.unwrap()
}

/// Sends `n` messages of `size` bytes, one after another.
async fn talk(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    size: usize,
    n: usize,
) {
    let mut echo = Vec::new();
    frame::encode(frame::ECHO, &vec![7; size], &mut echo).unwrap();
    let mut reply = vec![0; echo.len()];
    for _ in 0..n {
        stream.write_all(&echo).await.unwrap();
        stream.flush().await.unwrap();
        stream.read_exact(&mut reply).await.unwrap();
    }
}

async fn goodbye(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    stream.shutdown().await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
}

fn connector(both: &Both) -> TlsConnector {
    tls::connector(both.ca.as_bytes()).unwrap()
}

// ---- Bytes

/// How many bytes pass for one message: there, and back.
async fn count(
    both: &Both,
    tls: Option<&TlsConnector>,
    size: usize,
) -> [usize; 2] {
    match tls {
        None => {
            let mut stream = connect(both.plain).await;
            talk(&mut stream, size, 1).await;
            goodbye(&mut stream).await;
            [stream.up, stream.down]
        }
        Some(tls) => {
            let mut stream = secure(both.tls, tls).await;
            talk(&mut stream, size, 1).await;
            goodbye(&mut stream).await;
            let (counted, _) = stream.get_ref();
            [counted.up, counted.down]
        }
    }
}

async fn bytes(both: &Both) -> String {
    let tls = connector(both);
    let plain = count(both, None, 64).await;
    let full = count(both, Some(&tls), 64).await;
    let resumed = count(both, Some(&tls), 64).await;
    let all = [plain, full, resumed];
    let row = |what: &str, cells: [usize; 3]| {
        let [plain, full, resumed] = cells;
        format!("| {what} | {plain} | {full} | {resumed} |\n")
    };
    let mut rows = String::new();
    for (way, what) in [(0, "to the server"), (1, "to the client")] {
        let what = format!("bytes {what}: a connection with one message of 64");
        rows += &row(&what, all.map(|ways| ways[way]));
    }
    for (size, name) in [(64, "64"), (60_000, "60 000")] {
        let further = further(both, &tls, size).await;
        let what = format!("… a further message of {name}, each way");
        rows += &row(&what, [5 + size, further, further]);
    }
    rows
}

/// How many bytes a further message takes to get to the server.
async fn further(both: &Both, tls: &TlsConnector, size: usize) -> usize {
    let mut stream = secure(both.tls, tls).await;
    talk(&mut stream, size, 1).await;
    let before = stream.get_ref().0.up;
    talk(&mut stream, size, 1).await;
    stream.get_ref().0.up - before
}

// ---- Processor time

/// The time that this thread had a processor, in seconds (proc(5)).
fn cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ns: f64 = text.split(' ').next().unwrap().parse().unwrap();
    ns / 1e9
}

fn ratios(what: &str, best: &[f64]) -> String {
    let cell =
        |time: &f64| format!(" {:.1} µs ({:.1}) |", time * 1e6, time / best[0]);
    let cells: String = best.iter().map(cell).collect();
    let none = if best.len() == 2 { " |" } else { "" };
    format!("| {what} |{cells}{none}\n")
}

/// A connection, one message and the goodbye.
async fn connections(both: &Both) -> String {
    const N: usize = 400;
    let resuming = connector(both);
    let mut best = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        for (kind, best) in best.iter_mut().enumerate() {
            // A client that resumes must have been there before.
            let tls = |_| match kind {
                0 => None,
                1 => Some(connector(both)),
                _ => Some(resuming.clone()),
            };
            let all: Vec<_> = (0..N).map(tls).collect();
            let before = cpu();
            for tls in &all {
                count(both, tls.as_ref(), 64).await;
            }
            *best = best.min((cpu() - before) / N as f64);
        }
    }
    let mut last = secure(both.tls, &resuming).await;
    assert_eq!(last.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    goodbye(&mut last).await;
    ratios("processor time, both ends: such a connection", &best)
}

async fn echoes(both: &Both, size: usize, n: usize, name: &str) -> String {
    let tls = connector(both);
    let mut plain = connect(both.plain).await;
    let mut secure = secure(both.tls, &tls).await;
    let mut best = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        let before = cpu();
        talk(&mut plain, size, n).await;
        best[0] = best[0].min((cpu() - before) / n as f64);
        let before = cpu();
        talk(&mut secure, size, n).await;
        best[1] = best[1].min((cpu() - before) / n as f64);
    }
    let what = format!("… a further message of {name}");
    ratios(&what, &best)
}

// ---- Memory

/// Serves until it is killed, and says where.
async fn child(files: &str) {
    let made = match files {
        "" => None,
        folder => {
            let read = |n| fs::read_to_string(format!("{folder}/{n}")).unwrap();
            let [ca, server, key] =
                ["ca.pem", "server.pem", "server.key"].map(read);
            Some(Certificates { ca, server, key })
        }
    };
    println!("{}", start(made.as_ref()).await);
    std::future::pending().await
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The memory of a server for an idle connection, in KB, after one message.
async fn memory(made: &Certificates) -> String {
    let folder = tempfile::tempdir().unwrap();
    made.write(folder.path(), false).unwrap();
    let files = folder.path().to_str().unwrap();
    let plain = idle("", None).await;
    let tls = tls::connector(made.ca.as_bytes()).unwrap();
    let tls = idle(files, Some(&tls)).await;
    format!(
        "| memory of the server: an idle client | {:.0} KB | {:.0} KB | |\n",
        plain / 1e3,
        tls / 1e3
    )
}

async fn idle(files: &str, tls: Option<&TlsConnector>) -> f64 {
    const N: usize = 400;
    let (server, addr) = start_child(files);
    let (mut plain, mut secured) = (Vec::new(), Vec::new()); // stay open
    let mut before = 0.0;
    for n in 0..=N {
        if n == 1 {
            before = resident(server.0.id()); // the first warms it up
        }
        if let Some(tls) = tls {
            let mut stream = secure(addr, tls).await;
            talk(&mut stream, 64, 1).await;
            secured.push(stream);
        } else {
            let mut stream = connect(addr).await;
            talk(&mut stream, 64, 1).await;
            plain.push(stream);
        }
    }
    (resident(server.0.id()) - before) / N as f64
}

fn start_child(files: &str) -> (Server, SocketAddr) {
    let me = env::current_exe().unwrap();
    let mut command = Command::new(me);
    command.env(CHILD, files).stdout(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    let mut line = String::new();
    let stdout = server.0.stdout.take().unwrap();
    io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line).unwrap();
    (server, line.trim().parse().unwrap())
}

/// The memory of a process, in bytes (proc(5)).
fn resident(id: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kb: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kb * 1024.0
}

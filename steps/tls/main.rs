//! TLS: step 8's connection, on a road where others can read and write.
//!
//! The frames, the limits, the heartbeat, the ledger and the graceful stop are
//! the files of step 8, unchanged. New are the certificates, the handshake
//! before the first frame, and an end that nobody else can send.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run -p tls
//!
//! The same in two terminals, with certificates in `target/tls`:
//!
//!     cargo run -p tls -- certificates
//!     cargo run -p tls -- server
//!     cargo run -p tls -- client hello

mod certificates;
mod client;
mod server;
mod stream;
mod tls;

// ANCHOR: mounted
// These are step 8's own files. A client that only sends ECHO, and a server
// without a journal, leave parts of them unused.
#[path = "../step8/connection.rs"]
mod connection;
#[path = "../step8/drain.rs"]
mod drain;
#[path = "../step8/frame.rs"]
mod frame;
#[path = "../step8/heartbeat.rs"]
mod heartbeat;
#[allow(dead_code)] // no --journal here
#[path = "../step8/journal.rs"]
mod journal;
#[path = "../step8/ledger.rs"]
mod ledger;
#[path = "../step8/limits.rs"]
mod limits;
#[path = "../step8/listener.rs"]
mod listener;
#[allow(dead_code)] // `answer` is for any stream, the rest for a `TcpStream`
#[path = "../step8/server.rs"]
mod plain;
#[path = "../step8/replies.rs"]
mod replies;
#[path = "../step8/retry.rs"]
mod retry;
// ANCHOR_END: mounted

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand, value_parser};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::rustls::pki_types::ServerName;

use certificates::validity;
use client::{Client, Target};
use drain::{Drain, Stops};
use frame::MAX_PAYLOAD;
use ledger::Ledger;
use limits::{ClientLimits, PeerLimits, ServerLimits};
use retry::Outcome;
use server::{Requests, Shared};

// ANCHOR: args
/// TLS: step 8's connection, on a road where others can read and write
///
/// Without a command it plays a demo: both ends in one process, on a free port.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Make a CA, and a server's certificate and key
    Certificates(Make),
    /// Wait for clients, echo their messages; Ctrl-C stops it, twice at once
    Server(Serve),
    /// Send messages to the server and print the replies
    Client(Ask),
}

#[derive(clap::Args)]
struct Make {
    /// Where to put ca.pem, server.pem and server.key
    #[arg(default_value = "target/tls")]
    folder: PathBuf,
    /// What the server is called; you may repeat the option
    #[arg(long, value_name = "NAME")]
    #[arg(default_values = ["localhost", "127.0.0.1"])]
    name: Vec<String>,
    /// How many days it is valid; with -1, it expired yesterday
    #[arg(long, default_value = "90", allow_hyphen_values = true)]
    #[arg(value_parser = value_parser!(i64).range(-36_500..=36_500))]
    days: i64,
    /// Replace the files that are there
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args)]
struct Serve {
    #[command(flatten)]
    address: Address,
    /// The server's certificate, and those between it and the CA, in PEM
    #[arg(long, value_name = "FILE", default_value = "target/tls/server.pem")]
    certificate: PathBuf,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE", default_value = "target/tls/server.key")]
    key: PathBuf,
    /// How long a handshake may take, in all
    #[arg(long, value_name = "MS", env = "TCP_HANDSHAKE_MS")]
    #[arg(default_value = "5000")]
    #[arg(value_parser = value_parser!(u64).range(1..=86_400_000))]
    handshake_ms: u64,
    #[command(flatten)]
    limits: PeerLimits,
    #[command(flatten)]
    own: ServerLimits,
}

#[derive(clap::Args)]
struct Ask {
    #[command(flatten)]
    address: Address,
    /// The CAs to trust, in PEM
    #[arg(long, value_name = "FILE", default_value = "target/tls/ca.pem")]
    ca: PathBuf,
    /// Whose certificate it has to be; without it, the IP of --addr
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What to send, a message each
    #[arg(value_name = "TEXT", required = true)]
    texts: Vec<OsString>,
    #[command(flatten)]
    limits: ClientLimits,
    #[command(flatten)]
    peer: PeerLimits,
}

#[derive(clap::Args)]
struct Address {
    /// The server's address (to listen: 0.0.0.0 is all, port 0 a free one)
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
    addr: SocketAddr,
}
// ANCHOR_END: args

/// How many operations may wait for the ledger.
const WAITING: usize = 64 * 1024;

// ANCHOR: main
#[tokio::main]
async fn main() {
    let outcome = match Args::parse().command {
        None => demo().await,
        Some(Command::Certificates(make)) => make_certificates(&make),
        Some(Command::Server(serve)) => run_server(serve).await,
        Some(Command::Client(ask)) => run_client(ask).await,
    };
    let code = match outcome {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            Outcome::of(&error).map_or(1, |o| o as i32)
        }
    };
    std::process::exit(code);
}

fn make_certificates(make: &Make) -> Result<()> {
    let (from, to) = validity(make.days);
    let made = certificates::make(&make.name, from, to)
        .context("cannot make certificates")?;
    made.write(&make.folder, make.force)?;
    let [ca, key] = ["ca.pem", "server.key"].map(|f| make.folder.join(f));
    say(format!("for clients: {}", ca.display()));
    say(format!("for nobody but the server: {}", key.display()));
    Ok(())
}

/// Reads a file that `certificates` makes.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::NotFound => {
                " (make it with: cargo run -p tls -- certificates)"
            }
            _ => "",
        };
        let what = format!("cannot read {}{hint}", path.display());
        anyhow::Error::new(error).context(what)
    })
}

async fn run_server(serve: Serve) -> Result<()> {
    let Serve { certificate, key, .. } = &serve;
    let tls = tls::acceptor(&read(certificate)?, &read(key)?)?;
    let shared = share(tls, Duration::from_millis(serve.handshake_ms));
    let stops = Stops::new()?; // before we say that we listen
    let listener = listener::bind(serve.address.addr)?;
    say(format!("listening on {}", listener.local_addr()?));
    drain::serve(listener, serve.limits, shared, serve.own, stops).await
}

/// Starts a ledger, which forgets everything at the end.
fn share(tls: tokio_rustls::TlsAcceptor, handshake: Duration) -> Requests {
    let (ledger, receiver) = mpsc::channel(WAITING);
    tokio::spawn(journal::run(Ledger::default(), None, receiver));
    Arc::new(Shared { ledger, tls, handshake })
}

async fn run_client(ask: Ask) -> Result<()> {
    let addr = ask.address.addr;
    let name = ask.name.unwrap_or_else(|| addr.ip().to_string());
    let what = || format!("{name:?} is neither a DNS name nor an IP address");
    let name = ServerName::try_from(name.clone()).with_context(what)?;
    let tls = tls::connector(&read(&ask.ca)?)?;
    let target = Target { addr, name, tls };
    let mut client = Client::new(target, ask.limits, ask.peer);
    let asked = ask_all(&mut client, ask.texts).await;
    client.close().await; // even if we fail at home
    asked
}

/// Sends each message and prints its reply.
async fn ask_all(client: &mut Client, texts: Vec<OsString>) -> Result<()> {
    let report = |line| drop(writeln!(std::io::stderr(), "{line}"));
    for text in texts {
        let message = text.as_encoded_bytes();
        let fits = message.len() <= MAX_PAYLOAD;
        ensure!(fits, "a message is larger than {MAX_PAYLOAD} bytes");
        let mut reply = client.ask(message, report).await?;
        reply.push(b'\n');
        let printed = std::io::stdout().write_all(&reply);
        printed.context("cannot print the reply")?;
    }
    Ok(())
}

/// Prints one line, and carries on if nobody reads it any more.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
// ANCHOR_END: main

// ANCHOR: demo
const SECOND: Duration = Duration::from_secs(1);

const LIMITS: ClientLimits = ClientLimits {
    connect: Duration::from_secs(4),
    request: Duration::from_secs(4),
    deadline: Duration::from_secs(30),
    attempts: 1,
    base: Duration::from_millis(100),
    cap: SECOND,
};

const PEER: PeerLimits =
    PeerLimits { heartbeat: SECOND, frame: SECOND, write: SECOND };

/// A client that can be sure, one that trusts others, and one that wants
/// somebody else.
async fn demo() -> Result<()> {
    let (from, to) = validity(1);
    let make = || certificates::make(&["127.0.0.1".to_owned()], from, to);
    let (ours, others) = (make()?, make()?);
    let tls = tls::acceptor(ours.server.as_bytes(), ours.key.as_bytes())?;
    let shared = share(tls, SECOND);
    let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    say("client 1: trusts the CA that signed the server's certificate");
    meet(&listener, &shared, 1, &ours.ca, "127.0.0.1").await?;
    say("client 2: trusts another CA");
    meet(&listener, &shared, 2, &others.ca, "127.0.0.1").await?;
    say("client 3: trusts the right CA, but looks for bank.example");
    meet(&listener, &shared, 3, &ours.ca, "bank.example").await?;

    say("\nNow you, in two terminals:");
    say("  cargo run -p tls -- certificates");
    say("  cargo run -p tls -- server");
    say("  cargo run -p tls -- client hello");
    Ok(())
}

/// Lets client `n` ask the server once. When both are done, says what came.
async fn meet(
    listener: &TcpListener,
    shared: &Requests,
    n: u8,
    ca: &str,
    name: &str,
) -> Result<()> {
    let addr = listener.local_addr()?;
    let name = ServerName::try_from(name.to_owned())?;
    let tls = tls::connector(ca.as_bytes())?;
    let mut client = Client::new(Target { addr, name, tls }, LIMITS, PEER);
    let drain = Drain::new(ServerLimits { connections: 1, drain: SECOND });
    let serve = async {
        let (stream, peer) = listener::accept(listener).await;
        let slot = drain.slot().context("no slot")?;
        server::serve(stream, peer, PEER, Arc::clone(shared), slot).await;
        anyhow::Ok(())
    };
    let ask = async {
        let reply = client.ask(b"hello", drop).await;
        client.close().await;
        reply
    };
    let (served, reply) = tokio::join!(serve, ask);
    served?;
    match reply {
        Ok(reply) => {
            let reply = String::from_utf8(reply)?;
            say(format!("client {n}: received {reply:?}"));
        }
        Err(error) => say(format!("client {n}: {error:#}")),
    }
    Ok(())
}
// ANCHOR_END: demo

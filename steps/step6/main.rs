//! Step 6: heartbeat.
//!
//! Either end asks a silent peer for a sign of life, and gives up on one that
//! gives none.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run --bin step6
//!
//! The same in two terminals:
//!
//!     cargo run --bin step6 -- server
//!     cargo run --bin step6 -- client

mod client;
mod connection;
mod frame;
mod heartbeat;
mod limits;
mod listener;
mod messages;
mod retry;
mod server;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, stdin};
use tokio::net::TcpStream;

use client::Client;
use frame::{MAX_PAYLOAD, PING, PONG, WORK, WORK_REPLY};
use limits::{ClientLimits, PeerLimits};
use messages::Messages;
use retry::Outcome;

// ANCHOR: args
/// Step 6: a server and a client that know whether the other one lives
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
    /// Wait for clients, echo their messages; stop with Ctrl-C
    Server {
        #[command(flatten)]
        address: Address,
        #[command(flatten)]
        limits: PeerLimits,
    },
    /// Send messages to the server and print the replies
    Client {
        #[command(flatten)]
        address: Address,
        /// What to send, a message each; without any, each line of stdin
        #[arg(value_name = "TEXT")]
        texts: Vec<OsString>,
        #[command(flatten)]
        limits: ClientLimits,
        #[command(flatten)]
        peer: PeerLimits,
    },
}

#[derive(clap::Args)]
struct Address {
    /// The server's address (to listen: 0.0.0.0 is all, port 0 a free one)
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
    addr: SocketAddr,
}
// ANCHOR_END: args

// ANCHOR: main
#[tokio::main]
async fn main() {
    let outcome = match Args::parse().command {
        None => demo().await,
        Some(Command::Server { address, limits }) => {
            run_server(address.addr, limits).await
        }
        Some(Command::Client { address, texts, limits, peer }) => {
            run_client(Client::new(address.addr, limits, peer), texts).await
        }
    };
    if let Err(error) = outcome {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        // Exit instead of returning: dropping the runtime would wait for a
        // pending read of stdin.
        std::process::exit(Outcome::of(&error).map_or(1, |o| o as i32));
    }
}

async fn run_server(addr: SocketAddr, limits: PeerLimits) -> Result<()> {
    let listener = listener::bind(addr)?;
    say(format!("listening on {}", listener.local_addr()?));
    server::run(listener, limits).await;
    Ok(())
}

async fn run_client(mut client: Client, texts: Vec<OsString>) -> Result<()> {
    let mut messages = if texts.is_empty() {
        Messages::Lines(BufReader::new(stdin()))
    } else {
        Messages::Given(texts.into_iter())
    };
    let (mut message, mut n) = (Vec::new(), 0);
    let report = |line| drop(writeln!(std::io::stderr(), "{line}"));
    while client.meanwhile(messages.next(&mut message), report).await? {
        n += 1;
        let fits = message.len() <= MAX_PAYLOAD;
        ensure!(fits, "message {n} is larger than {MAX_PAYLOAD} bytes");
        let mut line = client.ask(&message, report).await?;
        line.push(b'\n');
        let printed = std::io::stdout().write_all(&line);
        printed.context("cannot print the reply")?;
    }
    Ok(())
}

/// Prints one line. If its reader is gone (as in `server | head -1`), the line
/// is lost and the program carries on, where `println!` would panic. If its
/// reader is there and does not read, printing waits, and the program with it.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
// ANCHOR_END: main

// ANCHOR: demo
const LIMITS: PeerLimits = PeerLimits {
    heartbeat: Duration::from_millis(600),
    frame: Duration::from_secs(10),
    write: Duration::from_secs(10),
};

/// A client that answers the server's PING while it waits for a slow reply, and
/// then one that does not, because nothing runs there any more.
async fn demo() -> Result<()> {
    let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let (stream, peer) = listener::accept(&listener).await;
        server::serve(stream, peer, LIMITS).await;
    });
    say(format!("client: asks {addr} for work that takes a second"));
    let mut stream = TcpStream::connect(addr).await?;
    let mut request = Vec::new();
    let second = 1000u32.to_be_bytes();
    frame::encode(WORK, &[&second[..], b"done"].concat(), &mut request)?;
    stream.write_all(&request).await?;

    let ping = read_frame(&mut stream, PING).await?;
    say("client: received a PING, and answers with PONG");
    let mut pong = Vec::new();
    frame::encode(PONG, &ping, &mut pong)?;
    stream.write_all(&pong).await?;
    let reply = read_frame(&mut stream, WORK_REPLY).await?;
    say(format!("client: received {:?}", String::from_utf8_lossy(&reply)));

    read_frame(&mut stream, PING).await?;
    say("client: received a PING, and hangs");
    ensure!(stream.read(&mut [0]).await? == 0, "the server spoke again");
    say("client: the server has closed the connection");
    server.await?;

    say("\nNow you, in two terminals:");
    say("  cargo run --bin step6 -- server --heartbeat-ms 2000");
    say("  cargo run --bin step6 -- client --heartbeat-ms 2000");
    Ok(())
}

/// Reads a frame of this kind and returns its payload.
async fn read_frame(stream: &mut TcpStream, kind: u8) -> Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await?;
    ensure!(frame[0] == kind, "not a frame of kind {kind:02x}");
    Ok(frame[1..].to_vec())
}
// ANCHOR_END: demo

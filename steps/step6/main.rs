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
mod replies;
mod retry;
mod server;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use tokio::io::{BufReader, stdin};
use tokio::time::sleep;

use client::Client;
use frame::MAX_PAYLOAD;
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
const SECOND: Duration = Duration::from_secs(1);

const LIMITS: ClientLimits = ClientLimits {
    connect: Duration::from_secs(4),
    request: SECOND,
    deadline: Duration::from_secs(30),
    attempts: 5,
    base: Duration::from_millis(100),
    cap: SECOND,
};

/// A client that says nothing for a second, but answers PINGs, and then one
/// that does not even answer those, because it hangs.
async fn demo() -> Result<()> {
    let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = listener.local_addr()?;
    let heartbeat = Duration::from_millis(300);
    let peer = PeerLimits { heartbeat, frame: SECOND, write: SECOND };
    let server = tokio::spawn(async move {
        let (stream, addr) = listener::accept(&listener).await;
        server::serve(stream, addr, peer).await;
    });
    let mut client = Client::new(addr, LIMITS, peer);
    let report = |line| say(format!("client: {line}"));

    report(format!("asks {addr}"));
    let reply = client.ask(b"hello", report).await?;
    report(format!("received {:?}", String::from_utf8_lossy(&reply)));
    report("asks nothing for a second, and answers PINGs".to_owned());
    client.meanwhile(sleep(SECOND), report).await;
    let reply = client.ask(b"still here", report).await?;
    report(format!("received {:?}", String::from_utf8_lossy(&reply)));
    report("hangs, and does not answer PINGs any more".to_owned());
    server.await?;

    say("\nNow you, in two terminals:");
    say("  cargo run --bin step6 -- server --heartbeat-ms 2000");
    say("  cargo run --bin step6 -- client --heartbeat-ms 2000");
    Ok(())
}
// ANCHOR_END: demo

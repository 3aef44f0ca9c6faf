//! Step 8: limits and a graceful stop.
//!
//! A server that says no when it is full, and goodbye when it has to stop.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run --bin step8
//!
//! The same in two terminals:
//!
//!     cargo run --bin step8 -- server --max-conns 1
//!     cargo run --bin step8 -- client

mod client;
mod connection;
mod drain;
mod frame;
mod heartbeat;
mod journal;
mod ledger;
mod limits;
mod listener;
mod messages;
mod replies;
mod retry;
mod server;

use std::ffi::OsString;
use std::fmt::Display;
use std::future::pending;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use tokio::io::{BufReader, stdin};
use tokio::select;
use tokio::sync::mpsc;

use client::{Client, Request};
use drain::{Drain, Stops};
use frame::MAX_PAYLOAD;
use journal::Journal;
use ledger::{Ledger, Operation};
use limits::{ClientLimits, PeerLimits, ServerLimits};
use messages::Messages;
use retry::Outcome;

// ANCHOR: args
/// Step 8: a server that says no, and one that says goodbye
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
    /// Wait for clients, echo their messages; Ctrl-C stops it, twice at once
    Server {
        #[command(flatten)]
        address: Address,
        #[command(flatten)]
        limits: PeerLimits,
        #[command(flatten)]
        own: ServerLimits,
        /// Keep all operations in this file, and survive a crash
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
    },
    /// Send messages or operations to the server and print the replies
    Client {
        #[command(flatten)]
        address: Address,
        /// What to send, a message each; without any, each line of stdin
        #[arg(value_name = "TEXT")]
        texts: Vec<OsString>,
        #[command(flatten)]
        adds: Adds,
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

/// Operations: what they add, and the identity that they keep when they are
/// sent again.
#[derive(clap::Args)]
struct Adds {
    /// Add this to your total, instead; you may repeat the option
    #[arg(long, value_name = "AMOUNT", conflicts_with = "texts")]
    #[arg(allow_hyphen_values = true)]
    add: Vec<i64>,
    /// Whose total it is; without it, a random one
    #[arg(long, value_name = "ID", env = "TCP_CLIENT_ID")]
    client_id: Option<u64>,
    /// The number of the first operation; the next one has the next number
    #[arg(long, value_name = "N", env = "TCP_SEQ", default_value = "1")]
    seq: u64,
}
// ANCHOR_END: args

/// How many operations may wait for the ledger. When there are more, their
/// connections wait, too, and neither read nor write meanwhile.
const WAITING: usize = 64 * 1024;

// ANCHOR: main
#[tokio::main]
async fn main() {
    let outcome = match Args::parse().command {
        None => demo().await,
        Some(Command::Server { address, limits, own, journal }) => {
            run_server(address.addr, limits, own, journal).await
        }
        Some(Command::Client { address, texts, adds, limits, peer }) => {
            let client = Client::new(address.addr, limits, peer);
            if adds.add.is_empty() {
                run_client(client, texts).await
            } else {
                run_adds(client, adds).await
            }
        }
    };
    let code = match outcome {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            Outcome::of(&error).map_or(1, |o| o as i32)
        }
    };
    // Exit instead of returning: dropping the runtime would wait for a pending
    // read of stdin, or for a slow disk.
    std::process::exit(code);
}

async fn run_server(
    addr: SocketAddr,
    limits: PeerLimits,
    own: ServerLimits,
    path: Option<PathBuf>,
) -> Result<()> {
    let mut ledger = Ledger::default();
    let mut journal = None;
    let mut note = "no --journal: a restart forgets all totals".to_owned();
    if let Some(path) = path {
        let what = || format!("cannot use the journal {}", path.display());
        let opened = Journal::open(&path, &mut ledger).with_context(what)?;
        journal = Some(opened.0);
        note = match opened.1 {
            0 => "the journal is whole".to_owned(),
            n => format!("cut a torn record of {n} bytes off the journal"),
        };
    }
    let stops = Stops::new()?; // before we say that we listen
    let listener = listener::bind(addr)?;
    say(format!("listening on {}", listener.local_addr()?));
    say(note);
    let (requests, receiver) = mpsc::channel(WAITING);
    // In a task of its own: a slow disk delays neither accept nor a signal.
    let ledger = tokio::spawn(journal::run(ledger, journal, receiver));
    select! {
        biased; // an error of the ledger comes first: it tells why
        end = ledger => end?,
        end = drain::serve(listener, limits, requests, own, stops) => end,
    }
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
        print(client.ask(Request::Echo(&message), report).await?)?;
    }
    Ok(())
}

async fn run_adds(mut client: Client, adds: Adds) -> Result<()> {
    let report = |line| drop(writeln!(std::io::stderr(), "{line}"));
    let id = adds.client_id.unwrap_or_else(rand::random);
    for (n, amount) in (0..).zip(adds.add) {
        let seq = adds.seq.checked_add(n).context("the numbers are used up")?;
        let operation = Operation { client: id, seq, amount };
        let total = client.ask(Request::Add(operation), report).await;
        let name = || format!("operation {seq} of client {id}");
        print(total.with_context(name)?)?;
    }
    Ok(())
}

fn print(mut line: Vec<u8>) -> Result<()> {
    line.push(b'\n');
    let printed = std::io::stdout().write_all(&line);
    printed.context("cannot print the reply")
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
    attempts: 1,
    base: Duration::from_millis(100),
    cap: SECOND,
};

/// A server with one slot says no to a second client, and goodbye to the first.
async fn demo() -> Result<()> {
    let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = listener.local_addr()?;
    let peer = PeerLimits { heartbeat: SECOND, frame: SECOND, write: SECOND };
    let (requests, receiver) = mpsc::channel(WAITING);
    tokio::spawn(journal::run(Ledger::default(), None, receiver));
    let drain = Drain::new(ServerLimits { connections: 1, drain: SECOND });
    let mut first = Client::new(addr, LIMITS, peer);
    let mut second = Client::new(addr, LIMITS, peer);
    select! {
        () = server::run(&listener, peer, &requests, &drain) => {}
        end = ask_both(&mut first, &mut second) => end?,
    }
    say("server: stopping, and says so to client 1");
    let left = select! {
        left = drain.drain() => left,
        left = first.meanwhile(pending(), drop) => left,
    };
    say(format!("server: stopped, {left} clients cut off"));

    say("\nNow you, in two terminals:");
    say("  cargo run --bin step8 -- server --max-conns 1");
    say("  cargo run --bin step8 -- client");
    Ok(())
}

async fn ask_both(first: &mut Client, second: &mut Client) -> Result<()> {
    let hello = Request::Echo(b"hello");
    say("client 1: asks");
    let reply = first.ask(hello, drop).await?;
    say(format!("client 1: received {:?}", String::from_utf8(reply)?));
    say("client 2: asks");
    let report = |line| say(format!("client 2: {line}"));
    let refused = second.ask(hello, report).await;
    ensure!(refused.is_err(), "client 2 was served");
    Ok(())
}
// ANCHOR_END: demo

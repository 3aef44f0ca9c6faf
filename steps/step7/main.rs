//! Step 7: acknowledge and resend.
//!
//! A client gives each operation an identity, so that to ask again is harmless:
//! the server keeps a ledger of what it has done, if you like in a journal on
//! disk.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run --bin step7
//!
//! The same in two terminals:
//!
//!     cargo run --bin step7 -- server --journal journal.bin
//!     cargo run --bin step7 -- client --add 5 --add 7

mod client;
mod connection;
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
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use tokio::io::{BufReader, stdin};
use tokio::sync::mpsc;

use client::{Client, Request};
use frame::MAX_PAYLOAD;
use journal::Journal;
use ledger::{Ledger, Operation};
use limits::{ClientLimits, PeerLimits};
use messages::Messages;
use retry::Outcome;

// ANCHOR: args
/// Step 7: a server and a client that do nothing twice
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
        Some(Command::Server { address, limits, journal }) => {
            run_server(address.addr, limits, journal).await
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
    if let Err(error) = outcome {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        // Exit instead of returning: dropping the runtime would wait for a
        // pending read of stdin.
        std::process::exit(Outcome::of(&error).map_or(1, |o| o as i32));
    }
}

async fn run_server(
    addr: SocketAddr,
    limits: PeerLimits,
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
    let listener = listener::bind(addr)?;
    say(format!("listening on {}", listener.local_addr()?));
    say(note);
    let (requests, receiver) = mpsc::channel(WAITING);
    // In a task of its own, so that it accepts while the journal syncs.
    tokio::spawn(server::run(listener, limits, requests));
    journal::run(ledger, journal, receiver).await
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
    attempts: 5,
    base: Duration::from_millis(100),
    cap: SECOND,
};

/// A client that asks again, as it would if the first reply had been lost.
async fn demo() -> Result<()> {
    let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = listener.local_addr()?;
    let peer = PeerLimits { heartbeat: SECOND, frame: SECOND, write: SECOND };
    let (requests, receiver) = mpsc::channel(WAITING);
    tokio::spawn(journal::run(Ledger::default(), None, receiver));
    let server = tokio::spawn(async move {
        let (stream, addr) = listener::accept(&listener).await;
        server::serve(stream, addr, peer, requests).await;
    });
    let mut client = Client::new(addr, LIMITS, peer);
    for (seq, amount) in [(1, 5), (1, 5), (2, 7)] {
        say(format!("client: asks to add {amount}, as operation {seq}"));
        let operation = Operation { client: 1, seq, amount };
        let total = client.ask(Request::Add(operation), drop).await?;
        say(format!("client: the total is {}", String::from_utf8(total)?));
    }
    drop(client); // which closes its connection
    server.await?;

    say("\nNow you, in two terminals:");
    say("  cargo run --bin step7 -- server --journal journal.bin");
    say("  cargo run --bin step7 -- client --add 5 --add 7");
    Ok(())
}
// ANCHOR_END: demo

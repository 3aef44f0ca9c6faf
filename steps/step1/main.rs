// ANCHOR: header
//! Step 1: bind and accept.
//!
//! A server waits for clients and greets them, one after another.
//! A client sends a text and prints the answer.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run --bin step1
//!
//! The same in two terminals:
//!
//!     cargo run --bin step1 -- server
//!     cargo run --bin step1 -- client 'Hello, Server!'

mod client;
mod listener;
mod server;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tokio::io::{AsyncReadExt, stdin, stdout};
// ANCHOR_END: header

// ANCHOR: args
/// Step 1: a server that greets its clients, one after another
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
    /// Wait for clients, greet each of them; stop with Ctrl-C
    Server {
        #[command(flatten)]
        address: Address,
    },
    /// Send a text to the server and print the answer
    Client {
        #[command(flatten)]
        address: Address,
        /// What to send; without it, everything that stdin gives
        text: Option<OsString>,
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
        Some(Command::Server { address }) => run_server(address.addr).await,
        Some(Command::Client { address, text }) => {
            run_client(address.addr, text).await
        }
    };
    if let Err(error) = outcome {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        std::process::exit(1);
    }
}

async fn run_server(addr: SocketAddr) -> Result<()> {
    let listener = listener::bind(addr)?;
    say(format!("listening on {}", listener.local_addr()?));
    server::run(listener).await;
    Ok(())
}

async fn run_client(addr: SocketAddr, text: Option<OsString>) -> Result<()> {
    let stream = client::connect(addr).await?;
    let mut bytes = Vec::new();
    if let Some(text) = text {
        bytes.extend_from_slice(text.as_encoded_bytes());
    } else {
        let read = stdin().read_to_end(&mut bytes).await;
        read.context("cannot read the text")?;
    }
    let outcome = client::talk(stream, &bytes, stdout()).await;
    if std::io::stdout().is_terminal() {
        say(""); // what follows the answer starts on a line of its own
    }
    outcome
}

/// Prints one line. If its reader is gone (as in `server | head -1`), the line
/// is lost and the program carries on, where `println!` would panic. If its
/// reader is there and does not read, printing waits, and the program with it.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
// ANCHOR_END: main

// ANCHOR: demo
/// Each end says what it is about to do before it does it, and what it saw
/// after it, so the lines come in the same order in every run.
async fn demo() -> Result<()> {
    let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = listener.local_addr()?;
    say(format!("listening on {addr}"));
    tokio::spawn(server::run(listener));

    for text in ["Hello, Server!", "Is it my turn?"] {
        say(format!("client: connects and sends {text:?}"));
        let stream = client::connect(addr).await?;
        let mut answer = Vec::new();
        client::talk(stream, text.as_bytes(), &mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        say(format!("client: received {answer:?}, then the end"));
    }

    say("\nNow you, in two terminals:");
    say("  cargo run --bin step1 -- server");
    say("  cargo run --bin step1 -- client 'Hello, Server!'");
    Ok(())
}
// ANCHOR_END: demo

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
mod server;

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::io::{stdin, stdout};
// ANCHOR_END: header

// ANCHOR: args
/// Step 1: a server that greets its clients, one after another
///
/// Without a command it plays a demo: both ends in one process, on a free port.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Wait for clients, greet each of them; stop with Ctrl-C
    Server {
        /// Where to listen; 0.0.0.0 is every network, port 0 any free port
        #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
        addr: SocketAddr,
    },
    /// Send a text to the server and print the answer
    Client {
        /// Where the server listens
        #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
        addr: SocketAddr,
        /// What to send; without it, everything that stdin gives
        text: Option<String>,
    },
}
// ANCHOR_END: args

// ANCHOR: main
#[tokio::main]
async fn main() {
    let outcome = match Args::parse().command {
        None => demo().await,
        Some(Command::Server { addr }) => run_server(addr).await,
        Some(Command::Client { addr, text }) => run_client(addr, text).await,
    };
    if let Err(error) = outcome {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        // Not a return: that would wait for a read of stdin under way.
        std::process::exit(1);
    }
}

async fn run_server(addr: SocketAddr) -> Result<()> {
    let listener = server::bind(addr)?;
    say(format!("listening on {}", listener.local_addr()?));
    server::run(listener).await;
    Ok(())
}

async fn run_client(addr: SocketAddr, text: Option<String>) -> Result<()> {
    let stream = client::connect(addr).await?;
    let outcome = match text {
        Some(text) => client::talk(stream, text.as_bytes(), stdout()).await,
        None => client::talk(stream, stdin(), stdout()).await,
    };
    if std::io::stdout().is_terminal() {
        say(""); // what follows the answer starts on a line of its own
    }
    outcome
}

/// Prints one line. When its reader is gone (as in `server | head -1`) the
/// line is lost and the program goes on, where `println!` would panic.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
// ANCHOR_END: main

// ANCHOR: demo
/// Each end says what it will do before it does it, and what it saw after:
/// so the lines come in the same order in every run.
async fn demo() -> Result<()> {
    let listener = server::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
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

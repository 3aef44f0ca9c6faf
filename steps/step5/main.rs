//! Step 5: time limits and retry.
//!
//! The server gives a client so much time and no more. The client does the
//! same, and asks again when that may help and cannot harm.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run --bin step5
//!
//! The same in two terminals:
//!
//!     cargo run --bin step5 -- server
//!     cargo run --bin step5 -- client one two three

mod answer;
mod client;
mod demo;
mod frame;
mod limits;
mod messages;
mod replies;
mod retry;
mod server;
mod timer;

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::io::{BufReader, stdin, stdout};

use client::Client;
use limits::{ClientLimits, ServerLimits};
use messages::Messages;
use retry::Failure;

// ANCHOR: args
/// Step 5: a server and a client that do not wait for ever
///
/// Without a command it plays a demo: both ends in one process, on a free port.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Wait for clients, echo their messages; stop with Ctrl-C
    Server {
        /// Where to listen; 0.0.0.0 is every network, port 0 any free port
        #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
        addr: SocketAddr,
        #[command(flatten)]
        limits: ServerLimits,
    },
    /// Send messages to the server and print the replies
    Client {
        /// Where the server listens
        #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
        addr: SocketAddr,
        /// What to send, a message each; without any, each line of stdin
        #[arg(value_name = "TEXT")]
        texts: Vec<String>,
        #[command(flatten)]
        limits: ClientLimits,
    },
}
// ANCHOR_END: args

// ANCHOR: main
#[tokio::main]
async fn main() {
    let outcome = match Args::parse().command {
        None => demo::demo().await.map_err(Failure::Local),
        Some(Command::Server { addr, limits }) => {
            run_server(addr, limits).await.map_err(Failure::Local)
        }
        Some(Command::Client { addr, texts, limits }) => {
            run_client(addr, texts, limits).await
        }
    };
    if let Err(failure) = outcome {
        let _ = writeln!(std::io::stderr(), "error: {failure}");
        // A script can tell from it what the failure means.
        std::process::exit(failure.exit_code());
    }
}

async fn run_server(addr: SocketAddr, limits: ServerLimits) -> Result<()> {
    let listener = server::bind(addr)?;
    say(format!("listening on {}", listener.local_addr()?));
    server::run(listener, limits).await;
    Ok(())
}

async fn run_client(
    addr: SocketAddr,
    texts: Vec<String>,
    limits: ClientLimits,
) -> Result<(), Failure> {
    let is_typed = texts.is_empty();
    let mut messages = match is_typed {
        true => Messages::Lines(BufReader::with_capacity(64 * 1024, stdin())),
        false => Messages::Given(texts.into_iter()),
    };
    let mut client = Client::new(addr, limits);
    loop {
        let requests = messages.batch().await.map_err(Failure::Local)?;
        if requests.is_empty() {
            return Ok(());
        }
        if is_typed {
            client.restart(); // the time before was that of who types
        }
        let report = |line| drop(writeln!(std::io::stderr(), "{line}"));
        client.ask(&requests, stdout(), report).await?;
    }
}

/// Prints one line. When its reader is gone (as in `server | head -1`) the
/// line is lost and the program goes on, where `println!` would panic.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
// ANCHOR_END: main

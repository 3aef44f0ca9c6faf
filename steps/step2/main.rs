//! Step 2: echo.
//!
//! The server sends every byte back as soon as it arrives, until the client
//! ends its stream. The client sends and receives at the same time.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run --bin step2
//!
//! The same in two terminals:
//!
//!     cargo run --bin step2 -- server
//!     cargo run --bin step2 -- client 'Hello, echo!'

mod client;
mod listener;
mod server;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::io::{AsyncReadExt, AsyncWriteExt, stdin, stdout};
use tokio::net::TcpStream;

// ANCHOR: args
/// Step 2: a server that echoes what its clients send, one after another
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
    /// Wait for clients, echo what they send; stop with Ctrl-C
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
        // Exit instead of returning: dropping the runtime would wait for a
        // pending read of stdin.
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
    let outcome = if let Some(text) = text {
        client::talk(stream, text.as_encoded_bytes(), stdout()).await
    } else {
        client::talk(stream, stdin(), stdout()).await
    };
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

    let mut a = start("A", addr, "one").await?;
    receive("A", &mut a, 3).await?;
    let mut b = start("B", addr, "two").await?;
    send("A", &mut a, "three").await?;
    receive("A", &mut a, 5).await?;
    end("A", a).await?;
    receive("B", &mut b, 3).await?;
    end("B", b).await?;

    say("\nNow you, in two terminals:");
    say("  cargo run --bin step2 -- server");
    say("  cargo run --bin step2 -- client 'Hello, echo!'");
    Ok(())
}

async fn start(name: &str, addr: SocketAddr, text: &str) -> Result<TcpStream> {
    say(format!("client {name}: connects and sends {text:?}"));
    let mut stream = client::connect(addr).await?;
    stream.write_all(text.as_bytes()).await?;
    Ok(stream)
}

async fn send(name: &str, stream: &mut TcpStream, text: &str) -> Result<()> {
    say(format!("client {name}: sends {text:?}"));
    stream.write_all(text.as_bytes()).await?;
    Ok(())
}

async fn receive(name: &str, stream: &mut TcpStream, n: usize) -> Result<()> {
    let mut echo = vec![0; n];
    stream.read_exact(&mut echo).await?;
    let echo = String::from_utf8_lossy(&echo);
    say(format!("client {name}: received {echo:?}"));
    Ok(())
}

async fn end(name: &str, mut stream: TcpStream) -> Result<()> {
    say(format!("client {name}: ends"));
    stream.shutdown().await?;
    stream.read_to_end(&mut Vec::new()).await?; // the server has ended
    Ok(())
}
// ANCHOR_END: demo

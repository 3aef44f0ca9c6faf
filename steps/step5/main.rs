//! Step 5: time limits and retry.
//!
//! The server gives a client limited time. The client does the same with the
//! server, and asks again where that may help and cannot harm.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run --bin step5
//!
//! The same in two terminals:
//!
//!     cargo run --bin step5 -- server
//!     cargo run --bin step5 -- client one two three

mod client;
mod frame;
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
use tokio::io::{BufReader, stdin};
use tokio::net::{TcpListener, TcpSocket};

use client::Client;
use frame::MAX_PAYLOAD;
use limits::{ClientLimits, ServerLimits};
use messages::Messages;
use retry::Outcome;

// ANCHOR: args
/// Step 5: a server and a client that do not wait forever
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
        limits: ServerLimits,
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
        Some(Command::Client { address, texts, limits }) => {
            run_client(Client::new(address.addr, limits), texts).await
        }
    };
    if let Err(error) = outcome {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        // Exit instead of returning: dropping the runtime would wait for a
        // pending read of stdin.
        std::process::exit(Outcome::of(&error).map_or(1, |o| o as i32));
    }
}

async fn run_server(addr: SocketAddr, limits: ServerLimits) -> Result<()> {
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
    while messages.next(&mut message).await? {
        n += 1;
        let fits = message.len() <= MAX_PAYLOAD;
        ensure!(fits, "message {n} is larger than {MAX_PAYLOAD} bytes");
        let report = |line| drop(writeln!(std::io::stderr(), "{line}"));
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

/// At first no server listens, then one that never answers, then one that does.
/// Each change comes when the client tells of a failure.
async fn demo() -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = socket.local_addr()?;
    say(format!("client: asks {addr}, where no server listens yet"));

    let (mut socket, mut server) = (Some(socket), None);
    let report = |line| {
        say(format!("client: {line}"));
        let Some(socket) = socket.take() else { return };
        let listener = socket.listen(8);
        say("server: listens, and leaves its first client alone");
        server = Some(listener.map(|it| tokio::spawn(serve_second(it))));
    };
    let mut client = Client::new(addr, LIMITS);
    let reply = client.ask(b"hello", report).await?;
    drop(client); // which closes its connection
    server.context("no server was needed")??.await??;
    say(format!("client: received {:?}", String::from_utf8_lossy(&reply)));

    say("\nNow you, in two terminals:");
    say("  cargo run --bin step5 -- server");
    say("  cargo run --bin step5 -- client one two three");
    Ok(())
}

/// Accepts two clients and serves only the second.
async fn serve_second(listener: TcpListener) -> Result<()> {
    let _ignored = listener.accept().await?;
    let (stream, peer) = listener.accept().await?;
    let limits = ServerLimits { idle: SECOND, frame: SECOND, write: SECOND };
    server::serve(stream, peer, limits).await;
    Ok(())
}
// ANCHOR_END: demo

//! Step 4: frames.
//!
//! Each message has its length in front, so that it arrives as it was sent,
//! however the network slices or merges the bytes.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run --bin step4
//!
//! The same in two terminals:
//!
//!     cargo run --bin step4 -- server
//!     cargo run --bin step4 -- client one two three

mod client;
mod frame;
mod listener;
mod messages;
mod server;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, stdin, stdout};
use tokio::net::TcpStream;

use frame::ECHO;
use messages::Messages;

// ANCHOR: args
/// Step 4: a server that echoes messages, however their bytes arrive
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
    },
    /// Send messages to the server and print the replies
    Client {
        #[command(flatten)]
        address: Address,
        /// What to send, a message each; without any, each line of stdin
        #[arg(value_name = "TEXT")]
        texts: Vec<OsString>,
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
        Some(Command::Client { address, texts }) => {
            run_client(address.addr, texts).await
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

async fn run_client(addr: SocketAddr, texts: Vec<OsString>) -> Result<()> {
    let stream = client::connect(addr).await?;
    let messages = if texts.is_empty() {
        Messages::Lines(BufReader::new(stdin()))
    } else {
        Messages::Given(texts.into_iter())
    };
    client::talk(stream, messages, stdout()).await
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

    let mut frames = Vec::new();
    for text in ["one", "two", "three"] {
        frame::encode(ECHO, text.as_bytes(), &mut frames)?;
    }
    say("client: connects, and sends 3 frames in one write:");
    say(format!("    {}", hex(&frames)));
    let mut stream = client::connect(addr).await?;
    stream.set_nodelay(true)?; // each write leaves by itself
    stream.write_all(&frames).await?;
    receive(&mut stream, frames.len() as u64).await?;
    say("client: sends 1 frame in 8 writes:");
    say(format!("    {}", hex(&frames[..8])));
    for byte in &frames[..8] {
        stream.write_all(&[*byte]).await?;
    }
    receive(&mut stream, 8).await?;
    say("client: sends a length that nobody should believe: ff ff ff ff");
    stream.write_all(&[0xff; 4]).await?;
    receive(&mut stream, u64::MAX).await?;

    say("\nNow you, in two terminals:");
    say("  cargo run --bin step4 -- server");
    say("  cargo run --bin step4 -- client one two three");
    Ok(())
}

/// Shows the next `n` bytes, or those until the server ends.
async fn receive(stream: &mut TcpStream, n: u64) -> Result<()> {
    let mut reply = Vec::new();
    stream.take(n).read_to_end(&mut reply).await?;
    say("client: received");
    for line in reply.chunks(16) {
        say(format!("    {:47}  {}", hex(line), line.escape_ascii()));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    bytes.join(" ")
}
// ANCHOR_END: demo

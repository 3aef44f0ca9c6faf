//! A web server by hand: HTTP/1.1 on the sockets of the steps.
//!
//! A head is framing by a mark, a body is framing by a length, and what keeps
//! the server alive is what kept the steps alive: step 5's limits, step 8's
//! slots and its stop.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run -p web
//!
//! This book in your browser (after `cargo run -p book`):
//!
//!     cargo run -p web -- target/book
//!     curl -v http://127.0.0.1:8888/

#[path = "../step8/drain.rs"]
mod drain;
mod files;
mod http;
mod limits;
#[path = "../step8/listener.rs"]
mod listener;
mod server;

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::select;

use drain::{Drain, Stops};
use limits::{PeerLimits, ServerLimits};

// ANCHOR: main
/// A web server for the files of one folder
///
/// Without a folder it plays a demo: both ends in one process, on a free port.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The folder to serve; Ctrl-C stops the server, and a second Ctrl-C does
    /// not wait for its clients
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The server's address (0.0.0.0 is all, port 0 a free one)
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
    addr: SocketAddr,
    #[command(flatten)]
    limits: PeerLimits,
    #[command(flatten)]
    own: ServerLimits,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let outcome = match &args.folder {
        None => demo().await,
        Some(folder) => serve(folder, &args).await,
    };
    if let Err(error) = outcome {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        std::process::exit(1);
    }
}

async fn serve(folder: &Path, args: &Args) -> Result<()> {
    let root = Arc::new(files::root(folder)?);
    let stops = Stops::new()?; // before we say that we listen
    let listener = listener::bind(args.addr)?;
    let addr = listener.local_addr()?;
    say(format!("listening on {addr}, open http://{addr}/"));
    drain::serve(listener, args.limits, root, args.own, stops).await
}

/// Prints one line. If its reader is gone (as in `server | head -1`), the line
/// is lost and the program carries on, where `println!` would panic.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
// ANCHOR_END: main

// ANCHOR: demo
const SECOND: Duration = Duration::from_secs(1);
const LIMITS: PeerLimits =
    PeerLimits { idle: SECOND, request: SECOND, write: SECOND };

/// Two requests in one piece, one that could be read in two ways, a way out of
/// the folder, and a stop while a connection has nothing to do.
async fn demo() -> Result<()> {
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/pages");
    let root = Arc::new(files::root(Path::new(pages))?);
    let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = listener.local_addr()?;
    let drain = Drain::new(ServerLimits { connections: 4, drain: SECOND });
    let mut stays = select! {
        () = server::run(&listener, LIMITS, &root, &drain) => return Ok(()),
        end = ask(addr) => end?,
    };
    say("server: stopping");
    let left = drain.drain().await;
    let n = stays.read(&mut [0]).await?;
    say(format!("client 4: received {n} bytes, then the end"));
    say(format!("server: stopped, {left} clients cut off"));

    say("\nNow you, in two terminals:");
    say("  cargo run -p web -- target/book");
    say("  curl -v http://127.0.0.1:8888/");
    Ok(())
}

/// Asks all that the demo asks. Returns a connection that waits.
async fn ask(addr: SocketAddr) -> Result<TcpStream> {
    let host = "Host: demo\r\n";
    let two = format!(
        "HEAD / HTTP/1.1\r\n{host}\r\n\
         GET /hello.txt HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
    );
    talk(1, addr, "two requests in one piece", &two).await?;
    let smuggled = format!(
        "GET / HTTP/1.1\r\n{host}Content-Length: 0\r\nContent-Length: 24\r\n\
         \r\nGET /admin HTTP/1.1\r\nX: "
    );
    talk(2, addr, "a request with two lengths", &smuggled).await?;
    let way_out = format!(
        "GET /%2e%2e/Cargo.toml HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
    );
    talk(3, addr, "a path that leads out of the folder", &way_out).await?;
    say("client 4: asks, and keeps its connection for later, as browsers do");
    let mut stays = TcpStream::connect(addr).await?;
    stays
        .write_all(format!("HEAD / HTTP/1.1\r\n{host}\r\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        ensure!(stays.read_buf(&mut answer).await? > 0, "no whole answer");
    }
    say("client 4: received a whole answer");
    Ok(stays)
}

/// Sends `bytes` in one piece and prints what comes back, types aside.
async fn talk(n: u8, addr: SocketAddr, what: &str, bytes: &str) -> Result<()> {
    say(format!("client {n}: sends {what}"));
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(bytes.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    for line in answer.lines().filter(|line| !line.contains("-Type")) {
        say(format!("client {n}: | {line}"));
    }
    Ok(())
}
// ANCHOR_END: demo

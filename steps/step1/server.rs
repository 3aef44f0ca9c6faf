// ANCHOR: server
//! The server: it greets its clients, one after another.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{listener, say};

/// The most that the one `read` of this step takes, in bytes.
const MAX_REQUEST: usize = 1024;

const GREETING: &str = "Hello, client!";

// ANCHOR: run
/// Serves the clients of `listener`. It never returns.
pub async fn run(listener: TcpListener) {
    loop {
        let (stream, peer) = listener::accept(&listener).await;
        serve(stream, peer).await;
    }
}

/// Serves one client. An error of its connection is reported and ends here.
async fn serve(stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = greet(stream, peer).await {
        say(format!("server: {peer}: {error:#}"));
    }
}
// ANCHOR_END: run

// ANCHOR: greet
/// Reads once, prints what came, answers, and closes.
async fn greet(mut stream: TcpStream, peer: SocketAddr) -> Result<()> {
    let mut buffer = [0; MAX_REQUEST];
    let n = stream.read(&mut buffer).await.context("cannot read")?;
    // A client chose these bytes: {:?} escapes what a terminal would obey.
    let text = String::from_utf8_lossy(&buffer[..n]);
    say(format!("server: {peer} sent {n} bytes: {text:?}"));
    say(format!("server: answers {GREETING:?} and closes"));
    let answer = GREETING.as_bytes();
    stream.write_all(answer).await.context("cannot write")?;
    Ok(()) // `stream` is dropped here, which closes the connection
}
// ANCHOR_END: greet
// ANCHOR_END: server

//! The server: it echoes what its clients send, each one in its own task.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{listener, say};

/// The most that one `read` takes, in bytes.
const BUFFER: usize = 64 * 1024;

// ANCHOR: run
/// Serves the clients of `listener`. It never returns.
pub async fn run(listener: TcpListener) {
    loop {
        let (stream, peer) = listener::accept(&listener).await;
        tokio::spawn(serve(stream, peer));
    }
}

/// Serves one client. An error of its connection is reported and ends here.
async fn serve(mut stream: TcpStream, peer: SocketAddr) {
    say(format!("server: {peer} connected"));
    match echo(&mut stream).await {
        Ok(total) => say(format!("server: {peer} ended after {total} bytes")),
        Err(error) => say(format!("server: {peer}: {error:#}")),
    }
    // `stream` is dropped here, which closes it: after the line is printed.
}
// ANCHOR_END: run

// ANCHOR: echo
/// Sends every byte back as soon as it arrives, until the client's stream
/// ends. Returns how many bytes that were.
async fn echo(stream: &mut TcpStream) -> Result<usize> {
    // Otherwise Nagle's algorithm (RFC 9293 section 3.7.4) would hold a small
    // answer until the client has acknowledged the one before. If the option
    // cannot be set, the connection is already broken; `read` will say how.
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let n = stream.read(&mut buffer).await.context("cannot read")?;
        if n == 0 {
            return Ok(total); // the client has sent its FIN
        }
        let answer = &buffer[..n];
        stream.write_all(answer).await.context("cannot write")?;
        total += n;
    }
}
// ANCHOR_END: echo

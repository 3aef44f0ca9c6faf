// ANCHOR: connect
//! The client: it sends one text and prints the answer.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The most that one `read` takes, in bytes.
const BUFFER: usize = 16 * 1024;

/// Connects to the server at `addr`.
///
/// # Errors
/// No server listens there, or no answer comes.
pub async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect(addr).await.with_context(|| {
        format!("cannot connect to {addr} (is the server running?)")
    })
}
// ANCHOR_END: connect

// ANCHOR: talk
/// Sends `text` and ends our direction of the stream. Then copies what the
/// server answers to `output`, until the server closes.
///
/// # Errors
/// The connection broke, or `output` cannot be written.
pub async fn talk(
    mut stream: TcpStream,
    text: &[u8],
    output: impl AsyncWrite + Unpin,
) -> Result<()> {
    let sent = send(&mut stream, text).await;
    // Receive even if that failed: the server may have answered before it
    // closed.
    let received = receive(stream, output).await;
    sent.and(received)
}

async fn send(stream: &mut TcpStream, text: &[u8]) -> Result<()> {
    stream.write_all(text).await.context("cannot send")?;
    stream.shutdown().await.context("cannot end the request")
}

/// Copies everything that the server sends to `output`, until its stream ends.
async fn receive(
    mut stream: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = stream.read(&mut buffer).await.context("cannot receive")?;
        if n == 0 {
            return Ok(()); // the server has closed
        }
        let printed = output.write_all(&buffer[..n]).await;
        printed.context("cannot print the answer")?;
        output.flush().await.context("cannot print the answer")?;
    }
}
// ANCHOR_END: talk

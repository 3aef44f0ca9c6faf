// ANCHOR: connect
//! The client: it sends one text and prints the answer.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::TcpStream;

/// Connects to the server at `addr`.
///
/// # Errors
/// Nobody listens there, or nobody answers.
pub async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect(addr).await.with_context(|| {
        format!("cannot connect to {addr} (is the server running?)")
    })
}
// ANCHOR_END: connect

// ANCHOR: talk
/// Sends all of `input`, tells the server that this was all, and copies what
/// the server answers to `output`, until the server closes.
///
/// # Errors
/// The connection broke, `input` cannot be read or `output` be written.
pub async fn talk(
    mut stream: TcpStream,
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> Result<()> {
    copy(&mut input, &mut stream).await.context("cannot send")?;
    stream.shutdown().await.context("cannot end the request")?;

    let received = copy(&mut stream, &mut output).await;
    // Also when the connection broke: what came before that is printed.
    output.flush().await.context("cannot print the answer")?;
    received.context("cannot receive")?;
    Ok(())
}
// ANCHOR_END: talk

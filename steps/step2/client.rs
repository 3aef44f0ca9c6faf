// ANCHOR: connect
//! The client: it sends and receives at the same time.

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
/// Sends everything that `input` gives, then ends our direction of the stream.
/// Meanwhile copies what the server answers to `output`, until the server
/// closes.
///
/// # Errors
/// The connection broke, `input` cannot be read, or `output` not be written.
pub async fn talk(
    mut stream: TcpStream,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> Result<()> {
    let _ = stream.set_nodelay(true); // as in the server
    let (reader, mut writer) = stream.split();
    let send = async {
        let sent = send_all(input, &mut writer).await;
        let ended = writer.shutdown().await.context("cannot end the request");
        // No `?` here: it would stop `receive`, too, although the server may
        // have answered before sending failed.
        Ok(sent.and(ended))
    };
    let (sent, ()) = tokio::try_join!(send, receive(reader, output))?;
    sent
}

/// Sends each piece of `input` as soon as it is there.
async fn send_all(
    mut input: impl AsyncRead + Unpin,
    stream: &mut (impl AsyncWrite + Unpin),
) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = input.read(&mut buffer).await;
        let n = read.context("cannot read the text")?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await.context("cannot send")?;
    }
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

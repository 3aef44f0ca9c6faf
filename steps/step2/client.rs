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
/// Nobody listens there, or nobody answers.
pub async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    TcpStream::connect(addr).await.with_context(|| {
        format!("cannot connect to {addr} (is the server running?)")
    })
}
// ANCHOR_END: connect

// ANCHOR: talk
/// Sends all of `input`, tells the server that this was all, and meanwhile
/// copies what the server answers to `output`, until the server closes.
///
/// # Errors
/// The connection broke, `input` cannot be read or `output` be written.
pub async fn talk(
    mut stream: TcpStream,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> Result<()> {
    // As in the server: what is small is sent at once, too.
    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    let (reader, mut writer) = stream.split();
    let send = async {
        let texts = ["cannot read the text", "cannot send"];
        let sent = copy(input, &mut writer, texts).await;
        let ended = writer.shutdown().await.context("cannot end the request");
        // No `?` above: after an error, the server's answer may still come.
        Ok(sent.and(ended))
    };
    let receive = async {
        let texts = ["cannot receive", "cannot print the answer"];
        copy(reader, output, texts).await
    };
    let (sent, ()) = tokio::try_join!(send, receive)?;
    sent
}

/// Copies all that comes `from` here `to` there. The two texts say what could
/// not be done, if that fails. (When a read fails, tokio's own `copy` may drop
/// bytes that it has read before and not yet written.)
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    [cannot_read, cannot_write]: [&'static str; 2],
) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = from.read(&mut buffer).await.context(cannot_read)?;
        if n == 0 {
            return Ok(()); // the end of the stream
        }
        to.write_all(&buffer[..n]).await.context(cannot_write)?;
        to.flush().await.context(cannot_write)?;
    }
}
// ANCHOR_END: talk

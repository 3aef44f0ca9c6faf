// ANCHOR: connect
//! The client: it sends frames and receives replies at the same time.

use std::cell::Cell;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::frame::{self, ECHO, ECHO_REPLY, ERROR, Frame};
use crate::frame::{MAX_PAYLOAD, MAX_TEXT};
use crate::messages::Messages;

/// Room for received bytes, in bytes; it grows for a frame that is larger.
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
/// Sends each message in a frame, and meanwhile prints the replies to
/// `output`, a line each, until the server closes.
///
/// # Errors
/// The connection broke, the server refused a message or broke the rules of
/// the frame, a message is too large, or a reply is missing or too much.
pub async fn talk(
    mut stream: TcpStream,
    messages: Messages<impl AsyncRead + Unpin>,
    output: impl AsyncWrite + Unpin,
) -> Result<()> {
    // As in the server: what is small is sent at once, too.
    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    let (reader, mut writer) = stream.split();
    let count = Cell::new(0); // of the messages sent so far
    let send = async {
        let sent = send_all(messages, &mut writer, &count).await;
        let ended = writer.shutdown().await.context("cannot end the requests");
        // No `?` above: after an error, the server's answer may still come.
        Ok(sent.and(ended))
    };
    let receive = receive_all(reader, output, &count);
    let (sent, received) = tokio::try_join!(send, receive)?;
    sent?;
    let sent = count.get();
    ensure!(received == sent, "{received} replies to {sent} messages");
    Ok(())
}

/// Sends each message in a frame, and each frame in a write of its own: who
/// types a line wants it to leave at once.
async fn send_all(
    mut messages: Messages<impl AsyncRead + Unpin>,
    writer: &mut (impl AsyncWrite + Unpin),
    count: &Cell<usize>,
) -> Result<()> {
    let (mut message, mut bytes, mut n) = (Vec::new(), Vec::new(), 0);
    while messages.next(&mut message).await? {
        n += 1;
        let fits = message.len() <= MAX_PAYLOAD;
        ensure!(fits, "message {n} is larger than {MAX_PAYLOAD} bytes");
        frame::encode(ECHO, &message, &mut bytes)?;
        count.set(n);
        writer.write_all(&bytes).await.context("cannot send")?;
        bytes.clear();
    }
    Ok(())
}
// ANCHOR_END: talk

// ANCHOR: receive
/// Prints replies until the server ends. Returns how many.
async fn receive_all(
    mut reader: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    count: &Cell<usize>,
) -> Result<usize> {
    let mut input = Vec::with_capacity(BUFFER);
    let (mut lines, mut received) = (Vec::new(), 0);
    while reader.read_buf(&mut input).await.context("cannot receive")? > 0 {
        let taken = take_replies(&mut input, &mut lines);
        let printed = output.write_all(&lines).await;
        printed.context("cannot print the replies")?;
        output.flush().await.context("cannot print the replies")?;
        lines.clear();
        received += taken?;
        ensure!(received <= count.get(), "a reply to no message");
    }
    ensure!(input.is_empty(), "the server ended in the middle of a reply");
    let sent = count.get();
    ensure!(received == sent, "{received} replies to {sent} messages");
    Ok(received)
}

/// Takes all whole replies out of `input` and appends them to `lines`.
fn take_replies(input: &mut Vec<u8>, lines: &mut Vec<u8>) -> Result<usize> {
    let mut rest = &input[..];
    let mut total = 0;
    while let Some(frame) =
        frame::decode(&mut rest).context("the server sent")?
    {
        match frame {
            Frame { kind: ECHO_REPLY, payload } => {
                lines.extend_from_slice(payload);
            }
            Frame { kind: ERROR, payload: [code, text @ ..] } => {
                // {:?} escapes what a terminal would obey.
                let text = &text[..text.len().min(MAX_TEXT)];
                let text = String::from_utf8_lossy(text);
                bail!("the server answered with error {code}: {text:?}");
            }
            Frame { kind, .. } => bail!("the server sent kind {kind:02x}"),
        }
        lines.push(b'\n');
        total += 1;
    }
    let used = input.len() - rest.len();
    input.drain(..used);
    Ok(total)
}
// ANCHOR_END: receive

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
/// No server listens there, or no answer comes.
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
/// the frame, a message is too large, or there is not one reply to each.
pub async fn talk(
    mut stream: TcpStream,
    messages: Messages<impl AsyncRead + Unpin>,
    output: impl AsyncWrite + Unpin,
) -> Result<()> {
    let _ = stream.set_nodelay(true); // as in the server
    let (reader, mut writer) = stream.split();
    let sent = Cell::new(0); // how many messages, so far
    let send = async {
        let outcome = send_all(messages, &mut writer, &sent).await;
        let ended = writer.shutdown().await.context("cannot end the requests");
        // No `?` here: it would stop `receive`, too, although the server may
        // have answered before sending failed.
        Ok(outcome.and(ended))
    };
    let receive = receive_all(reader, output, &sent);
    let (outcome, received) = tokio::try_join!(send, receive)?;
    outcome?;
    let sent = sent.get();
    ensure!(received == sent, "{received} replies to {sent} messages");
    Ok(())
}

/// Sends each message in a frame, and each frame in a write of its own: a line
/// that you type leaves at once.
async fn send_all(
    mut messages: Messages<impl AsyncRead + Unpin>,
    writer: &mut (impl AsyncWrite + Unpin),
    sent: &Cell<usize>,
) -> Result<()> {
    let (mut message, mut bytes) = (Vec::new(), Vec::new());
    while messages.next(&mut message).await? {
        let n = sent.get() + 1;
        let fits = message.len() <= MAX_PAYLOAD;
        ensure!(fits, "message {n} is larger than {MAX_PAYLOAD} bytes");
        frame::encode(ECHO, &message, &mut bytes)?;
        sent.set(n);
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
    sent: &Cell<usize>,
) -> Result<usize> {
    let mut input = Vec::with_capacity(BUFFER);
    let (mut lines, mut received) = (Vec::new(), 0);
    while reader.read_buf(&mut input).await.context("cannot receive")? > 0 {
        let most = sent.get() - received;
        let taken = take_replies(&mut input, &mut lines, most);
        // Print the replies even if the frame behind them is wrong.
        let printed = output.write_all(&lines).await;
        printed.context("cannot print the replies")?;
        output.flush().await.context("cannot print the replies")?;
        lines.clear();
        received += taken?;
    }
    ensure!(input.is_empty(), "the server ended in the middle of a reply");
    let sent = sent.get();
    ensure!(received == sent, "{received} replies to {sent} messages");
    Ok(received)
}

/// Takes all whole replies out of `input`, at most `most`, and appends them to
/// `lines`. Returns how many.
fn take_replies(
    input: &mut Vec<u8>,
    lines: &mut Vec<u8>,
    most: usize,
) -> Result<usize> {
    let mut rest = &input[..];
    let mut total = 0;
    while let Some(frame) =
        frame::decode(&mut rest).context("the server sent")?
    {
        let payload = payload(frame)?;
        ensure!(total < most, "the server sent a reply to no message");
        lines.extend_from_slice(payload);
        lines.push(b'\n');
        total += 1;
    }
    let used = input.len() - rest.len();
    input.drain(..used);
    Ok(total)
}

/// Returns the payload of a reply. Any other frame is an error.
fn payload(frame: Frame<'_>) -> Result<&[u8]> {
    match frame {
        Frame { kind: ECHO_REPLY, payload } => Ok(payload),
        Frame { kind: ERROR, payload: [code, text @ ..] } => {
            // {:?} escapes what a terminal would obey.
            let text = &text[..text.len().min(MAX_TEXT)];
            let text = String::from_utf8_lossy(text);
            bail!("the server answered with error {code}: {text:?}")
        }
        Frame { kind, .. } => bail!("the server sent kind {kind:02x}"),
    }
}
// ANCHOR_END: receive

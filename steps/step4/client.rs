// ANCHOR: connect
//! The client: it sends frames and receives replies at the same time.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt};
use tokio::io::{AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::frame::{self, ECHO, ECHO_REPLY, ERROR, Frame, MAX_PAYLOAD};

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

// ANCHOR: messages
/// Where the messages come from: the command line, or the lines of a stream.
pub enum Messages<R> {
    Given(std::vec::IntoIter<String>),
    Lines(BufReader<R>),
}

impl<R: AsyncRead + Unpin> Messages<R> {
    /// Puts the next message into `message`, without the newline of a line.
    /// `false` means that there are no more.
    async fn next(&mut self, message: &mut Vec<u8>) -> Result<bool> {
        message.clear();
        match self {
            Messages::Given(texts) => {
                let Some(text) = texts.next() else { return Ok(false) };
                message.extend_from_slice(text.as_bytes());
            }
            Messages::Lines(lines) => {
                // One byte more than fits is enough to see that it does not.
                let mut line = lines.take(MAX_PAYLOAD as u64 + 1);
                let n = line.read_until(b'\n', message).await;
                if n.context("cannot read the messages")? == 0 {
                    return Ok(false);
                }
                message.pop_if(|byte| *byte == b'\n');
            }
        }
        Ok(true)
    }
}
// ANCHOR_END: messages

// ANCHOR: talk
/// Sends each message in a frame, and meanwhile prints the replies to
/// `output`, a line each, until the server closes.
///
/// # Errors
/// The connection broke, the server refused a message or broke the rules of
/// the frame, a message is too large, or a reply is missing.
pub async fn talk(
    mut stream: TcpStream,
    mut messages: Messages<impl AsyncRead + Unpin>,
    mut output: impl AsyncWrite + Unpin,
) -> Result<()> {
    // As in the server: what is small is sent at once, too.
    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    let (reader, mut writer) = stream.split();
    let send = async {
        let sent = send_all(&mut messages, &mut writer).await;
        let ended = writer.shutdown().await.context("cannot end the requests");
        // No `?` above: after an error, the server's answer may still come.
        Ok(sent.and_then(|sent| ended.map(|()| sent)))
    };
    let receive = receive_all(reader, &mut output);
    let (sent, received) = tokio::try_join!(send, receive)?;
    let sent = sent?;
    ensure!(sent == received, "{received} replies to {sent} messages");
    Ok(())
}

/// Sends each message in a frame. Returns how many.
async fn send_all(
    messages: &mut Messages<impl AsyncRead + Unpin>,
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<usize> {
    let (mut message, mut bytes, mut sent) = (Vec::new(), Vec::new(), 0);
    while messages.next(&mut message).await? {
        sent += 1;
        frame::encode(ECHO, &message, &mut bytes)
            .with_context(|| format!("cannot send message {sent}"))?;
        writer.write_all(&bytes).await.context("cannot send")?;
        bytes.clear();
    }
    Ok(sent)
}
// ANCHOR_END: talk

// ANCHOR: receive
/// Prints replies until the server ends. Returns how many.
async fn receive_all(
    mut reader: impl AsyncRead + Unpin,
    output: &mut (impl AsyncWrite + Unpin),
) -> Result<usize> {
    let (mut input, mut lines, mut received) = (Vec::new(), Vec::new(), 0);
    while reader.read_buf(&mut input).await.context("cannot receive")? > 0 {
        let taken = take_replies(&mut input, &mut lines);
        let printed = output.write_all(&lines).await;
        printed.context("cannot print the replies")?;
        output.flush().await.context("cannot print the replies")?;
        lines.clear();
        received += taken?;
    }
    Ok(received)
}

/// Takes all whole replies out of `input` and appends them to `lines`.
fn take_replies(input: &mut Vec<u8>, lines: &mut Vec<u8>) -> Result<usize> {
    let mut rest = &input[..];
    let mut total = 0;
    while let Some(frame) = frame::decode(&mut rest)? {
        match frame {
            Frame { kind: ECHO_REPLY, payload } => lines.extend(payload),
            Frame { kind: ERROR, payload: [code, text @ ..] } => {
                // {:?} escapes what a terminal would obey.
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

//! The server: it answers frames, each client in its own task.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::io::{copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::frame::{self, ECHO, ECHO_REPLY, Frame, LengthError};
use crate::frame::{MAX_LENGTH, UNKNOWN_KIND};
use crate::{listener, say};

/// Room for received bytes, in bytes; it grows when it is full.
const BUFFER: usize = 4 * 1024;

/// After this pause of a client, its buffer gets small again.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a client that broke the rules may take to read why.
const LINGER: Duration = Duration::from_secs(1);

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
    // Otherwise Nagle's algorithm (RFC 9293 section 3.7.4) would hold a small
    // answer until the client has acknowledged the one before. If the option
    // cannot be set, the connection is already broken; `read` will say how.
    let _ = stream.set_nodelay(true);
    match answer(&mut stream).await {
        Ok(total) => say(format!("server: {peer} ended after {total} frames")),
        Err(error) => {
            say(format!("server: {peer}: {error:#}"));
            if let Some(wrong) = error.downcast_ref::<LengthError>() {
                refuse(&mut stream, wrong.code(), &wrong.to_string()).await;
            }
        }
    }
}
// ANCHOR_END: run

// ANCHOR: answer
/// Answers each frame, until the client's stream ends. Returns how many.
async fn answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<usize> {
    let mut input = Vec::with_capacity(BUFFER); // what no frame has used yet
    let mut total = 0;
    while receive(stream, &mut input).await? > 0 {
        // An echo is as long as its request: one allocation for all of them.
        let mut output = Vec::with_capacity(input.len());
        let replied = reply(&mut input, &mut output);
        // Send the replies even if the frame behind them is wrong.
        stream.write_all(&output).await.context("cannot write")?;
        total += replied?;
    }
    ensure!(input.is_empty(), "ended in the middle of a frame");
    Ok(total)
}

/// Appends what has come to `input`. Returns how many bytes; 0 is the end.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut Vec<u8>,
) -> Result<usize> {
    if input.is_empty() && input.capacity() > BUFFER {
        let read = timeout(PAUSE, stream.read_buf(input)).await;
        if let Ok(read) = read {
            return read.context("cannot read");
        }
        // Without this, one large frame would cost its room for as long as
        // the client stays.
        *input = Vec::with_capacity(BUFFER);
    }
    let read = stream.read_buf(input).await;
    if input.len() == BUFFER {
        input.reserve(MAX_LENGTH); // there is more: take it in fewer calls
    }
    read.context("cannot read")
}

/// Takes all whole frames out of `input` and appends the replies to `output`,
/// so that many replies need one write. Returns how many.
fn reply(
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<usize, LengthError> {
    let mut rest = &input[..];
    let mut total = 0;
    while let Some(Frame { kind, payload }) = frame::decode(&mut rest)? {
        match kind {
            ECHO => frame::encode(ECHO_REPLY, payload, output)?,
            _ => frame::encode_error(UNKNOWN_KIND, "unknown kind", output),
        }
        total += 1;
    }
    let used = input.len() - rest.len();
    input.drain(..used);
    Ok(total)
}
// ANCHOR_END: answer

// ANCHOR: refuse
/// Tells the client what it did wrong, and closes. If the client has not closed
/// in time, too, the close becomes a reset (RST), so that the kernel does not
/// keep bytes that the client may never read.
async fn refuse(stream: &mut TcpStream, code: u8, text: &str) {
    let told = timeout(LINGER, tell(stream, code, text)).await;
    if !matches!(told, Ok(Ok(()))) {
        let _ = stream.set_zero_linger();
    }
}

/// Sends ERROR and FIN, then reads on until the client closes. To close with
/// bytes unread would send RST at once, and the client might lose the ERROR.
async fn tell(stream: &mut TcpStream, code: u8, text: &str) -> io::Result<()> {
    let mut output = Vec::new();
    frame::encode_error(code, text, &mut output);
    stream.write_all(&output).await?;
    stream.shutdown().await?;
    copy(stream, &mut sink()).await?; // these bytes are no frames any more
    Ok(())
}
// ANCHOR_END: refuse

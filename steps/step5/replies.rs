// ANCHOR: receive
//! What the server's frames mean for what was asked.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::frame::{self, ECHO_REPLY, ERROR, Frame, MAX_TEXT};
use crate::retry::Failure;

/// Room for received bytes, in bytes; it grows for a frame that is larger.
const BUFFER: usize = 16 * 1024;

/// Prints the replies to `requests`, a line each, and takes off the requests
/// that are answered. Each reply may take `limit`, and all of them together
/// until `deadline`. Returns whether the connection can be used again.
pub async fn receive(
    mut reader: impl AsyncRead + Unpin,
    requests: &mut &[u8],
    mut output: impl AsyncWrite + Unpin,
    limit: Duration,
    deadline: &mut Instant,
) -> Result<bool, Failure> {
    let (mut input, mut lines) = (Vec::with_capacity(BUFFER), Vec::new());
    let mut end = Instant::now() + limit;
    while !requests.is_empty() {
        let more = read(&mut reader, &mut input, end.min(*deadline)).await;
        more.map_err(Failure::Unknown)?;
        let unanswered = requests.len();
        let taken = take_replies(&mut input, requests, &mut lines);
        // Under no limit, and its time does not count: who reads our output
        // may take long, and that is not the server's fault.
        let start = Instant::now();
        print(&mut output, &lines).await.map_err(Failure::Local)?;
        *deadline += start.elapsed();
        lines.clear();
        taken?;
        if requests.len() < unanswered {
            end = Instant::now() + limit;
        }
    }
    not_asked(&input)?;
    Ok(input.is_empty())
}

async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    input: &mut Vec<u8>,
    end: Instant,
) -> Result<()> {
    let late = |_| anyhow!("no whole reply in time");
    let attempt = timeout_at(end, reader.read_buf(input)).await;
    let n = attempt.map_err(late)?.context("cannot receive")?;
    ensure!(n > 0, "the server ended before the whole reply");
    Ok(())
}

async fn print(
    output: &mut (impl AsyncWrite + Unpin),
    lines: &[u8],
) -> Result<()> {
    output.write_all(lines).await.context("cannot print the replies")?;
    output.flush().await.context("cannot print the replies")
}
// ANCHOR_END: receive

// ANCHOR: meaning
/// Takes whole replies out of `input`, appends them to `lines`, and takes the
/// requests that they answer off `requests`, until all are answered.
fn take_replies(
    input: &mut Vec<u8>,
    requests: &mut &[u8],
    lines: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut rest = &input[..];
    let mut outcome = Ok(());
    while !requests.is_empty() && outcome.is_ok() {
        match frame::decode(&mut rest).map_err(broken)? {
            None => break,
            Some(Frame { kind: ECHO_REPLY, payload }) => {
                // Replies come in the order of the requests.
                let asked = frame::decode(requests).map_err(broken)?;
                if asked.is_none_or(|asked| asked.payload != payload) {
                    return Err(broken(anyhow!("another text than was asked")));
                }
                lines.extend_from_slice(payload);
                lines.push(b'\n');
            }
            Some(Frame { kind: ERROR, payload }) => {
                outcome = Err(error(payload))
            }
            Some(frame) => {
                let what = anyhow!("kind {:02x}", frame.kind);
                outcome = Err(broken(what));
            }
        }
    }
    let used = input.len() - rest.len();
    input.drain(..used);
    outcome
}

/// What an ERROR frame means for the requests that have no reply yet.
fn error(payload: &[u8]) -> Failure {
    let [code, text @ ..] = payload else {
        return broken(anyhow!("an ERROR without a code"));
    };
    // {:?} escapes what a terminal would obey.
    let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
    let error = anyhow!("the server answered with error {code}: {text:?}");
    match *code {
        frame::OVERLOADED | frame::SHUTTING_DOWN => Failure::NotExecuted(error),
        frame::FRAME_TOO_LARGE
        | frame::BAD_LENGTH
        | frame::UNKNOWN_KIND
        | frame::BAD_PAYLOAD
        | frame::STALE_SEQ
        | frame::CONFLICT => Failure::Rejected(error),
        frame::TIMEOUT => Failure::Unknown(error),
        _ => Failure::Protocol(error),
    }
}

/// The server broke the rules.
fn broken(error: impl Into<Error>) -> Failure {
    Failure::Protocol(error.into().context("the server sent"))
}

/// Has the server said nothing, on a connection on which it was not asked?
pub fn is_silent(stream: &TcpStream) -> Result<bool, Failure> {
    let mut input = [0; 256];
    match stream.try_read(&mut input) {
        Err(error) => Ok(error.kind() == ErrorKind::WouldBlock),
        Ok(n) => not_asked(&input[..n]).map(|()| false),
    }
}

/// Without being asked, a server may tell that the connection is over. More
/// than an ERROR, or the first bytes of one, breaks the rules.
fn not_asked(mut input: &[u8]) -> Result<(), Failure> {
    match frame::decode(&mut input).map_err(broken)? {
        None | Some(Frame { kind: ERROR, .. }) => Ok(()),
        Some(_) => Err(broken(anyhow!("a reply to no request"))),
    }
}
// ANCHOR_END: meaning

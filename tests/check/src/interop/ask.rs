//! The checker asks a server itself, as a correct client would.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::interop::is_framed;
use crate::wire::{self, ECHO_REPLY, ERROR, Head, head};

/// What a server of step 1 answers.
pub const GREETING: &str = "Hello, client!";

/// How long a server may take to answer.
const LIMIT: Duration = Duration::from_secs(3);

/// Sends one text, and looks at the reply.
///
/// # Errors
/// There is none, or another one: says so in half a sentence.
pub fn ask(step: u8, addr: SocketAddr, text: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect_timeout(&addr, LIMIT)
        .map_err(|error| format!("cannot connect: {error}."))?;
    let asked = match is_framed(step) {
        true => stream.write_all(&wire::echo(text.as_bytes())),
        false => stream.write_all(text.as_bytes()),
    };
    asked
        .and_then(|()| match is_framed(step) {
            true => Ok(()), // a server may end when its client does
            false => stream.shutdown(Shutdown::Write),
        })
        .map_err(|error| format!("it does not take a message: {error}."))?;
    let wanted = if step == 1 { GREETING } else { text };
    let end = Instant::now() + LIMIT;
    let mut got = Vec::new();
    loop {
        if let Some(done) = judge(step, &mut got, wanted) {
            return done;
        }
        match more(&mut stream, &mut got, end) {
            Ok(0) => return Err(CLOSED.into()),
            Ok(_) => {}
            Err(error) if is_late(&error) => return Err(NOTHING.into()),
            Err(error) => return Err(format!("it broke off: {error}.")),
        }
    }
}

const CLOSED: &str = "it closed the connection without a whole reply.";
const NOTHING: &str = "it sent no whole reply within 3 s.";

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Reads what comes before `end`.
fn more(
    stream: &mut TcpStream,
    got: &mut Vec<u8>,
    end: Instant,
) -> io::Result<usize> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    let mut buffer = [0; 4096];
    let n = stream.read(&mut buffer)?;
    got.extend_from_slice(&buffer[..n]);
    Ok(n)
}

/// Is this the reply? `None` as long as that is open.
fn judge(
    step: u8,
    got: &mut Vec<u8>,
    wanted: &str,
) -> Option<Result<(), String>> {
    let other = || Some(Err("it sent another reply.".to_owned()));
    if !is_framed(step) {
        return match wanted.as_bytes().starts_with(got) {
            true if got.len() == wanted.len() => Some(Ok(())),
            true => None,
            false => other(),
        };
    }
    loop {
        let (kind, payload, size) = match head(got) {
            Head::Part => return None,
            Head::Bad(length) => {
                let what = format!("it sent a frame of length {length}.");
                return Some(Err(what));
            }
            Head::Whole { kind, payload, size } => (kind, payload, size),
        };
        match kind {
            ECHO_REPLY if payload == wanted.as_bytes() => return Some(Ok(())),
            ECHO_REPLY => return other(),
            ERROR => {
                let code = payload.first().copied().unwrap_or(0);
                let name = wire::error_name(code);
                return Some(Err(format!("it sent ERROR {code} ({name}).")));
            }
            // A PING, for example.
            _ => drop(got.drain(..size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{PING, frame, reply};

    #[test]
    fn a_reply_is_right_wrong_or_not_there_yet() {
        let judged = |step, got: &[u8]| judge(step, &mut got.to_vec(), "hi");
        assert_eq!(judged(2, b"h"), None);
        assert_eq!(judged(2, b"hi"), Some(Ok(())));
        assert!(judged(2, b"hi!").is_some_and(|done| done.is_err()));
        assert_eq!(judged(4, &reply(b"hi")[..6]), None);
        let late = [frame(PING, b"12345678"), reply(b"hi")].concat();
        assert_eq!(judged(6, &late), Some(Ok(())));
        assert!(judged(4, &reply(b"ho")).is_some_and(|done| done.is_err()));
        let error = judged(4, &frame(ERROR, b"\x01no"));
        assert!(error.unwrap().unwrap_err().contains("FRAME_TOO_LARGE"));
        assert!(judged(4, &[0xff; 4]).is_some_and(|done| done.is_err()));
    }
}

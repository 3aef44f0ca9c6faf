//! One connection of the client of step 5.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::print;
use crate::retry::{Outcome, left};
use crate::wire::{ERROR, Parsed, REPLY, parse};
use crate::{limit, on};

/// A connection, and what has come on it and was not looked at.
pub struct Line {
    stream: TcpStream,
    input: Vec<u8>,
    /// How many requests a defect has sent too early.
    pub ahead: usize,
}

impl Line {
    pub fn new(stream: TcpStream) -> io::Result<Line> {
        stream.set_nodelay(true)?;
        Ok(Line { stream, input: Vec::new(), ahead: 0 })
    }

    /// Has the client looked at all that came?
    pub fn is_read(&self) -> bool {
        self.input.is_empty()
    }

    /// Has the server neither spoken unasked nor ended the connection?
    pub fn is_fit(&self) -> bool {
        let _ = self.stream.set_nonblocking(true);
        let seen = self.stream.peek(&mut [0]);
        let _ = self.stream.set_nonblocking(false);
        let is_silent =
            seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.is_read() && is_silent
    }

    pub fn send(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            if !on("no-send-limit") {
                if Instant::now() >= until {
                    return Err(ErrorKind::TimedOut.into());
                }
                self.stream.set_write_timeout(Some(left(until)))?;
            }
            let n = self.stream.write(bytes)?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Reads the reply to this request.
    pub fn receive(
        &mut self,
        until: Instant,
        payload: &[u8],
    ) -> io::Result<Outcome> {
        let mut buffer = [0; 65_536];
        loop {
            if let Some(outcome) = self.outcome(payload) {
                return Ok(outcome);
            }
            let rest = match on("per-read-limit") {
                true => Duration::from_millis(limit("TCP_REQUEST_MS", 5000)),
                false if Instant::now() >= until => {
                    return Err(ErrorKind::TimedOut.into());
                }
                false => left(until),
            };
            self.stream.set_read_timeout(Some(rest))?;
            let n = self.stream.read(&mut buffer)?;
            if n == 0 {
                return Ok(at_end(&self.input, payload));
            }
            self.input.extend_from_slice(&buffer[..n]);
        }
    }

    /// What has come: the end of the attempt, or not yet enough.
    fn outcome(&mut self, payload: &[u8]) -> Option<Outcome> {
        let believes = on("believes-any-text") || on("takes-old-reply");
        match parse(&self.input) {
            Parsed::NotYet if self.input.is_empty() => None,
            Parsed::NotYet if on("reply-in-one-read") => Some(Outcome::Broken),
            Parsed::NotYet => None,
            Parsed::Refuse(_) => Some(Outcome::Broken),
            Parsed::Frame(REPLY, reply, size)
                if reply == payload || believes =>
            {
                self.input.drain(..size);
                Some(Outcome::Answered(reply))
            }
            Parsed::Frame(ERROR, error, _) => Some(refused(&error)),
            Parsed::Frame(..) => Some(Outcome::Broken),
        }
    }
}

/// The server answered with an ERROR.
fn refused(error: &[u8]) -> Outcome {
    let text = error.get(1..).unwrap_or_default();
    let definite = || Outcome::Definite(text.escape_ascii().to_string());
    match error.first() {
        Some(6 | 8) if on("gives-up-when-busy") => definite(),
        Some(6 | 8) if on("busy-is-unknown") => Outcome::Unknown,
        Some(6 | 8) => Outcome::NotExecuted,
        Some(5) if on("timeout-is-definite") => definite(),
        Some(5) => Outcome::Unknown,
        Some(1..=4 | 7 | 9) => definite(),
        None | Some(_) => Outcome::Broken,
    }
}

/// The server ended before the reply was whole.
fn at_end(input: &[u8], payload: &[u8]) -> Outcome {
    if on("prints-half") {
        let _ = print(input.get(5..).unwrap_or_default());
    }
    if on("cut-is-success") {
        let part = input.get(5..).unwrap_or_default();
        let part = &part[..part.len().min(payload.len())];
        return Outcome::Answered(part.to_vec());
    }
    Outcome::Unknown
}

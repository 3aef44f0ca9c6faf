//! One connection of the client of steps 5 and 6.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::client::print;
use crate::limits::heartbeat;
use crate::retry::{Outcome, Request, left};
use crate::wire::{
    ADD, ERROR, GOAWAY, Name, PING, PONG, Parsed, REPLY, frame, parse,
};
use crate::{has_goodbye, has_heartbeat, limit, on};

/// A connection, and what has come on it and was not looked at.
pub struct Line {
    stream: TcpStream,
    input: Vec<u8>,
    /// How many requests a defect has sent too early.
    pub ahead: usize,
    /// When the server was last heard, and asked since then.
    heard: Instant,
    asked: Option<Instant>,
    /// Has the server said goodbye?
    is_leaving: bool,
}

impl Line {
    pub fn new(stream: TcpStream) -> io::Result<Line> {
        stream.set_nodelay(true)?;
        let (heard, input) = (Instant::now(), Vec::new());
        let (ahead, asked, is_leaving) = (0, None, false);
        Ok(Line { stream, input, ahead, heard, asked, is_leaving })
    }

    /// Has the client looked at all that came?
    pub fn is_read(&self) -> bool {
        self.input.is_empty()
    }

    /// Has the server neither spoken unasked nor ended the connection?
    pub fn is_fit(&mut self) -> bool {
        if has_heartbeat() {
            let is_fit = self.tend().is_ok() && self.is_read();
            return is_fit && (!self.is_leaving || on("asks-after-goaway"));
        }
        let _ = self.stream.set_nonblocking(true);
        let seen = self.stream.peek(&mut [0]);
        let _ = self.stream.set_nonblocking(false);
        let is_silent =
            seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.is_read() && is_silent
    }

    /// Does an ERROR come before anything has been sent?
    pub fn is_refused_early(&mut self) -> bool {
        static LOOKS: AtomicU32 = AtomicU32::new(0);
        if LOOKS.fetch_add(1, Relaxed) >= 3 {
            return false; // or many attempts would take long
        }
        let moment = Some(Duration::from_millis(300));
        let _ = self.stream.set_read_timeout(moment);
        let mut head = [0; 5];
        let seen = self.stream.peek(&mut head);
        matches!(seen, Ok(5)) && head[4] == ERROR
    }

    pub fn send(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            if !on("no-send-limit") {
                if Instant::now() >= until {
                    return Err(ErrorKind::TimedOut.into());
                }
                self.stream.set_write_timeout(Some(left(until)))?;
            }
            let n = again(|| self.stream.write(bytes))?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Reads the reply to this request.
    pub fn receive(
        &mut self,
        mut until: Instant,
        request: Request,
    ) -> io::Result<Outcome> {
        let mut buffer = [0; 65_536];
        loop {
            if self.sift()? && on("pong-is-progress") {
                until = Instant::now() + request_limit();
            }
            if self.is_leaving && on("leaves-before-reply") {
                return Ok(Outcome::Unknown);
            }
            if let Some(outcome) = self.outcome(request) {
                return Ok(outcome);
            }
            let rest = rest(until)?;
            let rest = self.beat().map_or(rest, |at| rest.min(left(at)));
            self.stream.set_read_timeout(Some(rest))?;
            match again(|| self.stream.read(&mut buffer)) {
                Ok(0) if self.is_leaving && on("gives-up-after-goaway") => {
                    return Ok(Outcome::Definite("the server stops".into()));
                }
                Ok(0) => return Ok(at_end(&self.input, request.payload)),
                Ok(n) => self.take(&buffer[..n]),
                Err(error) if has_heartbeat() && is_wait(&error) => {
                    if self.look_at_the_clock().is_err() {
                        return Ok(dead());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// From step 6 on, while no request is under way: answers PINGs, and asks
    /// a silent server.
    ///
    /// # Errors
    /// The server has ended, or is dead.
    pub fn tend(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        self.stream.set_nonblocking(true)?;
        let read = self.stream.read(&mut buffer);
        self.stream.set_nonblocking(false)?;
        match read {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => self.take(&buffer[..n]),
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(error),
        }
        self.sift()?;
        match on("no-heartbeat-while-idle") {
            true => Ok(()),
            false => self.look_at_the_clock(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        if !on("frames-are-life") && !on("only-reply-is-life") {
            (self.heard, self.asked) = (Instant::now(), None);
        }
    }

    /// When the next PING is due, or the server is dead.
    fn beat(&self) -> Option<Instant> {
        let h = heartbeat();
        match self.asked {
            _ if !has_heartbeat() || on("no-ping") => None,
            None => Some(self.heard + h),
            Some(_) if on("never-gives-up") => None,
            Some(at) if on("gives-up-too-early") => Some(at + h / 2),
            Some(at) => Some(at + 2 * h),
        }
    }

    fn look_at_the_clock(&mut self) -> io::Result<()> {
        if self.beat().is_none_or(|at| Instant::now() < at) {
            return Ok(());
        }
        if self.asked.is_some() {
            return Err(ErrorKind::TimedOut.into());
        }
        if on("tick-loses-bytes") {
            self.input.clear();
        }
        self.asked = Some(Instant::now());
        self.write_soon(&frame(PING, &[b'?'; 8]))
    }

    /// Takes PINGs and PONGs out of what came. Was there a PONG?
    fn sift(&mut self) -> io::Result<bool> {
        let mut has_pong = false;
        while has_heartbeat()
            && let Parsed::Frame(kind, payload, size) = parse(&self.input)
            && match kind {
                PING => !on("ping-is-broken") && !on("prints-ping"),
                PONG => !on("pong-is-broken"),
                GOAWAY => has_goodbye() && !takes_goaway(),
                _ => false,
            }
        {
            self.input.drain(..size);
            if on("frames-are-life") {
                (self.heard, self.asked) = (Instant::now(), None);
            }
            if kind == GOAWAY {
                self.is_leaving = true;
            } else if kind == PONG {
                has_pong = true;
            } else if on("pong-of-zeros") {
                self.write_soon(&frame(PONG, &[0; 8]))?;
            } else if !on("ignores-ping") {
                self.write_soon(&frame(PONG, &payload))?;
            }
        }
        Ok(has_pong)
    }

    /// A PING or a PONG is short, so there is room for it, or nobody reads.
    fn write_soon(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(heartbeat()))?;
        self.stream.write_all(bytes)
    }

    /// What has come: the end of the attempt, or not yet enough.
    fn outcome(&mut self, request: Request) -> Option<Outcome> {
        if request.kind == ADD {
            return self.outcome_of_add(request.payload);
        }
        let payload = request.payload;
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
            Parsed::Frame(GOAWAY, bye, size) if on("goaway-is-reply") => {
                self.input.drain(..size);
                Some(Outcome::Answered(bye))
            }
            Parsed::Frame(PING, ping, size) if on("prints-ping") => {
                self.input.drain(..size);
                Some(Outcome::Answered(ping))
            }
            Parsed::Frame(ERROR, error, _) => Some(refused(&error)),
            Parsed::Frame(..) => Some(Outcome::Broken),
        }
    }
}

impl Line {
    /// The same for an ADD: the replies to others are skipped.
    fn outcome_of_add(&mut self, payload: &[u8]) -> Option<Outcome> {
        let (own, _) = Name::read(payload)?;
        loop {
            let (kind, reply) = match parse(&self.input) {
                Parsed::NotYet => return None,
                Parsed::Refuse(_) => return Some(Outcome::Broken),
                Parsed::Frame(kind, reply, size) => {
                    self.input.drain(..size);
                    (kind, reply)
                }
            };
            let is_total = kind == ADD | 0x80 || on("any-kind-is-total");
            let mut whole = reply.clone();
            if on("short-total-is-fine") {
                whole.resize(24, 0);
            }
            match Name::read(&whole).filter(|_| is_total) {
                Some((name, total)) if name == own || on("takes-any-83") => {
                    return Some(Outcome::Answered(total.to_string().into()));
                }
                Some(_) if on("other-reply-is-broken") => {}
                Some(_) => continue,
                None if kind == ERROR => return Some(refused(&reply)),
                None => {}
            }
            return Some(Outcome::Broken);
        }
    }
}

/// Does a defect take GOAWAY for something else?
fn takes_goaway() -> bool {
    on("goaway-is-reply") || on("goaway-is-broken")
}

/// How long a read may take.
fn rest(until: Instant) -> io::Result<Duration> {
    match on("per-read-limit") {
        true => Ok(request_limit()),
        false if Instant::now() >= until => Err(ErrorKind::TimedOut.into()),
        false => Ok(left(until)),
    }
}

fn request_limit() -> Duration {
    Duration::from_millis(limit("TCP_REQUEST_MS", 5000))
}

/// The server is dead.
fn dead() -> Outcome {
    match on("dead-is-broken") {
        true => Outcome::Broken,
        false => Outcome::Unknown,
    }
}

/// Makes a call once more that a signal has interrupted, or a stop: with a
/// limit of time, the kernel does not (signal(7)).
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn is_wait(error: &io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    [WouldBlock, TimedOut, Interrupted].contains(&error.kind())
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
        Some(9) if on("retries-conflict") => Outcome::NotExecuted,
        Some(7) if on("stale-is-unknown") => Outcome::Unknown,
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

//! The client of step 5: attempts, waits between them, and a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::print;
use crate::wire::{ECHO, ERROR, Parsed, REPLY, frame, parse};
use crate::{fail, limit, on};

/// How one attempt ended.
enum Outcome {
    Answered(Vec<u8>),
    /// Never connected, or refused by a server that is too busy.
    NotExecuted,
    /// Sent, and no whole reply came; the connection, if it is kept.
    Unknown(Option<TcpStream>),
    Broken,
    Definite,
}

pub fn run(addr: SocketAddr, texts: &[String]) -> ExitCode {
    if on("slow") {
        thread::sleep(Duration::from_millis(400));
    }
    let end = Instant::now() + ms("TCP_DEADLINE_MS", 30_000);
    let lines: Vec<String> = match texts.is_empty() {
        true => io::stdin().lines().map_while(Result::ok).collect(),
        false => texts.to_vec(),
    };
    for line in &lines {
        match request(addr, line.as_bytes(), end) {
            Ok(reply) => {
                let _ = print(&[&reply[..], b"\n"].concat());
            }
            Err((code, why)) => return fail(code, why),
        }
    }
    ExitCode::SUCCESS
}

fn ms(name: &str, default: u64) -> Duration {
    Duration::from_millis(limit(name, default))
}

type Failed = (u8, &'static str);

/// One request, with as many attempts as it may have.
fn request(
    addr: SocketAddr,
    payload: &[u8],
    end: Instant,
) -> Result<Vec<u8>, Failed> {
    let mut attempts = limit("TCP_ATTEMPTS", 5);
    if on("one-attempt-more") {
        attempts += 1;
    }
    let mut is_sent = false;
    let mut kept = None;
    for k in 1.. {
        match attempt(addr, payload, end, kept.take()) {
            Outcome::Answered(reply) => return Ok(reply),
            Outcome::NotExecuted if on("judges-by-last") => is_sent = false,
            Outcome::NotExecuted => {}
            Outcome::Unknown(_) if on("gives-up-early") => break,
            Outcome::Unknown(stream) => (is_sent, kept) = (true, stream),
            Outcome::Broken if on("retries-broken-protocol") => is_sent = true,
            Outcome::Definite if on("retries-definite") => is_sent = true,
            Outcome::Broken => {
                return Err((5, "the server broke the protocol"));
            }
            Outcome::Definite => return Err((6, "the server refused it")),
        }
        let is_last = k >= attempts && !on("retries-forever");
        let wait = wait_before(k);
        if is_last || is_over(end, wait) {
            break;
        }
        thread::sleep(wait);
    }
    Err(gave_up(is_sent || on("gives-up-early")))
}

fn gave_up(is_sent: bool) -> Failed {
    match is_sent {
        true => (4, "no reply: the outcome is unknown"),
        false if on("refused-is-1") => (1, "cannot connect"),
        false => (3, "cannot connect: certainly not executed"),
    }
}

fn is_over(end: Instant, wait: Duration) -> bool {
    !on("no-deadline") && Instant::now() + wait >= end
}

/// A random part of a ceiling that doubles up to the cap.
fn wait_before(k: u64) -> Duration {
    let base = limit("TCP_BACKOFF_BASE_MS", 100);
    let cap = limit("TCP_BACKOFF_CAP_MS", 2000);
    let grown = base << (k - 1).min(20);
    if on("no-wait") {
        return Duration::ZERO;
    }
    if on("retries-forever") {
        return Duration::from_micros(random(base * 1000));
    }
    if on("no-jitter") {
        return Duration::from_millis(grown.min(cap));
    }
    if on("no-cap") {
        let half = grown / 2;
        return Duration::from_micros(half * 1000 + random(half * 1000));
    }
    Duration::from_micros(random(grown.min(cap) * 1000))
}

/// From the clock and the process: each client gets its own.
fn random(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now()) % below.max(1)
}

fn attempt(
    addr: SocketAddr,
    payload: &[u8],
    end: Instant,
    kept: Option<TcpStream>,
) -> Outcome {
    let left = match on("no-deadline") || on("deadline-between-attempts") {
        true => Duration::from_secs(3600),
        false => end.saturating_duration_since(Instant::now()),
    };
    let tiny = Duration::from_millis(1);
    let connect = ms("TCP_CONNECT_MS", 3000).min(left).max(tiny);
    let stream = match kept {
        Some(stream) => Ok(stream),
        None if on("no-connect-limit") => TcpStream::connect(addr),
        None => TcpStream::connect_timeout(&addr, connect),
    };
    let Ok(mut stream) = stream else { return Outcome::NotExecuted };
    let limit = match on("no-request-limit") {
        true => Duration::from_secs(3600),
        false => ms("TCP_REQUEST_MS", 5000).min(left),
    };
    let _ = stream.set_nodelay(true);
    if stream.write_all(&frame(ECHO, payload)).is_err() {
        return Outcome::Unknown(None);
    }
    match receive(&mut stream, Instant::now() + limit, payload) {
        Ok(outcome) => outcome,
        Err(error) => {
            let is_late = error.kind() == ErrorKind::WouldBlock;
            let keeps = is_late && on("keeps-connection");
            Outcome::Unknown(keeps.then_some(stream))
        }
    }
}

fn receive(
    stream: &mut TcpStream,
    end: Instant,
    payload: &[u8],
) -> io::Result<Outcome> {
    let mut input = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(at_end(&input, payload));
        }
        input.extend_from_slice(&buffer[..n]);
        match parse(&input) {
            Parsed::NotYet if on("reply-in-one-read") => {
                return Ok(Outcome::Broken);
            }
            Parsed::NotYet => {}
            Parsed::Refuse(_) => return Ok(Outcome::Broken),
            Parsed::Frame(REPLY, reply, _)
                if reply == payload || on("believes-any-text") =>
            {
                return Ok(Outcome::Answered(reply));
            }
            Parsed::Frame(ERROR, error, _) => return Ok(refused(&error)),
            Parsed::Frame(..) => return Ok(Outcome::Broken),
        }
    }
}

/// The server answered with an ERROR.
fn refused(error: &[u8]) -> Outcome {
    let is_busy = matches!(error.first(), Some(6 | 8));
    match () {
        () if error.is_empty() => Outcome::Broken,
        () if !is_busy || on("gives-up-when-busy") => Outcome::Definite,
        () if on("busy-is-unknown") => Outcome::Unknown(None),
        () => Outcome::NotExecuted,
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
    Outcome::Unknown(None)
}

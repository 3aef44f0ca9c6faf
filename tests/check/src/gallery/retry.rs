//! The client from step 5 on: one request at a time, with attempts, waits
//! between them, and a deadline for each request.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::print;
use crate::line::Line;
use crate::wire::{ADD, ECHO, MAX, Name, frame};
use crate::{fail, has_goodbye, has_heartbeat, limit, on};

/// How one attempt ended.
pub enum Outcome {
    Answered(Vec<u8>),
    /// Never connected, or refused by a server that is too busy.
    NotExecuted,
    /// Sent, and no whole reply came.
    Unknown,
    Broken,
    /// The server says why.
    Definite(String),
}

/// The exit code, and the message.
type Failed = (u8, String);

/// What is asked: a kind, and its payload.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub kind: u8,
    pub payload: &'a [u8],
}

pub fn run(addr: SocketAddr, texts: &[String], add: Option<i64>) -> ExitCode {
    if on("slow") {
        thread::sleep(Duration::from_millis(400));
    }
    let mut client = Client { addr, kept: None, texts, answered: 0 };
    let asked = match (add, texts.is_empty()) {
        (Some(amount), _) => client.add(amount),
        (_, false) => client.ask_all(texts.iter().cloned().map(Ok)),
        (_, true) if on("waits-for-all-input") => {
            let lines: Vec<_> = io::stdin().lines().collect();
            client.ask_all(lines.into_iter())
        }
        (_, true) if has_heartbeat() => {
            let lines = lines_later();
            client.ask_all_with(|client| client.wait_for(&lines))
        }
        (_, true) => client.ask_all(io::stdin().lines()),
    };
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => fail(code, &why),
    }
}

type Lines = mpsc::Receiver<io::Result<String>>;

/// The lines of stdin, read by a thread of their own.
fn lines_later() -> Lines {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lines() {
            let _ = sender.send(line);
        }
    });
    receiver
}

fn ms(name: &str, default: u64) -> Duration {
    Duration::from_millis(limit(name, default))
}

fn new_deadline() -> Instant {
    Instant::now() + ms("TCP_DEADLINE_MS", 30_000)
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

struct Client<'a> {
    addr: SocketAddr,
    /// The connection on which the last reply came.
    kept: Option<Line>,
    /// What the command line says, and how much of it is answered.
    texts: &'a [String],
    answered: usize,
}

impl Client<'_> {
    fn ask_all(
        &mut self,
        mut texts: impl Iterator<Item = io::Result<String>>,
    ) -> Result<(), Failed> {
        self.ask_all_with(|_| texts.next())
    }

    fn ask_all_with(
        &mut self,
        mut next: impl FnMut(&mut Self) -> Option<io::Result<String>>,
    ) -> Result<(), Failed> {
        let mut end = new_deadline();
        while let Some(text) = next(self) {
            let Ok(text) = text else {
                return match on("input-error-is-end") {
                    true => Ok(()),
                    false => Err((1, "cannot read stdin".into())),
                };
            };
            if !on("one-deadline-for-all") && !on("clock-starts-early") {
                end = new_deadline(); // waiting for the text did not count
            }
            if text.len() >= MAX && !on("sends-too-long") {
                return Err((1, "this is too long for a frame".into()));
            }
            let (kind, payload) = (ECHO, text.as_bytes());
            let reply = self.request(Request { kind, payload }, end)?;
            self.answered += 1;
            if on("clock-starts-early") {
                end = new_deadline();
            }
            print(&[&reply[..], b"\n"].concat())
                .map_err(|_| (1, "cannot print the reply".into()))?;
        }
        match &self.kept {
            Some(line) if on("goodbye-is-error") && !line.is_read() => {
                Err((5, "the server said more than it was asked".into()))
            }
            _ => Ok(()),
        }
    }

    /// The next line of stdin. Meanwhile the connection must not be forgotten.
    fn wait_for(&mut self, lines: &Lines) -> Option<io::Result<String>> {
        loop {
            match lines.recv_timeout(Duration::from_millis(5)) {
                Ok(line) => return Some(line),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let is_deaf = on("deaf-while-idle");
            if let Some(line) = &mut self.kept
                && !is_deaf
                && line.tend().is_err()
            {
                if on("dead-idle-ends") {
                    std::process::exit(4);
                }
                self.kept = None;
            }
        }
    }

    /// Adds this, under a name that it keeps.
    fn add(&mut self, amount: i64) -> Result<(), Failed> {
        let name = new_name();
        let payload = &name.bytes(amount)[..];
        let reply =
            self.request(Request { kind: ADD, payload }, new_deadline())?;
        print(&[&reply[..], b"\n"].concat())
            .map_err(|_| (1, "cannot print the total".into()))
    }

    /// One request, with as many attempts as it may have.
    fn request(
        &mut self,
        request: Request,
        end: Instant,
    ) -> Result<Vec<u8>, Failed> {
        let mut attempts = limit("TCP_ATTEMPTS", 5);
        if on("one-attempt-more") {
            attempts += 1;
        }
        let mut is_sent = false;
        for k in 1.. {
            let renamed = renamed(request, k);
            let payload = &renamed[..];
            let outcome = self.attempt(Request { payload, ..request }, end);
            let is_busy = matches!(outcome, Outcome::NotExecuted);
            if let Some(reply) = judge(outcome, &mut is_sent)? {
                return Ok(reply);
            }
            let is_last = k >= attempts && !on("retries-forever");
            let wait = match is_busy && on("no-wait-when-busy") {
                true => Duration::ZERO,
                false => wait_before(k),
            };
            if is_last || is_over(end, wait) || on("gives-up-early") {
                break;
            }
            thread::sleep(wait);
        }
        Err(gave_up(is_sent || on("gives-up-early")))
    }

    fn attempt(&mut self, request: Request, end: Instant) -> Outcome {
        let end = match on("no-deadline") || on("deadline-between-attempts") {
            true => far_away(),
            false => end,
        };
        let is_lost = self.kept.as_mut().is_some_and(|line| !line.is_fit());
        if is_lost && on("end-is-broken") {
            return Outcome::Broken;
        }
        let Ok(mut line) = self.line(end) else { return Outcome::NotExecuted };
        let until = match on("no-request-limit") {
            true => far_away(),
            false => end.min(Instant::now() + ms("TCP_REQUEST_MS", 5000)),
        };
        let bytes = self.bytes(&mut line, request);
        if on("early-no-is-unknown") && line.is_refused_early() {
            return Outcome::Unknown;
        }
        // A server that says no early may have closed already: read why.
        if line.send(&bytes, until).is_err() && !has_goodbye() {
            return Outcome::Unknown;
        }
        let received = line.receive(until, request);
        let is_answered = matches!(received, Ok(Outcome::Answered(_)));
        if is_answered || received.is_err() && on("keeps-connection") {
            self.kept = Some(line);
        }
        received.unwrap_or(Outcome::Unknown)
    }

    /// The connection of the last reply, or a new one.
    fn line(&mut self, end: Instant) -> io::Result<Line> {
        let is_blind = on("uses-ended-connection")
            || on("keeps-connection")
            || on("sends-ahead")
            || on("takes-old-reply");
        if let Some(mut line) = self.kept.take()
            && (is_blind || line.is_fit())
        {
            return Ok(line);
        }
        let limit = ms("TCP_CONNECT_MS", 4000).min(left(end));
        let stream = match on("no-connect-limit") {
            true => TcpStream::connect(self.addr)?,
            false => TcpStream::connect_timeout(&self.addr, limit)?,
        };
        Line::new(stream)
    }

    /// What is to be sent for this request.
    fn bytes(&self, line: &mut Line, request: Request) -> Vec<u8> {
        if !on("sends-ahead") || self.texts.is_empty() {
            return frame(request.kind, request.payload);
        }
        if line.ahead > 0 {
            line.ahead -= 1; // it was sent with an earlier one
            return Vec::new();
        }
        let rest = &self.texts[self.answered..];
        line.ahead = rest.len() - 1;
        rest.iter().flat_map(|text| frame(ECHO, text.as_bytes())).collect()
    }
}

/// The name of an operation: from the environment, or a new one.
fn new_name() -> Name {
    let (client, seq) = (random(u64::MAX), 1);
    match () {
        () if on("same-id-for-all") => Name { client: 7, seq },
        () if on("ignores-given-name") => Name { client, seq },
        () => Name {
            client: limit("TCP_CLIENT_ID", client),
            seq: limit("TCP_SEQ", seq),
        },
    }
}

/// The payload of attempt `k`, which a defect makes a new one.
fn renamed(Request { kind, payload }: Request, k: u64) -> Vec<u8> {
    let Some((name, amount)) = Name::read(payload).filter(|_| kind == ADD)
    else {
        return payload.to_vec();
    };
    let name = match () {
        () if on("new-id-each-time") => {
            Name { client: name.client.wrapping_add(k), ..name }
        }
        () if on("new-number-each-time") => {
            Name { seq: name.seq + k - 1, ..name }
        }
        () => name,
    };
    name.bytes(amount)
}

/// The reply, or nothing if the request may be tried again.
fn judge(
    outcome: Outcome,
    is_sent: &mut bool,
) -> Result<Option<Vec<u8>>, Failed> {
    match outcome {
        Outcome::Answered(reply) => return Ok(Some(reply)),
        Outcome::NotExecuted if on("judges-by-last") => *is_sent = false,
        Outcome::NotExecuted => {}
        Outcome::Unknown => *is_sent = true,
        Outcome::Broken if on("retries-broken-protocol") => *is_sent = true,
        Outcome::Definite(_) if on("retries-definite") => *is_sent = true,
        _ if *is_sent && !on("refusal-undoes-unknown") => {
            return Err(gave_up(true));
        }
        Outcome::Broken => {
            return Err((5, "the server broke the protocol".into()));
        }
        Outcome::Definite(why) => {
            return Err((6, format!("the server refused it: {why}")));
        }
    }
    Ok(None)
}

fn gave_up(is_sent: bool) -> Failed {
    let (code, why) = match is_sent {
        true => (4, "no reply: the outcome is unknown"),
        false if on("refused-is-1") => (1, "cannot connect"),
        false => (3, "certainly not executed"),
    };
    (code, why.to_owned())
}

fn is_over(end: Instant, wait: Duration) -> bool {
    !on("no-deadline") && Instant::now() + wait >= end
}

/// Returns the time that is left, and at least 1 ms, because a limit of 0
/// means no limit.
pub fn left(end: Instant) -> Duration {
    let left = end.saturating_duration_since(Instant::now());
    left.max(Duration::from_millis(1))
}

/// A random part of a ceiling that doubles up to the cap.
fn wait_before(k: u64) -> Duration {
    let base = limit("TCP_BACKOFF_BASE_MS", 100);
    let cap = limit("TCP_BACKOFF_CAP_MS", 2000);
    let grown = match on("ceiling-overflows") {
        true => doubled_in_32_bits(base, k),
        false => base << (k - 1).min(20),
    };
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
        // A little more than half, so that the same attempt is too long each
        // time.
        return Duration::from_micros(grown * 500 + random(grown * 125));
    }
    Duration::from_micros(random(grown.min(cap) * 1000))
}

/// As an `int` of C or Java does it: at some point it is negative, and then 0.
fn doubled_in_32_bits(base: u64, k: u64) -> u64 {
    let grown = (1..k).fold(base as i32, |grown, _| grown.wrapping_mul(2));
    grown.max(0) as u64
}

/// From the clock and the process: each client gets its own.
fn random(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now()) % below.max(1)
}

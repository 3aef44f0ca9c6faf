//! One connection: requests out, replies in, and when each was due.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::errors::{Failure, Kind, Tally};
use crate::wire::{Shape, Wire};

/// Requests leave in pieces of at least this many bytes if as many wait.
const PIECE: usize = 64 * 1024;

/// A run goes on after fewer failures than this.
pub const FAILURES: u64 = 100;

/// A request may take this many times as long as a connection may make no
/// progress: a server that sends a byte now and then must not go on for hours.
const LONGEST: u128 = 10;

/// What all connections of a run share. Times are in nanoseconds since its
/// start.
pub struct Shared {
    pub addr: SocketAddr,
    pub shape: Shape,
    pub registry: Registry,
    /// Each request has a connection of its own.
    pub reconnect: bool,
    /// A reply makes the next request due: the closed loop.
    pub again: bool,
    /// Count a request by when it was due, not by when its reply came.
    pub by_due: bool,
    /// The time in which requests count.
    pub window: Range<u64>,
    pub last_reply: u64,
    /// The requests that count.
    pub replies: u64,
    /// Also of requests that were on their way when the window ended: a pause
    /// that outlasts it must be seen.
    pub latency: Histogram<u64>,
    pub connects: Histogram<u64>,
    pub tally: Tally,
    /// Requests that are due and have no reply yet.
    pub missing: usize,
    /// Connections whose handshake is under way.
    pub connecting: usize,
    input: Box<[u8]>,
    spare: Vec<u8>, // for the next connection that has something to send
    start: Instant,
    latest: u64,
    next_id: u64,
}

impl Shared {
    pub fn new(addr: SocketAddr, shape: Shape, registry: Registry) -> Shared {
        Shared {
            addr,
            shape,
            registry,
            reconnect: false,
            again: false,
            by_due: false,
            window: 0..0,
            last_reply: 0,
            replies: 0,
            latency: histogram(),
            connects: histogram(),
            tally: Tally::default(),
            missing: 0,
            connecting: 0,
            input: vec![0; 256 * 1024].into(),
            spare: Vec::new(),
            start: Instant::now(),
            latest: 0,
            next_id: random(),
        }
    }

    /// The time now, in nanoseconds.
    pub fn now(&mut self) -> u64 {
        self.latest = self.start.elapsed().as_nanos() as u64;
        self.latest
    }

    /// Returns a number that no connection had before. 2^64 divided by the
    /// golden ratio makes all bytes of neighbours differ.
    fn id(&mut self) -> u64 {
        self.next_id = self.next_id.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.next_id
    }

    fn replied(&mut self, due: u64, now: u64) {
        self.missing = self.missing.saturating_sub(1);
        let when = if self.by_due { due } else { now };
        if self.window.contains(&when) {
            self.last_reply = now;
            self.replies += 1;
        }
        if when >= self.window.start {
            self.latency.saturating_record(now.saturating_sub(due));
        }
    }
}

/// Times from 1 ns to 10 minutes, to three digits.
pub fn histogram() -> Histogram<u64> {
    let longest = Duration::from_secs(600).as_nanos() as u64;
    Histogram::new_with_max(longest, 3).expect("a histogram of fixed bounds")
}

/// A random number: the standard library seeds its hash maps with one.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// A place for one connection at a time.
pub struct Connection {
    token: Token,
    stream: Option<TcpStream>,
    is_open: bool,
    is_dead: bool,
    wire: Wire,
    output: Vec<u8>,      // what the socket has not taken
    taken: usize,         // how much of it the socket has taken meanwhile
    due: VecDeque<u64>,   // requests that wait to be sent
    asked: VecDeque<u64>, // requests without a reply: when each was due
    started: u64,
    progress: u64,
}

impl Connection {
    pub fn new(index: usize) -> Connection {
        Connection {
            token: Token(index),
            stream: None,
            is_open: false,
            is_dead: false,
            wire: Wire::new(0),
            output: Vec::new(),
            taken: 0,
            due: VecDeque::new(),
            asked: VecDeque::new(),
            started: 0,
            progress: 0,
        }
    }

    pub fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Does it wait for the server?
    pub fn is_waiting(&self) -> bool {
        let is_connecting = self.stream.is_some() && !self.is_open;
        is_connecting || !self.asked.is_empty() || !self.due.is_empty()
    }

    /// Starts to connect.
    pub fn connect(&mut self, shared: &mut Shared) -> Result<(), Failure> {
        self.started = shared.now();
        self.progress = self.started;
        if !self.wire.resume() {
            self.wire = Wire::new(shared.id());
        }
        let what = |error| failure("connect to", shared.addr, &error);
        let mut stream = TcpStream::connect(shared.addr).map_err(what)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        let register = shared.registry.register(&mut stream, self.token, both);
        register.map_err(what)?;
        self.stream = Some(stream);
        shared.connecting += 1;
        Ok(())
    }

    /// Makes a request due, and sends it if the socket takes it.
    pub fn ask(
        &mut self,
        due: u64,
        shared: &mut Shared,
    ) -> Result<(), Failure> {
        if !self.is_waiting() {
            self.progress = due;
        }
        shared.missing += 1;
        self.due.push_back(due);
        self.write(shared)
    }

    /// Reads and writes what it can. `ended`: the server closed its side.
    pub fn ready(
        &mut self,
        shared: &mut Shared,
        ended: bool,
    ) -> Result<(), Failure> {
        if self.is_open || self.established(shared)? {
            self.read(shared, ended)?;
            self.write(shared)?;
        }
        Ok(())
    }

    /// Has `connect` succeeded?
    fn established(&mut self, shared: &mut Shared) -> Result<bool, Failure> {
        let Some(stream) = &self.stream else { return Ok(false) };
        let what = |error| failure("connect to", shared.addr, &error);
        if let Some(error) = stream.take_error().map_err(what)? {
            return Err(what(error));
        }
        match stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                return Ok(false);
            }
            Err(error) => return Err(what(error)),
        }
        // If the option cannot be set, the connection is already broken.
        let _ = stream.set_nodelay(true);
        self.is_open = true;
        shared.connecting -= 1;
        let now = shared.now();
        self.progress = now;
        if shared.window.contains(&now) || !shared.reconnect {
            shared.connects.saturating_record(now - self.started);
        }
        Ok(true)
    }

    /// Reads until nothing is left. A read that does not fill its buffer has
    /// taken all there is (epoll(7)), unless the end of the stream is next.
    fn read(
        &mut self,
        shared: &mut Shared,
        ended: bool,
    ) -> Result<(), Failure> {
        while let Some(stream) = &mut self.stream {
            let n = match stream.read(&mut shared.input) {
                Ok(0) => return Err(self.end(shared)),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    continue;
                }
                Err(error) => return Err(self.broken("read from", &error)),
            };
            self.progress = shared.now();
            self.take(n, shared)?;
            if n < shared.input.len() && !ended {
                break;
            }
        }
        Ok(())
    }

    /// Checks `n` bytes of input, and makes the next requests due.
    fn take(&mut self, n: usize, shared: &mut Shared) -> Result<(), Failure> {
        let now = self.progress;
        let input = &shared.input[..n];
        let taken = self.wire.take(&shared.shape, input, &mut self.output);
        let replies = taken?;
        for _ in 0..replies {
            let due = self.asked.pop_front().unwrap_or(now);
            shared.replied(due, now);
            if shared.again {
                shared.missing += 1;
                self.due.push_back(now);
            }
        }
        if shared.reconnect && replies > 0 {
            self.close();
        }
        Ok(())
    }

    /// Writes what waits, until the socket takes no more.
    fn write(&mut self, shared: &mut Shared) -> Result<(), Failure> {
        if self.stream.is_none() && !self.due.is_empty() {
            return self.connect(shared);
        }
        while self.is_open && self.fill(shared) {
            let Some(stream) = &mut self.stream else { break };
            match stream.write(&self.output[self.taken..]) {
                Ok(n) => self.taken += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken("write to", &error)),
            }
            if self.asked.len() <= 1 {
                // Otherwise the server owes us a reply, whatever we send.
                self.progress = shared.latest;
            }
            if self.taken == self.output.len() {
                self.empty(shared);
            }
        }
        Ok(())
    }

    /// Encodes requests that are due. Is there anything to write?
    fn fill(&mut self, shared: &mut Shared) -> bool {
        if !self.output.is_empty() {
            return true;
        }
        // While the sockets take everything, one buffer serves ten thousand
        // connections.
        if !self.due.is_empty() {
            std::mem::swap(&mut self.output, &mut shared.spare);
        }
        while self.output.len() < PIECE {
            if shared.reconnect && !self.asked.is_empty() {
                break;
            }
            let Some(due) = self.due.pop_front() else { break };
            self.wire.ask(&shared.shape, &mut self.output);
            self.asked.push_back(due);
        }
        !self.output.is_empty()
    }

    /// The socket has taken all output.
    fn empty(&mut self, shared: &mut Shared) {
        self.output.clear();
        self.taken = 0;
        if shared.spare.capacity() < self.output.capacity() {
            shared.spare = std::mem::take(&mut self.output);
        }
    }

    fn close(&mut self) {
        self.stream = None;
        self.is_open = false;
        self.output.clear();
        self.taken = 0;
    }

    /// Leaves the connection out, without counting a failure.
    pub fn skip(&mut self) {
        self.is_dead = true;
    }

    /// Ends the connection, and counts why. If each request has a connection
    /// of its own, the next request has another chance.
    pub fn fail(&mut self, failure: Failure, shared: &mut Shared) {
        let mut next = Some(failure);
        while let Some(failure) = next {
            if shared.reconnect && shared.tally.count() < FAILURES {
                self.lose(failure, shared);
            } else {
                self.die(failure, shared);
            }
            next = self.write(shared).err();
        }
    }

    /// Ends the connection, and loses the request that it was for.
    fn lose(&mut self, failure: Failure, shared: &mut Shared) {
        let mut others = std::mem::take(&mut self.due);
        if self.asked.is_empty() {
            self.due.extend(others.pop_front());
        }
        let is_asked = self.is_waiting();
        self.die(failure, shared);
        self.is_dead = false;
        self.due = others;
        if shared.again && is_asked {
            shared.missing += 1;
            self.due.push_back(shared.now());
        }
    }

    /// Ends the connection for good, and counts why.
    pub fn die(&mut self, failure: Failure, shared: &mut Shared) {
        if self.stream.is_some() && !self.is_open {
            shared.connecting -= 1;
        }
        self.close();
        let lost = self.due.len() + self.asked.len();
        shared.missing = shared.missing.saturating_sub(lost);
        (self.due, self.asked) = Default::default();
        self.is_dead = true;
        shared.tally.add(failure);
    }

    /// Returns a failure if the server owes us something and nothing has moved
    /// for `limit`.
    pub fn overdue(&self, now: u64, limit: Duration) -> Option<Failure> {
        if !self.is_waiting() {
            return None;
        }
        let limit_ns = limit.as_nanos();
        let oldest = self.asked.front().unwrap_or(&now);
        if u128::from(now.saturating_sub(*oldest)) >= LONGEST * limit_ns {
            let place = self.wire.place();
            let text = format!(
                "the server sent too little {place}, for {LONGEST} times \
                 {limit:?}"
            );
            return Some(Failure::new(Kind::Timeout, text));
        }
        let since = u128::from(now.saturating_sub(self.progress));
        (since >= limit_ns).then(|| self.late(limit))
    }

    /// The failure of a connection that got no reply in `limit`.
    pub fn late(&self, limit: Duration) -> Failure {
        let what = if self.is_open {
            format!("the server sent nothing {}", self.wire.place())
        } else {
            "the server accepted no connection".to_owned()
        };
        Failure::new(Kind::Timeout, format!("{what}, for {limit:?}"))
    }

    fn end(&self, shared: &Shared) -> Failure {
        let addr = shared.addr;
        let place = self.wire.place();
        let text = format!("{addr} closed the connection {place}");
        Failure::new(Kind::Ended, text)
    }

    fn broken(&self, what: &str, error: &std::io::Error) -> Failure {
        let what = format!("{what} the server {}", self.wire.place());
        Failure::from_io(&what, error)
    }
}

fn failure(what: &str, addr: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::from_io(&format!("{what} {addr}"), error)
}

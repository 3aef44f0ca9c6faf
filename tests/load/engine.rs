//! The loop: one thread, all connections, the closed loop and the open one.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use mio::{Events, Poll};

use crate::connection::{Connection, FAILURES, Shared, histogram};
use crate::errors::{Failure, Kind};
use crate::wire::Shape;

/// How many connections or requests the loop starts before it looks at the
/// sockets again.
const BURST: usize = 100;

/// An open loop ends when this many requests wait for their replies. Each
/// takes 8 bytes to remember.
const BEHIND: usize = 1_000_000;

const MS: u64 = 1_000_000; // in nanoseconds
const TICK: u64 = 100 * MS; // how often the loop checks the deadlines

/// How long, and how much.
#[derive(Clone, Copy)]
pub struct Plan {
    pub warm_up: Duration,
    pub measured: Duration,
    /// Requests of each connection that are on their way at a time.
    pub in_flight: usize,
    /// Requests per second of all connections together: the open loop.
    pub rate: Option<f64>,
}

/// What a run took, and how late its requests left.
pub struct Measured<T> {
    /// What `look` returned when the measured time started and ended.
    pub before: T,
    pub after: T,
    /// The time between them, in seconds.
    pub seconds: f64,
    /// In nanoseconds; empty in a closed loop.
    pub late: Histogram<u64>,
}

pub struct Engine {
    pub shared: Shared,
    connections: Vec<Connection>,
    poll: Poll,
    events: Events,
    limit: Duration,
    looked: u64,
    /// The loop calls this about once a second while it measures.
    pub progress: Option<fn(&Shared)>,
}

impl Engine {
    /// Gives up on a connection that makes no progress for `limit`.
    pub fn new(
        addr: SocketAddr,
        shape: Shape,
        limit: Duration,
    ) -> Result<Engine> {
        let poll = Poll::new().context("cannot ask for epoll")?;
        let registry = poll.registry().try_clone();
        let registry = registry.context("cannot ask for epoll")?;
        Ok(Engine {
            shared: Shared::new(addr, shape, registry),
            connections: Vec::new(),
            poll,
            events: Events::with_capacity(1024),
            limit,
            looked: 0,
            progress: None,
        })
    }

    /// Adds places for `n` connections.
    pub fn add(&mut self, n: usize) -> Range<usize> {
        let start = self.connections.len();
        self.connections.extend((start..start + n).map(Connection::new));
        start..start + n
    }

    /// Connects all of `range`, and returns how many seconds that took.
    pub fn connect(&mut self, range: Range<usize>) -> Result<f64> {
        let start = self.shared.now();
        let mut next = range.start;
        while next < range.end || self.shared.connecting > 0 {
            while next < range.end && self.shared.connecting < BURST {
                if self.fails() {
                    self.connections[next].skip();
                } else {
                    self.with(next, Connection::connect);
                }
                next += 1;
            }
            let now = self.shared.now();
            self.turn(now + TICK, false)?;
        }
        Ok((self.shared.now() - start) as f64 / 1e9)
    }

    /// Sends one request on each connection of `range`, a few at a time, and
    /// waits for the replies.
    pub fn ask_each(&mut self, range: Range<usize>) -> Result<()> {
        let mut next = range.start;
        while next < range.end || self.shared.missing > 0 {
            if self.fails() {
                next = range.end;
            }
            while next < range.end && self.shared.missing < BURST {
                let now = self.shared.now();
                self.ask(next, now);
                next += 1;
            }
            let now = self.shared.now();
            self.turn(now + TICK, false)?;
        }
        Ok(())
    }

    /// Have enough connections failed to stop trying? A silent server would
    /// otherwise cost us the limit for each.
    fn fails(&self) -> bool {
        self.shared.tally.count() >= FAILURES
    }

    /// Answers the server's PINGs for a while, and asks for nothing.
    pub fn rest(&mut self, time: Duration) -> Result<()> {
        let end = self.shared.now() + time.as_nanos() as u64;
        while self.shared.now() < end {
            self.turn(end, false)?;
        }
        Ok(())
    }

    /// Puts load on the server by the connections of `range`, and waits for
    /// the replies. Calls `look` when the measured time starts and ends.
    pub fn run<T>(
        &mut self,
        range: Range<usize>,
        plan: Plan,
        mut look: impl FnMut() -> T,
    ) -> Result<Measured<T>> {
        let mut clock = self.start(range, plan);
        self.until(self.shared.window.start, &mut clock)?;
        let before = look();
        let start = self.shared.now();
        if plan.rate.is_none() {
            self.forget(); // the last turn of the warm-up took longer
        }
        let end = start + plan.measured.as_nanos() as u64;
        if plan.rate.is_none() {
            // The last turn of the loop may take longer, and counts in full.
            self.shared.window = start..u64::MAX;
        }
        self.until(end, &mut clock)?;
        // The open loop owes the server what was due in this time.
        while self.send_due(&mut clock) < u64::MAX {}
        let now = self.shared.now();
        self.shared.window.end = self.shared.window.end.min(now);
        self.shared.again = false;
        if plan.rate.is_some() {
            self.drain(&clock)?; // its requests count whenever they end
        }
        let seconds = (self.shared.now() - start).max(1) as f64 / 1e9;
        let after = look();
        self.drain(&clock)?;
        Ok(Measured { before, after, seconds, late: clock.late })
    }

    /// Forgets what counted so far.
    fn forget(&mut self) {
        self.shared.replies = 0;
        self.shared.latency.reset();
        if self.shared.reconnect {
            self.shared.connects.reset();
        }
    }

    /// Starts the clock, and the closed loop.
    fn start(&mut self, range: Range<usize>, plan: Plan) -> Clock {
        let start = self.shared.now();
        let from = start + plan.warm_up.as_nanos() as u64;
        self.shared.window = from..from + plan.measured.as_nanos() as u64;
        self.forget();
        self.shared.by_due = plan.rate.is_some();
        self.shared.again = plan.rate.is_none();
        if plan.rate.is_none() {
            for index in range.clone() {
                for _ in 0..plan.in_flight {
                    self.ask(index, start);
                }
            }
        }
        let interval = plan.rate.map(|rate| 1e9 / rate);
        Clock { range, interval, start, sent: 0, late: histogram() }
    }

    /// Serves the sockets until a time, or until no connection is left.
    fn until(&mut self, end: u64, clock: &mut Clock) -> Result<()> {
        let mut told = self.shared.now();
        while self.is_alive(&clock.range) {
            let now = self.shared.now();
            if now >= end {
                break;
            }
            if let Some(progress) = self.progress
                && now >= told + 1000 * MS
            {
                told = now;
                progress(&self.shared);
            }
            let next = self.send_due(clock);
            let is_exact = clock.interval.is_some();
            self.turn(end.min(next), is_exact)?;
        }
        Ok(())
    }

    /// Sends what is due by the clock, but not more than a few requests, so
    /// that replies are read meanwhile. Returns when the next one is due.
    fn send_due(&mut self, clock: &mut Clock) -> u64 {
        let Some(interval) = clock.interval else { return u64::MAX };
        for _ in 0..BURST {
            let due = clock.start + (clock.sent as f64 * interval) as u64;
            if due >= self.shared.window.end {
                return u64::MAX;
            }
            let now = self.shared.now();
            if due > now {
                return due;
            }
            let Some(index) = self.next_alive(clock) else { return u64::MAX };
            if self.shared.window.contains(&due) {
                clock.late.saturating_record(now - due);
            }
            self.ask(index, due);
            clock.sent += 1;
            if self.shared.missing > BEHIND {
                self.give_up(clock);
            }
        }
        self.shared.now()
    }

    /// Returns the connection for the next request: each gets one in turn.
    fn next_alive(&self, clock: &Clock) -> Option<usize> {
        let n = clock.range.len() as u64;
        (0..n)
            .map(|i| clock.range.start + ((clock.sent + i) % n) as usize)
            .find(|index| !self.connections[*index].is_dead())
    }

    /// Ends an open loop that the server cannot follow.
    fn give_up(&mut self, clock: &Clock) {
        let text = format!(
            "{BEHIND} requests wait for their replies, because the server or \
             this program cannot keep up; try a lower --rate"
        );
        let failure = Failure::new(Kind::Other, text);
        for index in clock.range.clone() {
            if !self.connections[index].is_dead() {
                let shared = &mut self.shared;
                self.connections[index].die(failure.clone(), shared);
            }
        }
    }

    /// Waits for the missing replies, and after the limit gives up on the
    /// connections that still wait.
    fn drain(&mut self, clock: &Clock) -> Result<()> {
        let end = self.shared.now() + self.limit.as_nanos() as u64;
        let is_waiting = |engine: &Engine, index: &usize| {
            engine.connections[*index].is_waiting()
        };
        while clock.range.clone().any(|index| is_waiting(self, &index)) {
            if self.shared.now() >= end {
                for index in clock.range.clone() {
                    if is_waiting(self, &index) {
                        let connection = &mut self.connections[index];
                        let late = connection.late(self.limit);
                        connection.die(late, &mut self.shared);
                    }
                }
                break;
            }
            let now = self.shared.now();
            self.turn((now + MS).min(end), false)?;
        }
        Ok(())
    }

    fn is_alive(&self, range: &Range<usize>) -> bool {
        self.shared.tally.count() == 0
            || range.clone().any(|index| !self.connections[index].is_dead())
    }

    fn ask(&mut self, index: usize, due: u64) {
        self.with(index, |connection, shared| connection.ask(due, shared));
    }

    /// Does something with a connection unless it is dead. A failure counts,
    /// and ends the connection.
    fn with(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Connection, &mut Shared) -> Result<(), Failure>,
    ) {
        let connection = &mut self.connections[index];
        if !connection.is_dead()
            && let Err(failure) = act(connection, &mut self.shared)
        {
            connection.fail(failure, &mut self.shared);
        }
    }

    /// Waits until `end` or until sockets are ready, and serves those.
    ///
    /// epoll waits for whole milliseconds. If `is_exact`, it therefore only
    /// asks, without waiting, while less than one is left.
    fn turn(&mut self, end: u64, is_exact: bool) -> Result<()> {
        let left = end.saturating_sub(self.shared.now()).min(TICK);
        let ms = if is_exact { left / MS } else { left.div_ceil(MS) };
        if ms == 0 {
            thread::yield_now(); // the server may need this processor
        }
        let wait = Duration::from_millis(ms);
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(error).context("cannot wait for the sockets");
            }
            _ => {}
        }
        for event in &self.events {
            let connection = &mut self.connections[event.token().0];
            let ended = event.is_read_closed() || event.is_error();
            if connection.is_dead() {
                continue;
            }
            if let Err(failure) = connection.ready(&mut self.shared, ended) {
                connection.fail(failure, &mut self.shared);
            }
        }
        self.look_at_deadlines();
        Ok(())
    }

    fn look_at_deadlines(&mut self) {
        let now = self.shared.now();
        if now < self.looked + TICK {
            return;
        }
        self.looked = now;
        for connection in &mut self.connections {
            if let Some(failure) = connection.overdue(now, self.limit) {
                connection.fail(failure, &mut self.shared);
            }
        }
    }
}

/// When requests are due in an open loop.
struct Clock {
    range: Range<usize>,
    interval: Option<f64>, // in nanoseconds
    start: u64,
    sent: u64,
    late: Histogram<u64>,
}

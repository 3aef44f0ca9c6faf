//! One connection: a stream from the client, a stream to the server, and two
//! directions between them.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, copy, sink};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio::{join, select};

use crate::faults::{Fault, Stop, Way};
use crate::plan::{Place, Plan, Rules};
use crate::queue::{Next, Queue, What};
use crate::say;

/// How long the server may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// How long both ends may take to close, after a cut.
const LINGER: Duration = Duration::from_secs(1);

/// How many bytes one read takes at most.
const READ: usize = 16 * 1024;

/// What all connections have in common.
pub struct Shared {
    pub to: SocketAddr,
    pub seed: u64,
    pub rules: watch::Receiver<Rules>,
}

/// Why a connection ended before both streams had.
enum Broken {
    Planned(Stop),
    Failed(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Failed(error)
    }
}

/// Relays connection `number`. Its errors are reported and end here.
pub async fn run(number: u64, client: TcpStream, shared: Arc<Shared>) {
    if shared.rules.borrow().refuses(number) {
        say(format!("{number}: refuse"));
        return reset([client]);
    }
    let server = match connect(shared.to).await {
        Ok(server) => server,
        Err(error) => {
            say(format!("{number}: {error:#}"));
            return reset([client]);
        }
    };
    let mut ends = [client, server];
    for end in &ends {
        let _ = end.set_nodelay(true); // a slice must not wait for the next
    }
    match both(number, &mut ends, &shared).await {
        Ok(()) => say(format!("{number}: both streams ended")),
        Err(Broken::Planned(Stop::Cut)) => cut(ends).await,
        Err(Broken::Planned(_)) => reset(ends),
        Err(Broken::Failed(error)) => {
            say(format!("{number}: {error}; resets the other end, too"));
            reset(ends);
        }
    }
}

async fn connect(to: SocketAddr) -> Result<TcpStream> {
    let attempt = timeout(CONNECT, TcpStream::connect(to)).await;
    let stream =
        attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    stream.with_context(|| {
        format!("cannot connect to {to} (is the server running?)")
    })
}

/// Closes so that the other end gets RST: with no time to linger, the kernel
/// drops what it still has and sends no FIN.
fn reset(ends: impl IntoIterator<Item = TcpStream>) {
    for end in ends {
        let _ = end.set_zero_linger();
    }
}

/// Sends FIN to both, and reads on until they close, too: to close with bytes
/// unread would send RST.
async fn cut(ends: [TcpStream; 2]) {
    let [client, server] = ends.map(|mut end| async move {
        let _ = end.shutdown().await;
        let _ = timeout(LINGER, copy(&mut end, &mut sink())).await;
    });
    join!(client, server);
}

// ANCHOR: both
/// Runs the two directions until both have ended, or one breaks.
async fn both(
    number: u64,
    [client, server]: &mut [TcpStream; 2],
    shared: &Shared,
) -> Result<(), Broken> {
    let started = Instant::now();
    let direction = |way| {
        Direction::new(Place { connection: number, way, started }, shared)
    };
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut up = pin!(direction(Way::Up).run(from_client, to_server));
    let mut down = pin!(direction(Way::Down).run(from_server, to_client));
    select! {
        biased;
        ended = &mut up => half_closed(ended?, down).await,
        ended = &mut down => half_closed(ended?, up).await,
    }
}

/// Runs the other direction after the stream `from` has ended. Nothing reads
/// from there any more, so only this would notice a reset.
async fn half_closed(
    from: ReadHalf<'_>,
    other: impl Future<Output = Result<ReadHalf<'_>, Broken>>,
) -> Result<(), Broken> {
    select! {
        biased;
        ended = other => ended.map(drop),
        error = broken(&from) => Err(error.into()),
    }
}

// ANCHOR_END: both

/// Waits until the connection has an error, without reading.
async fn broken(from: &ReadHalf<'_>) -> io::Error {
    if let Err(error) = from.ready(Interest::ERROR).await {
        return error;
    }
    let error = from.as_ref().take_error().ok().flatten();
    error.unwrap_or(io::ErrorKind::ConnectionReset.into())
}

/// One direction: what it reads, it writes, unless a fault says otherwise.
struct Direction {
    place: Place,
    rules: watch::Receiver<Rules>,
    random: StdRng,
    queue: Queue,
    looked: Option<Instant>, // when it last looked at the rules
    is_stalled: bool,
}

impl Direction {
    fn new(place: Place, shared: &Shared) -> Direction {
        // Each direction of each connection has its own dice.
        let seed =
            shared.seed ^ ((place.connection << 1 | place.way as u64) << 20);
        Direction {
            place,
            rules: shared.rules.clone(),
            random: StdRng::seed_from_u64(seed),
            queue: Queue::new(),
            looked: None,
            is_stalled: false,
        }
    }

    // ANCHOR: direction
    /// Returns `from` when its stream has ended and `to` was told.
    async fn run<'a>(
        mut self,
        mut from: ReadHalf<'a>,
        mut to: WriteHalf<'_>,
    ) -> Result<ReadHalf<'a>, Broken> {
        let mut buffer = vec![0; READ];
        loop {
            let (plan, change) = self.look();
            let next = self.queue.next(&plan);
            self.obey(next)?;
            let room = &mut buffer[..self.queue.room().min(READ)];
            let is_open = !self.is_stalled;
            select! {
                biased;
                _ = self.rules.changed() => {}
                () = reach(change) => {}
                n = receive(&mut from, room), if is_open => {
                    self.received(&mut buffer[..n?], &plan);
                }
                done = act(next, self.queue.piece(), &mut to), if is_open => {
                    match done? {
                        (next, What::Write(n)) => {
                            self.queue.sent(n, next, &plan);
                        }
                        (_, What::Finish) => return Ok(from),
                        (_, What::Stop(..)) => {} // it is time: obey
                    }
                }
            }
        }
    }
    // ANCHOR_END: direction

    /// What the rules say now, and when that changes. Reports what is new.
    fn look(&mut self) -> (Plan, Option<Instant>) {
        let now = Instant::now();
        let faults = self.rules.borrow_and_update().of(self.place);
        let known = self.looked.replace(now);
        for &(since, fault) in &faults {
            let is_new = known.is_none_or(|known| since > known);
            // A stop is reported when it happens.
            if is_new && since <= now && !matches!(fault, Fault::Stop(..)) {
                self.say(fault);
            }
        }
        let mut times = faults.iter().map(|(since, _)| *since);
        let change = times.find(|since| *since > now);
        let acting = faults.iter().take_while(|(since, _)| *since <= now);
        (Plan::of(acting.map(|(_, fault)| *fault)), change)
    }

    fn say(&self, fault: Fault) {
        say(format!("{} {}: {fault}", self.place.connection, self.place.way));
    }

    /// Stops, if it is time for it. A stall holds both ends until `clear`,
    /// even when they have gone: like a pulled cable, it tells nobody.
    fn obey(&mut self, next: Option<Next>) -> Result<(), Broken> {
        let was_stalled = std::mem::take(&mut self.is_stalled);
        let Some(Next { at, what: What::Stop(stop, after) }) = next else {
            return Ok(());
        };
        if at > Instant::now() {
            return Ok(());
        }
        if !was_stalled {
            self.say(Fault::Stop(stop, after));
        }
        self.is_stalled = stop == Stop::Stall;
        if self.is_stalled { Ok(()) } else { Err(Broken::Planned(stop)) }
    }

    /// Lets bytes, or the end of the stream, leave when the plan says so.
    fn received(&mut self, bytes: &mut [u8], plan: &Plan) {
        let mut due = Instant::now() + plan.delay;
        if !plan.jitter.is_zero() {
            due += self.random.random_range(Duration::ZERO..=plan.jitter);
        }
        if bytes.is_empty() {
            return self.queue.finish(due + plan.slow_close);
        }
        if let Some(one_in) = plan.corrupt {
            for byte in &mut *bytes {
                if self.random.random_range(0..one_in) == 0 {
                    *byte ^= 1 << self.random.random_range(0..8);
                }
            }
        }
        self.queue.push(bytes, due);
    }
}

/// Waits until that moment, or forever if there is none.
async fn reach(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

// ANCHOR: receive
/// Reads; 0 is the end. Without room, waits until the connection breaks.
async fn receive(
    from: &mut ReadHalf<'_>,
    room: &mut [u8],
) -> io::Result<usize> {
    match room {
        [] => Err(broken(from).await),
        _ => from.read(room).await,
    }
}

// ANCHOR_END: receive

// ANCHOR: act
/// Waits until it is time, then does what is next. Returns what was done: a
/// write may take less than it is given. It loses nothing if it is dropped.
async fn act(
    next: Option<Next>,
    piece: &[u8],
    to: &mut WriteHalf<'_>,
) -> io::Result<(Next, What)> {
    let Some(next) = next else {
        return pending().await;
    };
    if next.at > Instant::now() {
        sleep_until(next.at).await;
    }
    let done = match next.what {
        What::Write(n) => What::Write(to.write(&piece[..n]).await?),
        What::Finish => {
            to.shutdown().await?;
            What::Finish
        }
        stop => stop,
    };
    Ok((next, done))
}
// ANCHOR_END: act

//! One direction of a connection: what it reads, it writes, unless a fault
//! says otherwise.

use std::future::pending;
use std::io;
use std::mem::take;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::faults::{Fault, Stop};
use crate::plan::{Place, Plan, Rules};
use crate::queue::{Arrival, Next, Queue, What};
use crate::relay::{Broken, Shared, broken};
use crate::say;

/// How many bytes one read takes at most.
const READ: usize = 16 * 1024;

/// How long a write may take nothing, once a reset waits behind it.
const PATIENCE: Duration = Duration::from_secs(1);

/// One direction, ready to run.
pub struct Direction {
    place: Place,
    rules: watch::Receiver<Rules>,
    random: StdRng,
    queue: Queue,
    looked: Option<Instant>, // when it last looked at the rules
    is_stalled: bool,
    reset: Option<io::Error>, // why the stream ends with RST, not FIN
}

impl Direction {
    pub fn new(place: Place, shared: &Shared) -> Direction {
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
            reset: None,
        }
    }

    // ANCHOR: direction
    /// Relays until the stream of `from` has ended, and `to` has taken all of
    /// it but its end.
    ///
    /// # Errors
    /// A fault ends the connection, or one of its ends has broken it.
    pub async fn run<'a, 'b>(
        mut self,
        mut from: ReadHalf<'a>,
        mut to: WriteHalf<'b>,
    ) -> Result<(ReadHalf<'a>, WriteHalf<'b>), Broken> {
        let mut buffer = vec![0; READ];
        loop {
            let (plan, change) = self.look();
            let next = self.queue.next(&plan);
            self.obey(next)?;
            let room = &mut buffer[..self.queue.room().min(READ)];
            let is_open = !self.is_stalled;
            let is_reset = self.reset.is_some();
            let leave = act(next, self.queue.piece(), &mut to, is_reset);
            let done = select! {
                biased;
                _ = self.rules.changed() => continue,
                () = reach(change) => continue,
                n = receive(&mut from, room, is_reset), if is_open => {
                    self.received(n, &mut buffer, &plan);
                    continue;
                }
                done = leave, if is_open => done,
            };
            match done.map_err(|error| self.broken_by(error))? {
                (at, What::Write(n)) => self.queue.sent(n, at),
                (_, What::Finish) => return self.ended((from, to)),
                (_, What::Stop(..)) => {} // it is time: obey
            }
        }
    }
    // ANCHOR_END: direction

    /// Everything but the end has left.
    fn ended<T>(self, halves: T) -> Result<T, Broken> {
        self.reset.map_or(Ok(halves), |error| Err(Broken::Read(error)))
    }

    /// A write has failed.
    fn broken_by(&mut self, error: io::Error) -> Broken {
        match self.reset.take() {
            None => Broken::Write(error),
            Some(reset) => Broken::Read(reset), // both ends have gone
        }
    }

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
    /// `cut` or `reset`, even when they have gone: like a pulled cable, it
    /// tells nobody.
    fn obey(&mut self, next: Option<Next>) -> Result<(), Broken> {
        let was_stalled = take(&mut self.is_stalled);
        let Some(Next { at, what: What::Stop(stop, after) }) = next else {
            return Ok(());
        };
        if at > Instant::now() {
            return Ok(()); // what it would keep is not due yet
        }
        self.is_stalled = stop == Stop::Stall;
        if !(was_stalled && self.is_stalled) {
            self.say(Fault::Stop(stop, after));
        }
        if self.is_stalled { Ok(()) } else { Err(Broken::Planned(stop)) }
    }

    /// Queues bytes, or the end of the stream.
    fn received(
        &mut self,
        n: io::Result<usize>,
        buffer: &mut [u8],
        plan: &Plan,
    ) {
        let n = n.unwrap_or_else(|error| {
            self.reset = Some(error); // a reset is one more kind of end
            0
        });
        let bytes = &mut buffer[..n];
        let dice = match plan.jitter {
            Duration::ZERO => 0.0,
            _ => self.random.random(),
        };
        let arrival = Arrival { at: Instant::now(), dice };
        if bytes.is_empty() {
            // Without room, there may be more to read before the reset.
            if self.queue.room() > 0 {
                self.queue.finish(arrival);
            }
            return;
        }
        if let Some(one_in) = plan.corrupt {
            for byte in &mut *bytes {
                if self.random.random_range(0..one_in) == 0 {
                    *byte ^= 1 << self.random.random_range(0..8);
                }
            }
        }
        self.queue.push(bytes, arrival);
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
/// Reads; 0 is the end. Without room, waits until the connection breaks, if
/// it has not yet.
async fn receive(
    from: &mut ReadHalf<'_>,
    room: &mut [u8],
    is_reset: bool,
) -> io::Result<usize> {
    match room {
        [] if is_reset => pending().await,
        [] => Err(broken(from).await),
        _ => from.read(room).await,
    }
}
// ANCHOR_END: receive

/// Waits until it is time, then does what is next. Returns what was done: a
/// write may take less than it is given. It loses nothing if it is dropped.
async fn act(
    next: Option<Next>,
    piece: &[u8],
    to: &mut WriteHalf<'_>,
    is_reset: bool,
) -> io::Result<(Instant, What)> {
    let Some(next) = next else {
        return pending().await;
    };
    if next.at > Instant::now() {
        sleep_until(next.at).await;
    }
    let What::Write(n) = next.what else {
        return Ok((next.at, next.what));
    };
    let write = to.write(&piece[..n]);
    let n = match is_reset {
        true => timeout(PATIENCE, write).await??,
        false => write.await?,
    };
    Ok((next.at, What::Write(n)))
}

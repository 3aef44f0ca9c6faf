//! The road: which packets get lost, and when the others arrive.
//!
//! It never looks at a clock: whoever uses it says what time it is.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::segment::Segment;

/// How many packets are on the road at most, in each direction. When there are
/// that many, a router drops what comes.
pub const QUEUE: usize = 1000;

/// An end of the road.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// The machine on which the server runs.
    Server,
    /// The machine on which the client runs.
    Client,
}

impl Side {
    /// The other end.
    pub fn other(self) -> Side {
        match self {
            Side::Server => Side::Client,
            Side::Client => Side::Server,
        }
    }
}

/// A packet, when it left one machine and when it reached the other one.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossing {
    /// The machine that sent it.
    pub from: Side,
    /// When it left, counted from the start.
    pub sent: Duration,
    /// When it arrived. Nothing if it was lost, or is still on its way.
    pub arrived: Option<Duration>,
    /// The packet, from its IP header on.
    pub bytes: Vec<u8>,
}

/// What a road does to all packets.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// How long a packet takes, one way.
    pub delay: Duration,
    /// How much more or less that may be, for each packet.
    pub jitter: Duration,
    /// How many of the packets get lost, from 0 to 1.
    pub loss: f64,
    /// How many bits fit through in a second; without it, there is no limit.
    pub rate: Option<u64>,
    /// What the random numbers start from.
    pub seed: u64,
}

/// What a fault does to one packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// Nothing.
    Pass,
    /// It never arrives.
    Lose,
    /// It takes this much longer.
    Late(Duration),
}

/// A packet as a fault sees it.
#[derive(Debug)]
pub struct Passing {
    /// When it was sent, counted from the start.
    pub at: Duration,
    /// The machine that sent it.
    pub from: Side,
    /// Its header.
    pub segment: Segment,
    /// Its number among the segments with new data from this machine, from 1.
    /// 0 if it has no data.
    pub nth: usize,
    /// How many times the same data, SYN or FIN went by before.
    pub copies: usize,
}

/// Decides about each packet.
pub type Fault = Box<dyn FnMut(&Passing) -> Fate + Send>;

/// One direction.
#[derive(Default)]
struct Lane {
    /// How many packets are on it.
    load: usize,
    /// When the last bit of the last packet is through.
    free: Duration,
    /// How many segments with data came, each counted once.
    segments: usize,
}

/// A road between two machines.
pub struct Road {
    conditions: Conditions,
    fault: Option<Fault>,
    random: u64,
    lanes: [Lane; 2],
    seen: HashMap<(Side, u32, bool), usize>,
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    log: Vec<Crossing>,
}

impl Road {
    /// Makes a road, with a fault if there shall be one.
    pub fn new(conditions: Conditions, fault: Option<Fault>) -> Road {
        Road {
            random: conditions.seed,
            conditions,
            fault,
            lanes: Default::default(),
            seen: HashMap::new(),
            due: BinaryHeap::new(),
            log: Vec::new(),
        }
    }

    /// Everything that was sent, in this order.
    pub fn log(&self) -> &[Crossing] {
        &self.log
    }

    /// Takes a packet that was sent at `now`.
    pub fn enter(&mut self, now: Duration, from: Side, bytes: Vec<u8>) {
        let fate = self.fate(now, from, &bytes);
        let arrival = match fate {
            Fate::Lose => None,
            Fate::Pass => self.arrival(now, from, bytes.len()),
            Fate::Late(more) => {
                self.arrival(now, from, bytes.len()).map(|time| time + more)
            }
        };
        if let Some(time) = arrival {
            self.lanes[from as usize].load += 1;
            self.due.push(Reverse((time, self.log.len())));
        }
        self.log.push(Crossing { from, sent: now, arrived: None, bytes });
    }

    /// When the next packet arrives.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse((time, _))| *time)
    }

    /// Hands out a packet whose time has come. Those with the same time come
    /// in the order in which they were sent.
    pub fn leave(&mut self, now: Duration) -> Option<&Crossing> {
        self.next_due().filter(|time| *time <= now)?;
        let Reverse((_, number)) = self.due.pop()?;
        let crossing = &mut self.log[number];
        self.lanes[crossing.from as usize].load -= 1;
        crossing.arrived = Some(now);
        Some(crossing)
    }

    fn fate(&mut self, at: Duration, from: Side, bytes: &[u8]) -> Fate {
        let Some(fault) = &mut self.fault else { return Fate::Pass };
        let Some(segment) = Segment::read(bytes) else { return Fate::Pass };
        let (mut nth, mut copies) = (0, 0);
        if segment.has_content() {
            let key = (from, segment.seq, segment.len > 0);
            let seen = self.seen.entry(key).or_default();
            copies = *seen;
            *seen += 1;
            if segment.len > 0 {
                let lane = &mut self.lanes[from as usize];
                lane.segments += usize::from(copies == 0);
                nth = lane.segments;
            }
        }
        fault(&Passing { at, from, segment, nth, copies })
    }

    /// When a packet of this size arrives, if it does.
    fn arrival(
        &mut self,
        now: Duration,
        from: Side,
        size: usize,
    ) -> Option<Duration> {
        let (luck, wobble) = (self.random(), self.random());
        let lane = &mut self.lanes[from as usize];
        if luck < self.conditions.loss || lane.load == QUEUE {
            return None;
        }
        let bits = size as f64 * 8.0;
        let rate = self.conditions.rate;
        let takes = rate.map_or(0.0, |rate| bits / rate as f64);
        lane.free = now.max(lane.free) + Duration::from_secs_f64(takes);
        let Conditions { delay, jitter, .. } = self.conditions;
        let most = lane.free + delay + jitter;
        Some(most.saturating_sub(jitter.mul_f64(2.0 * wobble)).max(lane.free))
    }

    /// A number from 0 to 1, not 1 itself (SplitMix64).
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

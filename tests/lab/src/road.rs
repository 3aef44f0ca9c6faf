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

/// How many packets a road carries in its life, as it keeps all of them. It
/// drops further ones. A copy may be one more.
pub const MOST: usize = 100_000;

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
    /// It never arrives.
    pub lost: bool,
    /// The road made it, from the packet before it. No machine sent it.
    pub copy: bool,
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
    /// How many of the others arrive twice, from 0 to 1.
    pub twice: f64,
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
    /// When it was sent, counted from the first packet.
    pub at: Duration,
    /// The machine that sent it.
    pub from: Side,
    /// Its header; an empty one if it is not TCP.
    pub segment: Segment,
    /// Its number among the segments with new data from this machine, from 1.
    /// 0 if it has no data. What is not TCP is counted, whatever it has.
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
    /// Decides about the luck of each packet.
    dice: Dice,
}

/// A road between two machines.
pub struct Road {
    conditions: Conditions,
    fault: Option<Fault>,
    lanes: [Lane; 2],
    seen: HashMap<(Side, u32, bool), usize>,
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    log: Vec<Crossing>,
}

impl Road {
    /// Makes a road, with a fault if there shall be one.
    pub fn new(conditions: Conditions, fault: Option<Fault>) -> Road {
        let mut seeds = Dice(conditions.seed);
        Road {
            lanes: [Dice(seeds.throw()), Dice(seeds.throw())]
                .map(|dice| Lane { dice, ..Default::default() }),
            conditions,
            fault,
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
        if self.log.len() >= MOST {
            return;
        }
        let fate = self.fate(now, from, &bytes);
        let (size, loss) = (bytes.len(), self.conditions.loss);
        let arrival = match fate {
            Fate::Lose => None,
            Fate::Pass => self.arrival(now, from, size, loss),
            Fate::Late(more) => {
                self.arrival(now, from, size, loss).map(|time| time + more)
            }
        };
        let lost = arrival.is_none();
        let copies = !lost && self.is_copied(from);
        let arrived = None;
        let packet =
            Crossing { from, sent: now, arrived, lost, copy: false, bytes };
        if copies && let Some(time) = self.arrival(now, from, 0, 0.0) {
            let copy = Crossing { copy: true, ..packet.clone() };
            self.note(packet, arrival);
            self.note(copy, Some(time));
        } else {
            self.note(packet, arrival);
        }
    }

    /// Does this packet arrive twice? Without `twice`, no dice are thrown, and
    /// a seed loses the same packets as ever.
    fn is_copied(&mut self, from: Side) -> bool {
        let twice = self.conditions.twice;
        twice > 0.0 && self.lanes[from as usize].dice.share() < twice
    }

    fn note(&mut self, packet: Crossing, arrival: Option<Duration>) {
        if let Some(time) = arrival {
            self.lanes[packet.from as usize].load += 1;
            self.due.push(Reverse((time, self.log.len())));
        }
        self.log.push(packet);
    }

    /// When the next packet arrives; nothing if none is on its way.
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

    fn fate(&mut self, now: Duration, from: Side, bytes: &[u8]) -> Fate {
        let Some(fault) = &mut self.fault else { return Fate::Pass };
        let (mut nth, mut copies) = (0, 0);
        let segment = Segment::read(bytes).unwrap_or_else(|| {
            let lane = &mut self.lanes[from as usize];
            lane.segments += 1;
            nth = lane.segments;
            Segment::default()
        });
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
        let at = now - self.log.first().map_or(now, |first| first.sent);
        fault(&Passing { at, from, segment, nth, copies })
    }

    /// When a packet of this size arrives, if it does.
    fn arrival(
        &mut self,
        now: Duration,
        from: Side,
        size: usize,
        loss: f64,
    ) -> Option<Duration> {
        let lane = &mut self.lanes[from as usize];
        let (luck, wobble) = (lane.dice.share(), lane.dice.share());
        if luck < loss || lane.load >= QUEUE {
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
}

/// Random numbers, always the same ones from the same start (SplitMix64).
#[derive(Default)]
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to 1, not 1 itself.
    fn share(&mut self) -> f64 {
        (self.throw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::tests::packet;
    use Side::{Client, Server};

    const ACK: u8 = 0x10;
    const SYN: u8 = 0x02;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn road(conditions: Conditions) -> Road {
        Road::new(conditions, None)
    }

    /// Sends packets of 1000 bytes, one each millisecond.
    fn send(road: &mut Road, n: u64) {
        for i in 0..n {
            road.enter(ms(i), Client, packet(i as u32, ACK, 960));
        }
    }

    /// When each packet arrived, in the order of sending.
    fn arrivals(road: &mut Road) -> Vec<Option<Duration>> {
        while let Some(due) = road.next_due() {
            assert!(road.leave(due - ms(1)).is_none(), "too early");
            assert!(road.leave(due).is_some());
        }
        road.log().iter().map(|crossing| crossing.arrived).collect()
    }

    #[test]
    fn each_packet_takes_the_delay() {
        let delay = ms(25);
        let mut road = road(Conditions { delay, ..Default::default() });
        road.enter(ms(0), Client, packet(1, ACK, 5));
        road.enter(ms(3), Server, packet(9, ACK, 5));
        assert_eq!(road.next_due(), Some(ms(25)));
        assert_eq!(arrivals(&mut road), [Some(ms(25)), Some(ms(28))]);
        assert_eq!(road.next_due(), None);
    }

    #[test]
    fn packets_sent_at_the_same_time_keep_their_order() {
        let delay = ms(25);
        let mut road = road(Conditions { delay, ..Default::default() });
        for seq in 0..100 {
            road.enter(ms(0), Client, packet(seq, ACK, 1));
        }
        for seq in 0..100 {
            let packet = road.leave(ms(25)).unwrap();
            assert_eq!(Segment::read(&packet.bytes).unwrap().seq, seq);
        }
    }

    #[test]
    fn only_jitter_changes_the_order() {
        let (delay, jitter) = (ms(25), ms(5));
        let conditions = Conditions { delay, jitter, ..Default::default() };
        let mut road = road(conditions);
        send(&mut road, 1000);
        let times = arrivals(&mut road);
        assert!(!times.is_sorted());
        for (i, time) in times.iter().enumerate() {
            let took = time.unwrap() - ms(i as u64);
            assert!((ms(20)..=ms(30)).contains(&took), "{took:?}");
        }
    }

    #[test]
    fn a_seed_loses_the_same_packets_each_time() {
        let lost = |seed, from| {
            let mut road = road(Conditions {
                delay: ms(25),
                loss: 0.05,
                seed,
                ..Default::default()
            });
            for i in 0..1000 {
                road.enter(ms(i), from, packet(i as u32, ACK, 960));
            }
            arrivals(&mut road);
            road.log().iter().map(|packet| packet.lost).collect::<Vec<_>>()
        };
        for seed in 0..4 {
            assert_eq!(lost(seed, Client), lost(seed, Client));
            assert_ne!(lost(seed, Client), lost(seed + 1, Client));
            assert_ne!(lost(seed, Client), lost(seed, Server));
            let lost = lost(seed, Client).iter().filter(|lost| **lost).count();
            assert!((30..70).contains(&lost), "{lost} of 1000");
        }
    }

    #[test]
    fn some_arrive_twice_and_no_others_get_lost() {
        let (delay, jitter) = (ms(25), ms(5));
        let once = Conditions { delay, jitter, ..Default::default() };
        let mut road = road(Conditions { twice: 0.2, ..once });
        send(&mut road, 500);
        assert!(arrivals(&mut road).iter().all(Option::is_some));
        let log = road.log();
        let copies: Vec<_> = (0..log.len()).filter(|i| log[*i].copy).collect();
        assert!((70..130).contains(&copies.len()), "{}", copies.len());
        assert_eq!(log.len(), 500 + copies.len());
        for i in copies {
            assert_eq!(log[i].bytes, log[i - 1].bytes);
            assert_eq!(log[i].sent, log[i - 1].sent);
        }
    }

    #[test]
    fn a_fault_counts_what_is_not_tcp() {
        let lose =
            |p: &Passing| if p.nth == 2 { Fate::Lose } else { Fate::Pass };
        let mut road = Road::new(Conditions::default(), Some(Box::new(lose)));
        let mut udp = packet(0, 0, 8);
        udp[9] = 17;
        for i in 0..3 {
            road.enter(ms(i), Client, udp.clone());
        }
        let lost: Vec<bool> = road.log().iter().map(|it| it.lost).collect();
        assert_eq!(lost, [false, true, false]);
    }

    #[test]
    fn a_rate_spaces_the_packets() {
        // 1000 bytes are 8000 bits: 10 ms each.
        let rate = Some(800_000);
        let mut road = road(Conditions { rate, ..Default::default() });
        send(&mut road, 3);
        let expected = [10, 20, 30].map(|n| Some(ms(n)));
        assert_eq!(arrivals(&mut road), expected);
    }

    #[test]
    fn a_full_queue_drops_what_comes() {
        let delay = ms(5000);
        let mut road = road(Conditions { delay, ..Default::default() });
        send(&mut road, 1002);
        road.enter(ms(1002), Server, packet(0, ACK, 1)); // has its own
        let times = arrivals(&mut road);
        let lost = |i: &usize| times[*i].is_none();
        assert_eq!((0..1003).filter(lost).collect::<Vec<_>>(), [1000, 1001]);
        road.enter(ms(9000), Client, packet(0, ACK, 1));
        assert_eq!(road.next_due(), Some(ms(14_000)), "there is room again");
    }

    #[test]
    fn a_road_carries_so_many_packets_and_no_more() {
        let mut road = road(Conditions::default());
        send(&mut road, MOST as u64 + 10);
        assert_eq!(road.log().len(), MOST);
    }

    /// A packet and its copy may jump over the limit.
    #[test]
    fn copies_do_not_lift_the_limit() {
        let lose =
            |p: &Passing| if p.nth == 1 { Fate::Lose } else { Fate::Pass };
        let twice = Conditions { twice: 1.0, ..Default::default() };
        let mut road = Road::new(twice, Some(Box::new(lose)));
        for _ in 0..MOST {
            road.enter(ms(0), Client, b"x".to_vec());
            while road.leave(ms(0)).is_some() {}
        }
        assert_eq!(road.log().len(), MOST + 1);
    }

    #[test]
    fn all_that_arrive_may_arrive_twice() {
        let (loss, twice) = (0.5, 1.0);
        let mut road = road(Conditions { loss, twice, ..Default::default() });
        send(&mut road, 400);
        let count = |is: fn(&Crossing) -> bool| {
            road.log().iter().filter(|it| is(it)).count()
        };
        let arrived = count(|it| !it.lost && !it.copy);
        assert!((150..250).contains(&arrived), "{arrived}");
        assert_eq!(count(|it| it.copy), arrived);
    }

    #[test]
    fn a_fault_knows_what_was_sent_before() {
        let (tell, told) = std::sync::mpsc::channel();
        let fault = Box::new(move |p: &Passing| {
            tell.send((p.at, p.nth, p.copies)).unwrap();
            if p.nth == 2 { Fate::Lose } else { Fate::Late(ms(7)) }
        });
        let mut road = Road::new(Conditions::default(), Some(fault));
        for (at, seq, flags, len) in [
            (100, 0, SYN, 0),
            (101, 1, ACK, 0),
            (102, 1, ACK, 10),
            (103, 11, ACK, 10),
            (104, 11, ACK, 10),
        ] {
            road.enter(ms(at), Client, packet(seq, flags, len));
        }
        let expected = [(0, 0, 0), (1, 0, 0), (2, 1, 0), (3, 2, 0), (4, 2, 1)];
        let told: Vec<_> = told.try_iter().collect();
        assert_eq!(told, expected.map(|(at, n, c)| (ms(at), n, c)));
        let late = |n| Some(ms(n));
        assert_eq!(
            arrivals(&mut road),
            [late(107), late(108), late(109), None, None]
        );
    }
}

//! What a seed decides: how bad the network is, and when the server ends.

use std::time::Duration;

use real::time::Instant;

// ANCHOR: chance
/// A source of numbers that look random. The same seed gives the same ones.
/// (SplitMix64, by Steele, Lea and Flood: an addition and a good stir.)
pub struct Chance(pub u64);

impl Chance {
    /// Returns a number below `end`, which is at least 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (n ^ n >> 31) % end
    }

    /// Returns true `n` times out of 1000.
    pub fn hits(&mut self, n: u64) -> bool {
        n > 0 && self.below(1000) < n
    }

    /// Picks one of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Returns up to `most` milliseconds.
    pub fn ms(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }
}
// ANCHOR_END: chance

/// A time in which nothing gets through.
pub struct Partition {
    start: Instant,
    end: Instant,
    /// Does it stop what the client sends, and what the server sends?
    stops: [bool; 2],
}

// ANCHOR: weather
/// How bad the network is. Chances are out of 1000.
pub struct Weather {
    /// Is it so good that nothing at all may fail?
    pub is_calm: bool,
    /// The most ms that a segment is on its way.
    pub delay: u64,
    /// The most bytes that one `read` returns or one `write` takes.
    pub slice: u64,
    /// How many segments are lost, and sent again after 200 ms, 400 ms, …
    pub loss: u64,
    /// At how many segments the connection is reset.
    pub reset: u64,
    /// How many connections are refused, although the server listens.
    pub refuse: u64,
    /// How many SYNs get no answer.
    pub swallow: u64,
    /// When nothing gets through.
    pub partitions: Vec<Partition>,
}

impl Weather {
    /// Draws the weather of a run that starts now. One in five is calm.
    pub fn draw(chance: &mut Chance) -> Weather {
        let is_calm = chance.below(5) == 0;
        let slice = chance.pick(&[3, 40, 200, 1460, 65_536]);
        if is_calm {
            return Weather { slice, ..Weather::calm() };
        }
        let some = chance.below(3);
        Weather {
            is_calm,
            delay: chance.pick(&[2, 20, 80]),
            slice,
            loss: chance.pick(&[0, 0, 10, 100]),
            reset: chance.pick(&[0, 0, 5, 30]),
            refuse: chance.pick(&[0, 0, 100]),
            swallow: chance.pick(&[0, 0, 100]),
            partitions: (0..some).map(|_| Partition::draw(chance)).collect(),
        }
    }
    // ANCHOR_END: weather

    /// Nothing goes wrong; only slices and short delays remain.
    pub fn calm() -> Weather {
        Weather {
            is_calm: true,
            delay: 20,
            slice: 1460,
            loss: 0,
            reset: 0,
            refuse: 0,
            swallow: 0,
            partitions: Vec::new(),
        }
    }

    /// Returns how many bytes may be on their way or unread, in each direction
    /// of a connection. If a slice is small, a small window fills as well.
    pub fn window(&self) -> usize {
        if self.slice < 40 { 256 } else { 4096 }
    }

    // ANCHOR: arrival
    /// Decides when what `side` sends at `start` arrives. TCP sends a lost
    /// segment again until it gets through, so a program sees loss as a pause.
    pub fn arrival(
        &self,
        chance: &mut Chance,
        side: usize,
        start: Instant,
    ) -> Instant {
        let mut pause = Duration::from_millis(200);
        let mut at = start + chance.ms(self.delay);
        while chance.hits(self.loss) {
            at += pause;
            pause *= 2;
        }
        for cut in &self.partitions {
            if cut.stops[side] && start < cut.end && at >= cut.start {
                at = cut.end + chance.ms(self.delay);
            }
        }
        at
    }
    // ANCHOR_END: arrival
}

impl Partition {
    fn draw(chance: &mut Chance) -> Partition {
        let start = Instant::now() + chance.ms(10_000);
        let stops = chance.pick(&[[true, false], [false, true], [true, true]]);
        Partition { start, end: start + chance.ms(6_000), stops }
    }

    /// Says what it does, and when.
    pub fn describe(&self, zero: Instant) -> String {
        let what = match self.stops {
            [true, false] => "nothing reaches the server",
            [false, true] => "nothing reaches a client",
            _ => "nothing gets through",
        };
        let [start, end] = [self.start, self.end].map(|t| t - zero);
        format!("from {start:.1?} to {end:.1?}, {what}")
    }
}

/// How the server's process ends.
#[derive(Clone, Copy, PartialEq)]
pub enum End {
    /// `kill -9`: the kernel closes its connections and keeps its files.
    Kill,
    /// The power is cut: no FIN leaves, and what no sync has secured may be
    /// lost.
    PowerCut,
    /// SIGTERM. Only step 8 knows what to do.
    Stop,
}

/// Draws when and how the server ends, and how long it then is away.
pub fn ends(
    chance: &mut Chance,
    is_calm: bool,
    step: u32,
) -> Vec<(Duration, End, Duration)> {
    let hows: &[End] = match (is_calm, step) {
        (true, 8) => &[End::Stop],
        (true, _) => return Vec::new(),
        (_, 8) => &[End::Kill, End::PowerCut, End::Stop],
        _ => &[End::Kill, End::PowerCut],
    };
    let some = 1 + chance.below(3);
    let one = |_| (chance.ms(15_000), chance.pick(hows), chance.ms(2_000));
    (0..some).map(one).collect()
}

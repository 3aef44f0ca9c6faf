//! The bytes on their way through the proxy, in one direction: which of them
//! may leave, and when. Nothing in here reads, writes or waits.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::faults::{After, Stop};
use crate::plan::Plan;

// ANCHOR: room
/// How many bytes may be on their way in one direction. When that many are,
/// the proxy stops reading, and the sender finds out through TCP's window.
pub const ROOM: usize = 64 * 1024;

/// In how many pieces they may have come, one each millisecond: a slow sender
/// of single bytes must not need more room for notes than for bytes.
const NOTES: usize = 1024;
// ANCHOR_END: room

/// What may happen next, and not before when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Next {
    pub at: Instant,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    Write(usize),
    Finish,
    Stop(Stop, After),
}

/// The bytes of one direction that have come and not left yet.
pub struct Queue {
    bytes: VecDeque<u8>,
    notes: VecDeque<(Arrival, usize)>, // when how many of them came
    end: Option<Arrival>,
    last: (Instant, usize), // the last write: when, how many bytes
    passed: Passed,
}

/// When something came, and what the dice said: how much of `jitter` it gets,
/// from 0 to 1. When it leaves is for the plan to say that acts by then.
#[derive(Clone, Copy)]
pub struct Arrival {
    pub at: Instant,
    pub dice: f64,
}

impl Arrival {
    fn due(self, plan: &Plan) -> Instant {
        self.at + plan.delay + plan.jitter.mul_f64(self.dice)
    }
}

impl Queue {
    pub fn new() -> Queue {
        Queue {
            bytes: VecDeque::with_capacity(ROOM),
            notes: VecDeque::new(),
            end: None,
            last: (Instant::now(), 0),
            passed: Passed::default(),
        }
    }

    /// How many bytes may be added; 0 after the end.
    pub fn room(&self) -> usize {
        match self.end {
            None if self.notes.len() < NOTES => ROOM - self.bytes.len(),
            _ => 0,
        }
    }

    /// Adds bytes, which leave when those before them have left.
    pub fn push(&mut self, bytes: &[u8], arrival: Arrival) {
        self.bytes.extend(bytes);
        match self.notes.back_mut() {
            // A note for each byte would need more room than the bytes, while
            // timers know no less than a millisecond.
            Some((last, n)) if arrival.at < last.at + MILLISECOND => {
                *n += bytes.len();
            }
            _ => self.notes.push_back((arrival, bytes.len())),
        }
    }

    /// Adds the end of the stream, which leaves last.
    pub fn finish(&mut self, arrival: Arrival) {
        self.end = Some(arrival);
    }

    // ANCHOR: next
    /// What this plan lets happen next; `None` if nothing is on its way.
    pub fn next(&self, plan: &Plan) -> Option<Next> {
        for &(stop, after) in plan.stops.iter().rev() {
            if after == After::Nothing {
                let what = What::Stop(stop, after);
                return Some(Next { at: Instant::now(), what });
            }
        }
        let at = match self.notes.front() {
            Some((arrival, _)) => arrival.due(plan),
            None => self.end?.due(plan) + plan.slow_close,
        };
        let (when, n) = self.last;
        let rate = plan.rate.map_or(f64::INFINITY, |rate| rate as f64);
        let at = at.max(when + Duration::from_secs_f64(n as f64 / rate));
        let piece = self.piece();
        let mut length = piece.len().min(longest(plan));
        for &(stop, after) in plan.stops.iter().rev() {
            // An end is no frame, so it may pass, except in a stall.
            let is_more = !piece.is_empty() || stop == Stop::Stall;
            if is_more && self.passed.has_reached(after) {
                return Some(Next { at, what: What::Stop(stop, after) });
            }
            length = self.passed.until(after, &piece[..length]);
        }
        let what = match piece {
            [] => What::Finish,
            _ => What::Write(length),
        };
        Some(Next { at, what })
    }
    // ANCHOR_END: next

    /// The next bytes that leave at one time.
    pub fn piece(&self) -> &[u8] {
        let bytes = self.bytes.as_slices().0;
        let n = self.notes.front().map_or(0, |note| note.1);
        &bytes[..n.min(bytes.len())]
    }

    /// Takes the first `n` bytes of the piece out: they were written. `at` is
    /// when they might leave, not when they did, so that a rate makes up for
    /// what a late timer costs.
    pub fn sent(&mut self, n: usize, at: Instant) {
        self.passed.advance(&self.bytes.as_slices().0[..n]);
        self.bytes.drain(..n);
        self.last = (at, n);
        if let Some((_, left)) = self.notes.front_mut() {
            *left -= n;
            if *left == 0 {
                self.notes.pop_front();
            }
        }
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

/// The most bytes of one write. A rate alone is kept in 20 steps a second.
fn longest(plan: &Plan) -> usize {
    let step = plan.rate.map_or(u64::MAX, |rate| (rate / 20).max(1));
    usize::try_from(plan.slice.unwrap_or(step)).unwrap_or(usize::MAX)
}

/// What has left so far, in bytes and in frames (step 4: a length of four
/// bytes, then as many bytes as it says).
#[derive(Clone, Default)]
struct Passed {
    bytes: u64,
    frames: u64,
    head: u32, // the bytes of the length, as far as they have come
    seen: u32, // how many those are
    left: u32, // how many bytes of the frame are missing
}

impl Passed {
    fn has_reached(&self, after: After) -> bool {
        match after {
            After::Nothing => true,
            After::Bytes(n) => self.bytes >= n,
            After::Frames(n) => self.frames >= n,
        }
    }

    /// How many of `bytes` may still leave until that is reached.
    fn until(&self, after: After, bytes: &[u8]) -> usize {
        if let After::Bytes(n) = after {
            let left = n.saturating_sub(self.bytes);
            return left.min(bytes.len() as u64) as usize;
        }
        let mut then = self.clone();
        let mut n = 0;
        while n < bytes.len() && !then.has_reached(after) {
            n += then.step(&bytes[n..]);
        }
        n
    }

    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = self.step(bytes);
            bytes = &bytes[n..];
        }
    }

    /// Counts a byte of a length, or the rest of a frame; returns how many
    /// bytes that were.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let mut n = 1;
        if self.left > 0 {
            n = bytes.len().min(self.left as usize);
            self.left -= n as u32;
            self.frames += u64::from(self.left == 0);
        } else {
            self.head = self.head << 8 | u32::from(bytes[0]);
            self.seen += 1;
            if self.seen == 4 {
                self.left = self.head;
                self.frames += u64::from(self.left == 0);
                (self.head, self.seen) = (0, 0);
            }
        }
        self.bytes += n as u64;
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Fault, Rule};

    fn plan(texts: &[&str]) -> Plan {
        let fault = |text: &&str| text.parse::<Rule>().unwrap().fault;
        Plan::of(texts.iter().map(fault).collect::<Vec<Fault>>().into_iter())
    }

    /// Comes that many milliseconds from now.
    fn after(ms: u32) -> Arrival {
        Arrival { at: Instant::now() + ms * MILLISECOND, dice: 0.0 }
    }

    /// Plays a queue to its end: after how many milliseconds, how many bytes.
    /// Stops at a stop.
    fn played(queue: &mut Queue, plan: &Plan) -> Vec<(u128, usize)> {
        let start = Instant::now();
        let mut seen = Vec::new();
        while let Some(next) = queue.next(plan) {
            let What::Write(n) = next.what else { break };
            queue.sent(n, next.at);
            seen.push(((next.at - start).as_millis(), n));
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_overtakes() {
        let mut queue = Queue::new();
        queue.push(b"one", Arrival { dice: 1.0, ..after(0) });
        queue.push(b"too", after(0));
        queue.push(b"three", after(2)); // a luckier throw of the dice
        queue.finish(after(3));
        assert_eq!(queue.piece(), b"onetoo");
        let plan = plan(&["delay 1ms", "jitter 8ms"]);
        assert_eq!(played(&mut queue, &plan), [(9, 6), (9, 5)]);
        assert_eq!(queue.next(&plan).unwrap().what, What::Finish);
    }

    /// The plan of the moment counts, not the one when the bytes came.
    #[tokio::test(start_paused = true)]
    async fn a_delay_can_end() {
        let mut queue = Queue::new();
        queue.push(b"one", after(0));
        queue.finish(after(0));
        let at = |queue: &Queue, faults: &[&str]| {
            let next = queue.next(&plan(faults)).unwrap();
            (next.at - Instant::now()).as_secs()
        };
        assert_eq!(at(&queue, &["delay 30s"]), 30);
        assert_eq!(at(&queue, &["delay 30s", "clear"]), 0);
        queue.sent(3, Instant::now());
        assert_eq!(at(&queue, &["slow-close 30s"]), 30);
        assert_eq!(at(&queue, &["slow-close 30s", "clear"]), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept() {
        for (faults, pieces) in [
            (&["rate 100"][..], &[(0, 5), (50, 5), (100, 2)][..]),
            (&["rate 100", "slice 10"], &[(0, 10), (100, 2)]),
            (&["rate 3"], &[(0, 1), (333, 1), (666, 1)]),
        ] {
            let mut queue = Queue::new();
            queue.push(&[b'x'; 12], after(0));
            let seen = played(&mut queue, &plan(faults));
            assert_eq!(seen[..pieces.len()], *pieces, "{faults:?}");
        }
    }

    /// Where a slow rate had allowed nothing for hours, a new one counts.
    #[tokio::test(start_paused = true)]
    async fn a_rate_can_change() {
        let mut queue = Queue::new();
        queue.push(&[b'x'; 9000], after(0));
        let next = queue.next(&plan(&["rate 1", "slice 8000"])).unwrap();
        queue.sent(8000, next.at);
        let next = queue.next(&plan(&["rate 8000"])).unwrap();
        assert_eq!(next.at - Instant::now(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_exactly_that_much_pass() {
        let frames = b"\0\0\0\x02\x01a\0\0\0\0\0\0\0\x04\x01bcd\0";
        for (fault, passed) in [
            ("stall", 0),
            ("stall after 0 bytes", 0),
            ("stall after 7 bytes", 7),
            ("stall after 1 frame", 6),
            ("stall after 2 frames", 10),
            ("stall after 3 frames", 18),
            ("stall after 4 frames", 19),
        ] {
            for slice in [1, 3, 100] {
                let mut queue = Queue::new();
                queue.push(frames, after(0));
                let plan = plan(&[fault, &format!("slice {slice}")]);
                let seen = played(&mut queue, &plan);
                let sum: usize = seen.iter().map(|(_, n)| n).sum();
                assert_eq!(sum, passed, "{fault}, slice {slice}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_more() {
        let next = |fault: &str, more: &[u8]| {
            let mut queue = Queue::new();
            let plan = plan(&[fault]);
            queue.push(b"abc", after(0));
            assert_eq!(played(&mut queue, &plan), [(0, 3)]);
            assert_eq!(queue.next(&plan), None);
            if !more.is_empty() {
                queue.push(more, after(0));
            }
            queue.finish(after(0));
            queue.next(&plan).unwrap().what
        };
        let cut = What::Stop(Stop::Cut, After::Bytes(3));
        assert_eq!(next("cut after 3 bytes", b"d"), cut);
        assert_eq!(next("cut after 3 bytes", b""), What::Finish);
        let stall = What::Stop(Stop::Stall, After::Bytes(3));
        assert_eq!(next("stall after 3 bytes", b""), stall);
    }

    #[tokio::test(start_paused = true)]
    async fn single_bytes_need_little_room() {
        let mut queue = Queue::new();
        for _ in 0..ROOM {
            queue.push(b"x", after(0));
        }
        assert_eq!((queue.room(), queue.notes.len()), (0, 1));
        let mut queue = Queue::new();
        let mut n = 0;
        while queue.room() > 0 {
            queue.push(b"x", after(n));
            n += 1;
        }
        assert_eq!((n, queue.notes.capacity()), (NOTES as u32, NOTES));
        assert_eq!(size_of::<(Arrival, usize)>(), 32);
    }
}

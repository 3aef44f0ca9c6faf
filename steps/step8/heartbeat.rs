// ANCHOR: heartbeat
//! When to ask a silent peer for a sign of life, and when to give up on it.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::TooSlow;

/// The silence of a peer. It only counts; the connection reads and writes.
pub struct Heartbeat {
    interval: Duration,
    next: Option<Instant>,
    has_asked: bool,
}

impl Heartbeat {
    pub fn new(interval: Duration) -> Heartbeat {
        Heartbeat { interval, next: None, has_asked: false }
    }

    /// Notes that something has arrived: any byte is a sign of life.
    pub fn heard(&mut self) {
        self.next = None;
        self.has_asked = false;
    }

    /// Returns when to call [`beat`](Heartbeat::beat) if nothing arrives. The
    /// first call after [`heard`](Heartbeat::heard) starts the silence.
    pub fn next(&mut self, now: Instant) -> Instant {
        *self.next.get_or_insert(now + self.interval)
    }

    /// Returns whether it is time to send a PING: after one interval of silence.
    /// One is enough, because TCP repeats it until the peer's kernel has it.
    ///
    /// # Errors
    /// The PING has got no answer for two more intervals. Stop waiting.
    pub fn beat(&mut self, now: Instant) -> Result<bool, TooSlow> {
        if self.next.is_none_or(|next| now < next) {
            return Ok(false);
        }
        if self.has_asked {
            return Err(TooSlow::Silent);
        }
        self.has_asked = true;
        self.next = Some(now + 2 * self.interval);
        Ok(true)
    }
}
// ANCHOR_END: heartbeat

#[cfg(test)]
mod tests {
    use super::*;

    const H: Duration = Duration::from_secs(5);

    #[test]
    fn asks_after_one_interval_and_gives_up_after_three() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(H);
        let almost = Duration::from_millis(1);
        assert_eq!(heartbeat.next(start), start + H);
        assert_eq!(heartbeat.beat(start + H - almost), Ok(false));
        assert_eq!(heartbeat.beat(start + H), Ok(true));
        assert_eq!(heartbeat.beat(start + 2 * H), Ok(false));
        assert_eq!(heartbeat.beat(start + 3 * H - almost), Ok(false));
        assert_eq!(heartbeat.beat(start + 3 * H), Err(TooSlow::Silent));
    }

    /// At any moment of the silence, and as often as you like.
    #[test]
    fn a_byte_starts_the_silence_again() {
        let mut now = Instant::now();
        let mut heartbeat = Heartbeat::new(H);
        for seconds in [1, 4, 5, 9, 14] {
            assert_eq!(heartbeat.next(now), now + H);
            now += Duration::from_secs(seconds);
            assert_eq!(heartbeat.beat(now), Ok(seconds >= 5));
            heartbeat.heard();
            assert_eq!(heartbeat.beat(now), Ok(false));
        }
    }

    /// Somebody stopped this process for an hour. Its peer may be alive, and
    /// nobody has asked it.
    #[test]
    fn does_not_give_up_on_a_peer_that_it_has_not_asked() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(H);
        heartbeat.next(start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(heartbeat.beat(later), Ok(true));
        assert_eq!(heartbeat.beat(later + H), Ok(false));
        assert_eq!(heartbeat.beat(later + 2 * H), Err(TooSlow::Silent));
    }
}

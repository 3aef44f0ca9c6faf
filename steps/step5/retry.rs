// ANCHOR: failure
//! What a failure means, and how long to wait before the next attempt.

use std::fmt;
use std::time::Duration;

use anyhow::{Error, anyhow};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::frame::ECHO;
use crate::limits::ClientLimits;

/// Why there is no reply, by what that means for the request.
#[derive(Debug)]
pub enum Failure {
    /// It was certainly not executed: nobody was reached, or the server said
    /// that it is too busy, or about to end.
    NotExecuted(Error),
    /// It was executed, or it was not: no whole reply came.
    Unknown(Error),
    /// The server will not execute it, however often it is asked.
    Rejected(Error),
    /// The server broke the rules of the frame.
    Protocol(Error),
    /// This end cannot go on: it cannot read its input, say.
    Local(Error),
}

impl Failure {
    /// May a request of this kind be sent again?
    pub fn may_retry(&self, kind: u8) -> bool {
        match self {
            Failure::NotExecuted(_) => true,
            // Only if it does no harm twice. An echo does none.
            Failure::Unknown(_) => kind == ECHO,
            _ => false,
        }
    }

    /// What the client exits with.
    pub fn exit_code(&self) -> i32 {
        match self {
            Failure::Local(_) => 1,
            Failure::NotExecuted(_) => 3,
            Failure::Unknown(_) => 4,
            Failure::Protocol(_) => 5,
            Failure::Rejected(_) => 6,
        }
    }

    /// The failure of `n` attempts together, when no more are made. If one of
    /// them may have been executed, it stays unknown, however others failed.
    pub fn of_all(n: u32, most: u32, is_unknown: bool) -> Failure {
        let error = |what| anyhow!("{what} after {n} of {most} attempts");
        match is_unknown {
            true => Failure::Unknown(error("outcome unknown")),
            false => Failure::NotExecuted(error("not executed")),
        }
    }

    fn error(&self) -> &Error {
        match self {
            Failure::NotExecuted(error)
            | Failure::Unknown(error)
            | Failure::Rejected(error)
            | Failure::Protocol(error)
            | Failure::Local(error) => error,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:#}", self.error())
    }
}
// ANCHOR_END: failure

// ANCHOR: backoff
/// Exponential back-off with a cap and full jitter: each wait is random, up to
/// a ceiling that doubles. If all waits were alike, clients that failed
/// together would come back together.
pub struct Backoff {
    base: Duration,
    cap: Duration,
    rng: StdRng,
}

impl Backoff {
    pub fn new(limits: &ClientLimits) -> Backoff {
        let ClientLimits { base, cap, seed, .. } = *limits;
        let rng = seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        Backoff { base, cap, rng }
    }

    /// The highest wait after attempt `n` (from 1): min(cap, base * 2^(n-1)).
    /// Saturating: what would be too large for a number becomes the largest.
    pub fn ceiling(&self, n: u32) -> Duration {
        let factor = 2u32.saturating_pow(n.saturating_sub(1));
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// How long to wait after attempt `n`.
    pub fn wait(&mut self, n: u32) -> Duration {
        self.rng.random_range(Duration::ZERO..=self.ceiling(n))
    }
}
// ANCHOR_END: backoff

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    use crate::frame::{ECHO_REPLY, ERROR};

    const LIMITS: ClientLimits = ClientLimits {
        connect: Duration::from_secs(3),
        request: Duration::from_secs(5),
        deadline: Duration::from_secs(30),
        attempts: 5,
        base: Duration::from_millis(100),
        cap: Duration::from_millis(2000),
        seed: None,
    };

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let backoff = Backoff::new(&LIMITS);
        let ms: Vec<u128> =
            (1..=8).map(|n| backoff.ceiling(n).as_millis()).collect();
        assert_eq!(ms, [100, 200, 400, 800, 1600, 2000, 2000, 2000]);
        assert_eq!(backoff.ceiling(u32::MAX), Duration::from_secs(2));
    }

    /// A seed makes the waits the same; without one they differ.
    #[test]
    fn a_seed_repeats_the_waits() {
        let waits = |seed| {
            let mut backoff = Backoff::new(&ClientLimits { seed, ..LIMITS });
            (1..=8).map(|n| backoff.wait(n)).collect::<Vec<_>>()
        };
        assert_eq!(waits(Some(7)), waits(Some(7)));
        assert_ne!(waits(Some(7)), waits(Some(8)));
        assert_ne!(waits(None), waits(None));
    }

    proptest! {
        #[test]
        fn a_wait_is_below_its_ceiling(
            base in 1u64..100_000,
            cap in 1u64..100_000,
            n in any::<u32>(),
            seed in any::<u64>(),
        ) {
            let limits = ClientLimits {
                base: Duration::from_millis(base),
                cap: Duration::from_millis(cap),
                seed: Some(seed),
                ..LIMITS
            };
            let mut backoff = Backoff::new(&limits);
            prop_assert!(backoff.wait(n) <= backoff.ceiling(n));
            prop_assert!(backoff.ceiling(n) <= backoff.cap);
        }

        /// Full jitter: in each quarter below the ceiling there are waits.
        #[test]
        fn waits_spread_over_all_that_is_allowed(seed in any::<u64>()) {
            let limits = ClientLimits { seed: Some(seed), ..LIMITS };
            let mut backoff = Backoff::new(&limits);
            let mut quarters = [0; 4];
            for _ in 0..1000 {
                let wait = backoff.wait(4).as_secs_f64();
                quarters[(wait / 0.2).min(3.0) as usize] += 1;
            }
            prop_assert!(quarters.iter().all(|&n| n > 150), "{quarters:?}");
        }
    }

    /// The table of the contract.
    #[test]
    fn what_may_be_sent_again() {
        let all = |error: fn(Error) -> Failure| {
            let failure = error(anyhow!("test"));
            let kinds = [ECHO, 0x03]; // a payment would be an ADD
            (kinds.map(|kind| failure.may_retry(kind)), failure.exit_code())
        };
        assert_eq!(all(Failure::Local), ([false, false], 1));
        assert_eq!(all(Failure::NotExecuted), ([true, true], 3));
        assert_eq!(all(Failure::Unknown), ([true, false], 4));
        assert_eq!(all(Failure::Protocol), ([false, false], 5));
        assert_eq!(all(Failure::Rejected), ([false, false], 6));
        let unknown = Failure::Unknown(anyhow!("test"));
        assert!(!unknown.may_retry(ERROR) && !unknown.may_retry(ECHO_REPLY));
    }

    #[test]
    fn one_unknown_attempt_is_enough() {
        for (is_unknown, code) in [(true, 4), (false, 3)] {
            let all = Failure::of_all(2, 5, is_unknown);
            assert_eq!(all.exit_code(), code);
            assert!(all.to_string().ends_with("after 2 of 5 attempts"));
        }
    }
}

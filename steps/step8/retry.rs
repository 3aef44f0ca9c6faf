// ANCHOR: outcome
//! What a failure means, and how long to wait before the next attempt.

use std::fmt;
use std::time::Duration;

use anyhow::Error;

use crate::frame::*;
use crate::limits::ClientLimits;

/// What the client knows about a request that got no reply. It is attached to
/// an error as context. The numbers are the client's exit codes, so that a
/// script can choose, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// No server was reached, or it said that it did nothing, for now.
    NotExecuted = 3,
    /// The request was sent, and no whole reply came.
    Unknown = 4,
    /// The server broke the protocol.
    Protocol = 5,
    /// The server refused the request, and would refuse it again.
    Rejected = 6,
}

impl Outcome {
    /// Returns the outcome attached to `error`, or `None` if our own end failed,
    /// for example because it cannot read its input.
    pub fn of(error: &Error) -> Option<Outcome> {
        error.downcast_ref().copied()
    }

    /// Returns what the code of an ERROR frame means.
    pub fn of_code(code: u8) -> Outcome {
        match code {
            TIMEOUT => Outcome::Unknown,
            OVERLOADED | SHUTTING_DOWN => Outcome::NotExecuted,
            FRAME_TOO_LARGE..=BAD_PAYLOAD | STALE_SEQ | CONFLICT => {
                Outcome::Rejected
            }
            _ => Outcome::Protocol,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Outcome::NotExecuted => "not executed",
            Outcome::Unknown => "outcome unknown",
            Outcome::Protocol => "the server broke the protocol",
            Outcome::Rejected => "refused",
        })
    }
}
// ANCHOR_END: outcome

// ANCHOR: backoff
/// Returns the longest wait after attempt `n`, counted from 1: it doubles each
/// time, up to a cap. Saturating: plain numbers would overflow at the 33rd attempt.
pub fn ceiling(limits: &ClientLimits, n: u32) -> Duration {
    let factor = 2u32.saturating_pow(n - 1);
    limits.base.saturating_mul(factor).min(limits.cap)
}

/// Draws a wait; any up to the ceiling is equally likely (full jitter). If all
/// waits were alike, clients that failed together would come back together.
pub fn full_jitter(ceiling: Duration) -> Duration {
    rand::random_range(Duration::ZERO..=ceiling)
}
// ANCHOR_END: backoff

#[cfg(test)]
mod tests {
    use super::*;

    use anyhow::anyhow;
    use proptest::prelude::{prop_assert, proptest};

    fn limits(base: u64, cap: u64) -> ClientLimits {
        ClientLimits {
            connect: Duration::from_secs(4),
            request: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
            attempts: 5,
            base: Duration::from_millis(base),
            cap: Duration::from_millis(cap),
        }
    }

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let limits = limits(100, 2000);
        let ms: Vec<u128> =
            (1..=8).map(|n| ceiling(&limits, n).as_millis()).collect();
        assert_eq!(ms, [100, 200, 400, 800, 1600, 2000, 2000, 2000]);
    }

    proptest! {
        #[test]
        fn a_wait_is_at_most_its_ceiling_and_that_the_cap(
            base in 1u64..100_000,
            cap in 1u64..100_000,
            n in 1..=u32::MAX,
        ) {
            let limits = limits(base, cap);
            let ceiling = ceiling(&limits, n);
            prop_assert!(full_jitter(ceiling) <= ceiling);
            prop_assert!(ceiling <= limits.cap);
        }
    }

    /// Each quarter of what is allowed gets its waits. The chance that 1000
    /// random ones leave less than 150 to a quarter is below 1 in 10^13.
    #[test]
    fn waits_spread_over_everything_that_is_allowed() {
        let mut quarters = [0; 4];
        for _ in 0..1000 {
            let wait = full_jitter(Duration::from_secs(4)).as_secs_f64();
            quarters[(wait as usize).min(3)] += 1;
        }
        assert!(quarters.iter().all(|&n| n > 150), "{quarters:?}");
    }

    /// The table of the contract.
    #[test]
    fn an_error_code_tells_what_became_of_the_request() {
        for (codes, outcome) in [
            (&[5][..], Outcome::Unknown),
            (&[6, 8], Outcome::NotExecuted),
            (&[1, 2, 3, 4, 7, 9], Outcome::Rejected),
            (&[0, 10, 255], Outcome::Protocol),
        ] {
            for &code in codes {
                assert_eq!(Outcome::of_code(code), outcome, "{code}");
            }
        }
    }

    /// The outcome that was attached last counts.
    #[test]
    fn an_outcome_is_attached_to_an_error() {
        let error = anyhow!("test");
        assert_eq!(Outcome::of(&error), None);
        let error = error.context(Outcome::NotExecuted).context("more");
        assert_eq!(Outcome::of(&error), Some(Outcome::NotExecuted));
        let error = error.context(Outcome::Unknown);
        assert_eq!(Outcome::of(&error), Some(Outcome::Unknown));
        assert_eq!(
            format!("{error:#}"),
            "outcome unknown: more: not executed: test"
        );
    }
}

//! What a server uses: processor time and descriptors.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::lab::Lab;
use crate::program::proc;
use crate::verdict::{Check, Failure};

/// How long a server is watched.
pub const WATCHED: Duration = Duration::from_millis(500);

/// How much of a core it may use: 15 %.
const BUSY: Duration = Duration::from_millis(75);

/// A program that still compiles itself (Java, JavaScript) calms down; one
/// that spins does not.
pub fn stays_calm(lab: &Lab, expected: &str) -> Check {
    for _ in 0..3 {
        let before = proc::cpu_time(&lab.pids());
        thread::sleep(WATCHED);
        if proc::cpu_time(&lab.pids()).saturating_sub(before) < BUSY {
            return Ok(());
        }
    }
    Err(lab.fail(expected, "it keeps a core busy").into())
}

/// Waits until no more descriptors are open than before, give or take 5.
pub fn nothing_left(lab: &Lab, before: usize) -> Check {
    let until = lab.until(Duration::from_secs(3));
    while proc::descriptors(&lab.pids()) > before + 5 {
        if Instant::now() > until {
            let expected = "as many open descriptors as before, or 5 more";
            let failure = lab.fail(expected, "many more are open");
            return Err(Failure { by_time: true, ..failure }.into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

//! What a server uses: processor time and descriptors.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::lab::Lab;
use crate::program::proc;
use crate::verdict::{Check, Failure, Stop};

/// How long a server is watched.
pub const WATCHED: Duration = Duration::from_millis(500);

/// How much of a core it may use: 15 %.
const BUSY: Duration = Duration::from_millis(75);

/// A program that still compiles itself (Java, JavaScript) calms down; one
/// that spins does not. On a busy machine it may get little time: then it
/// waits for more.
pub fn stays_calm(lab: &Lab, expected: &str) -> Check {
    let mut is_starved = false;
    for _ in 0..3 {
        let pids = lab.pids();
        let (used, waits) = (proc::cpu_time(&pids), proc::waits(&pids));
        thread::sleep(WATCHED);
        let pids = lab.pids();
        let used = proc::cpu_time(&pids).saturating_sub(used);
        let waited = proc::waited(&waits, &proc::waits(&pids));
        if used + waited < BUSY {
            return Ok(());
        }
        is_starved |= used < BUSY;
    }
    if is_starved {
        let why = "this machine is too busy to tell whether it spins";
        return Err(Box::new(Stop::Unknown(why.to_owned())));
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

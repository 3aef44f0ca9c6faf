//! The steps on a network, a disk and a clock that exist only in memory, where
//! one number, the seed, decides everything that happens.
//!
//! To the steps, this crate is `tokio`: it hands on what they use of it, but
//! for `net`, `signal` and whatever else reaches outside the program. It is
//! also their `rand`, and `disk` is their `std::fs`. So they cannot tell the
//! difference, and `build.rs` needs to change only two words in their files.

extern crate self as rand;
extern crate self as tokio;

pub use real::*;

pub mod disk;
pub mod net;
pub mod run;
pub mod signal;
pub mod sync;
pub mod tap;
pub mod task;
pub mod visit;
pub mod weather;
pub mod world;

use std::ops::RangeInclusive;
use std::time::Duration;

pub use task::spawn;

// ANCHOR: random
/// Draws a wait, as `rand::random_range` does; here the seed draws it.
pub fn random_range(range: RangeInclusive<Duration>) -> Duration {
    let micros = (*range.end() - *range.start()).as_micros() as u64;
    let drawn = world::with(|world| world.chance.below(micros + 1));
    *range.start() + Duration::from_micros(drawn)
}
// ANCHOR_END: random

/// `tokio::select!`, which tries its branches in an order of its own unless it
/// is told `biased`. Here it always takes them from the top.
#[macro_export]
macro_rules! select {
    (biased; $($branches:tt)*) => {
        ::real::select! { biased; $($branches)* }
    };
    ($($branches:tt)*) => { ::real::select! { biased; $($branches)* } };
}

#[allow(warnings, clippy::all, clippy::unwrap_used)]
mod variants {
    include!(concat!(env!("OUT_DIR"), "/variants.rs"));
}

pub use variants::{BUGS, RUNS};

/// A bug that the build has put into a copy of a step.
pub struct Bug {
    /// The name of the copy, in [`RUNS`].
    pub name: &'static str,
    /// The name of the step.
    pub step: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// Why no run can find it; empty if one can.
    pub why_not: &'static str,
}

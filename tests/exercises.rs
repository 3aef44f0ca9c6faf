//! Each exercise of the book, solved: a patch from `tests/exercises` is applied
//! to a copy of the project, and what the exercise says will happen must
//! happen. What the programs print is on the page of solutions.
//!
//!     cargo test -p exercises
//!     cargo test -p exercises server        # those of one chapter

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

#[path = "exercises/cluster.rs"]
mod cluster;
#[path = "exercises/copy.rs"]
mod copy;
#[path = "exercises/failure.rs"]
mod failure;
#[path = "exercises/first.rs"]
mod first;
#[path = "exercises/framing.rs"]
mod framing;
#[path = "exercises/next.rs"]
mod next;
#[path = "exercises/options.rs"]
mod options;
#[path = "exercises/rooms.rs"]
mod rooms;

use libtest_mimic::Arguments;

fn main() {
    #[cfg(target_os = "linux")]
    support::close_inherited();
    let args = Arguments::from_args();
    let mut trials = first::trials();
    trials.extend(framing::trials());
    trials.extend(failure::trials());
    trials.extend(options::trials());
    trials.extend(next::trials());
    trials.extend(rooms::trials());
    trials.extend(cluster::trials());
    trials.push(copy::every_patch_is_used());
    libtest_mimic::run(&args, trials).exit();
}

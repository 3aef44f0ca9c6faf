//! Tests of `steps/chat`: real processes over real sockets.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[path = "../support/mod.rs"]
mod support;

use support::arguments::arguments;

fn main() {
    let arguments = arguments();
    let trials = Vec::new();
    libtest_mimic::run(&arguments, trials).exit();
}

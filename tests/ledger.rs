//! Compiles the ledger and the journal of step 7 until that is a program.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report
#![allow(dead_code)]

#[path = "../steps/step5/frame.rs"]
mod frame;
#[path = "../steps/step7/journal.rs"]
mod journal;
#[path = "../steps/step7/ledger.rs"]
mod ledger;

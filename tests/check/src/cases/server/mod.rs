//! The cases of a server.

mod step1;
mod step2;
mod step3;
mod step4;
mod step4_hostile;
pub mod step5;
pub mod step6;
mod step7;
mod step7_journal;
mod step8;
mod step8_stop;

use crate::case::Case;

/// A file each.
pub const CASES: &[&[Case]] = &[
    step1::CASES,
    step2::CASES,
    step3::CASES,
    step4::CASES,
    step4_hostile::CASES,
    step5::CASES,
    step6::CASES,
    step7::CASES,
    step7_journal::CASES,
    step8::CASES,
    step8_stop::CASES,
];

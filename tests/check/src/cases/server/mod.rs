//! The cases of a server.

mod step1;
mod step2;
mod step3;
mod step4;
mod step4_hostile;
mod step5;

use crate::case::Case;

/// A file each.
pub const CASES: &[&[Case]] = &[
    step1::CASES,
    step2::CASES,
    step3::CASES,
    step4::CASES,
    step4_hostile::CASES,
    step5::CASES,
];

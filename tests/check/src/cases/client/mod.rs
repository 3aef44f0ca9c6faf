//! The cases of a client.

mod step1;
mod step2;
mod step4;
mod step5;
mod step5_again;
mod step5_requests;
mod step6;
mod step7;
mod step8;

use crate::case::Case;

/// A file each.
pub const CASES: &[&[Case]] = &[
    step1::CASES,
    step2::CASES,
    step4::CASES,
    step5::CASES,
    step5_again::CASES,
    step5_requests::CASES,
    step6::CASES,
    step7::CASES,
    step8::CASES,
];

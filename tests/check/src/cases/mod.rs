//! All cases, in the order in which they run: the one table from which the
//! lists, the explanations and the pages of the book come.

mod client_basic;
mod client_flood;
mod client_half;
mod client_herd;
mod client_limits;
mod client_outcome;
mod client_retry;
mod crowd;
mod echo;
mod fatal_around;
mod flood;
mod frames;
mod greet;
mod hostile;
mod limits;
mod many;

use crate::case::{Case, Side};

pub use crate::harness::stage::forget_who_never_came;

/// The cases of one file, and the files in order.
const TABLES: [&[Case]; 14] = [
    greet::CASES,
    echo::CASES,
    flood::CASES,
    many::CASES,
    crowd::CASES,
    frames::CASES,
    hostile::CASES,
    fatal_around::CASES,
    limits::CASES,
    client_basic::CASES,
    client_half::CASES,
    client_retry::CASES,
    client_limits::CASES,
    client_outcome::CASES,
];

pub fn all() -> Vec<&'static Case> {
    let mut cases: Vec<&Case> = TABLES.iter().copied().flatten().collect();
    cases.sort_by_key(|case| (case.side() == Side::Client, case.id));
    cases
}

/// What a program of this step must pass.
pub fn of(side: Side, step: u8) -> Vec<&'static Case> {
    let applies =
        |case: &&Case| case.side() == side && case.steps.contains(&step);
    let mut cases: Vec<_> = all().into_iter().filter(applies).collect();
    // Whose frames are wrong fails everywhere; S4-01 and C4-02 say why.
    cases.sort_by_key(|case| match case.id {
        _ if step < 4 => 1,
        "S4-01" | "C4-02" => 0,
        id if id[1..].starts_with('4') => 1,
        _ => 2,
    });
    cases
}

pub fn find(id: &str) -> Option<&'static Case> {
    all().into_iter().find(|case| case.id.eq_ignore_ascii_case(id))
}

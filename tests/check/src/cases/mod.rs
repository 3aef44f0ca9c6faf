//! All cases, in the order in which they run: the one table from which the
//! lists, the explanations and the pages of the book come.

mod client;
mod server;

use crate::case::Case;
use crate::traits::{Side, Tag};

/// All cases: those of a server by name, then those of a client.
pub fn all() -> Vec<&'static Case> {
    let files = server::CASES.iter().chain(client::CASES);
    let mut cases: Vec<&Case> = files.copied().flatten().collect();
    cases.sort_by_key(|case| (case.side() == Side::Client, case.id));
    cases
}

/// What a program of this step must pass: first the plainest exchange, which
/// explains most failures of the others; then what the step is about; then
/// what the steps before are about, the nearest first.
pub fn of(side: Side, step: u8) -> Vec<&'static Case> {
    let applies =
        |case: &&Case| case.side() == side && case.steps.contains(&step);
    let mut cases: Vec<_> = all().into_iter().filter(applies).collect();
    let basic = basic(side, step);
    cases.sort_by_key(|case| match step - case.rule_step() {
        _ if Some(case.id) == basic => 0,
        before => 1 + before,
    });
    cases
}

/// The case about the plainest exchange of a step: of those that apply, the
/// one that came last.
pub fn basic(side: Side, step: u8) -> Option<&'static str> {
    let is_basic = |case: &&Case| {
        case.side() == side
            && case.steps.contains(&step)
            && case.has(Tag::Basic)
    };
    let basic = all().into_iter().filter(is_basic);
    basic.max_by_key(|case| case.rule_step()).map(|case| case.id)
}

/// The case with this name, in capitals or not.
pub fn find(id: &str) -> Option<&'static Case> {
    all().into_iter().find(|case| case.id.eq_ignore_ascii_case(id))
}

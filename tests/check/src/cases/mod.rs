//! All cases, in the order in which they run. The lists, the explanations and
//! the pages of the book come from this one table.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps;

    /// Side, step and number are read from the name.
    #[test]
    fn each_case_has_a_name_of_its_own() {
        let mut names: Vec<&str> = all().iter().map(|case| case.id).collect();
        names.dedup();
        assert_eq!(names.len(), all().len(), "a name is there twice");
        for case in all() {
            let step = case.rule_step();
            assert!(steps::all().contains(&step), "{}: no step", case.id);
            let letter = case.side().name()[..1].to_uppercase();
            let number = case.id.get(3..).unwrap_or_default();
            assert_eq!(case.id, format!("{letter}{step}-{number}"));
            assert!(number.len() == 2 && number.parse::<u8>().is_ok());
        }
    }

    #[test]
    fn each_case_applies_to_steps_that_exist() {
        for case in all() {
            let (first, last) = (*case.steps.start(), *case.steps.end());
            assert!(first <= last, "{}: no step", case.id);
            let exist = steps::all().contains(&first);
            assert!(exist && steps::all().contains(&last), "{}", case.id);
        }
    }

    #[test]
    fn each_step_of_a_server_has_a_basic_case() {
        for step in steps::all() {
            let basic = basic(Side::Server, step);
            assert!(basic.is_some(), "what do others refer to in {step}?");
        }
    }
}

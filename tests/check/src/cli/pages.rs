//! The cases as texts: `--list` and `--explain`.

use crate::case::Case;
use crate::diagnosis::show;
use crate::steps::{FRAMES, LAST_STEP};
use crate::traits::{Side, Tag};

/// All cases of a list, by step; they run in another order.
pub fn list(cases: &[&Case]) -> String {
    let mut cases = cases.to_vec();
    cases.sort_by_key(|case| (case.side() == Side::Client, case.id));
    let mut text = String::new();
    let mut group = None;
    for case in cases {
        let this = (case.side(), case.rule_step());
        if group != Some(this) {
            let gap = if group.is_some() { "\n" } else { "" };
            let (side, step) = (this.0.name(), this.1);
            text += &format!("{gap}A {side} from step {step} on\n");
            group = Some(this);
        }
        text += &format!("  {}  {}{}\n", case.id, case.title, last_step(case));
    }
    text + "\nWhy a case matters: check --explain CASE\n"
}

/// Said where a case does not hold to the end.
fn last_step(case: &Case) -> String {
    let (first, last) = (*case.steps.start(), *case.steps.end());
    match last {
        LAST_STEP => String::new(),
        _ if first == last => format!(" (step {last} only)"),
        _ => format!(" (to step {last})"),
    }
}

pub fn explain(case: &Case) -> String {
    let mut text = format!("{}  {}\n\n", case.id, case.title);
    for (i, line) in show::wrap(case.does, 66).iter().enumerate() {
        let label = if i == 0 { "does" } else { "" };
        text += &format!("  {label:<8}  {line}\n");
    }
    text.push('\n');
    for line in show::wrap(case.why, 76) {
        text += &format!("  {line}\n");
    }
    text += &format!("\n  contract  {}\n", case.rule_text());
    text += &format!("  chapter   {}\n", case.chapter());
    text += &format!("  steps     {}\n", steps(case));
    text += &format!("  points    {}\n", case.weight());
    for note in notes(case) {
        text += &format!("  note      {note}\n");
    }
    if becomes_frames(case) {
        let note = "on each message is an ECHO frame";
        text += &format!("  note      from step {FRAMES} {note}\n");
    }
    text
}

/// Are its messages plain bytes in the first steps, and frames later?
fn becomes_frames(case: &Case) -> bool {
    case.side() == Side::Server
        && *case.steps.start() < FRAMES
        && *case.steps.end() >= FRAMES
}

pub fn steps(case: &Case) -> String {
    let (first, last) = (case.steps.start(), case.steps.end());
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

pub fn notes(case: &Case) -> Vec<&'static str> {
    [
        (Tag::Timed, "judged by a clock"),
        (Tag::Linux, "needs Linux"),
        (Tag::Starts, "needs to start the program: `--cmd`"),
        (Tag::Places, "needs `{addr}` in the command"),
        (Tag::Journal, "needs `{journal}` in the command"),
    ]
    .into_iter()
    .filter(|(tag, _)| case.has(*tag))
    .map(|(_, note)| note)
    .collect()
}

//! The cases as texts: `--list`, `--explain`, and a page of the book.

use crate::case::{Case, Side, Tag};
use crate::cases;
use crate::show;

/// All cases of a list, by step.
pub fn list(cases: &[&Case]) -> String {
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
        5 => String::new(),
        _ if first == last => format!(" (step {last} only)"),
        _ => format!(" (to step {last})"),
    }
}

pub fn explain(case: &Case) -> String {
    let mut text = format!("{}  {}\n\n", case.id, case.title);
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
    text
}

fn steps(case: &Case) -> String {
    let (first, last) = (case.steps.start(), case.steps.end());
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

fn notes(case: &Case) -> Vec<&'static str> {
    [
        (Tag::Timed, "judged by the clock: runs alone"),
        (Tag::Linux, "needs Linux"),
        (Tag::Starts, "needs to start the program: --cmd"),
        (Tag::Places, "needs {addr} in the command"),
    ]
    .into_iter()
    .filter(|(tag, _)| case.has(*tag))
    .map(|(_, note)| note)
    .collect()
}

/// The appendix of the book.
pub fn page() -> String {
    let mut text = String::from(
        "# The cases of the checker {#cases}\n\n\
         This page is printed by `check page`, and a test compares the two.\n\
         Hostile and fault cases count two points, all others one.\n",
    );
    for side in [Side::Server, Side::Client] {
        for step in 1..=5 {
            let cases = cases::all();
            let of =
                |case: &&&Case| case.side() == side && case.rule_step() == step;
            let cases: Vec<_> = cases.iter().filter(of).collect();
            if cases.is_empty() {
                continue;
            }
            let name = side.name();
            text += &format!(
                "\n## A {name}, from step {step} on {{#{name}{step}}}\n"
            );
            for case in cases {
                text += &entry(case);
            }
        }
    }
    text
}

fn entry(case: &Case) -> String {
    let id = case.id.to_lowercase();
    let rule = format!(
        "[Step {}, rule {}](contract.md#step{})",
        case.rule.0, case.rule.1, case.rule.0
    );
    let points = case.weight();
    let plural = if points == 1 { "" } else { "s" };
    let notes = notes(case).join("; ");
    let notes = if notes.is_empty() { notes } else { format!(" · {notes}") };
    let title = format!("### {}: {} {{#{id}}}", case.id, case.title);
    let why = sentences(case.why);
    format!(
        "\n{title}\n\n{why}\n\n{rule} · steps {} · {points} point{plural}{notes}\n",
        steps(case)
    )
}

/// One sentence on each line, as in the rest of the book.
fn sentences(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    text.replace(". ", ".\n").replace("? ", "?\n")
}

//! The cases as texts: `--list`, `--explain`, and a page of the book.

use crate::case::Case;
use crate::cases;
use crate::diagnosis::show;
use crate::steps::{self, FRAMES, LAST_STEP};
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

fn steps(case: &Case) -> String {
    let (first, last) = (case.steps.start(), case.steps.end());
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

fn notes(case: &Case) -> Vec<&'static str> {
    [
        (Tag::Timed, "judged by a clock, so it runs alone"),
        (Tag::Linux, "needs Linux"),
        (Tag::Starts, "needs to start the program: `--cmd`"),
        (Tag::Places, "needs `{addr}` in the command"),
    ]
    .into_iter()
    .filter(|(tag, _)| case.has(*tag))
    .map(|(_, note)| note)
    .collect()
}

/// What holds for all cases, at the head of the page.
const HEAD: &str = "\
# The cases of the checker {#cases}

The checker says `✗ S3-06`, and you want to know what it did to your program, \
and why.
Look the case up here: each entry says what the checker does and what it \
expects, and then why that matters.

FIN is the end of one direction, and RST is a reset.
The checker lets a program miss a limit of the contract by 250 ms.
After each case it expects that a server still runs.
From step 4 on it sends the messages of the first three groups as ECHO frames.
After a fatal ERROR it gives a server 2 s for its FIN; a server that closes \
without an ERROR, or resets after it, gets a warning.
It gives a client 8 s to connect, and then 3 s for its request.
A case counts two points if the peer in it breaks the rules or something fails, and every other case counts one.

`check page` prints this page, and a test compares the two.
";

/// The appendix of the book.
pub fn page() -> String {
    let mut text = String::from(HEAD);
    for side in [Side::Server, Side::Client] {
        for step in steps::all() {
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
    let (does, why) = (sentences(case.does), sentences(case.why));
    let steps = match steps(case) {
        one if one.len() == 1 => format!("step {one}"),
        more => format!("steps {more}"),
    };
    format!(
        "\n{title}\n\n**Does:** {does}\n\n**Why:** {why}\n\n\
         {rule} · {steps} · {points} point{plural}{notes}\n"
    )
}

/// One sentence on each line, as in the rest of the book.
fn sentences(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    text.replace(". ", ".\n").replace("? ", "?\n")
}

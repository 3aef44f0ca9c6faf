//! The page of the book that lists the cases: an index, and an entry for each.

use std::collections::BTreeSet;

use crate::case::Case;
use crate::cases;
use crate::cli::pages::{notes, steps};
use crate::steps;
use crate::traits::Side;

/// Which case catches which mistake, as `gallery matrix` printed it.
const MATRIX: &str = include_str!("../../matrix.md");

/// Whoever comes here has the name of a case: so the index comes first.
const HEAD: &str = "\
# The cases of the checker {#cases}

The checker says [`✗ S3-06`](#s3-06), and you want to know what it did to \
your program, and why.
Choose the case in the index, or search this page for its name: each entry \
says what the checker does and what it expects, why that matters, and which \
broken programs of [the gallery](gallery.md#gallery) it catches.

`check page` prints this page, and a test compares the two.

## The index {#index}

<div class=\"index\">
";

/// What holds for all cases.
const ALL: &str = "
</div>

## What holds for all cases {#all}

FIN is the end of one direction, and RST is a reset.
The checker lets a program miss a limit of the contract by 250 ms.
After each case it expects that a server still runs.
From step 4 on it sends the messages of the first three groups as ECHO frames.
From step 6 on it answers a PING as soon as it sees one, unless the entry \
says otherwise.
After a fatal ERROR it gives a server 2 s for its FIN; a server that closes \
without an ERROR, or resets after it, gets a warning.
It gives a client 8 s to connect, and then 3 s for its request.
A case counts two points if the peer in it breaks the rules or something \
fails, and every other case counts one.
";

/// The appendix of the book.
pub fn page() -> String {
    let groups = groups();
    let mut text = String::from(HEAD);
    for group in &groups {
        text += &group.index();
    }
    text += ALL;
    for group in &groups {
        text += &format!("\n## {} {{#{}}}\n", group.title(), group.id());
        for case in &group.cases {
            text += &entry(case);
        }
    }
    text
}

/// The cases that come with one step of one side.
struct Group {
    side: Side,
    step: u8,
    cases: Vec<&'static Case>,
}

fn groups() -> Vec<Group> {
    let sides = [Side::Server, Side::Client].into_iter();
    let groups = sides.flat_map(|side| {
        steps::all().map(move |step| {
            let mut cases = cases::all();
            cases.retain(|c| c.side() == side && c.rule_step() == step);
            Group { side, step, cases }
        })
    });
    groups.filter(|group| !group.cases.is_empty()).collect()
}

impl Group {
    fn title(&self) -> String {
        format!("A {}, from step {} on", self.side.name(), self.step)
    }

    fn id(&self) -> String {
        format!("{}{}", self.side.name(), self.step)
    }

    /// The title stands in the head of the table, and leads to the entries.
    fn index(&self) -> String {
        let mut text = format!(
            "\n| Case | [{}](#{}) | Points |\n| --- | --- | --- |\n",
            self.title(),
            self.id()
        );
        for case in &self.cases {
            let (id, title, points) = (case.id, case.title, case.weight());
            let place = id.to_lowercase();
            text += &format!("| [{id}](#{place}) | {title} | {points} |\n");
        }
        text
    }
}

/// The heading stays outside the fold, so that a link to it always shows it.
fn entry(case: &Case) -> String {
    let id = case.id.to_lowercase();
    let title = format!("### {}: {} {{#{id}}}", case.id, case.title);
    let (does, why) = (sentences(case.does), sentences(case.why));
    format!(
        "\n{title}\n\n<details class=\"case\">\n\
         <summary>What it does, and why</summary>\n\n\
         **Does:** {does}\n\n**Why:** {why}\n\n{}\n{}\n</details>\n",
        facts(case),
        caught(case.id)
    )
}

fn facts(case: &Case) -> String {
    let rule = format!(
        "[Step {}, rule {}](contract.md#step{})",
        case.rule.0, case.rule.1, case.rule.0
    );
    let points = case.weight();
    let plural = if points == 1 { "" } else { "s" };
    let notes = notes(case).join("; ");
    let notes = if notes.is_empty() { notes } else { format!(" · {notes}") };
    let steps = match steps(case) {
        one if one.len() == 1 => format!("step {one}"),
        more => format!("steps {more}"),
    };
    format!("{rule} · {steps} · {points} point{plural}{notes}\n")
}

/// The mistakes of the gallery that the case catches, each with a link to its
/// row: first those for which it was written.
fn caught(id: &str) -> String {
    let is_own = |place: &&str| place.starts_with(&id.to_lowercase());
    let rows = MATRIX.lines().filter_map(defect);
    let places = rows.filter(|(_, caught)| catches(caught, id));
    let (own, mut others): (Vec<&str>, Vec<&str>) =
        places.map(|(place, _)| place).partition(is_own);
    // A mistake that two steps make has two rows; one of them will do.
    let mut seen: BTreeSet<&str> = own.iter().map(|p| name(p)).collect();
    others.retain(|place| seen.insert(name(place)));
    match (links(&own), links(&others)) {
        (own, others) if others.is_empty() => {
            format!("We wrote this case to catch {own}.\n")
        }
        (own, others) if own.is_empty() => {
            format!("This case catches {others}.\n")
        }
        (own, others) => format!(
            "We wrote this case to catch {own}.\nIt also catches {others}.\n"
        ),
    }
}

fn links(places: &[&str]) -> String {
    let links = places
        .iter()
        .map(|place| format!("[`{}`](gallery.md#{place})", name(place)));
    links.collect::<Vec<_>>().join(", ")
}

/// `s4-05-believes-length` → `believes-length`.
fn name(place: &str) -> &str {
    place.splitn(3, '-').nth(2).unwrap_or(place)
}

/// The place of a defect on its page, and the cases that catch it.
fn defect(row: &str) -> Option<(&str, &str)> {
    let rest = row.strip_prefix("| <a id=\"")?;
    let (place, rest) = rest.split_once('"')?;
    Some((place, rest.rsplit(" | ").next()?))
}

/// Is the case among `[S2-01] [S4-02–19] ([S3-04])`?
fn catches(caught: &str, id: &str) -> bool {
    caught.split(' ').any(|part| {
        let part = part.trim_matches(['(', '[', ']', ')']);
        let (first, last) = part.split_once('–').unwrap_or((part, part));
        let is_of_group = first.get(..3) == id.get(..3);
        // The numbers have two digits, so they sort as texts do.
        let last = last.get(3..).unwrap_or(last);
        is_of_group && id >= first && &id[3..] <= last
    })
}

/// One sentence on each line, as in the rest of the book.
fn sentences(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    text.replace(". ", ".\n").replace("? ", "?\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_found_alone_and_in_a_run() {
        let caught = "[S4-05] [S2-01] [S4-16–18] ([S4-24])";
        for id in ["S4-05", "S2-01", "S4-16", "S4-17", "S4-18", "S4-24"] {
            assert!(catches(caught, id), "{id}");
        }
        for id in ["S4-15", "S4-19", "S2-17", "C4-17", "S4-06"] {
            assert!(!catches(caught, id), "{id}");
        }
    }

    /// Each case that catches a mistake names it, its own ones first.
    #[test]
    fn mistakes_of_the_gallery_are_named() {
        let text = caught("S4-09");
        let own = "We wrote this case to catch [`first-frame-only`]\
                   (gallery.md#s4-09-first-frame-only), [`reorders`]";
        assert!(text.starts_with(own), "{text}");
        assert!(text.contains("[`little-endian`]"), "{text}");
        assert_eq!(text.matches("`first-frame-only`").count(), 1, "{text}");
        for case in cases::all() {
            let id = case.id;
            assert!(
                caught(id).contains("](gallery"),
                "no row of matrix.md says what {id} catches; `gallery matrix \
                 {id} --old tests/check/matrix.md` prints it"
            );
        }
    }
}

//! How the program grows: the diff between two neighbouring steps is a
//! snapshot, and the chapter of the later step prints it.
//!
//! Steps share no code, so a fix made in one copy only shows up here.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use similar::TextDiff;
use support::{ROOT, snapshot};

/// The most lines of code that a step may add to the one before it: comments,
/// blank lines and tests are not counted.
const MOST_ADDED: usize = 120;

/// Steps that may add more, with the reason.
const MORE_ADDED: [(usize, usize, &str); 5] = [
    (4, 300, "a protocol, with both ends of it"),
    (5, 345, "limits and retry, with both ends of them"),
    (6, 354, "a connection that reads, writes and waits at once"),
    (7, 424, "a ledger, a journal on disk, and a client with an identity"),
    (8, 256, "a limit, a stop, and a goodbye with both ends of it"),
];

/// The most lines of a file of a step, its tests not counted.
const MOST_LINES: usize = 290;

/// File name → text, without tests and the lines that mark parts for the book.
fn step(n: usize) -> BTreeMap<String, String> {
    let folder = Path::new(ROOT).join(format!("steps/step{n}"));
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let lines = code.lines().filter(|line| !line.contains("// ANCHOR"));
        let text = lines.map(|line| format!("{line}\n")).collect();
        files.insert(name, text);
    }
    files
}

fn steps() -> usize {
    let is_there = |n: &usize| {
        Path::new(ROOT).join(format!("steps/step{n}/main.rs")).exists()
    };
    (1..=10).take_while(is_there).count()
}

/// How many lines of code a step adds: those that stand nowhere in the step
/// before. A line that moves, also to another file, is not new.
fn added(n: usize) -> usize {
    let code = |n| {
        let text: String = step(n).into_values().collect();
        let lines = text.lines().filter(|line| is_code(line));
        lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let mut old = BTreeMap::new();
    for line in code(n - 1) {
        *old.entry(line).or_insert(0) += 1;
    }
    let is_new = |line: &String| match old.get_mut(line) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    };
    code(n).into_iter().filter(is_new).count()
}

/// File name → diff of step `n - 1` and step `n`, where the file changes.
fn diffs(n: usize) -> BTreeMap<String, String> {
    let (old, new) = (step(n - 1), step(n));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut diffs = BTreeMap::new();
    for name in names {
        let empty = String::new();
        let before = old.get(name).unwrap_or(&empty);
        let after = new.get(name).unwrap_or(&empty);
        let diff = TextDiff::from_lines(before, after);
        let from = format!("steps/step{}/{name}", n - 1);
        let to = format!("steps/step{n}/{name}");
        let mut unified = diff.unified_diff();
        let text = unified.context_radius(2).header(&from, &to).to_string();
        // A new file is shown as it is: its diff would say no more.
        if !text.is_empty() && !before.is_empty() {
            diffs.insert(name.clone(), text);
        }
    }
    diffs
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

#[test]
fn each_step_grows_by_little_and_as_the_book_says() {
    for n in 2..=steps() {
        for (name, text) in diffs(n) {
            let name = name.trim_end_matches(".rs");
            snapshot(&format!("growth-step{n}-{name}"), text.trim_end());
        }
        let more = MORE_ADDED.iter().find(|(step, ..)| *step == n);
        let most = more.map_or(MOST_ADDED, |(_, most, _)| *most);
        let added = added(n);
        assert!(added <= most, "step {n} adds {added} lines of code");
    }
}

#[test]
fn there_are_at_most_nine_steps_of_files_that_fit_a_page() {
    assert!((1..=9).contains(&steps()));
    for n in 1..=steps() {
        for name in step(n).into_keys() {
            let path = format!("{ROOT}/steps/step{n}/{name}");
            let text = fs::read_to_string(path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let lines = code.lines().count();
            assert!(lines <= MOST_LINES, "step{n}/{name}: {lines} lines");
        }
    }
}

/// A copied line that still names the step it came from.
#[test]
fn a_step_names_no_other_step_in_its_commands() {
    for n in 1..=steps() {
        for (name, text) in step(n) {
            for other in (1..=9).filter(|&other| other != n) {
                let foreign = format!("step{other}");
                assert!(!text.contains(&foreign), "step{n}/{name}: {foreign}");
            }
        }
    }
}

#[test]
fn every_step_has_the_same_four_files() {
    for n in 1..=steps() {
        let files = step(n);
        for name in ["main.rs", "listener.rs", "server.rs", "client.rs"] {
            assert!(files.contains_key(name), "step{n} has no {name}");
        }
    }
}

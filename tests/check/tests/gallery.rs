//! The checker checked: the correct program passes all cases, and each defect
//! of the gallery is caught by the case that names it, with this report.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[path = "../src/gallery/defects.rs"]
mod defects;
mod support;
#[path = "../src/gallery/table.rs"]
mod table;

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use check::{Case, LAST_STEP, Machine, Proof, Session, Side, Verdict, cases};
use defects::{DEFECTS, Defect};
use libtest_mimic::Trial;
use support::arguments::arguments;
use support::{gallery, snapshot};

/// The steps at which a program that is merely slow is tried, too.
const SLOW: [u8; 2] = [2, LAST_STEP];

/// Lets the kernel forget what it has learned of 127.0.0.1 in other tests: if
/// packets have ever overtaken each other there, a send buffer takes more than
/// C5-24 has for it (ip-tcp_metrics(8)). Without root, it stays as it is.
fn forget_loopback() {
    let mut ip = Command::new("ip");
    let _ = ip.args(["tcp_metrics", "flush", "127.0.0.1"]).output();
}

fn main() {
    forget_loopback();
    let mut trials = vec![
        trial("the gallery is large", the_gallery_is_large),
        trial("each case names what proves it", each_case_names_its_proof),
        trial("the matrix is of this gallery", the_matrix_is_of_this_gallery),
    ];
    let machine = Machine::new();
    machine.end_with_us(|| ());
    for step in 1..=LAST_STEP {
        for side in [Side::Server, Side::Client] {
            trials.extend(passes(&machine, side, step, None));
            if SLOW.contains(&step) {
                trials.extend(passes(&machine, side, step, Some("slow")));
            }
            let name = format!("defects of a {} of step {step}", side.name());
            if !of(side, step).is_empty() {
                let machine = machine.clone();
                trials.push(trial(&name, move || caught(&machine, side, step)));
            }
        }
    }
    libtest_mimic::run(&arguments(), trials).exit();
}

fn trial(name: &str, run: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name.to_owned(), move || {
        run();
        Ok(())
    })
}

fn of(side: Side, step: u8) -> Vec<&'static Defect> {
    let is_of = |d: &&Defect| d.side() == side.name() && d.step == step;
    DEFECTS.iter().filter(is_of).collect()
}

fn session(
    machine: &Machine,
    side: Side,
    step: u8,
    defect: Option<&str>,
) -> Session {
    let command = gallery(side.name(), step, defect);
    Session::new(side, step, &command).unwrap().on(machine).seed(7)
}

/// The correct program, or one that is merely slow, passes each case, without
/// a warning: those that are new with its step, and at the last step all. (With
/// `CONTRACT=all`, `tests/contract.rs` tries our own steps with all.)
fn passes(
    machine: &Machine,
    side: Side,
    step: u8,
    defect: Option<&str>,
) -> Vec<Trial> {
    let session = Arc::new(session(machine, side, step, defect));
    let who = defect.unwrap_or("reference");
    let trial = |case: &'static Case| {
        let session = Arc::clone(&session);
        let name = format!("{who} of step{step}::{}", case.test_name());
        Trial::test(name, move || match session.judge_patiently(case) {
            Verdict::Pass => Ok(()),
            verdict => Err(session.report(case, &verdict).into()),
        })
    };
    let mut cases = cases::of(side, step);
    let is_new = |case: &Case| case.rule_step() == step;
    cases.retain(|case| is_new(case) || step == LAST_STEP);
    cases.into_iter().map(trial).collect()
}

/// Each defect of a step is caught by its case.
fn caught(machine: &Machine, side: Side, step: u8) {
    let chosen = of(side, step);
    let next = AtomicUsize::new(0);
    let texts = Mutex::new(vec![String::new(); chosen.len()]);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(defect) = chosen.get(at) else { return };
                    let text = caught_report(machine, defect);
                    texts.lock().unwrap()[at] = text;
                }
            });
        }
    });
    let texts = texts.into_inner().unwrap().concat();
    snapshot(&format!("gallery-{}-step{step}", side.name()), &texts);
}

const AT_ONCE: usize = 8;

fn caught_report(machine: &Machine, defect: &Defect) -> String {
    let case = cases::find(defect.case).unwrap();
    let session = session(machine, case.side(), defect.step, Some(defect.name));
    let verdict = session.judge_patiently(case);
    let report = session.report(case, &verdict);
    let wanted = if defect.is_warning() { "warn" } else { "FAIL" };
    assert_eq!(verdict.name(), wanted, "{}: {report}", defect.name);
    let report = report.trim_end();
    let lines = report.lines().count();
    assert!(lines <= 13, "{lines} lines: {report}");
    for line in report.lines() {
        assert!(line.chars().count() <= 81, "too wide: {line}");
    }
    let report = match RACES.contains(&defect.name) {
        true => without_bytes(report),
        false => report.to_owned(),
    };
    format!("{}: {}\n\n{report}\n\n", defect.name, defect.what)
}

/// Which bytes are wrong depends on which thread, or which end, was faster, or
/// on a client's random id.
const RACES: [&str; 12] = [
    "shared-buffer",
    "reads-once",
    "decodes-each-piece",
    "dies-without-stdout",
    "looks-then-adds",
    "no-replay",
    "replays-totals-only",
    "replies-before-writing",
    "new-id-each-time",
    "new-number-each-time",
    "ignores-given-name",
    "asks-after-goaway",
];

/// A report without what differs from run to run.
fn without_bytes(report: &str) -> String {
    let bytes = ["so far", "sent", "expected", "actual", "printed", "^"];
    let is_kept = |line: &&str| {
        !bytes.iter().any(|label| line.trim_start().starts_with(label))
    };
    report.lines().filter(is_kept).collect::<Vec<_>>().join("\n")
}

/// At least 40, each with a name of its own on its side.
fn the_gallery_is_large() {
    let mut names: Vec<_> =
        DEFECTS.iter().map(|d| (d.side(), d.step, d.name)).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() == DEFECTS.len() && names.len() >= 40);
}

/// A case lists the defects that name it, and no others; one that lists none
/// says why.
fn each_case_names_its_proof() {
    for case in cases::all() {
        let named = DEFECTS.iter().filter(|d| d.case == case.id);
        let mut named: Vec<&str> = named.map(|d| d.name).collect();
        let mut listed = match case.proof {
            Proof::Defects(names) => {
                assert!(!names.is_empty(), "{}: no defect, no why", case.id);
                names.to_vec()
            }
            Proof::Without(why) => {
                assert!(!why.is_empty(), "{}: no defect, no why", case.id);
                Vec::new()
            }
        };
        named.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, named, "{}: its list, the gallery's", case.id);
    }
    for defect in DEFECTS {
        let case = tried_with(defect, defect.case);
        assert!(case.is_some(), "{}: no case {}", defect.name, defect.case);
    }
}

/// The case with this name, if the defect is tried with it.
fn tried_with(defect: &Defect, id: &str) -> Option<&'static Case> {
    let case = cases::find(id)?;
    let is_of_side = case.side().name() == defect.side();
    (is_of_side && case.steps.contains(&defect.step)).then_some(case)
}

const AGAIN: &str = "is old; print it again with `gallery matrix`";

/// The printed matrix has a row for each defect of this gallery, and it was
/// printed with the cases that there are now: a case or a defect that came,
/// went or got another name fails here. Which other cases catch a defect is
/// not tried again, since that takes twenty minutes; `gallery matrix` does.
fn the_matrix_is_of_this_gallery() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/matrix.md");
    let matrix = fs::read_to_string(path).unwrap();
    let (tables, links) = matrix.split_once("\n\n[").unwrap();
    let is_same = format!("[{links}") == table::links(tables);
    assert!(is_same, "its links: matrix.md {AGAIN}");
    let (rows, rest) = tables.split_once("\n\n").unwrap();
    let rows: Vec<&str> = rows.lines().skip(2).collect();
    let all = DEFECTS.len();
    let count = format!("{all} of {all} defects caught by their case.");
    assert_eq!(rows.len(), all, "matrix.md {AGAIN}");
    let tail = format!("{count}\n\n{}", table::columns());
    assert_eq!(rest, tail.trim_end(), "{AGAIN}");
    for (row, defect) in rows.iter().zip(DEFECTS) {
        is_tried(row, defect);
    }
}

/// A row says which defect it is of, names its case first, and then cases
/// with which the defect is tried.
fn is_tried(row: &str, defect: &Defect) {
    let (head, case) = (table::head(defect), defect.case);
    let head = match defect.is_warning() {
        true => format!("{head} | ([{case}]) "),
        false => format!("{head} | [{case}] "),
    };
    assert!(row.starts_with(&head), "{row} {AGAIN}; not {head}");
    let cell = row[head.len()..].trim_end_matches('|');
    for ids in cell.split_whitespace() {
        let ids = ids.trim_matches(['(', '[', ']', ')']);
        let (first, last) = ids.split_once('–').unwrap_or((ids, &ids[3..]));
        let last = format!("{}{last}", &first[..3]);
        for id in [first, &last] {
            let case = tried_with(defect, id);
            assert!(case.is_some(), "{row} {AGAIN}: no {id}");
        }
    }
}

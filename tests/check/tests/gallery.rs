//! The checker checked: the correct program passes all cases, and each defect
//! of the gallery is caught by the case that names it, with this report.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[path = "../src/gallery/defects.rs"]
mod defects;
mod support;

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use defects::{DEFECTS, Defect};
use support::{Said, alone, check, gallery, shared, snapshot};

macro_rules! tests {
    ($($name:ident($($argument:expr),*) = $function:ident;)*) => {
        $(#[test]
        fn $name() {
            $function($($argument),*);
        })*
    };
}

tests! {
    the_reference_passes_step_1(1, None) = passes;
    the_reference_passes_step_2(2, None) = passes;
    the_reference_passes_step_3(3, None) = passes;
    the_reference_passes_step_4(4, None) = passes;
    the_reference_passes_step_5(5, None) = passes;
    who_is_merely_slow_passes_step_2(2, Some("slow")) = passes;
    who_is_merely_slow_passes_step_5(5, Some("slow")) = passes;
    defects_of_a_server_of_step_1("server", 1) = caught;
    defects_of_a_server_of_step_2("server", 2) = caught;
    defects_of_a_server_of_step_3("server", 3) = caught;
    defects_of_a_server_of_step_4("server", 4) = caught;
    defects_of_a_server_of_step_5("server", 5) = caught;
    defects_of_a_client_of_step_1("client", 1) = caught;
    defects_of_a_client_of_step_2("client", 2) = caught;
    defects_of_a_client_of_step_4("client", 4) = caught;
    defects_of_a_client_of_step_5("client", 5) = caught;
}

/// All cases of both sides pass. A machine that is too busy to tell may be
/// asked again, but never accuses.
fn passes(step: u8, defect: Option<&str>) {
    for side in ["server", "client"] {
        let command = gallery(side, step, defect);
        let step = format!("step{step}");
        let args = [side, &step, "--keep-going", "--cmd", &command];
        for _ in 0..3 {
            let _machine = alone();
            let Said { code, text, .. } = check(&args);
            assert!(code == Some(0) || code == Some(2), "{text}");
            assert!(!text.contains("! "), "no warning either: {text}");
            if code == Some(0) {
                break;
            }
        }
    }
}

/// Each defect of a step is caught by its case.
fn caught(side: &str, step: u8) {
    let chosen = DEFECTS.iter().filter(|d| d.side() == side && d.step == step);
    let chosen: Vec<&Defect> = chosen.collect();
    assert!(!chosen.is_empty());
    // Most of them only wait; those that a clock judges run alone.
    let next = AtomicUsize::new(0);
    let texts = Mutex::new(vec![String::new(); chosen.len()]);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(defect) = chosen.get(at) else { return };
                    let text = caught_report(defect);
                    texts.lock().unwrap()[at] = text;
                }
            });
        }
    });
    let texts = texts.into_inner().unwrap().concat();
    snapshot(&format!("gallery-{side}-step{step}"), &texts);
}

const AT_ONCE: usize = 3;

fn caught_report(defect: &Defect) -> String {
    let said = report(defect);
    let mark = if defect.is_warning() { "!" } else { "✗" };
    let head = format!("{mark} {}", defect.case);
    assert!(said.text.starts_with(&head), "{}: {}", defect.name, said.text);
    let code = if defect.is_warning() { 0 } else { 1 };
    assert_eq!(said.code, Some(code), "{}", defect.name);
    let report = said.text.split("\n\n").next().unwrap();
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

/// Which bytes are wrong depends on which thread was faster.
const RACES: [&str; 1] = ["shared-buffer"];

/// A report without what differs from run to run.
fn without_bytes(report: &str) -> String {
    let bytes = ["so far", "sent", "expected", "actual", "^"];
    let is_kept = |line: &&str| {
        !bytes.iter().any(|label| line.trim_start().starts_with(label))
    };
    report.lines().filter(is_kept).collect::<Vec<_>>().join("\n")
}

/// The report of the case that names a defect; on a busy machine, the first
/// one that is more than `unknown`.
fn report(defect: &Defect) -> Said {
    let command = gallery(defect.side(), defect.step, Some(defect.name));
    let step = format!("step{}", defect.step);
    let args = [defect.side(), &step, "--case", defect.case, "--seed", "7"];
    let args = [&args[..], &["--cmd", &command]].concat();
    let is_timed = defect.step == 5 || defect.case == "S4-22";
    let mut said = None;
    for _ in 0..20 {
        let (_alone, _shared) = match is_timed {
            true => (Some(alone()), None),
            false => (None, Some(shared())),
        };
        let this = check(&args);
        let is_unknown = this.code == Some(2);
        said = Some(this);
        if !is_unknown {
            break;
        }
    }
    said.unwrap()
}

/// At least 40, each with a name of its own on its side.
#[test]
fn the_gallery_is_large() {
    let mut names: Vec<_> =
        DEFECTS.iter().map(|d| (d.side(), d.step, d.name)).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() == DEFECTS.len() && names.len() >= 40);
}

/// The matrix in the book is of this gallery, and each defect was caught by
/// its case when it was printed; `gallery matrix` prints it again.
#[test]
fn the_matrix_is_of_this_gallery() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/matrix.md");
    let matrix = fs::read_to_string(path).unwrap();
    let rows: Vec<&str> =
        matrix.lines().skip(2).take_while(|l| !l.is_empty()).collect();
    assert_eq!(rows.len(), DEFECTS.len());
    for (row, defect) in rows.iter().zip(DEFECTS) {
        let Defect { case, name, what, .. } = defect;
        let head = match defect.is_warning() {
            true => format!("| `{name}` | {what} | ({case}) "),
            false => format!("| `{name}` | {what} | {case} "),
        };
        assert!(row.starts_with(&head), "{row} is not {head}");
    }
}

//! The checker in the process of another test program: a session is a value,
//! and what one learns of its program, no other one knows.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::process::{Command, Stdio};
use std::thread;

use check::{Session, Side, Verdict, cases};
use support::gallery;

fn session(command: &str) -> Session {
    Session::new(Side::Server, 4, command).unwrap().seed(7)
}

fn case(id: &str) -> &'static check::Case {
    cases::find(id).unwrap()
}

#[test]
fn a_case_is_judged_and_told() {
    let good = session(&gallery("server", 4, None));
    let bad = session(&gallery("server", 4, Some("believes-length")));
    let case = case("S4-05");
    assert_eq!(good.judge(case), Verdict::Pass);
    let verdict = bad.judge(case);
    assert_eq!(verdict.name(), "FAIL");
    let text = bad.report(case, &verdict);
    assert!(text.starts_with("✗ S4-05  refuses a length of"), "{text}");
    assert!(text.contains("--case S4-05 --seed 7"), "{text}");
}

#[test]
fn what_a_client_needs_is_said() {
    let error = Session::new(Side::Client, 4, "./client {addr}").err();
    assert!(error.unwrap().to_string().contains("{text}"));
    let mut session = session("./no-such-program {addr}");
    let obstacle = session.probe().err().unwrap();
    assert!(obstacle.text().contains("no-such-program"));
}

/// One program ignores SIGTERM, and one goes away at its end: the second is
/// still asked, so that it can tidy up.
#[test]
fn two_sessions_know_nothing_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let rude = session(&scripted("trap \"\" TERM; exec \"$0\""));
    let polite = "trap \"kill \\$!; echo >>\\\"$2\\\"; exit\" TERM; \
                  touch \"$2\"; \"$0\" server --step 4 --addr \"$1\" & wait";
    let asked = dir.path().join("asked");
    let polite = format!(
        "sh -c '{polite}' '{}' {{addr}} '{}'",
        support::GALLERY,
        asked.display()
    );
    let polite = session(&polite);
    let ids = ["S4-01", "S4-02", "S4-03"];
    thread::scope(|scope| {
        for session in [&rude, &polite] {
            scope.spawn(move || {
                let cases = ids.map(case);
                for (case, verdict) in session.judge_all(&cases) {
                    let text = session.report(case, &verdict);
                    assert_eq!(verdict, Verdict::Pass, "{text}");
                }
            });
        }
    });
    let times = std::fs::read_to_string(asked).unwrap().lines().count();
    assert_eq!(times, ids.len(), "each of its programs was asked to end");
}

fn scripted(start: &str) -> String {
    let script = format!("{start} server --step 4 --addr \"$1\"");
    format!("sh -c '{script}' '{}' {{addr}}", support::GALLERY)
}

/// A test program has children of its own; they are none of our business.
#[test]
fn other_children_of_the_process_live_on() {
    let mut other = Command::new("sleep")
        .arg("86408")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let session = session(&gallery("server", 4, None));
    assert_eq!(session.judge(case("S4-01")), Verdict::Pass);
    let alive = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(alive, "the session ended a process that it did not start");
}

/// A program that leaves its group is still found by its mark.
#[test]
#[cfg(target_os = "linux")]
fn what_hides_is_ended() {
    let script = "(setsid sleep 86409 &); exec \"$0\"";
    let session = session(&scripted(script));
    assert_eq!(session.judge(case("S4-01")), Verdict::Pass);
    assert_eq!(support::running("sleep 86409"), 0);
}

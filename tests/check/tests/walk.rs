//! A Python server from its first try to one that passes, as the book tells
//! it: what the checker says of each version, and what was changed.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use support::arguments::arguments;
use support::snapshot;

/// The version, and the step whose cases it is tried with.
const WALK: [(u8, u8); 10] = [
    (1, 2),
    (2, 2),
    (3, 2),
    (4, 2),
    (5, 2),
    (6, 2),
    (7, 2),
    (7, 3),
    (8, 3),
    (9, 3),
];

fn main() {
    let has_python = Command::new("python3")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    let exercise = Trial::test("the-exercise", || {
        break_it();
        Ok(())
    });
    let exercise = exercise.with_ignored_flag(!has_python).with_kind("python3");
    let tests = WALK.map(|(version, step)| {
        let name = format!("walk-{version}-step{step}");
        let run = move || {
            try_version(version, step);
            Ok(())
        };
        Trial::test(name, run)
            .with_ignored_flag(!has_python)
            .with_kind("python3")
    });
    let mut tests = Vec::from(tests);
    tests.push(exercise);
    libtest_mimic::run(&arguments(), tests).exit();
}

fn try_version(version: u8, step: u8) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/walk");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.py");
    fs::copy(format!("{root}/{version}.py"), file).unwrap();
    let step = format!("step{step}");
    let mut text = transcript(dir.path(), &step);
    let name = format!("walk-{version}-{step}");
    for _ in 0..20 {
        if is_kept(&name, &text) {
            break;
        }
        println!("{name}: not what the book tells\n{text}");
        text = transcript(dir.path(), &step);
    }
    snapshot(&name, &text);
}

/// Is this what the book tells? Luck has a part in it: a reset meets version 5
/// in `recv` or in `sendall`, and a busy machine may keep the checker from
/// telling.
fn is_kept(name: &str, text: &str) -> bool {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots");
    let kept = fs::read_to_string(format!("{root}/{name}.snap"));
    kept.is_ok_and(|kept| kept.trim_end().ends_with(text.trim_end()))
}

fn transcript(folder: &Path, step: &str) -> String {
    let cmd = "python3 server.py {addr}";
    let output = Command::new(env!("CARGO_BIN_EXE_check"))
        .args(["server", step, "--seed", "7", "--jobs", "2", "--cmd", cmd])
        .current_dir(folder)
        .env_remove("PYTHONUNBUFFERED") // as on the reader's machine
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let code = output.status.code().unwrap();
    let text = format!("$ check server {step} --cmd '{cmd}'\n{said}");
    format!("{}\n\nexit code {code}\n", text.trim_end())
}

/// What the exercise says happens: a forgotten partial write shows when the
/// socket has a time limit, and not before.
fn break_it() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/walk");
    let read = |file| fs::read_to_string(format!("{root}/{file}")).unwrap();
    let limited = read("limited.py");
    let text = limited.replace("    conn.settimeout(5)\n", "");
    assert_ne!(text, limited);
    let asked = read("9.py")
        .replace("conn.sendall(", "conn.send(")
        .replace("conn.recv(1024)", "conn.recv(1 << 24)");
    assert_eq!(text, asked, "the solution is of another exercise");
    for (text, code) in [(text, 0), (limited, 1)] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("server.py"), text).unwrap();
        let cmd = "python3 server.py {addr}";
        let mut check = Command::new(env!("CARGO_BIN_EXE_check"));
        check.args(["server", "step3", "--case", "S2-03", "--cmd", cmd]);
        check.current_dir(dir.path());
        let mut output = check.output().unwrap();
        for _ in 1..4 {
            if output.status.code() == Some(2) {
                output = check.output().unwrap(); // the machine was too busy
            }
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
}

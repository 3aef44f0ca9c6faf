//! A Python server from its first try to one that passes, as the book tells
//! it: what the checker says of each version, and what was changed.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::fs;
use std::process::Command;

use libtest_mimic::{Arguments, Trial};
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
    libtest_mimic::run(&Arguments::from_args(), tests.into()).exit();
}

fn try_version(version: u8, step: u8) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/walk");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.py");
    fs::copy(format!("{root}/{version}.py"), file).unwrap();
    let cmd = "python3 server.py {addr}";
    let step = format!("step{step}");
    let output = Command::new(env!("CARGO_BIN_EXE_check"))
        .args(["server", &step, "--seed", "7", "--cmd", cmd])
        .current_dir(dir.path())
        .env_remove("PYTHONUNBUFFERED") // as on the reader's machine
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let code = output.status.code().unwrap();
    let text = format!("$ check server {step} --cmd '{cmd}'\n{said}");
    let text = format!("{}\n\nexit code {code}\n", text.trim_end());
    snapshot(&format!("walk-{version}-{step}"), &text);
}

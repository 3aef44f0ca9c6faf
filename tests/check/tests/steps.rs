//! The steps of this project pass the cases of their step, and those of all
//! steps before that still apply.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::path::Path;
use std::process::Command;

use check::LAST_STEP;
use libtest_mimic::{Arguments, Trial};
use support::{alone, check};

/// Builds the steps, which are another package, and returns their folder.
fn built() -> &'static Path {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "tcp-step-by-step", "--bins"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status()
        .unwrap();
    assert!(status.success());
    Path::new(env!("CARGO_BIN_EXE_check")).parent().unwrap()
}

fn pass(step: u8) {
    let program = built().join(format!("step{step}"));
    let program = program.to_str().unwrap();
    let step = format!("step{step}");
    for (side, texts) in [("server", ""), ("client", " {text}")] {
        let cmd = format!("'{program}' {side} --addr {{addr}}{texts}");
        let args = [side, &step, "--keep-going", "--strict", "--cmd", &cmd];
        let _machine = alone();
        let mut code = Some(2);
        for _ in 0..3 {
            let said = check(&args);
            code = said.code;
            assert!(code == Some(0) || code == Some(2), "{}", said.text);
            if code == Some(0) {
                break;
            }
        }
        assert_eq!(code, Some(0), "{side} of {step}: too busy to tell");
    }
}

fn main() {
    let trials = (1..=LAST_STEP).map(|step| {
        Trial::test(format!("step {step}"), move || {
            pass(step);
            Ok(())
        })
    });
    let args = Arguments::from_args();
    libtest_mimic::run(&args, trials.collect()).exit();
}

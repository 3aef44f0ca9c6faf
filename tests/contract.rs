//! The contract of the steps, tried by the checker's own table of cases. Each
//! case is a test of its own here, and runs in this process. No warning is
//! let pass.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use libtest_mimic::{Arguments, Trial};

/// A case mostly waits: many of them beside each other keep two processors
/// busy.
const AT_ONCE: usize = 24;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    libtest_mimic::run(&arguments, trials()).exit();
}

#[cfg(not(unix))]
fn trials() -> Vec<Trial> {
    let name = "steps (skipped: the checker needs Linux or macOS)";
    vec![Trial::test(name, || Ok(())).with_ignored_flag(true)]
}

#[cfg(unix)]
fn trials() -> Vec<Trial> {
    tries::trials()
}

#[cfg(unix)]
mod tries {
    use std::sync::{Arc, PoisonError, RwLock};

    use check::{Case, LAST_STEP, Session, Side, Verdict, cases};
    use libtest_mimic::{Failed, Trial};

    const STEPS: [&str; LAST_STEP as usize] = [
        env!("CARGO_BIN_EXE_step1"),
        env!("CARGO_BIN_EXE_step2"),
        env!("CARGO_BIN_EXE_step3"),
        env!("CARGO_BIN_EXE_step4"),
        env!("CARGO_BIN_EXE_step5"),
    ];

    /// How often a case is tried that was late.
    const TRIES: usize = 3;

    /// A case that was late has the machine for itself.
    static TURN: RwLock<()> = RwLock::new(());

    pub fn trials() -> Vec<Trial> {
        let steps = (1..=LAST_STEP).zip(STEPS);
        let sides = steps.flat_map(|(step, program)| {
            [Side::Server, Side::Client].map(|side| (step, program, side))
        });
        sides.flat_map(|(s, program, side)| of(s, program, side)).collect()
    }

    fn of(step: u8, program: &str, side: Side) -> Vec<Trial> {
        let text = if side == Side::Client { " {text}" } else { "" };
        let program = program.replace('\'', r"'\''");
        let side_name = side.name();
        let command = format!("'{program}' {side_name} --addr {{addr}}{text}");
        let session = Session::new(side, step, &command).unwrap();
        let session = Arc::new(session);
        let trial = |case: &'static Case| {
            let session = Arc::clone(&session);
            Trial::test(name(step, case), move || judge(&session, case))
        };
        cases::of(side, step).into_iter().map(trial).collect()
    }

    /// Such as `step4::s4_01_answers_an_echo`.
    fn name(step: u8, case: &Case) -> String {
        let words = format!("{} {}", case.id, case.title).to_lowercase();
        let words = words.replace('\'', "");
        let words = words.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        format!("step{step}::{}", words.join("_"))
    }

    fn judge(session: &Session, case: &'static Case) -> Result<(), Failed> {
        let start = std::time::Instant::now();
        let r = judge2(session, case);
        eprintln!("TIME {} {} {:?}", case.id, start.elapsed().as_millis(), r.as_ref().is_ok());
        r
    }
    fn judge2(session: &Session, case: &'static Case) -> Result<(), Failed> {
        let verdict = {
            let _shared = TURN.read().unwrap_or_else(PoisonError::into_inner);
            session.judge(case)
        };
        if verdict == Verdict::Pass {
            return Ok(());
        }
        Err(session.report(case, &verdict).into())
    }
}

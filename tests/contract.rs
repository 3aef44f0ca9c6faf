//! The contract: the checker's own table of cases, tried on each step. A case
//! is a test here, such as `step4::s4_01_answers_an_echo`, and runs in this
//! process. A warning fails it, too.

#[path = "support/arguments.rs"]
mod arguments;

fn main() {
    libtest_mimic::run(&arguments::arguments(), trials()).exit();
}

#[cfg(unix)]
use steps::trials;

#[cfg(not(unix))]
fn trials() -> Vec<libtest_mimic::Trial> {
    let name = "the contract (skipped: the checker needs Linux or macOS)";
    let trial = libtest_mimic::Trial::test(name, || Ok(()));
    vec![trial.with_ignored_flag(true)]
}

#[cfg(unix)]
mod steps {
    use std::sync::Arc;

    use check::{Case, LAST_STEP, Machine, Session, Side, Tag, Verdict, cases};
    use libtest_mimic::{Failed, Trial};

    const PROGRAMS: [&str; LAST_STEP as usize] = [
        env!("CARGO_BIN_EXE_step1"),
        env!("CARGO_BIN_EXE_step2"),
        env!("CARGO_BIN_EXE_step3"),
        env!("CARGO_BIN_EXE_step4"),
        env!("CARGO_BIN_EXE_step5"),
        env!("CARGO_BIN_EXE_step6"),
        env!("CARGO_BIN_EXE_step7"),
        env!("CARGO_BIN_EXE_step8"),
    ];

    pub fn trials() -> Vec<Trial> {
        // Many clients at once, in several cases at once.
        let _ = rlimit::increase_nofile_limit(1 << 16);
        let machine = Machine::new();
        machine.end_with_us(|| ());
        let mut trials = Vec::new();
        for (step, program) in (1..).zip(PROGRAMS) {
            for side in [Side::Server, Side::Client] {
                trials.extend(trials_of(&machine, step, program, side));
            }
        }
        // A clock judges these: they come when the crowd has gone.
        trials.sort_by_key(|(case, _)| case.has(Tag::Timed));
        trials.into_iter().map(|(_, trial)| trial).collect()
    }

    /// A trial for each case of one side of a step.
    fn trials_of(
        machine: &Machine,
        step: u8,
        program: &str,
        side: Side,
    ) -> Vec<(&'static Case, Trial)> {
        let (name, program) = (side.name(), program.replace('\'', "'\\''"));
        let more = match side {
            Side::Client => " {text}",
            Side::Server if step >= 7 => " --journal {journal}",
            Side::Server => "",
        };
        let command = format!("'{program}' {name} --addr {{addr}}{more}");
        let session = Session::new(side, step, &command);
        let session = Arc::new(session.expect("a command").on(machine));
        let trial = |case: &'static Case| {
            let mut name = format!("step{step}::{}", case.test_name());
            let skipped = session.skips(case);
            if let Some(why) = &skipped {
                name += &format!(" (skipped: {why})");
            }
            let session = Arc::clone(&session);
            let trial = Trial::test(name, move || passes(&session, case));
            (case, trial.with_ignored_flag(skipped.is_some()))
        };
        let mut cases = cases::of(side, step);
        cases.retain(|case| is_tried(step, case));
        cases.into_iter().map(trial).collect()
    }

    /// A step is tried with the cases that are new with it, and the last step
    /// with all. `CONTRACT=all` tries all of them with each step.
    fn is_tried(step: u8, case: &Case) -> bool {
        let is_new = case.rule_step() == step;
        let all = std::env::var("CONTRACT").is_ok_and(|which| which == "all");
        is_new || step == LAST_STEP || all
    }

    fn passes(session: &Session, case: &'static Case) -> Result<(), Failed> {
        match session.judge_patiently(case) {
            Verdict::Pass => Ok(()),
            verdict => Err(session.report(case, &verdict).into()),
        }
    }
}

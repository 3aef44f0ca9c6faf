//! The checker's rules of step 7, against Redis with three servers, each of
//! which gets every third client. With `CONTRACT=all`, all rules of steps 1 to
//! 8, too, against a server alone.

use libtest_mimic::Trial;

#[cfg(unix)]
use steps::trials as all;

/// The tests of this file.
pub fn trials(missing: Option<&str>) -> Vec<Trial> {
    #[cfg(unix)]
    return all(missing);
    #[cfg(not(unix))]
    return vec![crate::support::trial("step7", missing, || ())];
}

#[cfg(unix)]
mod steps {
    use std::sync::Arc;

    use check::{Case, Machine, Session, Side, Verdict, cases};
    use libtest_mimic::{Failed, Trial};

    use crate::support::{ROOT, bin, is_installed};

    /// They are about the file of a journal: a torn end, damage, and that no
    /// second server may use it. Redis has its own files, and to be used by a
    /// second server is the point.
    const OF_A_FILE: [&str; 3] = ["S7-15", "S7-18", "S7-19"];

    pub fn trials(missing: Option<&str>) -> Vec<Trial> {
        let _ = rlimit::increase_nofile_limit(1 << 16);
        let python =
            (!is_installed("python3", "--version")).then_some("needs python3");
        let machine = Machine::new();
        machine.end_with_us(|| ());
        let all = std::env::var("CONTRACT").is_ok_and(|which| which == "all");
        let (title, step, servers) =
            if all { ("one", 8, "1") } else { ("mix", 7, "3") };
        let script = format!("{ROOT}/tests/peers/python/cluster.py");
        let program = bin("cluster");
        let command = format!(
            "python3 '{script}' '{program}' {{addr}} {servers} {{journal}}"
        );
        let session = Session::new(Side::Server, step, &command);
        let session = Arc::new(session.unwrap().on(&machine));
        let mut cases = cases::of(Side::Server, step);
        cases.retain(|case| all || case.rule_step() == 7);
        cases.retain(|case| !OF_A_FILE.contains(&case.id));
        let missing = missing.or(python);
        let trial = |case| trial(title, &session, case, missing);
        cases.into_iter().map(trial).collect()
    }

    fn trial(
        title: &str,
        session: &Arc<Session>,
        case: &'static Case,
        missing: Option<&str>,
    ) -> Trial {
        let mut name = format!("{title}::{}", case.test_name());
        let why = missing.map(str::to_owned).or(session.skips(case));
        if let Some(why) = &why {
            name += &format!(" (skipped: {why})");
        }
        let session = Arc::clone(session);
        let test = move || passes(&session, case);
        Trial::test(name, test).with_ignored_flag(why.is_some())
    }

    /// The checker gives a program 10 s to come up. Five of them may need more
    /// on a machine that is very busy, and that is not the subject.
    fn passes(session: &Session, case: &'static Case) -> Result<(), Failed> {
        let mut report = String::new();
        for _ in 0..3 {
            report = match session.judge_patiently(case) {
                Verdict::Pass => return Ok(()),
                verdict => session.report(case, &verdict).to_string(),
            };
            if !report.contains("did not come up") {
                break;
            }
        }
        Err(report.into())
    }
}

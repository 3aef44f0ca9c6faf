//! Runs of the steps, each from a seed of its own.

use std::env::var;
use std::thread;

use sim::run::Run;
use sim::{BUGS, Bug, RUNS};

/// How many seeds each step gets, unless the environment says otherwise.
const SEEDS: u64 = 500;

/// The number that the environment gives under this name.
fn number(name: &str) -> Option<u64> {
    Some(var(name).ok()?.parse().expect("a number"))
}

fn play(name: &str, seed: u64) -> Run {
    let (_, run) = RUNS.iter().find(|run| run.0 == name).expect("its name");
    run(seed)
}

/// Returns the first seed that breaks a rule, and which.
fn first(name: &str, seeds: u64) -> Option<(u64, &'static str, String)> {
    (0..seeds).find_map(|seed| {
        let (rule, how) = play(name, seed).broken?;
        Some((seed, rule, how))
    })
}

/// Plays all seeds, or prints the run of the one that `SEED` names.
fn all_is_well(name: &str) {
    if let Some(seed) = number("SEED") {
        let run = play(name, seed);
        println!("{}", run.log.join("\n"));
        assert!(run.broken.is_none(), "{:?}", run.broken);
    } else if let Some((seed, rule, how)) =
        first(name, number("SEEDS").unwrap_or(SEEDS))
    {
        panic!(
            "{rule}: {how}; to see it again:\n\
             SEED={seed} cargo test -p sim {name} -- --nocapture"
        );
    }
}

#[test]
fn step5() {
    all_is_well("step5");
}

#[test]
fn step6() {
    all_is_well("step6");
}

#[test]
fn step7() {
    all_is_well("step7");
}

#[test]
fn step8() {
    all_is_well("step8");
}

/// Looks for the bug that `BUG` names, or prints its run of the seed `SEED`.
#[test]
fn one_bug() {
    let Ok(bug) = var("BUG") else { return };
    match number("SEED") {
        Some(seed) => println!("{}", play(&bug, seed).log.join("\n")),
        None => match first(&bug, number("SEEDS").unwrap_or(SEEDS)) {
            Some((seed, rule, how)) => println!("seed {seed}: {rule}: {how}"),
            None => println!("not found"),
        },
    }
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..20 {
        for step in ["step5", "step6", "step7", "step8"] {
            let (one, two) = (play(step, seed), play(step, seed));
            assert_eq!(one.log, two.log, "{step}, seed {seed}");
        }
    }
}

/// One row of the table.
fn row(bug: &Bug) -> String {
    let Bug { step, what, why_not, .. } = bug;
    let step = step.trim_start_matches("step");
    // One that can be found is worth more seeds.
    let seeds = if why_not.is_empty() { 10 * SEEDS } else { SEEDS };
    match first(bug.name, seeds) {
        Some((seed, rule, _)) => {
            assert_eq!(*why_not, "", "{}: seed {seed} finds it", bug.name);
            format!("| {step} | {what} | {rule} | {seed} |\n")
        }
        None => {
            assert_ne!(*why_not, "", "{}: no seed finds it", bug.name);
            format!("| {step} | {what} | not found: {why_not} | – |\n")
        }
    }
}

/// The same seeds that the steps pass find these bugs in them.
#[test]
fn bugs_are_found() {
    let mut table = "| step | the bug | broken rule | first seed |\n\
                     | --- | --- | --- | --- |\n"
        .to_owned();
    thread::scope(|scope| {
        let rows = BUGS.iter().map(|bug| scope.spawn(move || row(bug)));
        for row in rows.collect::<Vec<_>>() {
            table += &row.join().expect("a row");
        }
    });
    snapshot("sim-bugs", &table);
}

/// The run that the book reads line by line.
#[test]
fn a_run_that_breaks_a_rule() {
    let run = play("new_number", 192);
    let broken = run.log.iter().position(|line| line.contains("BROKEN"));
    let end = broken.expect("a broken rule") + 1;
    snapshot("sim-run", &run.log[..end].join("\n"));
}

/// The same run without the bug, up to where the bug shows: an exercise.
#[test]
fn two_runs_part_where_the_server_tells_the_difference() {
    let [bad, good] = ["new_number", "step7"].map(|name| play(name, 192).log);
    let same = bad.iter().zip(&good).take_while(|(a, b)| a == b).count();
    let text = format!(
        "the first {same} lines are the same\n\nwith the bug:\n{}\n\n\
         without it:\n{}",
        bad[same..same + 2].join("\n"),
        good[same..same + 2].join("\n")
    );
    snapshot("exercise-sim-parts", &text);
}

/// Asserts a snapshot with a header of exactly three lines, so that the book
/// can include what follows with `:4:`.
fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../snapshots"
    ));
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

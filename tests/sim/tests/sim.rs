//! Runs of the steps, each from a seed of its own.

use std::env::var;

use sim::RUNS;
use sim::run::Run;

/// How many seeds each step gets, unless the environment says otherwise.
const SEEDS: u64 = 500;

fn number(name: &str) -> Option<u64> {
    Some(var(name).ok()?.parse().expect("a number"))
}

fn play(name: &str, seed: u64) -> Run {
    let (_, run) = RUNS.iter().find(|run| run.0 == name).expect("its name");
    run(seed)
}

/// Plays all seeds, or prints the run of the one that `SEED` names.
fn all_is_well(name: &str) {
    if let Some(seed) = number("SEED") {
        let run = play(name, seed);
        println!("{}", run.log.join("\n"));
        assert!(run.broken.is_none(), "{:?}", run.broken);
        return;
    }
    for seed in 0..number("SEEDS").unwrap_or(SEEDS) {
        if let Some((rule, how)) = play(name, seed).broken {
            let again = "cargo test -p sim";
            panic!(
                "{rule}: {how}; to see it again:\n\
                 SEED={seed} {again} {name} -- --nocapture"
            );
        }
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

#[test]
fn bugs() {
    for bug in sim::bugs::BUGS {
        let found = (0..number("SEEDS").unwrap_or(2000))
            .find_map(|seed| Some((seed, play(bug.name, seed).broken?)));
        println!("{} {} {:?}", bug.step, bug.name, found);
    }
}

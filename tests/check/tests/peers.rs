//! The project's own servers and clients in five other languages, checked: a
//! trial for each case. What is not installed is skipped by name.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::sync::{Arc, OnceLock};

use check::{Case, Machine, Session, Side, Verdict, cases};
use libtest_mimic::{Failed, Trial};
use support::arguments::arguments;
use support::{built, is_there};

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers");

/// What a program needs, its file, its side and step, and the cases that it
/// cannot be tried with, or how their names start.
type Peer = (&'static str, &'static str, Side, u8, &'static str);

/// A client that takes its texts from the command line, not from stdin.
const NO_STDIN: &str = "C1-05 C2-01 C4-09";
/// And it takes one text only.
const ONE_TEXT: &str = "C1-05 C5-14 C5-15 C5-20 C5-21 C5-22 C5-23";
/// And it sends no texts at all, only ADDs.
const ONLY_ADDS: &str = "C1- C2- C4- C5- C6-";

const ALL: [Peer; 18] = [
    ("python3", "python/framed_server.py", Side::Server, 4, ""),
    ("javac", "java/FramedServer.java", Side::Server, 4, ""),
    ("go", "go/framed_server.go", Side::Server, 4, ""),
    ("cc", "c/framed_server.c", Side::Server, 4, ""),
    ("node", "node/framed_server.mjs", Side::Server, 4, ""),
    ("python3", "python/framed_client.py", Side::Client, 4, NO_STDIN),
    ("javac", "java/FramedClient.java", Side::Client, 4, NO_STDIN),
    ("go", "go/framed_client.go", Side::Client, 4, NO_STDIN),
    ("cc", "c/framed_client.c", Side::Client, 4, NO_STDIN),
    ("node", "node/framed_client.mjs", Side::Client, 4, NO_STDIN),
    ("python3", "python/retry_client.py", Side::Client, 5, ONE_TEXT),
    ("go", "go/retry_client.go", Side::Client, 5, ONE_TEXT),
    ("python3", "python/heartbeat_server.py", Side::Server, 6, ""),
    ("go", "go/heartbeat_server.go", Side::Server, 6, ""),
    ("python3", "python/heartbeat_client.py", Side::Client, 6, ""),
    ("go", "go/heartbeat_client.go", Side::Client, 6, ""),
    ("python3", "python/idempotent_client.py", Side::Client, 7, ONLY_ADDS),
    ("go", "go/idempotent_client.go", Side::Client, 7, ONLY_ADDS),
];

fn main() {
    let machine = Machine::new();
    machine.end_with_us(|| ());
    let trials = ALL.iter().flat_map(|peer| trials_of(peer, &machine));
    libtest_mimic::run(&arguments(), trials.collect()).exit();
}

fn trials_of(peer: &'static Peer, machine: &Machine) -> Vec<Trial> {
    let &(needs, file, side, step, without) = peer;
    let is_missing = !is_there(needs);
    let skipped = match is_missing {
        true => format!(" (skipped: needs {needs})"),
        false => String::new(),
    };
    let shared = Arc::new((machine.clone(), OnceLock::new()));
    let trial = |case: &'static Case| {
        let name = format!("{file}: step{step}::{}", case.test_name());
        let shared = Arc::clone(&shared);
        let run = move || {
            let (machine, session) = &*shared;
            try_case(session.get_or_init(|| session_of(peer, machine)), case)
        };
        Trial::test(name + &skipped, run).with_ignored_flag(is_missing)
    };
    let cases = cases::of(side, step).into_iter();
    let is_tried = |case: &&Case| {
        !without.split_whitespace().any(|start| case.id.starts_with(start))
    };
    cases.filter(is_tried).map(trial).collect()
}

/// Compiles the program, if that has to be.
fn session_of(peer: &Peer, machine: &Machine) -> Session {
    let &(needs, file, side, step, _) = peer;
    let text = if side == Side::Client { " {text}" } else { "" };
    let program = built(needs, &format!("{PEERS}/{file}"));
    let command = format!("{program} {{port}}{text}");
    Session::new(side, step, &command).unwrap().on(machine)
}

/// These programs are short, to be read; a warning is let pass.
fn try_case(session: &Session, case: &'static Case) -> Result<(), Failed> {
    match session.judge_patiently(case) {
        Verdict::Pass | Verdict::Warn(_) => Ok(()),
        verdict => Err(session.report(case, &verdict).into()),
    }
}

//! The steps beside the servers that a reader would pick instead.
//!
//!     cargo bench -p load --bench peers
//!
//! builds all of them and measures them in one run, in turns, with `load`. It
//! prints a table for each cell, and writes `tests/bench/peers.json` and the
//! tables of the book, `tests/bench/peers*.md`; that takes about 18 minutes.
//! With names of cells behind it (`-- raw-50x64 idle`), it measures only
//! those; `-- --quick` runs each for a moment, to see that all works. Both
//! write into `target/peers`. With `-- --keep framed`, it measures the named
//! cells for the book again, and keeps the others as they were.
//!
//! The ratios are what counts. Needs Linux.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[path = "peers/cells.rs"]
mod cells;
#[path = "peers/goals.rs"]
mod goals;
#[path = "peers/journal.rs"]
mod journal;
#[path = "peers/report.rs"]
mod report;
#[path = "peers/servers.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;

use cells::{CELLS, Cell, IDLE_SERVERS};
use report::{Idle, Machine, Outcome, Sample};
use servers::{Server, attempt};
use support::Program;

/// Puts the steps beside the servers that a reader would pick instead
#[derive(Parser)]
struct Args {
    /// What to measure: a name such as raw-50x64, or all of raw, framed,
    /// connect, idle, journal
    #[arg(value_name = "CELL")]
    cells: Vec<String>,
    /// How often each server is measured
    #[arg(long, default_value = "5")]
    rounds: usize,
    /// One short round of each, to see that all works
    #[arg(long)]
    quick: bool,
    /// Measure the named cells, if any, for the book, and keep the others
    #[arg(long, conflicts_with = "quick")]
    keep: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// Was this cell, or its group, asked for?
    fn wants(&self, key: &str) -> bool {
        let group = key.split('-').next();
        (self.cells.is_empty() && !self.keep)
            || self
                .cells
                .iter()
                .any(|cell| cell == key || Some(cell.as_str()) == group)
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    /// Seconds that are measured, and seconds before that.
    fn seconds(&self) -> (&'static str, &'static str) {
        if self.quick { ("0.3", "0.1") } else { ("1", "0.3") }
    }
}

fn main() {
    if !cfg!(target_os = "linux") {
        println!("skipped: needs Linux");
        return;
    }
    let args = Args::parse();
    if let Some(name) = args.cells.iter().find(|name| !is_known(name)) {
        let keys: Vec<_> = CELLS.iter().map(|cell| cell.key).collect();
        eprintln!(
            "error: cannot measure {name:?}: no cell or group has this name\n\
             cells: {}, idle, journal; groups: raw, framed, connect",
            keys.join(", ")
        );
        process::exit(2);
    }
    rlimit::increase_nofile_limit(65_536).expect("more descriptors");
    let start = Instant::now();
    servers::build();
    let mut outcome = measure(&args);
    if args.keep {
        outcome.keep();
    }
    let is_all = args.keep || args.cells.is_empty();
    outcome.write(is_all, args.quick);
    println!("all of it took {:.0} s", start.elapsed().as_secs_f64());
}

/// Is this a cell or a group of them?
fn is_known(name: &str) -> bool {
    let mut keys = CELLS.iter().map(|cell| cell.key);
    ["idle", "journal"].contains(&name)
        || keys.any(|key| key == name || key.split('-').next() == Some(name))
}

fn measure(args: &Args) -> Outcome {
    let machine = Machine::here();
    println!("{}\n", machine.text());
    let mut left_out = BTreeMap::new();
    for server in &servers::SERVERS {
        if let Some(why) = server.trouble() {
            println!("left out: {}: {why}", server.name);
            left_out.insert((server.name, server.is_framed), why);
        }
    }
    let mut outcome = Outcome::new(machine, args.rounds(), &left_out);
    for cell in CELLS.iter().filter(|cell| args.wants(cell.key)) {
        if cell.is_pinned && !support::is_installed("taskset", "--version") {
            println!("left out: {}: needs taskset", cell.key);
            continue;
        }
        let servers = cell.servers.iter();
        let servers = servers.map(|name| Server::find(name, cell.is_framed));
        let is_in = |server: &&Server| {
            !left_out.contains_key(&(server.name, server.is_framed))
        };
        let servers: Vec<_> = servers.filter(is_in).collect();
        let rounds = rounds(args.rounds(), &servers, |server| {
            sample(cell, server, args.seconds())
        });
        outcome.add_cell(cell, rounds);
    }
    measure_others(args, &mut outcome);
    outcome
}

fn measure_others(args: &Args, outcome: &mut Outcome) {
    if args.wants("idle") {
        let n = if args.quick { "1000" } else { "10000" };
        // Each round takes more than a minute.
        let rounds_of_it = args.rounds().min(3);
        let servers = IDLE_SERVERS.iter();
        let servers: Vec<_> = servers
            .map(|(name, is_framed)| Server::find(name, *is_framed))
            .filter(|server| outcome.has(server))
            .collect();
        let rounds = rounds(rounds_of_it, &servers, |server| idle(server, n));
        outcome.add_idle(n, rounds);
    }
    if args.wants("journal") {
        outcome.add_journal(journal::measure(args.rounds(), args.seconds()));
    }
}

/// All rounds of each server. They take turns, and in each round another one
/// is the first. What cannot be measured is reported and left out.
fn rounds<T>(
    rounds: usize,
    servers: &[&'static Server],
    measure: impl Fn(&Server) -> Result<T, String>,
) -> Vec<(&'static Server, Vec<Option<T>>)> {
    let mut all: Vec<_> =
        servers.iter().map(|server| (*server, Vec::new())).collect();
    for round in 0..rounds {
        for turn in 0..servers.len() {
            let (server, samples) = &mut all[(turn + round) % servers.len()];
            let sample = attempt(|| measure(server));
            if let Err(error) = &sample {
                println!("not measured: {}: {error}", server.name);
            }
            samples.push(sample.ok());
        }
    }
    all
}

/// Measures a server once.
fn sample(
    cell: &Cell,
    server: &Server,
    (seconds, warm_up): (&'static str, &'static str),
) -> Result<Sample, String> {
    let taskset = if cell.is_pinned { "taskset -c 0 " } else { "" };
    let program = server.start(taskset, &[]);
    let load = format!(
        "{} --speak {} --seconds {seconds} --warm-up {}",
        cell.load,
        server.speaks(),
        server.warm_up(warm_up)
    );
    let report = load_json(&program, taskset, &load);
    let report = report.map_err(|error| format!("{}: {error}", cell.key))?;
    Sample::from(&report).ok_or(format!("cannot read {report}"))
}

/// Measures what `n` idle connections cost.
fn idle(server: &Server, n: &str) -> Result<Idle, String> {
    let program = server.start("", &[]);
    let load = format!(
        "--idle {n} --speak {} --seconds 1 --warm-up 0.3",
        server.speaks()
    );
    let report = load_json(&program, "", &load)?;
    Idle::from(&report).ok_or(format!("cannot read {report}"))
}

/// Runs `load` against a server, and returns its report.
fn load_json(
    server: &Program,
    taskset: &str,
    args: &str,
) -> Result<Value, String> {
    let target = [server.addr().to_string(), server.id().to_string()];
    let before = [env!("CARGO_BIN_EXE_load"), &target[0], "--pid", &target[1]];
    let mut words = taskset.split_whitespace().chain(before);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--format", "json"]);
    command.args(args.split_whitespace());
    let mut load = Program::spawn(&mut command, false);
    let end = Instant::now() + Duration::from_secs(120);
    while load.is_running() {
        if Instant::now() > end {
            return Err(format!("cannot wait any longer for {command:?}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let ended = load.finish();
    let report = serde_json::from_slice(&ended.stdout);
    match (ended.code, report) {
        (Some(0), Ok(report)) => Ok(report),
        _ => Err(format!("load failed: {}", ended.stderr.trim())),
    }
}

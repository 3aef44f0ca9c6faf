//! The gallery of broken programs: one correct server and one correct client
//! for each step, in which each mistake of a list can be switched on.
//!
//!     cargo run -p check --bin gallery -- list
//!     cargo run -p check --bin gallery -- server --step 4 --defect little-endian
//!
//! It is written for this alone, with threads, and shares no code with the
//! steps: what the checker learned from it, it knows of other programs, too.

mod alive;
mod client;
mod defects;
mod echo;
mod framed;
mod kinds;
mod ledger;
mod limits;
mod line;
mod matrix;
mod retry;
mod server;
mod stop;
mod table;
mod wire;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Args, Parser, Subcommand};

use defects::DEFECTS;

/// One correct server and client, with mistakes to switch on
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the defects
    List,
    /// Try each defect against each case, and print the matrix
    Matrix(matrix::Options),
    /// Run the server
    Server(Run),
    /// Run the client
    Client(Run),
}

/// How to run it.
#[derive(Args)]
struct Run {
    /// The step
    #[arg(long)]
    step: u8,
    /// The mistake to make
    #[arg(long, value_parser = known)]
    defect: Option<String>,
    /// Where to listen or to connect
    #[arg(long)]
    addr: SocketAddr,
    /// What a client sends; without it, stdin
    texts: Vec<String>,
    /// What a client of step 7 adds
    #[arg(long, allow_hyphen_values = true)]
    add: Option<i64>,
    /// Where a server of step 7 keeps its journal
    #[arg(long)]
    journal: Option<PathBuf>,
}

fn known(name: &str) -> Result<String, String> {
    match name == "slow" || DEFECTS.iter().any(|d| d.name == name) {
        true => Ok(name.to_owned()),
        false => Err("no defect has this name; see `gallery list`".into()),
    }
}

static DEFECT: OnceLock<String> = OnceLock::new();
static STEP: OnceLock<u8> = OnceLock::new();

/// Does this program have a heartbeat?
fn has_heartbeat() -> bool {
    STEP.get().is_some_and(|&step| step >= 6)
}

/// Does this program add?
fn has_ledger() -> bool {
    STEP.get().is_some_and(|&step| step >= 7)
}

/// Does this program say no, and goodbye?
fn has_goodbye() -> bool {
    STEP.get().is_some_and(|&step| step >= 8)
}

/// Is this mistake to be made?
fn on(name: &str) -> bool {
    debug_assert!(known(name).is_ok(), "{name} is not in the list");
    DEFECT.get().is_some_and(|defect| defect == name)
}

/// A limit from the environment, as the contract has it.
fn limit(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::List => list(),
        Command::Matrix(options) => return matrix::run(&options),
        Command::Server(run) => {
            switch_on(&run);
            return server::run(run.step, run.addr, run.journal.as_deref());
        }
        Command::Client(run) => {
            switch_on(&run);
            return match run.step {
                5.. => retry::run(run.addr, &run.texts, run.add),
                _ => client::run(run.step, run.addr, run.texts),
            };
        }
    }
    ExitCode::SUCCESS
}

fn switch_on(run: &Run) {
    let _ = STEP.set(run.step);
    if let Some(defect) = &run.defect {
        let _ = DEFECT.set(defect.clone());
    }
}

/// Says what went wrong, and returns the exit code.
fn fail(code: u8, why: &str) -> ExitCode {
    // In one write: a report may be made in the middle of two.
    let line = format!("error: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    ExitCode::from(code)
}

fn list() {
    for defect in DEFECTS {
        let defects::Defect { name, step, case, what } = defect;
        println!("{case}  step {step}  {name:<26} {what}");
    }
    println!("\nslow: all is right, and takes its time; it must pass");
}

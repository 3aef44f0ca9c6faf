//! The command line.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::builder::{
    NonEmptyStringValueParser, PossibleValue, PossibleValuesParser,
};
use clap::{Args, Parser, Subcommand};

use crate::road::Conditions;
use crate::scenes::{SCENES, Scene};

/// Two machines and the road between them, in one command
///
/// The machines are network namespaces of Linux. They end with the command.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Two machines joined by a cable: 10.0.0.1 (server), 10.0.0.2 (client)
    ///
    /// A client that has not ended after 20 s is ended, and it is an error.
    Lan {
        #[command(flatten)]
        what: What,
    },
    /// Two machines far apart: 10.8.0.1 (server), 10.8.0.2 (client)
    ///
    /// A client that has not ended after 120 s is ended, and it is an error.
    /// So it is if the road has carried 100000 packets.
    Wan {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        road: RoadArgs,
    },
    /// Play a scene of "A remote network" or "UDP", always the same
    Show {
        /// Its name, or `all`
        #[arg(value_parser = names())]
        name: String,
        /// Also write the packets, as each machine saw them, to
        /// wan-NAME-client.pcap and wan-NAME-server.pcap in this folder
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
}

fn names() -> PossibleValuesParser {
    let scenes = SCENES.iter();
    let all = PossibleValue::new("all").help("one after the other");
    let values =
        scenes.map(|s| PossibleValue::new(s.name).help(s.title)).chain([all]);
    PossibleValuesParser::new(values)
}

#[derive(Args)]
struct What {
    /// The program at both ends
    #[arg(long, value_name = "STEP", default_value = "step3")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    step: String,
    /// What the client sends
    #[arg(value_name = "TEXT", default_value = "hello")]
    texts: Vec<String>,
}

#[derive(Args)]
struct RoadArgs {
    /// How long a packet takes, one way: 25ms or 1.5s, up to 10s
    #[arg(long, value_name = "TIME", default_value = "25ms")]
    #[arg(value_parser = time)]
    delay: Duration,
    /// How much more or less that may be, at random, up to 10s. Packets may
    /// then overtake each other
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    #[arg(value_parser = time)]
    jitter: Duration,
    /// How many packets get lost, in either direction: 0% to 100%
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    #[arg(value_parser = percent)]
    loss: f64,
    /// How many of the others arrive twice, in either direction: 0% to 100%
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    #[arg(value_parser = percent)]
    twice: f64,
    /// How many bits per second fit through: 64kbit or 1mbit, from 8kbit to
    /// 1000mbit. 1000 packets may wait, further ones get lost
    #[arg(long, value_name = "BITS", value_parser = rate)]
    rate: Option<u64>,
    /// Chooses the random numbers: with the same one, the same packets of each
    /// direction get lost, counted from the first
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl From<RoadArgs> for Conditions {
    fn from(args: RoadArgs) -> Conditions {
        let RoadArgs { delay, jitter, loss, twice, rate, seed } = args;
        Conditions { delay, jitter, loss, twice, rate, seed }
    }
}

fn time(text: &str) -> Result<Duration> {
    const HINT: &str = "write 25ms or 1.5s";
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').context(HINT)?, 1.0),
    };
    let seconds = number.parse::<f64>().ok().context(HINT)? * unit;
    ensure!((0.0..=10.0).contains(&seconds), "from 0ms to 10s");
    Ok(Duration::from_secs_f64(seconds))
}

fn percent(text: &str) -> Result<f64> {
    let number = text.strip_suffix('%').and_then(|n| n.parse::<f64>().ok());
    let share = number.context("write 5%")? / 100.0;
    ensure!((0.0..=1.0).contains(&share), "from 0% to 100%");
    Ok(share)
}

fn rate(text: &str) -> Result<u64> {
    const HINT: &str = "write 64kbit or 1mbit, a whole number";
    let (number, unit) = match text.strip_suffix("kbit") {
        Some(number) => (number, 1000),
        None => (text.strip_suffix("mbit").context(HINT)?, 1_000_000),
    };
    let number = number.parse::<u64>().ok().context(HINT)?;
    let bits = number.saturating_mul(unit);
    ensure!((8000..=1_000_000_000).contains(&bits), "8kbit to 1000mbit");
    Ok(bits)
}

/// Runs the command line.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn run() -> Result<ExitCode> {
    Cli::parse();
    anyhow::bail!("this needs Linux: run it in a virtual machine, or in WSL 2")
}

#[cfg(target_os = "linux")]
fn run() -> Result<ExitCode> {
    use crate::linux::machine::{INSIDE, end_with_parent, run_inside};
    let mut args: Vec<_> = env::args_os().collect();
    if args.get(1).is_some_and(|arg| arg == INSIDE) {
        args.remove(1);
        end_with_parent()?;
        return play(Cli::parse_from(args)).map(|()| ExitCode::SUCCESS);
    }
    match Cli::parse().act {
        Act::Lan { what } | Act::Wan { what, .. } => {
            build(&[&what.step])?;
            run_inside(&args[1..])
        }
        Act::Show { name, keep } => show(&name, keep.as_deref()),
    }
}

/// Plays a scene, or all of them, each on machines of its own.
#[cfg(target_os = "linux")]
fn show(name: &str, keep: Option<&Path>) -> Result<ExitCode> {
    use std::ffi::OsString;
    if let Some(folder) = keep {
        std::fs::read_dir(folder).with_context(|| {
            let folder = folder.display();
            format!("cannot write to {folder} (does this folder exist?)")
        })?;
    }
    let wanted = |scene: &&Scene| scene.name == name || name == "all";
    for scene in SCENES.iter().filter(wanted) {
        build(&programs(scene))?;
        let mut args: Vec<OsString> = vec!["show".into(), scene.name.into()];
        if let Some(folder) = keep {
            args.extend(["--keep".into(), folder.into()]);
        }
        let code = crate::linux::machine::run_inside(&args)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The programs of a scene that Cargo builds.
fn programs(scene: &Scene) -> Vec<&'static str> {
    let first = [scene.server, scene.client]
        .into_iter()
        .filter_map(|command| command.split(' ').next());
    first.filter(|name| *name != "python3").collect()
}

#[cfg(target_os = "linux")]
fn play(cli: Cli) -> Result<()> {
    use crate::linux::{lan, show, wan};
    use crate::scenes::find;
    match cli.act {
        Act::Lan { what } => lan::run(&what.step, &what.texts),
        Act::Wan { what, road } => {
            wan::run(&what.step, &what.texts, road.into())
        }
        Act::Show { name, keep } => {
            let scene = find(&name).context("no such scene")?;
            show::run(scene, keep.as_deref())
        }
    }
}

/// Lets Cargo build programs of the course, if it was Cargo that started us.
fn build(programs: &[&str]) -> Result<()> {
    let Some(cargo) = env::var_os("CARGO") else { return Ok(()) };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet"]).current_dir(&root);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    for program in programs {
        // The programs after the steps are packages of their own.
        let package = format!("steps/{program}/Cargo.toml");
        let is_package = Path::new(&root).join(package).exists();
        build.args([if is_package { "-p" } else { "--bin" }, program]);
    }
    let status = build.status().context("cannot run cargo")?;
    ensure!(status.success(), "cannot build {}", programs.join(" and "));
    Ok(())
}

//! The options: what to try, and how.

use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::report::Format;
use crate::steps::{self, LAST_STEP};

/// Which server to try, and how.
#[derive(Args, Clone)]
pub struct Options {
    #[arg(value_name = "STEP", value_parser = step, help = step_help())]
    pub step: u8,
    /// How to start it: 'python3 server.py {addr}'
    ///
    /// It listens on {addr}, or {host} and {port}, and from step 7 on keeps
    /// its journal in the file {journal}. The checker starts it without a
    /// shell.
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// Try a server that is already running
    #[arg(long, value_name = "IP:PORT", conflicts_with = "cmd")]
    pub addr: Option<String>,
    /// Allow --addr to be another machine, if the server there is yours
    ///
    /// The cases send floods, resets, and bytes that no protocol allows.
    #[arg(long, requires = "addr")]
    pub remote: bool,
    #[command(flatten)]
    pub how: How,
}

/// Which client to try, and how.
#[derive(Args, Clone)]
pub struct ClientOptions {
    #[arg(value_name = "STEP", value_parser = step, help = step_help())]
    step: u8,
    /// How to start it: 'python3 client.py {addr} {text}'
    ///
    /// It connects to {addr}, or {host} and {port}, and sends {text}, which
    /// may become several words; from step 7 on also `--add AMOUNT`, for an
    /// ADD. The checker starts it without a shell, and cannot try a client
    /// that takes its text only from stdin.
    #[arg(long, value_name = "COMMAND")]
    cmd: Option<String>,
    #[command(flatten)]
    how: How,
}

impl From<ClientOptions> for Options {
    fn from(options: ClientOptions) -> Options {
        let ClientOptions { step, cmd, how } = options;
        Options { step, cmd, addr: None, remote: false, how }
    }
}

/// How to run, whatever is tried.
#[derive(Args, Clone)]
pub struct How {
    /// Try only this case; you may repeat the option
    #[arg(long = "case", value_name = "CASE")]
    pub only: Vec<String>,
    /// Draw all random bytes from this number, so that a run can be repeated
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Count a warning as a failure
    #[arg(long)]
    pub strict: bool,
    /// Do not stop at the first failure
    #[arg(long)]
    pub keep_going: bool,
    /// The form of the report; every form but text implies --keep-going
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// How many cases may run at the same time [default: 3 for each
    /// processor, 4 to 12]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// End a program that takes more memory than this; it fails
    #[arg(long, value_name = "MB", default_value = "2048")]
    #[arg(value_parser = megabytes())]
    pub memory: u64,
    /// List the cases of this step
    #[arg(long)]
    pub list: bool,
}

/// From 1 MB to 1 TB.
pub fn megabytes() -> RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=1 << 20)
}

/// What the help says of the step.
pub fn step_help() -> String {
    format!("The step whose rules your program keeps: step1 to step{LAST_STEP}")
}

pub fn step(text: &str) -> Result<u8, String> {
    let number = text.strip_prefix("step").unwrap_or(text).parse();
    match number {
        Ok(step) if steps::all().contains(&step) => Ok(step),
        _ => {
            let names = steps::all().map(|step| format!("step{step}"));
            Err(format!("one of {}", names.collect::<Vec<_>>().join(", ")))
        }
    }
}

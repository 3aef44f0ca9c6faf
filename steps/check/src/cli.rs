//! The command line.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use crate::case::{Case, Side};
use crate::lab::{Setup, Target};
use crate::late::Ticker;
use crate::options::{How, Options};
use crate::pages::{explain, list, page};
use crate::program::Template;
use crate::progress::Progress;
use crate::report::{Format, Report, Style};
use crate::run::{self, Plan};
use crate::start::Trouble;
use crate::{cases, class, ending, random, show};

/// Tries your TCP server or client as a hostile network would
///
/// Exit code: 0 nothing failed, 1 something failed, 2 nothing failed but
/// something could not be told, 3 the program could not be started, 64 the
/// command line is wrong.
#[derive(Parser)]
#[command(name = "check", subcommand_required = false)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// List all cases
    #[arg(long)]
    list: bool,
    /// Say why a case matters
    #[arg(long, value_name = "CASE")]
    explain: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Try a server
    Server(Options),
    /// Try a client
    Client(Options),
    /// Try a folder of submissions, and print a table
    Class(class::Options),
    /// Print all cases and their explanations as a page of the book
    #[command(hide = true)]
    Page,
}

/// Runs the checker as its command line says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    ending::adopt_orphans();
    end_with_us();
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(64)
        }
    }
}

/// Ctrl-C ends the program under test, too: it is not in our group.
fn end_with_us() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let signals = [SIGINT, SIGTERM, SIGHUP];
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) {
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                ending::end_all();
                std::process::exit(128 + signal);
            }
        });
    }
}

fn dispatch(cli: Cli) -> Result<u8> {
    if let Some(id) = cli.explain {
        let case = cases::find(&id);
        let case = case.with_context(|| format!("no case is called {id}"))?;
        say(&explain(case));
        return Ok(0);
    }
    match cli.command {
        _ if cli.list => say(&list(&cases::all())),
        Some(Command::Server(options)) => return check(Side::Server, options),
        Some(Command::Client(options)) => return check(Side::Client, options),
        Some(Command::Class(options)) => return class::run(&options),
        Some(Command::Page) => say(&page()),
        None => bail!("nothing to do; try --help or --list"),
    }
    Ok(0)
}

/// Prints; a reader that has gone is no error of ours.
pub fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}

/// The cases that are asked for.
///
/// # Errors
/// A case does not exist, or does not apply to this step.
pub fn chosen(side: Side, step: u8, how: &How) -> Result<Vec<&'static Case>> {
    let cases = cases::of(side, step);
    if how.only.is_empty() {
        return Ok(cases);
    }
    let mut chosen = Vec::new();
    for id in &how.only {
        let case = cases::find(id)
            .with_context(|| format!("no case is called {id}; try --list"))?;
        if !cases.iter().any(|other| other.id == case.id) {
            let side = side.name();
            bail!("{} is no case of a {side} of step{step}", case.id);
        }
        chosen.push(case);
    }
    Ok(chosen)
}

fn check(side: Side, options: Options) -> Result<u8> {
    let cases = chosen(side, options.step, &options.how)?;
    if options.how.list {
        say(&list(&cases));
        return Ok(0);
    }
    let memory = options.how.memory << 20;
    let target = match (&options.cmd, options.addr) {
        (Some(cmd), _) => Target::Command(Template::parse(cmd, None, memory)?),
        (_, Some(addr)) if side == Side::Server => Target::Address(addr),
        (_, Some(_)) => bail!("a client is started by us: --cmd"),
        (None, None) => bail!("what is to be tried? --cmd or --addr"),
    };
    if let (Target::Command(template), Side::Client) = (&target, side)
        && !template.has_addr()
    {
        bail!("a client must be told where to connect: {{addr}}");
    }
    let how = &options.how;
    let seed = how.seed.unwrap_or_else(random::any_seed);
    let ticker = Ticker::start();
    let setup = Setup { step: options.step, seed, target, ticker };
    match try_start(side, &setup, how) {
        Ok(jobs) => Ok(report(side, &setup, cases, how, jobs)),
        Err(trouble) => {
            cannot_start(side, options.cmd.as_deref(), &trouble);
            Ok(3)
        }
    }
}

/// Tries to start the program before any case. Returns how many cases may run
/// beside each other.
pub fn try_start(side: Side, setup: &Setup, how: &How) -> Start {
    let jobs = jobs(setup, how);
    let template = match &setup.target {
        Target::Command(template) => template,
        Target::Address(addr) => {
            let limit = std::time::Duration::from_secs(3);
            let tried = std::net::TcpStream::connect_timeout(addr, limit);
            return tried.map(|_| jobs).map_err(|error| {
                vec![format!("At {addr}: {error}. Is the server running?")]
            });
        }
    };
    if side == Side::Client {
        return run::probe_client(template).map(|()| jobs);
    }
    if run::probe(template)? {
        return Ok(jobs);
    }
    let _ = writeln!(
        std::io::stderr(),
        "note: asked for port 0 twice, it took the same port: it does not \
         heed {{addr}}. Cases run one after another."
    );
    Ok(1)
}

type Start = std::result::Result<usize, Trouble>;

/// With a program that does not come up each case would say the same.
fn cannot_start(side: Side, cmd: Option<&str>, trouble: &Trouble) {
    let cmd = show::line(cmd.unwrap_or_default().as_bytes());
    let side = side.name();
    let mut text = format!("✗ the {side} did not start\n    command   {cmd}\n");
    for line in trouble {
        let is_quoted = line.starts_with("  |");
        let lines = match is_quoted {
            true => vec![line.clone()],
            false => show::wrap(line, 66),
        };
        lines.iter().for_each(|line| text += &format!("    {line}\n"));
    }
    say(&text);
}

fn report(
    side: Side,
    setup: &Setup,
    cases: Vec<&'static Case>,
    how: &How,
    jobs: usize,
) -> u8 {
    let is_text = how.format == Format::Text;
    let style = Style {
        is_coloured: is_text
            && std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    let mut report = Report {
        side,
        step: setup.step,
        seed: setup.seed,
        is_strict: how.strict,
        results: Vec::new(),
        left_out: Vec::new(),
    };
    let plan = Plan { jobs, keep_going: how.keep_going || !is_text, cases };
    let progress = Progress::new(plan.cases.len());
    report.results = run::run(setup, &plan, |result| {
        progress.clear();
        if is_text {
            say(&report.line(result, style));
        }
        progress.advance(result.case);
    });
    progress.clear();
    report.left_out = plan.cases[report.results.len()..].to_vec();
    say(&match is_text {
        true => report.summary(style),
        false => report.render(how.format),
    });
    report.exit_code()
}

/// How many cases run beside each other: one, if the program always takes the
/// same port.
fn jobs(setup: &Setup, how: &How) -> usize {
    let processors = std::thread::available_parallelism();
    let wanted = how.jobs.unwrap_or(processors.map_or(2, |n| n.get().min(8)));
    match &setup.target {
        Target::Address(_) => 1,
        Target::Command(t) if wanted > 1 && !t.has_addr() => 1,
        Target::Command(_) => wanted.max(1),
    }
}

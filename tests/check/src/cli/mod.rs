//! The command line.

mod appendix;
mod chosen;
mod class;
mod commands;
mod interop;
mod matrix;
mod options;
mod pages;
mod progress;
mod say;
mod submissions;
mod table;
mod target;
mod terminal;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use crate::case::Case;
use crate::cases;
use crate::cli::appendix::page;
use crate::cli::chosen::chosen;
use crate::cli::options::{ClientOptions, How, Options};
use crate::cli::pages::{explain, list};
use crate::cli::progress::Progress;
use crate::cli::say::{Unwritten, Voice};
use crate::cli::submissions::Scratch;
use crate::cli::terminal::Terminal;
use crate::harness::machine::Machine;
use crate::report::{Format, Report, Style};
use crate::session::Session;
use crate::traits::Side;

/// Tries your TCP server or client as a hostile network would
///
/// Exit code: 0 no case failed, 1 a case failed, 2 no case failed but the
/// checker could not judge one, 3 it could not start the program or write the
/// report, 64 the command line is wrong.
#[derive(Parser)]
#[command(name = "check", version, subcommand_required = false)]
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
    Client(ClientOptions),
    /// Try a folder of submissions, and print a table
    Class(class::Options),
    /// Let each server of a class talk to each client, and print the matrix
    Interop(interop::Options),
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
    hide();
    let (machine, terminal) = (Machine::adopting(), Terminal::found());
    let scratch = Scratch::default();
    let (found, copies) = (terminal.clone(), scratch.clone());
    machine.end_with_us(move || {
        copies.clear();
        found.restore();
    });
    let done = dispatch(cli, &machine, &scratch);
    scratch.clear();
    terminal.restore();
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(if error.is::<Unwritten>() { 3 } else { 64 })
        }
    }
}

/// Keeps the programs that we try, which run as the same user, from writing
/// into our output or memory ([prctl(2)], `PR_SET_DUMPABLE`). Root may do so all
/// the same.
///
/// [prctl(2)]: https://man7.org/linux/man-pages/man2/pr_set_dumpable.2const.html
fn hide() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

fn dispatch(cli: Cli, machine: &Machine, scratch: &Scratch) -> Result<u8> {
    let voice = Voice(&machine.processes);
    if let Some(id) = cli.explain {
        let case = cases::find(&id);
        let case = case.with_context(|| {
            format!("cannot find a case called {id}: --list shows them all")
        })?;
        voice.say(&explain(case))?;
        return Ok(0);
    }
    match cli.command {
        _ if cli.list => voice.say(&list(&cases::all()))?,
        Some(Command::Server(options)) => {
            return check(Side::Server, &options, machine);
        }
        Some(Command::Client(options)) => {
            return check(Side::Client, &options.into(), machine);
        }
        Some(Command::Class(options)) => {
            return class::run(&options, machine, scratch);
        }
        Some(Command::Interop(options)) => {
            return interop::run(&options, machine, scratch);
        }
        Some(Command::Page) => voice.say(&page())?,
        None => bail!(
            "cannot tell what to try: add `server`, `client`, `class` or \
             `interop`, or look at --help"
        ),
    }
    Ok(0)
}

fn check(side: Side, options: &Options, machine: &Machine) -> Result<u8> {
    let (how, voice) = (&options.how, Voice(&machine.processes));
    let cases = chosen(side, options.step, how)?;
    if how.list {
        voice.say(&list(&cases))?;
        return Ok(0);
    }
    let session = target::named(side, options)?;
    let mut session = target::set(session, how, machine);
    if let Some(seed) = how.seed {
        session = session.seed(seed);
    }
    let mut report = session.new_report(how.strict);
    match target::try_start(&mut session) {
        Ok(()) => try_all(&session, cases, how, &voice, &mut report)?,
        Err(obstacle) => {
            report.obstacle = Some(obstacle);
            report.left_out = cases;
            voice.say(&report.render(how.format))?;
        }
    }
    Ok(report.exit_code())
}

fn try_all(
    session: &Session,
    cases: Vec<&'static Case>,
    how: &How,
    voice: &Voice,
    report: &mut Report,
) -> Result<()> {
    let is_text = how.format == Format::Text;
    let style = Style {
        is_coloured: is_text
            && std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    let keep_going = how.keep_going || !is_text;
    let progress = Progress::new(cases.len());
    let mut said = Ok(());
    let results = session.run(&cases, keep_going, |result| {
        progress.clear();
        if is_text && said.is_ok() {
            said = voice.say(&report.line(result, style));
        }
        progress.advance(result.case);
    });
    progress.clear();
    said?;
    report.left_out = cases[results.len()..].to_vec();
    report.results = results;
    voice.say(&match is_text {
        true => report.summary(style),
        false => report.render(how.format),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    /// The options that a text names in its prose, and that no command of the
    /// checker has.
    fn unknown(text: &str) -> Vec<&str> {
        let cli = Cli::command();
        let commands = cli.get_subcommands().chain([&cli]);
        let known: BTreeSet<&str> = commands
            .flat_map(clap::Command::get_arguments)
            .filter_map(clap::Arg::get_long)
            .chain(["network"]) // of Docker
            .collect();
        let parts = || text.split("```");
        let prose = parts().step_by(2); // what is between the fences
        let codes = prose.flat_map(|prose| prose.split('`').skip(1).step_by(2));
        let typed = parts().skip(1).step_by(2).flat_map(str::lines);
        let starts = ["--", "check ", "cargo run -p check -- "];
        let is_ours = |code: &&str| starts.iter().any(|s| code.starts_with(s));
        let codes = codes.chain(typed).filter(is_ours);
        let words = codes.flat_map(str::split_whitespace);
        words
            .filter_map(|word| word.strip_prefix("--"))
            .filter(|name| !name.is_empty() && !known.contains(name))
            .collect()
    }

    #[test]
    fn the_pages_name_only_options_that_exist() {
        let checker = include_str!("../../../../book/src/checker.md");
        let grading = include_str!("../../../../book/src/grading.md");
        assert_eq!(unknown(checker), [""; 0]);
        assert_eq!(unknown(grading), [""; 0]);
        let wrong = grading.replacen("`--build-limit`", "`--limit-build`", 1);
        assert_eq!(unknown(&wrong), ["limit-build"]);
        let wrong = grading.replacen(" --remote --", " --remotely --", 1);
        assert_eq!(unknown(&wrong), ["remotely"]);
    }
}

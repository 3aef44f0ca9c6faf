//! A folder of submissions, each tried by itself, and a table of all.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::case::Case;
use crate::cli::chosen::chosen;
use crate::cli::commands::{self, Choice};
use crate::cli::options::{How, step, step_help};
use crate::cli::pages::list;
use crate::cli::say::{Unwritten, Voice};
use crate::cli::submissions::{self, Builder, Scratch, not_tried};
use crate::cli::table::{Form, Row, Table};
use crate::cli::target;
use crate::harness::machine::Machine;
use crate::harness::random;
use crate::report::{Format, Obstacle, Report};
use crate::session::Session;
use crate::traits::Side;

/// Which end the submissions are.
#[derive(Clone, Copy, ValueEnum)]
enum End {
    Server,
    Client,
}

/// What to try, and how.
#[derive(Args)]
#[command(
    mut_arg("format", |arg| arg.help(
        "The form of each report in --out, and of the table where --table \
         does not name another"
    )),
    mut_arg("keep_going", |arg| arg.hide(true)), // it always does
)]
pub struct Options {
    /// Whether the submissions are servers or clients
    #[arg(value_enum)]
    side: End,
    #[arg(value_name = "STEP", value_parser = step, help = step_help())]
    step: u8,
    /// The folder of submissions: each folder in it is one
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// How to start one, in its own folder: 'python3 server.py {addr}'
    ///
    /// A client gets {text}, too: 'python3 client.py {addr} {text}'. If the
    /// class writes in several languages, repeat the option, each time with
    /// the file that a submission must have: --cmd 'server.py: python3
    /// server.py {addr}' --cmd 'server.c: ./server {addr}'
    #[arg(long, value_name = "[FILE: ]COMMAND", required = true)]
    #[arg(value_parser = Choice::parse)]
    cmd: Vec<Choice>,
    #[command(flatten)]
    build: Build,
    /// Try only this submission; you may repeat the option
    #[arg(long = "only", value_name = "NAME")]
    names: Vec<OsString>,
    /// The folder into which the report of each submission goes, as soon as
    /// it is there
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The form of the table [default: as --format, or text]
    #[arg(long, value_enum)]
    table: Option<Form>,
    #[command(flatten)]
    how: How,
}

/// How to build what has to be built.
#[derive(Args)]
pub struct Build {
    /// How to build one, in its own folder: 'server.c: cc -o server server.c'
    ///
    /// It runs once, without a shell, before the first case. You may repeat
    /// the option: each command whose file is there runs.
    #[arg(long = "build", value_name = "[FILE: ]COMMAND")]
    #[arg(value_parser = Choice::parse)]
    pub commands: Vec<Choice>,
    /// How long a build may take
    #[arg(long, value_name = "SECONDS", default_value = "120")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub build_limit: u64,
}

impl Build {
    /// Returns what builds on this machine.
    pub fn builder<'a>(
        &'a self,
        memory: u64,
        machine: &'a Machine,
    ) -> Builder<'a> {
        let limit = Duration::from_secs(self.build_limit);
        Builder { commands: &self.commands, limit, memory, machine }
    }
}

/// Tries each submission, and prints the table. The exit code is that of the
/// class: 1 if anything failed, 2 if something is unknown.
///
/// # Errors
/// The checker cannot read the folder, or cannot write a report.
pub fn run(
    options: &Options,
    machine: &Machine,
    scratch: &Scratch,
) -> Result<u8> {
    let voice = Voice(&machine.processes);
    let side = match options.side {
        End::Server => Side::Server,
        End::Client => Side::Client,
    };
    let cases = chosen(side, options.step, &options.how)?;
    if options.how.list {
        voice.say(&list(&cases))?;
        return Ok(0);
    }
    let paths = prepare(options, side)?;
    let seed = options.how.seed.unwrap_or_else(random::any_seed);
    let class = Class { options, machine, scratch, side, cases, seed };
    let mut table = class.table(&paths);
    let (mut codes, mut written) = (Vec::new(), Ok(()));
    voice.say(&table.head())?;
    for (number, path) in paths.iter().enumerate() {
        let row = class.grade(path, number);
        if let Some(out) = &options.out {
            // The others are tried all the same.
            let format = options.how.format;
            written = written.and(write_report(out, &row, format));
        }
        voice.say(&table.row(&row))?;
        codes.push(row.report.exit_code());
    }
    voice.say(&table.foot())?;
    written.map(|()| exit_code(&codes))
}

/// Returns the submissions, and complains about the options before it tries
/// the first one.
fn prepare(options: &Options, side: Side) -> Result<Vec<PathBuf>> {
    let is_table = form_of(options.how.format).is_some();
    ensure!(
        is_table || options.out.is_some(),
        "cannot print the table in this format: it is text, csv or json, and \
         the other formats are for the report of each submission, so add \
         --out FOLDER"
    );
    commands::ensure_clear("--cmd", &options.cmd)?;
    for choice in &options.cmd {
        Session::new(side, options.step, &choice.command)?;
    }
    options.build.commands.iter().try_for_each(commands::ensure_runs)?;
    let paths = chosen_paths(options)?;
    if let Some(out) = &options.out {
        ensure_outside(out, &options.folder)?;
        fs::create_dir_all(out).with_context(|| unwritten(out))?;
    }
    Ok(paths)
}

/// The submissions that are asked for.
fn chosen_paths(options: &Options) -> Result<Vec<PathBuf>> {
    let mut paths = submissions::submissions(&options.folder)?;
    // A shell completes the name of a folder with a slash.
    let plain = |name: &OsString| {
        let name = Path::new(name).components().as_path();
        name.as_os_str().to_owned()
    };
    let names: Vec<OsString> = options.names.iter().map(plain).collect();
    for only in &names {
        ensure!(
            paths.iter().any(|path| name_of(path) == *only),
            "cannot find the submission {only:?} in {:?}",
            options.folder
        );
    }
    if !names.is_empty() {
        paths.retain(|path| names.contains(&name_of(path)));
    }
    Ok(paths)
}

/// Reports among the submissions would be submissions the next time.
fn ensure_outside(out: &Path, folder: &Path) -> Result<()> {
    ensure!(
        !is_in(out, folder),
        "cannot write the reports into {out:?}: the submissions are in \
         {folder:?}, so name a folder beside it"
    );
    Ok(())
}

/// Is a folder, which need not be there yet, the other one or in it?
fn is_in(folder: &Path, other: &Path) -> bool {
    let here = Path::new(".");
    let mut above = folder.ancestors().map(|at| match at {
        at if at.as_os_str().is_empty() => here.canonicalize(),
        at => at.canonicalize(),
    });
    let there = above.find_map(std::io::Result::ok);
    let other = other.canonicalize().ok();
    there.zip(other).is_some_and(|(there, other)| there.starts_with(other))
}

/// The form of the table that a format stands for.
fn form_of(format: Format) -> Option<Form> {
    match format {
        Format::Text => Some(Form::Text),
        Format::Csv => Some(Form::Csv),
        Format::Json => Some(Form::Json),
        _ => None,
    }
}

fn exit_code(codes: &[u8]) -> u8 {
    // One that did not start has failed, as others have.
    match codes.iter().any(|&code| code == 1 || code == 3) {
        true => 1,
        false => codes.iter().copied().max().unwrap_or(0),
    }
}

/// What all submissions have in common.
struct Class<'a> {
    options: &'a Options,
    machine: &'a Machine,
    scratch: &'a Scratch,
    side: Side,
    cases: Vec<&'static Case>,
    seed: u64,
}

impl Class<'_> {
    fn table(&self, paths: &[PathBuf]) -> Table {
        let options = self.options;
        let form = options.table.or(form_of(options.how.format));
        let names: Vec<OsString> = paths.iter().map(|p| name_of(p)).collect();
        let files = options.cmd.iter().filter_map(|c| c.file.as_deref());
        let files: Vec<&str> = files.collect();
        Table::new(form.unwrap_or(Form::Text), &names, &files, self.seed)
    }

    /// Tries one submission. What goes wrong stands in its row, and the class
    /// goes on.
    fn grade(&self, path: &Path, number: usize) -> Row {
        let (step, strict) = (self.options.step, self.options.how.strict);
        let report = Report::new(self.side, step, self.seed, strict);
        let mut row = Row { name: name_of(path), file: None, report };
        if let Err(obstacle) = self.try_one(path, number, &mut row) {
            row.report.obstacle = Some(obstacle);
            row.report.left_out = self.cases.clone();
        }
        row
    }

    fn try_one(
        &self,
        path: &Path,
        number: usize,
        row: &mut Row,
    ) -> std::result::Result<(), Obstacle> {
        let Options { step, cmd, build, how, .. } = self.options;
        let named = [&cmd[..], &build.commands];
        let copy = submissions::copy(path, &named, self.scratch, number)?;
        let choice = commands::choose(cmd, &copy.folder).map_err(not_tried)?;
        row.file = choice.file.clone();
        row.report.command = Some(choice.command.clone());
        build.builder(how.memory, self.machine).build(&copy.folder)?;
        let session = Session::new(self.side, *step, &choice.command)
            .map_err(|error| not_tried(vec![format!("{error:#}.")]))?;
        let session = target::set(session, how, self.machine).seed(self.seed);
        let mut session = session.folder(copy.folder.clone());
        target::try_start(&mut session)?;
        row.report.results = session.run(&self.cases, true, |_| {});
        Ok(())
    }
}

fn name_of(path: &Path) -> OsString {
    path.file_name().unwrap_or_default().to_owned()
}

fn write_report(out: &Path, row: &Row, format: Format) -> Result<()> {
    let ending = match format {
        Format::Text => "txt",
        Format::Csv => "csv",
        Format::Json | Format::Gradescope | Format::Classroom => "json",
        Format::Junit => "xml",
        Format::Tap => "tap",
    };
    // The bytes of the name, whatever they are: no two are the same.
    let mut name = row.name.clone();
    name.push(format!(".{ending}"));
    let path = out.join(name);
    let text = row.report.render(format);
    fs::write(&path, text).with_context(|| unwritten(&path))
}

fn unwritten(path: &Path) -> Unwritten {
    Unwritten(format!("{path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_do_not_go_among_the_submissions() {
        let room = tempfile::tempdir().unwrap();
        let class = room.path().join("class");
        fs::create_dir(&class).unwrap();
        for inside in ["", "reports", "new/reports", "../class/reports"] {
            assert!(is_in(&class.join(inside), &class), "{inside}");
        }
        for outside in ["../reports", "../class-reports", ".."] {
            assert!(!is_in(&class.join(outside), &class), "{outside}");
        }
        assert!(!is_in(Path::new("reports"), &class));
    }
}

//! A folder of submissions, each tried by itself, and a table of all.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::case::Case;
use crate::cli::chosen::chosen;
use crate::cli::options::{How, step, step_help};
use crate::cli::pages::list;
use crate::cli::say::{Unwritten, Voice};
use crate::cli::target;
use crate::diagnosis::show;
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
        "The form of each report in --out; without --out, and for the table, \
         only text or json"
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
    /// A client gets {text}, too: 'python3 client.py {addr} {text}'
    #[arg(long, value_name = "COMMAND")]
    cmd: String,
    /// The folder into which the report of each submission goes
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// What became of one submission.
struct Row {
    name: OsString,
    report: Report,
}

impl Row {
    /// Returns the name in a form that a terminal shows and does not obey.
    fn shown(&self) -> String {
        show::shorten(&show::escape(self.name.as_bytes()), 64)
    }
}

/// Tries each submission, and prints the table. The exit code is that of the
/// class: 1 if anything failed, 2 if something is unknown.
///
/// # Errors
/// The checker cannot read the folder, or cannot write a report.
pub fn run(options: &Options, machine: &Machine) -> Result<u8> {
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
    let folders = prepare(options)?;
    let seed = options.how.seed.unwrap_or_else(random::any_seed);
    let (mut rows, mut written) = (Vec::new(), Ok(()));
    for folder in folders {
        let session = Session::new(side, options.step, &options.cmd)?;
        let session = target::set(session, &options.how, machine);
        let session = session.folder(inner(&folder)).seed(seed);
        let row = try_one(session, &folder, &cases, &options.how);
        if let Some(out) = &options.out {
            // The others are tried all the same, and the table is printed.
            written = written.and(write_report(out, &row, options.how.format));
        }
        rows.push(row);
    }
    voice.say(&match options.how.format {
        Format::Json => values(&rows),
        _ => table(&rows, seed),
    })?;
    written.map(|()| exit_code(&rows))
}

/// Returns the submissions, and complains about the options before it tries
/// the first one.
fn prepare(options: &Options) -> Result<Vec<PathBuf>> {
    let is_table = matches!(options.how.format, Format::Text | Format::Json);
    ensure!(
        is_table || options.out.is_some(),
        "cannot print the table in this format: it is text or json, and the \
         other formats are for the report of each submission, so add --out \
         FOLDER"
    );
    let folders = submissions(&options.folder)?;
    ensure!(
        !folders.is_empty(),
        "cannot find a submission in {:?}: each submission is a folder of its \
         own",
        options.folder
    );
    if let Some(out) = &options.out {
        fs::create_dir_all(out).with_context(|| unwritten(out))?;
    }
    Ok(folders)
}

fn exit_code(rows: &[Row]) -> u8 {
    // One that did not start has failed, as others have.
    let codes = || rows.iter().map(|row| row.report.exit_code());
    match codes().any(|code| code == 1 || code == 3) {
        true => 1,
        false => codes().max().unwrap_or(0),
    }
}

/// The folders in a folder, by name.
fn submissions(folder: &Path) -> Result<Vec<PathBuf>> {
    let shown = visible(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(shown.into_iter().filter(|path| path.is_dir()).collect())
}

/// What is in a folder, by name, without hidden files and what macOS adds.
fn visible(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let is_shown = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && name != "__MACOSX"
    };
    let mut shown: Vec<_> = paths.filter(is_shown).collect();
    shown.sort();
    Ok(shown)
}

/// How many folders deep a submission may lie.
const DEEPEST: usize = 8;

/// Where the program is: an archive often unpacks to a folder in a folder.
fn inner(folder: &Path) -> PathBuf {
    let mut folder = folder.to_owned();
    for _ in 0..DEEPEST {
        match &visible(&folder).unwrap_or_default()[..] {
            [only] if only.is_dir() => folder = only.clone(),
            _ => break,
        }
    }
    folder
}

fn try_one(
    mut session: Session,
    folder: &Path,
    cases: &[&'static Case],
    how: &How,
) -> Row {
    let name = folder.file_name().unwrap_or_default().to_owned();
    let mut report = session.new_report(how.strict);
    match target::try_start(&mut session) {
        Ok(()) => report.results = session.run(cases, true, |_| {}),
        Err(obstacle) => {
            report.obstacle = Some(obstacle);
            report.left_out = cases.to_vec();
        }
    }
    Row { name, report }
}

fn write_report(out: &Path, row: &Row, format: Format) -> Result<()> {
    let ending = match format {
        Format::Text => "txt",
        Format::Json | Format::Gradescope => "json",
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

fn values(rows: &[Row]) -> String {
    format!("{:#}\n", Value::from_iter(rows.iter().map(value)))
}

fn value(row: &Row) -> Value {
    let (points, most) = row.report.score();
    let name = row.name.to_str().map(str::to_owned);
    let trouble = row.report.obstacle.as_ref().map(Obstacle::lines);
    json!({
        "submission": name.unwrap_or_else(|| row.shown()),
        "points": points,
        "max_points": most,
        "failed": failed(row),
        "unknown": row.report.count("unknown"),
        "trouble": trouble.unwrap_or_default(),
    })
}

fn failed(row: &Row) -> Vec<&'static str> {
    let failed = row.report.results.iter();
    let failed = failed.filter(|r| row.report.is_failure(&r.verdict));
    failed.map(|result| result.case.id).collect()
}

/// A row for each submission: points, counts, and what failed.
fn table(rows: &[Row], seed: u64) -> String {
    let head = "submission";
    let names: Vec<String> = rows.iter().map(Row::shown).collect();
    let width = names.iter().map(|name| name.width()).max();
    let width = width.unwrap_or(0).max(head.len());
    let mut text = format!("{head:<width$}  points   failed\n");
    for (row, name) in rows.iter().zip(names) {
        let (points, most) = row.report.score();
        let points = format!("{points}/{most}");
        let what = match &row.report.obstacle {
            Some(obstacle) => format!("did not start: {}", obstacle.reason()),
            None => failed(row).join(" "),
        };
        let unknown = match row.report.count("unknown") {
            0 => String::new(),
            n => format!(" ({n} unknown)"),
        };
        let gap = " ".repeat(width - name.width());
        let line = format!("{name}{gap}  {points:<7}  {what}{unknown}");
        text += line.trim_end();
        text.push('\n');
    }
    text + &format!("seed {seed}\n")
}

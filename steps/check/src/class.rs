//! A folder of submissions, each tried by itself, and a table of all.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::case::{Case, Side};
use crate::cli::{chosen, say};
use crate::lab::{Setup, Target};
use crate::late::Ticker;
use crate::options::How;
use crate::program::{Template, forget_rudeness};
use crate::random;
use crate::report::{Format, Report};
use crate::run::{self, Plan};

/// Which end the submissions are.
#[derive(Clone, Copy, ValueEnum)]
enum End {
    Server,
    Client,
}

/// What to try, and how.
#[derive(Args)]
pub struct Options {
    /// What the submissions are
    #[arg(value_enum)]
    side: End,
    /// The step whose contract holds: step1 to step5
    #[arg(value_name = "STEP", value_parser = crate::options::step)]
    step: u8,
    /// The folder: each folder in it is a submission
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// How to start one, in its own folder: 'python3 server.py {addr}'
    #[arg(long, value_name = "COMMAND")]
    cmd: String,
    /// A folder for the whole report of each submission
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// What became of one submission.
struct Row {
    name: String,
    report: Report,
    /// It did not start: why.
    trouble: Option<String>,
}

/// Tries each submission, and prints the table. The exit code is that of the
/// class: 1 if anything failed, 2 if something is unknown.
///
/// # Errors
/// The folder cannot be read, or a report not be written.
pub fn run(options: &Options) -> Result<u8> {
    let side = match options.side {
        End::Server => Side::Server,
        End::Client => Side::Client,
    };
    let cases = chosen(side, options.step, &options.how)?;
    let folders = submissions(&options.folder)?;
    ensure!(!folders.is_empty(), "no folder in {:?}", options.folder);
    let seed = options.how.seed.unwrap_or_else(random::any_seed);
    let ticker = Ticker::start();
    let mut rows = Vec::new();
    for folder in folders {
        let memory = options.how.memory << 20;
        let dir = Some(folder.clone());
        let template = Template::parse(&options.cmd, dir, memory)?;
        let target = Target::Command(template);
        let (step, ticker) = (options.step, ticker.clone());
        let setup = Setup { step, seed, target, ticker };
        let row = try_one(side, &setup, &folder, &cases, &options.how);
        if let Some(out) = &options.out {
            write_report(out, &row, options.how.format)?;
        }
        rows.push(row);
    }
    say(&match options.how.format {
        Format::Json => {
            format!("{:#}\n", Value::from_iter(rows.iter().map(value)))
        }
        _ => table(&rows, seed),
    });
    Ok(exit_code(&rows))
}

fn exit_code(rows: &[Row]) -> u8 {
    let codes = || {
        rows.iter().map(|row| match row.trouble {
            Some(_) => 1,
            None => row.report.exit_code(),
        })
    };
    match codes().any(|code| code == 1) {
        true => 1,
        false => codes().max().unwrap_or(0),
    }
}

/// The folders in a folder, by name; hidden ones are none.
fn submissions(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?;
    let is_submission = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_dir() && !name.starts_with('.')
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut folders: Vec<_> = paths.filter(is_submission).collect();
    folders.sort();
    Ok(folders)
}

fn try_one(
    side: Side,
    setup: &Setup,
    folder: &Path,
    cases: &[&'static Case],
    how: &How,
) -> Row {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut row = Row {
        name: name.into_owned(),
        report: Report {
            side,
            step: setup.step,
            seed: setup.seed,
            is_strict: how.strict,
            results: Vec::new(),
            left_out: Vec::new(),
        },
        trouble: None,
    };
    forget_rudeness();
    let jobs = match crate::cli::try_start(side, setup, how) {
        Ok(jobs) => jobs,
        Err(trouble) => {
            row.trouble = Some(trouble.join(" "));
            row.report.left_out = cases.to_vec();
            return row;
        }
    };
    let plan = Plan { cases: cases.to_vec(), jobs, keep_going: true };
    row.report.results = run::run(setup, &plan, |_| {});
    row
}

fn write_report(out: &Path, row: &Row, format: Format) -> Result<()> {
    let ending = match format {
        Format::Text => "txt",
        Format::Json | Format::Gradescope => "json",
        Format::Junit => "xml",
        Format::Tap => "tap",
    };
    let path = out.join(format!("{}.{ending}", row.name));
    let cannot = || format!("cannot write {}", path.display());
    fs::create_dir_all(out).with_context(cannot)?;
    let text = match &row.trouble {
        Some(trouble) if format == Format::Text => format!("{trouble}\n"),
        _ => row.report.render(format),
    };
    fs::write(&path, text).with_context(cannot)
}

fn value(row: &Row) -> Value {
    let (points, most) = row.report.score();
    json!({
        "submission": row.name,
        "points": points,
        "max_points": most,
        "failed": failed(row),
        "trouble": row.trouble,
    })
}

fn failed(row: &Row) -> Vec<&'static str> {
    let failed = row.report.results.iter();
    let failed = failed.filter(|r| row.report.is_failure(&r.verdict));
    failed.map(|result| result.case.id).collect()
}

/// A row for each submission: points, counts, and what failed.
fn table(rows: &[Row], seed: u64) -> String {
    let width = rows.iter().map(|row| row.name.chars().count()).max();
    let width = width.unwrap_or(0).max("submission".len());
    let mut text = format!("{:<width$}  points   failed\n", "submission");
    for row in rows {
        let (points, most) = row.report.score();
        let points = format!("{points}/{most}");
        let what = match &row.trouble {
            Some(trouble) => format!("did not start: {trouble}"),
            None => failed(row).join(" "),
        };
        let unknown = row.report.count("unknown");
        let unknown = match unknown {
            0 => String::new(),
            n => format!(" ({n} unknown)"),
        };
        let line =
            format!("{:<width$}  {points:<7}  {what}{unknown}", row.name);
        text += line.trim_end();
        text.push('\n');
    }
    text + &format!("seed {seed}\n")
}

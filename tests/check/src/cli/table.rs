//! The table of a class: a row for each submission.

use std::ffi::OsString;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::cli::submissions::shown;
use crate::report::{Obstacle, Report, csv_line};

/// A form of the table.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people
    Text,
    /// For a spreadsheet
    Csv,
    /// One array with all rows, printed at the end
    Json,
}

/// What became of one submission.
pub struct Row {
    pub name: OsString,
    /// The file that chose the command, if one did.
    pub file: Option<String>,
    pub report: Report,
}

impl Row {
    fn failed(&self) -> Vec<&'static str> {
        let failed = self.report.results.iter();
        let failed = failed.filter(|r| self.report.is_failure(&r.verdict));
        failed.map(|result| result.case.id).collect()
    }

    /// Why nothing was tried: `did not start: …`, `the build failed: …`.
    fn trouble(&self) -> String {
        let Some(obstacle) = &self.report.obstacle else {
            return String::new();
        };
        let whole = obstacle.line();
        let subjects = ["the server ", "the client ", "the submission was "];
        let what = subjects.iter().find_map(|s| whole.strip_prefix(s));
        what.unwrap_or(&whole).to_owned()
    }
}

/// How the table is printed: its head first, then each row as soon as there is
/// one, so that a Ctrl-C costs no row.
pub struct Table {
    form: Form,
    /// The columns of the longest name, and of the longest file.
    width: usize,
    file_width: usize,
    seed: u64,
    values: Vec<Value>,
}

const NAME: &str = "submission";
const FILE: &str = "program";

/// How many characters of a name a line has room for.
const LONGEST: usize = 64;

impl Table {
    /// A table for submissions with these names, and these files, which choose
    /// the commands.
    pub fn new(
        form: Form,
        names: &[OsString],
        files: &[&str],
        seed: u64,
    ) -> Table {
        let widths = names.iter().map(|name| shown(name, LONGEST).width());
        let width = widths.max().unwrap_or(0).max(NAME.len());
        let widths = files.iter().map(|file| file.width().max(FILE.len()));
        let file_width = widths.max().unwrap_or(0);
        Table { form, width, file_width, seed, values: Vec::new() }
    }

    pub fn head(&self) -> String {
        match self.form {
            Form::Json => String::new(),
            Form::Text => self.line(NAME, FILE, "points", "failed"),
            Form::Csv => csv_line([
                NAME,
                "points",
                "max_points",
                "failed",
                "unknown",
                "trouble",
                FILE,
                "seed",
            ]),
        }
    }

    pub fn row(&mut self, row: &Row) -> String {
        match self.form {
            Form::Json => {
                self.values.push(value(row));
                String::new()
            }
            Form::Text => self.text(row),
            Form::Csv => self.cells(row),
        }
    }

    pub fn foot(self) -> String {
        match self.form {
            Form::Json => format!("{:#}\n", Value::from(self.values)),
            Form::Text => format!("seed {}\n", self.seed),
            Form::Csv => String::new(),
        }
    }

    fn text(&self, row: &Row) -> String {
        let (points, most) = row.report.score();
        let what = match &row.report.obstacle {
            Some(_) => row.trouble(),
            None => row.failed().join(" "),
        };
        let unknown = match row.report.count("unknown") {
            0 => String::new(),
            n => format!(" ({n} unknown)"),
        };
        let name = shown(&row.name, LONGEST);
        let file = row.file.as_deref().unwrap_or("-");
        let points = format!("{points}/{most}");
        self.line(&name, file, &points, &format!("{what}{unknown}"))
    }

    fn line(&self, name: &str, file: &str, points: &str, what: &str) -> String {
        let pad = |text: &str, width: usize| {
            let gap = width.saturating_sub(text.width());
            format!("{text}{}  ", " ".repeat(gap))
        };
        let mut line = pad(name, self.width);
        if self.file_width > 0 {
            line += &pad(file, self.file_width);
        }
        line += &format!("{points:<7}  {what}");
        format!("{}\n", line.trim_end())
    }

    fn cells(&self, row: &Row) -> String {
        let (points, most) = row.report.score();
        csv_line([
            &shown(&row.name, usize::MAX)[..],
            &points.to_string(),
            &most.to_string(),
            &row.failed().join(" "),
            &row.report.count("unknown").to_string(),
            &row.trouble(),
            row.file.as_deref().unwrap_or_default(),
            &self.seed.to_string(),
        ])
    }
}

fn value(row: &Row) -> Value {
    let (points, most) = row.report.score();
    let name = row.name.to_str().map(str::to_owned);
    let trouble = row.report.obstacle.as_ref().map(Obstacle::lines);
    json!({
        "submission": name.unwrap_or_else(|| shown(&row.name, usize::MAX)),
        "command": row.report.command,
        "points": points,
        "max_points": most,
        "failed": row.failed(),
        "unknown": row.report.count("unknown"),
        "trouble": trouble.unwrap_or_default(),
    })
}

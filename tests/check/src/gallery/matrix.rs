//! Each defect against each case of its step: which case catches which
//! mistake.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;

use clap::Args;
use serde_json::Value;

use crate::defects::{DEFECTS, Defect};
use crate::fail;
use crate::table::{columns, head, in_short, links};

/// What to try.
#[derive(Args)]
pub struct Options {
    /// Only defects whose name or case contains this
    only: Option<String>,
    /// Take the rows of all other defects from this matrix
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
}

/// What the checker says of one defect.
struct Row {
    defect: &'static Defect,
    failed: Vec<String>,
    warned: Vec<String>,
    /// What the machine was too busy to tell.
    unknown: Vec<String>,
}

impl Row {
    fn is_caught(&self) -> bool {
        let named = |id: &String| id == self.defect.case;
        let said = match self.defect.is_warning() {
            true => &self.warned,
            false => &self.failed,
        };
        said.iter().any(named)
    }
}

/// How many defects are tried at the same time: their cases mostly wait.
const AT_ONCE: usize = 4;

/// How often a defect is tried alone when the machine was too busy.
const TRIES: usize = 2;

pub fn run(options: &Options) -> ExitCode {
    let only = options.only.clone().unwrap_or_default();
    let chosen: Vec<&'static Defect> = DEFECTS
        .iter()
        .filter(|d| d.name.contains(&only) || d.case.contains(&only))
        .collect();
    // Those that keep the machine busy come last, and delay no other.
    let (busy, calm): (Vec<_>, Vec<_>) =
        chosen.iter().partition(|defect| defect.name.starts_with("spins"));
    let mut rows = try_all(&calm);
    rows.extend(try_all(&busy));
    let rows = match rows.into_iter().collect::<Result<Vec<Row>, _>>() {
        Ok(rows) => rows,
        Err(why) => return fail(2, &why),
    };
    let of = |defect: &&Defect| {
        rows.iter().find(|row| std::ptr::eq(row.defect, *defect))
    };
    let rows: Vec<&Row> = chosen.iter().filter_map(of).collect();
    let old = options.old.as_ref().map(fs::read_to_string);
    let Ok(old) = old.transpose() else {
        return fail(2, "cannot read the old matrix");
    };
    print(&rows, &old.unwrap_or_default());
    if let Some(row) = rows.iter().find(|row| !row.unknown.is_empty()) {
        let (name, ids) = (row.defect.name, row.unknown.join(" "));
        return fail(2, &format!("too busy to tell: {name} with {ids}"));
    }
    match rows.iter().all(|row| row.is_caught()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// One that needs the machine for itself waits until the others are done.
static MACHINE: RwLock<()> = RwLock::new(());

/// Tries a defect beside others; then, as long as something is unknown, alone.
fn try_patiently(defect: &'static Defect) -> Result<Row, String> {
    let mut row = {
        let _shared = MACHINE.read();
        try_one(defect)?
    };
    for _ in 0..TRIES {
        if row.unknown.is_empty() {
            break;
        }
        let _alone = MACHINE.write();
        row = try_one(defect)?;
    }
    Ok(row)
}

/// Tries all these defects.
fn try_all(defects: &[&'static Defect]) -> Vec<Result<Row, String>> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(defect) = defects.get(at) else { return };
                    let row = try_patiently(defect);
                    if let Ok(mut rows) = rows.lock() {
                        rows.push(row);
                    }
                }
            });
        }
    });
    rows.into_inner().unwrap_or_default()
}

/// Prints these rows, and those of an old matrix, in the gallery's order.
fn print(rows: &[&Row], old: &str) {
    let mut text = String::from(
        "| defect | what it does | caught by |\n| --- | --- | --- |\n",
    );
    let (mut caught, mut all) = (0, 0);
    for defect in DEFECTS {
        let head = head(defect);
        let row = rows.iter().find(|row| std::ptr::eq(row.defect, defect));
        let line = match row {
            Some(row) => format!("{head} | {} |", caught_by(row)),
            None => match old.lines().find(|line| line.starts_with(&head)) {
                Some(line) => line.to_owned(),
                None => continue,
            },
        };
        all += 1;
        caught += usize::from(!line.contains("**missed**"));
        text += &format!("{line}\n");
    }
    text += &format!("\n{caught} of {all} defects caught by their case.\n");
    text += &format!("\n{}", columns());
    print!("{text}\n{}", links(&text));
}

fn caught_by(row: &Row) -> String {
    let case = row.defect.case;
    let [failed, warned] = [&row.failed, &row.warned]
        .map(|ids| ids.iter().map(String::as_str).collect::<Vec<_>>());
    let warned = in_short(&warned, case);
    let warned = warned.into_iter().map(|ids| format!("({ids})"));
    let mut caught = in_short(&failed, case);
    caught.extend(warned);
    // The case that names the defect comes first.
    let own = format!("[{case}]");
    caught.sort_by_key(|ids| ids.trim_matches(['(', ')']) != own);
    let mark = if row.is_caught() { "" } else { "**missed** " };
    format!("{mark}{}", caught.join(" "))
}

/// Runs the checker, which stands beside this program.
fn try_one(defect: &'static Defect) -> Result<Row, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let check: PathBuf = this.with_file_name("check");
    let (side, step) = (defect.side(), defect.step);
    let texts = match side {
        "client" => " {text}",
        _ if step >= 7 => " --journal {journal}",
        _ => "",
    };
    let cmd = format!(
        "'{}' {side} --step {step} --defect {} --addr {{addr}}{texts}",
        this.display(),
        defect.name
    );
    let step = format!("step{step}");
    let args = [side, &step, "--seed", "7", "--jobs", "6", "--format", "json"];
    let output = Command::new(&check)
        .args(args)
        .args(["--cmd", &cmd])
        .output()
        .map_err(|error| format!("cannot run {}: {error}", check.display()))?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{}: {error}", defect.name))?;
    let of = |verdict: &str| -> Vec<String> {
        let cases = report["cases"].as_array().into_iter().flatten();
        let same = cases.filter(|case| case["verdict"] == verdict);
        same.filter_map(|case| case["id"].as_str().map(str::to_owned)).collect()
    };
    let [failed, warned, unknown] = ["FAIL", "warn", "unknown"].map(of);
    Ok(Row { defect, failed, warned, unknown })
}

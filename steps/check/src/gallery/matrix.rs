//! Each defect against each case of its step: which test catches which
//! mistake.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;
use serde_json::Value;

use crate::defects::{DEFECTS, Defect};
use crate::fail;

/// What to try.
#[derive(Args)]
pub struct Options {
    /// Only defects whose name or case contains this
    only: Option<String>,
}

/// What the checker says of one defect.
struct Row {
    defect: &'static Defect,
    failed: Vec<String>,
    warned: Vec<String>,
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

pub fn run(options: &Options) -> ExitCode {
    let only = options.only.clone().unwrap_or_default();
    let chosen = DEFECTS
        .iter()
        .filter(|d| d.name.contains(&only) || d.case.contains(&only));
    let (mut count, mut missed) = (0, 0);
    println!("| case | defect | it | failed by | warned by |");
    println!("| --- | --- | --- | --- | --- |");
    for defect in chosen {
        let row = match try_one(defect) {
            Ok(row) => row,
            Err(why) => return fail(2, &why),
        };
        count += 1;
        missed += usize::from(!row.is_caught());
        let named = if row.is_caught() { "" } else { " **missed**" };
        println!(
            "| {}{named} | `{}` | {} | {} | {} |",
            defect.case,
            defect.name,
            defect.what,
            row.failed.join(" "),
            row.warned.join(" ")
        );
    }
    println!("\n{} of {count} defects caught by their case.", count - missed);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the checker, which stands beside this program.
fn try_one(defect: &'static Defect) -> Result<Row, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let check: PathBuf = this.with_file_name("check");
    let (side, step) = (defect.side(), defect.step);
    let texts = if side == "client" { " {text}" } else { "" };
    let cmd = format!(
        "'{}' {side} --step {step} --defect {} --addr {{addr}}{texts}",
        this.display(),
        defect.name
    );
    let step = format!("step{step}");
    let args = [side, &step, "--seed", "7", "--format", "json", "--cmd", &cmd];
    let output = Command::new(&check)
        .args(args)
        .output()
        .map_err(|error| format!("cannot run {}: {error}", check.display()))?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{}: {error}", defect.name))?;
    let of = |verdict: &str| -> Vec<String> {
        let cases = report["cases"].as_array().into_iter().flatten();
        let same = cases.filter(|case| case["verdict"] == verdict);
        same.filter_map(|case| case["id"].as_str().map(str::to_owned)).collect()
    };
    Ok(Row { defect, failed: of("FAIL"), warned: of("warn") })
}

//! Two runs of the same settings, side by side.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::report::{Report, time};

/// Returns a table of two reports that `--format json` wrote.
pub fn compare(a: &Path, b: &Path) -> Result<String> {
    let (first, second) = (read(a)?, read(b)?);
    let (left, right) = (settings(&first), settings(&second));
    for ((name, left), (_, right)) in left.into_iter().zip(right) {
        ensure!(
            left == right,
            "cannot compare {} with {}: {name} is {left} in the first and \
             {right} in the second; measure both with the same settings",
            a.display(),
            b.display()
        );
    }
    Ok(table(&first, &second))
}

fn read(path: &Path) -> Result<Report> {
    let text = fs::read_to_string(path);
    let text =
        text.with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        let path = path.display();
        format!("cannot read {path} as what `load --format json` writes")
    })
}

/// What must be the same in two runs, by the names of the options.
fn settings(report: &Report) -> [(&'static str, String); 8] {
    let idle = report.idle.as_ref().map_or(0, |idle| idle.connections);
    let rate = report.rate.map_or("none".to_owned(), |rate| rate.to_string());
    [
        ("--speak", format!("{:?}", report.speak).to_lowercase()),
        ("--work", format!("{:?}", report.work).to_lowercase()),
        ("--connections", report.connections.to_string()),
        ("--size", report.size.to_string()),
        ("--in-flight", report.in_flight.to_string()),
        ("--rate", rate),
        ("--reconnect", report.reconnect.to_string()),
        ("--idle", idle.to_string()),
    ]
}

fn table(a: &Report, b: &Report) -> String {
    let cpu = |report: &Report| {
        report.server.as_ref().map(|server| server.cpu_us_per_request)
    };
    let rate = |report: &Report| Some(report.requests_per_second);
    let p50 = |report: &Report| Some(report.latency_us.p50);
    let p99 = |report: &Report| Some(report.latency_us.p99);
    let plain = |rate: f64| format!("{rate:.0}");
    let mut text =
        format!("{:16}{:>12}{:>12}{:>12}\n", "", "first", "second", "ratio");
    let mut row =
        |name, a: Option<f64>, b: Option<f64>, show: fn(f64) -> String| {
            let cell = |value: Option<f64>| value.map_or("-".to_owned(), show);
            let ratio = match (a, b) {
                (Some(a), Some(b)) if a > 0.0 => format!("{:.2}", b / a),
                _ => "-".to_owned(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{name:16}{:>12}{:>12}{ratio:>12}",
                cell(a),
                cell(b)
            );
        };
    row("requests/s", rate(a), rate(b), plain);
    row("p50", p50(a), p50(b), time);
    row("p99", p99(a), p99(b), time);
    row("CPU per request", cpu(a), cpu(b), time);
    text.truncate(text.trim_end().len());
    text
}

//! Two runs of the same settings, side by side.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::report::{Report, time};

/// Returns a table of two reports that `--format json` wrote.
pub fn compare(a: &Path, b: &Path) -> Result<String> {
    let (first, second) = (read(a)?, read(b)?);
    for (path, report) in [(a, &first), (b, &second)] {
        ensure!(
            report.requests > 0 && report.errors.count() == 0,
            "cannot compare {}: its run had errors or no replies; measure it \
             again",
            path.display()
        );
    }
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
fn settings(report: &Report) -> [(&'static str, String); 11] {
    let idle = report.idle.as_ref().map_or(0, |idle| idle.connections);
    let idle_size = report.idle.as_ref().map_or(0, |idle| idle.size);
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
        ("--size with --idle", idle_size.to_string()),
        ("--seconds", report.planned_seconds.to_string()),
        ("--warm-up", report.warm_up.to_string()),
    ]
}

fn kb(kb: f64) -> String {
    format!("{kb:.1} KB")
}

/// A name, the two values, and how to write one.
type Row = (&'static str, Option<f64>, Option<f64>, fn(f64) -> String);

fn table(a: &Report, b: &Report) -> String {
    let cpu = |report: &Report| {
        report.server.as_ref().map(|server| server.cpu_us_per_request)
    };
    let (rate, other) = (a.requests_per_second, b.requests_per_second);
    let (left, right) = (&a.latency_us, &b.latency_us);
    let mut rows: Vec<Row> = vec![
        ("requests/s", Some(rate), Some(other), |rate| format!("{rate:.0}")),
        ("p50", Some(left.p50), Some(right.p50), time),
        ("p99", Some(left.p99), Some(right.p99), time),
        ("CPU per request", cpu(a), cpu(b), time),
    ];
    if let (Some(a), Some(b)) = (&a.idle, &b.idle) {
        rows.push(("memory before", a.kb_before, b.kb_before, kb));
        rows.push(("memory after", a.kb_after, b.kb_after, kb));
    }
    let mut text =
        format!("{:16}{:>12}{:>12}{:>12}", "", "first", "second", "ratio");
    for (name, a, b, show) in rows {
        let cell = |value: Option<f64>| value.map_or("-".to_owned(), show);
        let ratio = match (a, b) {
            (Some(a), Some(b)) if a > 0.0 => format!("{:.2}", b / a),
            _ => "-".to_owned(),
        };
        let (a, b) = (cell(a), cell(b));
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name:16}{a:>12}{b:>12}{ratio:>12}");
    }
    text
}

//! The report for programs: JSON, TAP, Gradescope.

use serde_json::{Value, json};

use crate::case::Case;
use crate::report::{Obstacle, Report};
use crate::run::Result;
use crate::verdict::Verdict;

/// One object. Times are left out: the same seed, the same report.
pub fn json(report: &Report) -> String {
    let (points, most) = report.score();
    let cases: Vec<Value> =
        report.results.iter().map(|r| case(report, r)).collect();
    let left: Vec<_> = report.left_out.iter().map(|case| case.id).collect();
    let trouble = report.obstacle.as_ref().map(Obstacle::lines);
    let mut value = json!({
        "side": report.side.name(),
        "step": report.step,
        "seed": report.seed,
        "strict": report.is_strict,
        "exit_code": report.exit_code(),
        "points": points,
        "max_points": most,
        "trouble": trouble.unwrap_or_default(),
        "not_tried": left,
        "cases": cases,
    });
    if let Some(command) = &report.command {
        value["command"] = json!(command);
    }
    pretty(&value)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn case(report: &Report, result: &Result) -> Value {
    let mut value = json!({
        "id": result.case.id,
        "title": result.case.title,
        "rule": result.case.rule_text(),
        "verdict": result.verdict.name(),
        "points": report.points(result),
        "max_points": result.case.weight(),
    });
    match &result.verdict {
        Verdict::Pass => {}
        Verdict::Skip(why) | Verdict::Unknown(why) => {
            value["reason"] = json!(why);
        }
        Verdict::Warn(failure) | Verdict::Fail(failure) => {
            value["details"] = json!({
                "so_far": failure.so_far,
                "sent": failure.sent,
                "expected": failure.expected,
                "actual": failure.actual,
                "printed": failure.printed,
                "meaning": failure.meaning,
                "look_at": failure.look,
                "replay": report.replay(result.case),
            });
        }
    }
    value
}

pub fn tap(report: &Report) -> String {
    let total = report.results.len() + report.left_out.len();
    let mut text = format!("TAP version 13\n1..{total}\n");
    let (points, most) = report.score();
    text += &format!("# {points} of {most} points, seed {}\n", report.seed);
    if let Some(obstacle) = &report.obstacle {
        return text + &format!("Bail out! {}\n", obstacle.line());
    }
    if let Some(command) = &report.command {
        text += &format!("# command {command}\n");
    }
    for (i, result) in report.results.iter().enumerate() {
        text += &point(report, i + 1, result);
    }
    text
}

/// One test of TAP.
fn point(report: &Report, number: usize, result: &Result) -> String {
    let is_ok = match &result.verdict {
        Verdict::Unknown(_) => false,
        verdict => !report.is_failure(verdict),
    };
    let ok = if is_ok { "ok" } else { "not ok" };
    let head = format!("{} {}", result.case.id, result.case.title);
    let note = match &result.verdict {
        Verdict::Skip(why) => format!(" # SKIP {why}"),
        // No TODO: a harness takes that for passed.
        Verdict::Unknown(why) => format!("\n#    unknown   {why}"),
        _ => String::new(),
    };
    let mut text = format!("{ok} {number} - {head}{note}\n");
    if result.verdict.failure().is_some() {
        for line in report.details(result).lines().skip(1) {
            text += &format!("#{line}\n");
        }
    }
    text
}

/// The file that Gradescope reads: `/autograder/results/results.json`.
pub fn gradescope(report: &Report) -> String {
    let is_counted =
        |result: &&Result| !matches!(result.verdict, Verdict::Skip(_));
    let tried = report.results.iter().filter(is_counted).map(|result| {
        let points = report.points(result);
        graded(result.case, points, &report.details(result))
    });
    let why = match &report.obstacle {
        Some(obstacle) => format!("not tried: {}\n", obstacle.what),
        None => "not tried\n".to_owned(),
    };
    let left = report.left_out.iter().map(|case| graded(case, 0, &why));
    let origin = report.origin().join("\n");
    pretty(&json!({
        "score": report.score().0,
        "output": match &report.obstacle {
            Some(obstacle) => format!("{}\n{origin}", obstacle.text()),
            None => origin,
        },
        "output_format": "text",
        "tests": tried.chain(left).collect::<Vec<_>>(),
    }))
}

fn graded(case: &Case, points: u32, output: &str) -> Value {
    let is_passed = points == case.weight();
    json!({
        "number": case.id,
        "name": format!("{} {}", case.id, case.title),
        "score": points,
        "max_score": case.weight(),
        "status": if is_passed { "passed" } else { "failed" },
        "output": output,
        "output_format": "text",
        "visibility": "visible",
    })
}

/// What Classroom 50 reads, without the names of the class and of the
/// submission (`Advanced-Autograding`, in its wiki: `classroom50/result/v1`).
pub fn classroom(report: &Report) -> String {
    let is_counted =
        |result: &&Result| !matches!(result.verdict, Verdict::Skip(_));
    let tried = report.results.iter().filter(is_counted).map(|result| {
        let points = report.points(result);
        scored(result.case, points, &report.details(result))
    });
    let why = report.obstacle.as_ref().map(Obstacle::text);
    let why = why.unwrap_or_else(|| "not tried\n".to_owned());
    let left = report.left_out.iter().map(|case| scored(case, 0, &why));
    let (points, most) = report.score();
    pretty(&json!({
        "schema": "classroom50/result/v1",
        "score": points,
        "max-score": most,
        "tests": tried.chain(left).collect::<Vec<_>>(),
    }))
}

fn scored(case: &Case, points: u32, output: &str) -> Value {
    let is_passed = points == case.weight();
    json!({
        "test-name": format!("{} {}", case.id, case.title),
        "passed": is_passed,
        "score": points,
        "max-score": case.weight(),
        "output": if is_passed { "" } else { output },
    })
}

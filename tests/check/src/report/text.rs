//! The report for people: one line for a case that passes, and up to a dozen
//! for one that fails.

use crate::diagnosis::show;
use crate::report::Report;
use crate::run::Result;
use crate::verdict::{Failure, Verdict};

/// The widest line.
const WIDTH: usize = 80;

/// Where the text after a label begins.
const INDENT: usize = 14;

/// How many lines a failure may take.
const MOST: usize = 12;

/// Colour, where a terminal shows it.
#[derive(Clone, Copy, Default)]
pub struct Style {
    pub is_coloured: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        match self.is_coloured {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

pub fn whole(report: &Report, style: Style) -> String {
    if let Some(obstacle) = &report.obstacle {
        return format!("{}\n{}", obstacle.text(), points(report));
    }
    let lines = report.results.iter().map(|r| one(report, r, style));
    lines.collect::<String>() + &summary(report, style)
}

/// One case: its line, and the details if there is more to say.
pub fn one(report: &Report, result: &Result, style: Style) -> String {
    let Result { case, verdict } = result;
    let colour = match verdict {
        Verdict::Pass => "32",
        Verdict::Fail(_) => "31",
        _ => "33",
    };
    let mark = style.paint(colour, verdict.mark());
    let head = format!("{}  {}", case.id, case.title);
    match verdict {
        Verdict::Pass => format!("{mark} {head}\n"),
        Verdict::Skip(why) | Verdict::Unknown(why) => {
            let name = verdict.name();
            let lines = labelled(name, why);
            format!("{mark} {head}\n{}\n", lines.join("\n"))
        }
        Verdict::Warn(failure) | Verdict::Fail(failure) => {
            let rule = case.rule_text();
            let pad = WIDTH - 2 - rule.len();
            let body = details(failure, &report.replay(case));
            format!("{mark} {head:<pad$}{rule}\n{}\n", body.join("\n"))
        }
    }
}

/// The lines under the head of a failure. When there are too many, those go
/// first that a reader misses least.
fn details(failure: &Failure, replay: &str) -> Vec<String> {
    let mut printed = failure.printed.clone();
    let mut so_far = so_far(&failure.so_far);
    loop {
        let mut lines = Vec::new();
        lines.extend(labelled("so far", &so_far));
        lines.extend(labelled("sent", &failure.sent));
        lines.extend(labelled("expected", &failure.expected));
        for (i, line) in failure.actual.iter().enumerate() {
            let label = if i == 0 { "actual" } else { "" };
            lines.push(verbatim(label, line));
        }
        lines.extend(printed.iter().flat_map(|line| quoted(line)));
        lines.extend(labelled("meaning", &failure.meaning));
        lines.extend(labelled("look at", &failure.look));
        lines.push(verbatim("replay", replay));
        if lines.len() < MOST || printed.is_empty() && so_far.is_empty() {
            return lines;
        }
        if printed.len() > 1 || so_far.is_empty() {
            printed.remove(0);
        } else {
            so_far.clear();
        }
    }
}

/// The last steps, as many as one line holds.
fn so_far(notes: &[String]) -> String {
    let mut steps: Vec<(&str, usize)> = Vec::new();
    for note in notes {
        match steps.last_mut() {
            Some((last, times)) if last == note => *times += 1,
            _ => steps.push((note, 1)),
        }
    }
    let steps = steps.iter().map(|(step, times)| match times {
        1 => (*step).to_owned(),
        n => format!("{step} ({n} times)"),
    });
    let steps: Vec<String> = steps.collect();
    for from in 0..steps.len() {
        let lead = if from > 0 { "… · " } else { "" };
        let text = format!("{lead}{}", steps[from..].join(" · "));
        if text.chars().count() <= WIDTH - INDENT {
            return text;
        }
    }
    String::new()
}

fn verbatim(label: &str, text: &str) -> String {
    format!("    {label:<10}{text}").trim_end().to_owned()
}

/// A line that the program printed, in as many lines as it takes.
fn quoted(line: &str) -> Vec<String> {
    let label = |i| if i == 0 { "printed" } else { "" };
    let lines = show::fold(line, WIDTH - INDENT).into_iter().enumerate();
    lines.map(|(i, line)| verbatim(label(i), line)).collect()
}

/// Text that may take more than one line; none for no text.
fn labelled(label: &str, text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    // Bytes are shown as they are, spaces included.
    if text.chars().count() <= WIDTH - INDENT {
        return vec![verbatim(label, text)];
    }
    let lines = show::wrap(text, WIDTH - INDENT).into_iter().enumerate();
    let label = |i| if i == 0 { label } else { "" };
    lines.map(|(i, line)| verbatim(label(i), &line)).collect()
}

pub fn summary(report: &Report, style: Style) -> String {
    let mut parts = vec![format!("{} passed", report.count("pass"))];
    for (name, plural) in [
        ("warn", "with a warning"),
        ("FAIL", "failed"),
        ("unknown", "unknown (run again on an idle machine)"),
        ("skip", "skipped"),
    ] {
        if report.count(name) > 0 {
            parts.push(format!("{} {plural}", report.count(name)));
        }
    }
    let mut text = format!("\n{}", parts.join(", "));
    if !report.left_out.is_empty() {
        let left = report.left_out.len();
        text += &format!("; {left} not tried yet (--keep-going tries all)");
    }
    text += &format!("\n{}", points(report));
    if let Some(command) = &report.command {
        text += &format!("started with {command}\n");
    }
    match report.exit_code() {
        0 if report.left_out.is_empty() => style.paint("32", &text),
        _ => text,
    }
}

fn points(report: &Report) -> String {
    let (reached, most) = report.score();
    format!("{reached} of {most} points, seed {}\n", report.seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure {
            sent: "ff ff ff ff  |....|  4 bytes".into(),
            expected: "ERROR(1) within 1 s, then FIN".into(),
            actual: vec!["connection still open after 1250 ms".into()],
            so_far: vec!["sent 1 byte".into(); 40],
            printed: vec!["line 1".into(), "line 2".into()],
            meaning: "It believed the length, ".repeat(4),
            look: "the line after".into(),
            ..Failure::default()
        }
    }

    #[test]
    fn a_failure_takes_at_most_a_dozen_lines() {
        let mut failure = failure();
        for _ in 0..4 {
            assert!(details(&failure, "check").len() < MOST);
            failure.printed.push("more".into());
        }
    }

    #[test]
    fn steps_that_repeat_are_counted() {
        assert_eq!(so_far(&failure().so_far), "sent 1 byte (40 times)");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let lines = details(&failure(), "the same command with --case S4-05");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
    }
}

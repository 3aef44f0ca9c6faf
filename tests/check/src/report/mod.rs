//! What the checker reports in the end, for people and for programs.

mod csv;
mod junit;
mod machine;
mod obstacle;
mod text;

pub use csv::line as csv_line;
pub use obstacle::Obstacle;
pub use text::Style;

use crate::case::Case;
use crate::run::Result;
use crate::traits::Side;
use crate::verdict::Verdict;

/// A form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// A line for each case, for a spreadsheet
    Csv,
    /// One object with all cases
    Json,
    /// JUnit XML, for CI
    Junit,
    /// Test Anything Protocol
    Tap,
    /// Gradescope's results.json
    Gradescope,
    /// What Classroom 50 reads, once its script has added the names
    Classroom,
}

/// A finished run.
pub struct Report {
    pub side: Side,
    pub step: u8,
    pub seed: u64,
    /// Warnings fail.
    pub is_strict: bool,
    pub results: Vec<Result>,
    /// Cases that were not reached, since one before failed.
    pub left_out: Vec<&'static Case>,
    /// Nothing was tried: why. Then all cases are left out.
    pub obstacle: Option<Obstacle>,
    /// What started the program, where that was chosen by a file.
    pub command: Option<String>,
}

impl Report {
    /// Nothing has been tried yet.
    pub fn new(side: Side, step: u8, seed: u64, is_strict: bool) -> Report {
        Report {
            side,
            step,
            seed,
            is_strict,
            results: Vec::new(),
            left_out: Vec::new(),
            obstacle: None,
            command: None,
        }
    }

    /// Does this verdict cost the points?
    pub fn is_failure(&self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Fail(_) => true,
            Verdict::Warn(_) => self.is_strict,
            _ => false,
        }
    }

    pub fn points(&self, result: &Result) -> u32 {
        match &result.verdict {
            Verdict::Unknown(_) | Verdict::Skip(_) => 0,
            verdict if self.is_failure(verdict) => 0,
            _ => result.case.weight(),
        }
    }

    /// Points reached, and points that could be reached. What was skipped is
    /// in neither. What could not be told is in the second: otherwise a
    /// program that keeps the machine busy would lose its failures.
    pub fn score(&self) -> (u32, u32) {
        let is_counted =
            |result: &&Result| !matches!(result.verdict, Verdict::Skip(_));
        let counted = self.results.iter().filter(is_counted);
        let reached = counted.clone().map(|result| self.points(result)).sum();
        let left: u32 = self.left_out.iter().map(|case| case.weight()).sum();
        let most: u32 = counted.map(|result| result.case.weight()).sum();
        (reached, most + left)
    }

    pub fn count(&self, name: &str) -> usize {
        let same = |result: &&Result| result.verdict.name() == name;
        self.results.iter().filter(same).count()
    }

    /// 0: no failure; 1: a failure; 2: no failure, but something unknown; 3:
    /// nothing could be tried.
    pub fn exit_code(&self) -> u8 {
        if self.obstacle.is_some() {
            return 3;
        }
        if self.results.iter().any(|r| self.is_failure(&r.verdict)) {
            return 1;
        }
        if self.count("unknown") > 0 { 2 } else { 0 }
    }

    /// What does the same again. Whoever reads this knows how the program is
    /// started, which may not fit into a line.
    pub fn replay(&self, case: &Case) -> String {
        let seed = self.seed;
        format!("the same command with --case {} --seed {seed}", case.id)
    }

    /// How the program was started and what the bytes came from, a line each.
    fn origin(&self) -> Vec<String> {
        let command = self.command.as_ref();
        let command = command.map(|command| format!("command {command}"));
        command.into_iter().chain([format!("seed {}", self.seed)]).collect()
    }

    /// The whole report in a form for programs.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => text::whole(self, Style::default()),
            Format::Csv => csv::csv(self),
            Format::Json => machine::json(self),
            Format::Tap => machine::tap(self),
            Format::Gradescope => machine::gradescope(self),
            Format::Classroom => machine::classroom(self),
            Format::Junit => junit::junit(self),
        }
    }

    pub fn line(&self, result: &Result, style: Style) -> String {
        text::one(self, result, style)
    }

    pub fn summary(&self, style: Style) -> String {
        text::summary(self, style)
    }

    /// The details of one case, without colour.
    pub fn details(&self, result: &Result) -> String {
        text::one(self, result, Style::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    /// Three cases of step 4: one passed, one unknown, one skipped.
    fn report() -> Report {
        let verdicts = [
            Verdict::Pass,
            Verdict::Unknown("too busy".into()),
            Verdict::Skip("needs Linux".into()),
        ];
        let cases = cases::of(Side::Server, 4).into_iter();
        let result = |(case, verdict)| Result { case, verdict };
        let results = cases.zip(verdicts).map(result).collect();
        Report { results, ..Report::new(Side::Server, 4, 7, false) }
    }

    #[test]
    fn what_is_unknown_counts_in_the_maximum_of_all_forms() {
        let report = report();
        let weights = report.results.iter().map(|r| r.case.weight());
        let most: u32 = weights.take(2).sum();
        let reached = report.results[0].case.weight();
        assert_eq!(report.score(), (reached, most));
        let points = format!("{reached} of {most} points");
        for format in [Format::Text, Format::Tap] {
            let text = report.render(format);
            assert!(text.contains(&points), "{text}");
        }
        assert!(
            report
                .render(Format::Text)
                .contains("1 unknown (run again on an idle machine)")
        );
        let xml = report.render(Format::Junit);
        assert!(xml.contains(&format!("\"max_points\" value=\"{most}\"")));
        assert!(xml.contains("errors=\"1\""), "{xml}");
        let tap = report.render(Format::Tap);
        assert!(tap.contains("\nnot ok 2 - "), "{tap}");
        assert!(!tap.contains("TODO"), "{tap}");
        let value = |format| -> serde_json::Value {
            serde_json::from_str(&report.render(format)).unwrap()
        };
        assert_eq!(value(Format::Json)["max_points"], most);
        let tests = value(Format::Gradescope)["tests"].take();
        let tests = tests.as_array().unwrap().iter();
        let scores = tests.map(|test| test["max_score"].as_u64().unwrap());
        assert_eq!(scores.sum::<u64>(), u64::from(most));
    }
}

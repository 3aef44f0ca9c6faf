//! What is said in the end, for people and for programs.

mod junit;
mod machine;
mod text;

pub use text::Style;

use crate::case::{Case, Side, Verdict};
use crate::run::Result;

/// A form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One object with all cases
    Json,
    /// JUnit XML, for CI
    Junit,
    /// Test Anything Protocol
    Tap,
    /// Gradescope's results.json
    Gradescope,
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
}

impl Report {
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

    /// Points reached, and points that could be reached: what was skipped or
    /// could not be told is in neither.
    pub fn score(&self) -> (u32, u32) {
        let counted = self.results.iter().filter(|result| {
            !matches!(result.verdict, Verdict::Skip(_) | Verdict::Unknown(_))
        });
        let reached = counted.clone().map(|result| self.points(result)).sum();
        let left: u32 = self.left_out.iter().map(|case| case.weight()).sum();
        let most: u32 = counted.map(|result| result.case.weight()).sum();
        (reached, most + left)
    }

    pub fn count(&self, name: &str) -> usize {
        let same = |result: &&Result| result.verdict.name() == name;
        self.results.iter().filter(same).count()
    }

    /// 0: no failure; 1: a failure; 2: no failure, but something unknown.
    pub fn exit_code(&self) -> u8 {
        if self.results.iter().any(|r| self.is_failure(&r.verdict)) {
            return 1;
        }
        if self.count("unknown") > 0 { 2 } else { 0 }
    }

    pub fn replay(&self, case: &Case) -> String {
        format!(
            "check {} step{} --case {} --seed {}",
            self.side.name(),
            self.step,
            case.id,
            self.seed
        )
    }

    /// The whole report in a form for programs.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => text::whole(self, Style::default()),
            Format::Json => machine::json(self),
            Format::Tap => machine::tap(self),
            Format::Gradescope => machine::gradescope(self),
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

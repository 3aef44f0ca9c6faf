//! What a script can say of a program.

use std::process::ExitStatus;

/// What a script returns: `Err` ends it.
pub type Check<T = ()> = Result<T, Box<Stop>>;

/// Why a script ended early.
#[derive(Debug)]
pub enum Stop {
    Fail(Failure),
    Skip(String),
    Unknown(String),
}

/// What went wrong, for a person to read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    pub sent: String,
    pub expected: String,
    pub actual: Vec<String>,
    /// What was done before.
    pub so_far: Vec<String>,
    /// What the program printed, as far as it tells an error; escaped.
    pub printed: Vec<String>,
    /// How the server ended, where that is the cause.
    pub gone: Option<ExitStatus>,
    pub meaning: String,
    pub look: String,
    /// Nothing was wrong but the time: a late machine excuses that.
    pub by_time: bool,
    /// Only a machine that was very late excuses it.
    pub is_sure: bool,
    /// A message got no answer at all, by a server that lives.
    pub is_silent: bool,
}

impl Failure {
    /// The same case, with something else that was expected and came.
    pub fn of(
        &self,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Failure {
        let (expected, actual) = (expected.into(), vec![actual.into()]);
        Failure { expected, actual, ..self.clone() }
    }
}

impl From<Failure> for Box<Stop> {
    fn from(failure: Failure) -> Box<Stop> {
        Box::new(Stop::Fail(failure))
    }
}

/// What is said about a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Pass,
    /// Works here; a stricter peer or another system will suffer.
    Warn(Failure),
    Fail(Failure),
    /// The machine was too busy, or something that is needed is missing.
    Unknown(String),
    Skip(String),
}

impl Verdict {
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Warn(_) => "warn",
            Verdict::Fail(_) => "FAIL",
            Verdict::Unknown(_) => "unknown",
            Verdict::Skip(_) => "skip",
        }
    }

    pub fn mark(&self) -> &'static str {
        match self {
            Verdict::Pass => "✓",
            Verdict::Warn(_) => "!",
            Verdict::Fail(_) => "✗",
            Verdict::Unknown(_) => "?",
            Verdict::Skip(_) => "-",
        }
    }

    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Verdict::Warn(failure) | Verdict::Fail(failure) => Some(failure),
            _ => None,
        }
    }
}

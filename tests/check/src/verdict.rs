//! What a script can say about a program.

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
    /// What the checker sent last.
    pub sent: String,
    /// What had to come.
    pub expected: String,
    /// What came, a line each.
    pub actual: Vec<String>,
    /// What the checker did before.
    pub so_far: Vec<String>,
    /// What the program printed, as far as it tells an error; escaped.
    pub printed: Vec<String>,
    /// How the server ended, where that is the cause.
    pub gone: Option<ExitStatus>,
    /// What that usually means.
    pub meaning: String,
    /// Where to look.
    pub look: String,
    /// Only the time was wrong, so a late machine excuses the program.
    pub by_time: bool,
    /// Only a machine that was very late excuses the program.
    pub is_sure: bool,
    /// Where a message was due, nothing came at all.
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

impl Failure {
    /// Did nothing come, although the program lives?
    pub(crate) fn is_silence(&self) -> bool {
        self.is_silent && self.gone.is_none()
    }
}

impl From<Failure> for Box<Stop> {
    fn from(failure: Failure) -> Box<Stop> {
        Box::new(Stop::Fail(failure))
    }
}

/// What the checker says about a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// All is as the contract says.
    Pass,
    /// Works here; a stricter peer or another system will suffer.
    Warn(Failure),
    /// A rule of the contract is broken.
    Fail(Failure),
    /// The machine was too busy, or something that is needed is missing.
    Unknown(String),
    /// It was not tried, for this reason.
    Skip(String),
}

impl Verdict {
    /// The word for it: `pass`, `FAIL`.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Warn(_) => "warn",
            Verdict::Fail(_) => "FAIL",
            Verdict::Unknown(_) => "unknown",
            Verdict::Skip(_) => "skip",
        }
    }

    /// The sign for it: `✓`, `✗`.
    pub fn mark(&self) -> &'static str {
        match self {
            Verdict::Pass => "✓",
            Verdict::Warn(_) => "!",
            Verdict::Fail(_) => "✗",
            Verdict::Unknown(_) => "?",
            Verdict::Skip(_) => "-",
        }
    }

    /// What it means, in a few sentences; nothing if all is well.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Verdict::Pass => "",
            Verdict::Warn(failure) | Verdict::Fail(failure) => &failure.meaning,
            Verdict::Unknown(why) | Verdict::Skip(why) => why,
        }
    }

    /// What went wrong, if anything did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Verdict::Warn(failure) | Verdict::Fail(failure) => Some(failure),
            _ => None,
        }
    }
}

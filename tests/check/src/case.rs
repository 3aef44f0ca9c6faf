//! What a case is, and what it can say.

use std::ops::RangeInclusive;
use std::process::ExitStatus;

use crate::harness::lab::Lab;

/// Which end is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Side::Server => "server",
            Side::Client => "client",
        }
    }
}

/// What is special about a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Its limits are times: nothing else runs meanwhile, and a machine that
    /// is late excuses it soon.
    Timed,
    /// Needs what only Linux tells.
    Linux,
    /// A hostile peer or a fault; counts twice.
    Hostile,
    /// Must start the program itself: to set its limits or to measure it.
    Starts,
    /// Must choose the program's address: `{addr}` or `{port}` in `--cmd`.
    Places,
}

/// What a failure of a case usually means, and where to look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint {
    pub meaning: &'static str,
    pub look: &'static str,
}

/// One thing to try.
pub struct Case {
    pub id: &'static str,
    pub title: &'static str,
    /// What it sends and what must come back, in a few sentences.
    pub does: &'static str,
    /// The steps whose programs must pass it.
    pub steps: RangeInclusive<u8>,
    /// The rule of the contract: `(4, 3)` is step 4, rule 3.
    pub rule: (u8, u8),
    pub tags: &'static [Tag],
    /// Why it matters; never how to solve it.
    pub why: &'static str,
    pub hint: Hint,
    pub script: fn(&Lab) -> Check,
}

impl Case {
    pub fn side(&self) -> Side {
        if self.id.starts_with('S') { Side::Server } else { Side::Client }
    }

    pub fn has(&self, tag: Tag) -> bool {
        self.tags.contains(&tag)
    }

    /// Hostile and fault cases count twice.
    pub fn weight(&self) -> u32 {
        if self.has(Tag::Hostile) { 2 } else { 1 }
    }

    /// The step in whose chapter the case stands: that of its name.
    pub fn rule_step(&self) -> u8 {
        self.id.as_bytes()[1] - b'0'
    }

    pub fn rule_text(&self) -> String {
        format!("step {}, rule {}", self.rule.0, self.rule.1)
    }

    /// The chapter of the book that teaches it.
    pub fn chapter(&self) -> &'static str {
        match self.rule_step() {
            1 if self.side() == Side::Server => "The server",
            1 | 2 => "The client",
            3 => "Many clients",
            4 => "Frames",
            _ if self.side() == Side::Server => "Time limits",
            _ => "Trying again",
        }
    }
}

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

//! What a case is.

use std::ops::RangeInclusive;

use crate::harness::lab::Lab;
use crate::steps;
use crate::traits::{Hint, Side, Tag, Traits};
use crate::verdict::Check;

/// What shows that a case can fail: a check that never failed proves nothing.
#[derive(Clone, Copy, Debug)]
pub enum Proof {
    /// It catches each of these defects of the gallery.
    Defects(&'static [&'static str]),
    /// No defect of the gallery makes it fail, for this reason.
    Without(&'static str),
}

/// One thing to try.
pub struct Case {
    /// `S4-05`: the side, the step whose chapter explains it, a number.
    pub id: &'static str,
    /// What a good program does, in a few words.
    pub title: &'static str,
    /// What it sends and what must come back, in a few sentences.
    pub does: &'static str,
    /// The steps whose programs must pass it.
    pub steps: RangeInclusive<u8>,
    /// The rule of the contract: `(4, 3)` is step 4, rule 3.
    pub rule: (u8, u8),
    /// What is special about it.
    pub tags: &'static [Tag],
    /// Why it matters; never how to solve it.
    pub why: &'static str,
    /// What its failure usually means.
    pub hint: Hint,
    /// What shows that it can fail.
    pub proof: Proof,
    /// What it does; afterwards the engine makes the checks that every server
    /// must pass.
    pub(crate) script: fn(&Lab) -> Check,
}

impl Case {
    /// Which end it tries.
    pub fn side(&self) -> Side {
        if self.id.starts_with('S') { Side::Server } else { Side::Client }
    }

    /// Returns what the engine knows about it.
    pub(crate) fn traits(&self) -> Traits {
        let (side, hint) = (self.side(), self.hint);
        Traits { id: self.id, side, hint, tags: self.tags }
    }

    /// Does it have this tag?
    pub fn has(&self, tag: Tag) -> bool {
        self.tags.contains(&tag)
    }

    /// Hostile and fault cases count twice.
    pub fn weight(&self) -> u32 {
        if self.has(Tag::Hostile) { 2 } else { 1 }
    }

    /// Its name as a test: `s4_13_answers_an_unknown_kind_with_error_3`.
    pub fn test_name(&self) -> String {
        let name = format!("{} {}", self.id, self.title.replace('\'', ""));
        let name = name.to_lowercase();
        let words = name.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        words.join("_")
    }

    /// Returns the step whose chapter explains the case: the one in its name.
    pub fn rule_step(&self) -> u8 {
        self.id.as_bytes()[1] - b'0'
    }

    /// `step 4, rule 3`.
    pub fn rule_text(&self) -> String {
        format!("step {}, rule {}", self.rule.0, self.rule.1)
    }

    /// The chapter of the book that teaches it.
    pub fn chapter(&self) -> &'static str {
        let [server, client] = steps::chapters(self.rule_step());
        match self.side() {
            Side::Server => server,
            Side::Client => client,
        }
    }
}

//! How far the run is, on a terminal.

use std::cell::Cell;
use std::io::{IsTerminal, Write};

use crate::case::Case;

/// A line on a terminal that says how far we are.
pub struct Progress {
    total: usize,
    done: Cell<usize>,
    is_shown: bool,
}

impl Progress {
    pub fn new(total: usize) -> Progress {
        let is_shown = std::io::stderr().is_terminal();
        Progress { total, done: 0.into(), is_shown }
    }

    pub fn advance(&self, case: &Case) {
        self.done.set(self.done.get() + 1);
        if self.is_shown && self.done.get() < self.total {
            let text =
                format!("{}/{} {}", self.done.get(), self.total, case.id);
            let _ = write!(std::io::stderr(), "\r{text} …");
        }
    }

    pub fn clear(&self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

//! How the checker prints, and what it does when it cannot.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};

use crate::program::ending::Processes;

/// Marks an error: there is a result, but it cannot be written.
#[derive(Debug)]
pub struct Unwritten(pub String);

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "cannot write {}", self.0)
    }
}

/// Prints to stdout, until Ctrl-C.
pub struct Voice<'a>(pub &'a Processes);

impl Voice<'_> {
    /// Prints. A reader that has gone is no error of ours.
    ///
    /// # Errors
    /// The disk is full, for example: see [`Unwritten`].
    pub fn say(&self, text: &str) -> Result<()> {
        self.0.wait_if_over();
        let mut out = io::stdout();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(error).context(Unwritten("the report".into()))
            }
            _ => Ok(()),
        }
    }
}

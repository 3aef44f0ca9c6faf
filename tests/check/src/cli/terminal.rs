//! A program under test can reach the terminal on which we were started
//! (`/dev/tty`), and change how it behaves: without an echo, say. We leave
//! it as we found it.

use std::io::stderr;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// How the terminal was set, if stderr is one.
#[derive(Clone)]
pub struct Terminal(Option<Termios>);

impl Terminal {
    /// Remembers how it is set now.
    pub fn found() -> Terminal {
        Terminal(tcgetattr(stderr()).ok())
    }

    /// Sets it as it was.
    pub fn restore(&self) {
        if let Some(found) = &self.0 {
            let _ = tcsetattr(stderr(), OptionalActions::Now, found);
        }
    }
}

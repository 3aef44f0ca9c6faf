//! A program under test can reach the terminal on which we were started
//! (`/dev/tty`), and change how it behaves: without an echo, say. It is left
//! as it was found.

use std::io::stderr;
use std::sync::OnceLock;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

static FOUND: OnceLock<Termios> = OnceLock::new();

/// Remembers how the terminal is set, if stderr is one.
pub fn remember() {
    if let Ok(found) = tcgetattr(stderr()) {
        let _ = FOUND.set(found);
    }
}

/// Sets it as it was.
pub fn restore() {
    if let Some(found) = FOUND.get() {
        let _ = tcsetattr(stderr(), OptionalActions::Now, found);
    }
}

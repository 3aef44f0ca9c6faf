//! What a program has to say for itself: how it died, what it printed.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::diagnosis::said;
use crate::harness::lab::Lab;
use crate::harness::programs::LIVES;
use crate::program::running::{Program, describe};
use crate::traits::{Side, Tag};
use crate::verdict::Failure;

/// A connection ends a moment before its program has; and a port closes when
/// its program is about to end.
const MOMENT: Duration = Duration::from_millis(300);
pub const ALL_MOMENTS: Duration = Duration::from_secs(2);

/// What can be seen of the program under test.
#[derive(Clone, Default)]
pub struct Seen {
    /// A server that has ended is the cause of whatever else went wrong.
    pub gone: Option<ExitStatus>,
    /// What it printed, as far as it tells an error.
    pub printed: Vec<String>,
}

impl Lab<'_> {
    /// Looks at the program now.
    pub fn look(&self, expected: &str) -> Seen {
        let mut programs = self.programs.borrow_mut();
        let Some(program) = programs.last_mut() else {
            return Seen::default();
        };
        if self.traits.side == Side::Client {
            // Soon our side closes, and what it says then is an echo of that.
            if program.ended().is_some() {
                program.wait_output();
            }
            return Seen { gone: None, printed: program.last_words() };
        }
        let gone = self.wait_for_end(program, expected);
        if gone.is_some() {
            program.wait_output();
        }
        Seen { gone, printed: program.last_words() }
    }

    /// Has it ended, or is it about to? All failures of a case together wait
    /// for that no longer than two seconds.
    fn wait_for_end(
        &self,
        program: &mut Program,
        expected: &str,
    ) -> Option<ExitStatus> {
        let left = self.moments.get();
        let limit = match expected {
            LIVES => left,
            _ if self.is_open.get() => Duration::ZERO, // it did not end then
            _ => left.min(MOMENT),
        };
        let start = Instant::now();
        let gone = program.wait(limit);
        self.moments.set(left.saturating_sub(start.elapsed()));
        gone
    }

    /// Adds to a failure what the program itself says of it.
    pub fn complete(&self, failure: &mut Failure) {
        let mut programs = self.programs.borrow_mut();
        let Some(program) = programs.last_mut() else { return };
        if let Some(excess) = program.excess() {
            failure.actual = vec!["the checker had to end it".into()];
            failure.meaning =
                format!("We ended your program: {}.", excess.what);
            failure.look = excess.look.into();
            failure.by_time = false;
        } else if let Some(status) = failure.gone {
            say_gone(failure, status, self.traits.has(Tag::Ending));
        } else if self.traits.side == Side::Server
            && failure.printed.iter().any(|line| said::is_error(line))
        {
            // Of a thread: the program lives on, and only this client waits.
            failure.look =
                format!("the error that it printed; {}", failure.look);
        }
    }
}

fn say_gone(failure: &mut Failure, status: ExitStatus, is_own: bool) {
    failure.by_time = false;
    if failure.actual.len() == 1 {
        // Which of its ends we saw first is a matter of luck.
        failure.actual = vec!["it ended".into()];
    }
    if status.success() {
        failure.meaning = "Your server is gone: it ended by itself, with exit \
                           code 0, as a program does when its work is done."
            .into();
        failure.look =
            "the loop around accept: is there one, and what ends it?".into();
        return;
    }
    failure.meaning = format!("Your server is gone: {}.", describe(status));
    // Elsewhere it is a client's error that ends a server.
    let look = match is_own {
        true => &failure.look,
        false => "one client's error must not end it",
    };
    failure.look = match failure.printed.is_empty() {
        true => look.to_owned(),
        false => format!("what it printed last; {look}"),
    };
}

/// A stack trace is no message.
pub fn trace(lab: &Lab, text: &str) {
    let signs = ["Traceback (most", "panicked at", "\n\tat ", "goroutine 1 ["];
    if signs.iter().any(|sign| text.contains(sign)) {
        let mut failure = lab.fail("a message", "a stack trace");
        failure.meaning = "The person who starts your program may not be the \
                           one who wrote it."
            .into();
        failure.look = "catch this error, and say it in one line".into();
        lab.warn(failure);
    }
}

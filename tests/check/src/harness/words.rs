//! What a program tells us itself: how it ended, and what it printed.

use std::process::ExitStatus;

use crate::diagnosis::said;
use crate::harness::lab::Lab;
use crate::program::running::describe;
use crate::traits::{Side, Tag};
use crate::verdict::Failure;

impl Lab<'_> {
    /// Adds to a failure what the program itself says of it.
    pub fn complete(&self, failure: &mut Failure) {
        let mut programs = self.programs.borrow_mut();
        let Some(program) = programs.last_mut() else { return };
        if let Some(excess) = program.excess() {
            failure.actual = vec!["the checker had to end it".into()];
            failure.meaning =
                format!("The checker ended your program: {}.", excess.what);
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
        // It is a matter of luck whether we see its FIN or its exit first.
        failure.actual = vec!["it ended".into()];
    }
    if status.success() {
        failure.meaning = "Your server is gone: it ended by itself, with exit \
                           code 0, as a program does when its work is done."
            .into();
        failure.look =
            "the loop around `accept`: is there one, and what ends it?".into();
        return;
    }
    failure.meaning = format!("Your server is gone: {}.", describe(status));
    // Elsewhere it is a client's error that ends a server.
    let look = match is_own {
        true => &failure.look,
        false => {
            "where the error of one client goes, and why it ends your server"
        }
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
        failure.meaning = "Your program printed a stack trace, but the person \
                           who starts it may not be the one who wrote it."
            .into();
        failure.look = "where your program catches this error, and what it \
                        prints then"
            .into();
        lab.warn(failure);
    }
}

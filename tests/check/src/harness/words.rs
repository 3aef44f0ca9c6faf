//! What a program has to say for itself: how it died, what it printed.

use std::time::Duration;

use crate::harness::lab::Lab;
use crate::harness::programs::LIVES;
use crate::program::running::{Program, describe};
use crate::program::words::last_words;
use crate::traits::{Side, Tag};
use crate::verdict::Failure;

/// How a line begins with which a program reports an error, in many languages.
const SIGNS: [&str; 4] = ["Error: ", "Exception", "panicked at", "panic: "];

impl Lab<'_> {
    /// Adds to a failure what the program itself says of it.
    pub fn complete(&self, failure: &mut Failure) {
        let mut programs = self.programs.borrow_mut();
        let Some(program) = programs.last_mut() else { return };
        let is_server = self.traits.side == Side::Server;
        if let Some(excess) = program.excess() {
            failure.meaning = format!("Your program was ended: {excess}.");
            failure.look = "what it does without end".into();
            failure.by_time = false;
        } else if is_server && !self.traits.has(Tag::LastEnds) {
            let look = match self.traits.has(Tag::Ending) {
                true => failure.look.clone(),
                false => "one client's error must not end it".to_owned(),
            };
            say_if_gone(program, failure, &look);
        }
        if program.ended().is_some() {
            program.wait_output();
        }
        if failure.printed.is_empty() && is_server {
            failure.printed = last_words(program);
        }
        let has_error =
            |line: &String| SIGNS.iter().any(|sign| line.contains(sign));
        // Of a thread: the program lives on, and only this client waits.
        let is_alive = program.ended().is_none();
        if is_alive && failure.printed.iter().any(has_error) {
            failure.look =
                format!("the error that it printed; {}", failure.look);
        }
    }
}

/// A server that has ended is the cause of whatever else was seen.
fn say_if_gone(program: &mut Program, failure: &mut Failure, look: &str) {
    // A connection ends a moment before its program has, and its port closes
    // when it is about to.
    let is_closed = failure.expected == LIVES;
    let grace = Duration::from_millis(if is_closed { 2000 } else { 300 });
    let Some(status) = program.wait(grace) else { return };
    failure.meaning = format!("Your server is gone: {}.", describe(status));
    failure.look = format!("what it printed last; {look}");
    failure.by_time = false;
    if failure.actual.len() == 1 {
        // Which of its ends we saw first is a matter of luck.
        failure.actual = vec!["it ended".into()];
    }
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

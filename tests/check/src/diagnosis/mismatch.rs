//! What to say when other bytes came than those that were due.

use std::time::Duration;

use crate::diagnosis::evidence::{End, Evidence, Got};
use crate::diagnosis::show::time;
use crate::diagnosis::{cause, cause_framed, show};
use crate::traits::{Hint, Side, Tag, Traits};
use crate::verdict::Failure;
use crate::wire::{ECHO_REPLY, ERROR, error_name};

const CLOSED: Hint = Hint {
    meaning: "Your server closed the connection without an answer.",
    look: "what closes the connection: an exception? the end of the code after \
           one request?",
};

/// Linux knows how many connections wait until somebody accepts them.
pub const NOT_ACCEPTED: &str = "your server has not accepted the connection \
                                yet";

pub const QUEUED: Hint = Hint {
    meaning: "Your server has not called `accept` for this client, which waits \
              in the queue of the listening socket.",
    look: "what runs before your server calls `accept` again, and whether it \
           calls it for each client that waits",
};

/// On which connection something else came than what had to come.
pub struct Mismatch<'a> {
    pub traits: &'a Traits,
    /// The case about the plainest exchange of this step.
    pub basic: Option<&'static str>,
    pub is_framed: bool,
    /// Does the failure carry the hint that the case itself has?
    pub has_own_hint: bool,
    /// Was the connection not even accepted?
    pub is_queued: bool,
    /// The answer before this one.
    pub previous: &'a [u8],
    /// What it means when other bytes came, and nothing better is known.
    pub other: Hint,
}

impl Mismatch<'_> {
    /// Shows what came, and explains it. `base` has the hint of the case.
    pub fn describe(
        &self,
        base: &Failure,
        want: &[u8],
        got: &Got,
        within: Duration,
    ) -> Failure {
        let is_short = want.starts_with(&got.bytes);
        let shown = show::difference(want, &got.bytes);
        let mut failure = base.of(shown.expected, "");
        failure.by_time = is_short && got.end == End::Open;
        failure.is_silent = got.bytes.is_empty();
        failure.actual = shown.actual;
        if got.bytes.is_empty() {
            failure.actual.clear();
        }
        if is_short {
            failure.actual.push(match got.end {
                End::Open => format!("no more came within {}", time(within)),
                // FIN or RST: that depends on what had come by then.
                End::Fin | End::Reset => "the connection was closed".into(),
            });
        }
        if self.is_queued {
            failure.actual.push(NOT_ACCEPTED.into());
        }
        failure.actual.extend(cause_framed::error_text(&got.bytes, want));
        self.explain(&mut failure, want, got);
        failure
    }

    fn explain(&self, failure: &mut Failure, want: &[u8], got: &Got) {
        // Where the clock is the subject, the case knows best.
        let is_server = self.traits.side == Side::Server;
        if self.traits.has(Tag::Timed) && is_server {
            return;
        }
        // A frame too many, or refused for what the case is about.
        let is_refused = cause_framed::error_text(&got.bytes, want).is_some();
        let is_more = got.bytes.starts_with(want);
        let is_plain = is_server && self.basic == Some(self.traits.id);
        if self.is_framed && (is_refused || is_more) && !is_plain {
            return;
        }
        let is_closed = got.bytes.is_empty() && got.end != End::Open;
        if is_server && is_closed && self.is_puzzled() {
            failure.meaning = CLOSED.meaning.into();
            failure.look = CLOSED.look.into();
        }
        if self.is_queued
            && self.has_own_hint
            && !self.traits.has(Tag::Queueing)
        {
            failure.meaning = QUEUED.meaning.into();
            failure.look = QUEUED.look.into();
        }
        self.explain_bytes(failure, want, got);
    }

    /// What the bytes that came tell.
    fn explain_bytes(&self, failure: &mut Failure, want: &[u8], got: &Got) {
        let found = cause::find(&Evidence {
            is_framed: self.is_framed,
            expected: want,
            got: &got.bytes,
            previous: self.previous,
            end: got.end,
        });
        let is_short = want.starts_with(&got.bytes);
        // Where slices are the subject, a cut frame is what the case says.
        let knows = is_short || self.traits.has(Tag::Slices);
        let Hint { meaning, look } = self.other;
        let other = (!knows).then(|| (meaning.to_owned(), look));
        if let Some((meaning, look)) = found.or(other) {
            failure.meaning = self.of_side(&meaning);
            failure.look = self.of_side(look);
        }
    }

    /// Does the hint speak of waiting, and not of a closed connection?
    fn is_puzzled(&self) -> bool {
        self.has_own_hint && !self.traits.has(Tag::Closing)
    }

    /// A client makes the same mistakes on the other side.
    fn of_side(&self, text: &str) -> String {
        if self.traits.side == Side::Server {
            return text.to_owned();
        }
        text.replace("reply", "request")
            .replace("replies", "requests")
            .replace("kind 81", "kind 01")
            .replace("Your server", "Your client")
    }
}

/// What came instead of an ERROR that ends nothing.
pub fn no_error(base: &Failure, want: &str, head: &Got, code: u8) -> Failure {
    let actual = match head.bytes.is_empty() {
        true => format!("0 bytes; {}", head.end.text()),
        false => show::bytes(&head.bytes, head.bytes.len()),
    };
    let mut failure = base.of(want, actual);
    failure.by_time = head.end == End::Open && head.bytes.is_empty();
    failure.is_silent = head.bytes.is_empty();
    if failure.by_time && code == 3 {
        failure.meaning = "Your server ignored an unknown kind, so the client \
                           waits for an answer that never comes."
            .into();
    } else if let [.., ERROR, other] = head.bytes[..]
        && other != code
    {
        failure.meaning = format!(
            "Your server answered, but with ERROR({other}), {}.",
            error_name(other)
        );
        failure.look = "the table of error codes in the contract".into();
    } else if head.bytes.get(4) == Some(&ECHO_REPLY) {
        failure.meaning =
            "Your server answered this frame like an ECHO, so it did not look \
             at the kind."
                .into();
    }
    failure
}

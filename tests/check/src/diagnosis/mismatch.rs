//! What came is not what had to come: what to say of it.

use std::time::Duration;

use crate::case::{Check, Failure, Hint, Side, Tag};
use crate::diagnosis::cause::{self, Evidence};
use crate::diagnosis::{cause_framed, show};
use crate::harness::lab::{PATIENCE, time};
use crate::harness::peer::{End, Got, Peer};
use crate::wire::{ECHO_REPLY, ERROR, error_name};

const CLOSED: Hint = Hint {
    meaning: "The connection was closed, and nothing was answered.",
    look: "what closes it: an exception? only one request for each \
           connection?",
};

impl Peer<'_> {
    /// What came is not what had to come.
    pub fn mismatch(
        &self,
        want: &[u8],
        got: &Got,
        within: Duration,
    ) -> Failure {
        let is_short = want.starts_with(&got.bytes);
        let shown = show::difference(want, &got.bytes);
        let mut failure = self.fail(shown.expected, "");
        failure.by_time = is_short && got.end == End::Open;
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
        failure.actual.extend(cause_framed::error_text(&got.bytes, want));
        self.explain(&mut failure, want, got);
        failure
    }

    fn explain(&self, failure: &mut Failure, want: &[u8], got: &Got) {
        // Where the clock is the subject, the case knows best.
        let is_timed = self.lab.case.has(Tag::Timed);
        if is_timed && self.lab.case.side() == Side::Server {
            return;
        }
        // A frame too many, or refused for what the case is about.
        let is_framed = self.lab.is_framed();
        let is_refused = cause_framed::error_text(&got.bytes, want).is_some();
        let is_more = got.bytes.starts_with(want);
        if is_framed && (is_refused || is_more) && self.lab.case.id != "S4-01" {
            return;
        }
        if got.bytes.is_empty() && got.end != End::Open && self.is_puzzled() {
            failure.meaning = CLOSED.meaning.into();
            failure.look = CLOSED.look.into();
        }
        if let Some(basic) = self.basic_case(got) {
            failure.meaning = format!(
                "Already the first message was not answered. Mend that first: \
                 try {basic}."
            );
            failure.look = format!("what check says of {basic}");
            return;
        }
        self.explain_bytes(failure, want, got);
    }

    /// What the bytes that came tell.
    fn explain_bytes(&self, failure: &mut Failure, want: &[u8], got: &Got) {
        let found = cause::find(&Evidence {
            is_framed: self.lab.is_framed(),
            expected: want,
            got: &got.bytes,
            previous: &self.previous,
            end: got.end,
        });
        let is_short = want.starts_with(&got.bytes);
        // Where slices are the subject, a cut frame is what the case says.
        let slices = ["S4-08", "S4-09", "S4-10", "S4-14"];
        let is_sliced = slices.contains(&self.lab.case.id);
        let other = self.lab.other().filter(|_| !is_short && !is_sliced);
        if let Some((meaning, look)) = found.or(other) {
            failure.meaning = self.of_side(&meaning);
            failure.look = self.of_side(look);
        }
    }

    /// The case that is about the plainest message there is, when this one is
    /// about something else and did not even get that far.
    fn basic_case(&self, got: &Got) -> Option<&'static str> {
        let step = self.lab.setup.step;
        let basic = match (self.lab.case.side(), step) {
            (Side::Client, _) => return None,
            (Side::Server, 1) => "S1-01",
            (Side::Server, 2 | 3) => "S2-01",
            (Side::Server, _) => "S4-01",
        };
        let about_the_first = [
            basic, "S1-01", "S2-01", "S2-02", "S2-03", "S2-05", "S3-01",
            "S3-02", "S3-04", "S4-02", "S4-03", "S4-08", "S4-09", "S4-10",
            "S4-11", "S4-14", "S4-15", "S4-21",
        ];
        let is_plain = !about_the_first.contains(&self.lab.case.id);
        let is_silent = got.bytes.is_empty() && got.end == End::Open;
        (is_plain && is_silent && !self.lab.has_heard.get()).then_some(basic)
    }

    /// Is this a case whose hint speaks of waiting, and not of closing?
    fn is_puzzled(&self) -> bool {
        let waits = [
            "S2-01", "S3-01", "S3-02", "S3-04", "S4-01", "S4-02", "S4-03",
            "S4-08", "S4-09", "S4-10", "S4-14",
        ];
        waits.contains(&self.lab.case.id)
    }

    /// A client makes the same mistakes on the other side.
    fn of_side(&self, text: &str) -> String {
        if self.lab.case.side() == Side::Server {
            return text.to_owned();
        }
        text.replace("reply", "request")
            .replace("replies", "requests")
            .replace("kind 81", "kind 01")
            .replace("Your server", "Your client")
    }
}

/// An ERROR that ends nothing.
pub fn expect_error(client: &mut Peer, code: u8) -> Check {
    let want = format!("ERROR({code}); the connection stays open");
    let head = client.read(6, client.lab.until(PATIENCE));
    let is_error = head.bytes.get(4..) == Some(&[ERROR, code]);
    let length = head.bytes.first_chunk().map_or(0, |n| u32::from_be_bytes(*n));
    if is_error && (2..=202).contains(&length) {
        let text = client.read(length as usize - 2, client.lab.until(PATIENCE));
        if text.bytes.len() == length as usize - 2 {
            client.note(&format!("got ERROR({code})"));
            return Ok(());
        }
    }
    Err(no_error(client, want, &head, code).into())
}

/// What came in place of that ERROR.
fn no_error(client: &Peer, want: String, head: &Got, code: u8) -> Failure {
    let actual = match head.bytes.is_empty() {
        true => format!("0 bytes; {}", head.end.text()),
        false => show::bytes(&head.bytes, head.bytes.len()),
    };
    let mut failure = client.fail(want, &actual);
    failure.by_time = head.end == End::Open && head.bytes.is_empty();
    if failure.by_time {
        failure.meaning = "An unknown kind was ignored: the client waits for \
                           an answer that never comes."
            .into();
    } else if let [.., ERROR, other] = head.bytes[..]
        && other != code
    {
        failure.meaning = format!(
            "It answered, but with ERROR({other}), {}.",
            error_name(other)
        );
        failure.look = "the table of error codes in the contract".into();
    } else if head.bytes.get(4) == Some(&ECHO_REPLY) {
        failure.meaning = "It was answered like an ECHO; nobody looked at \
                           the kind."
            .into();
    }
    failure
}

//! A fatal error, and what a server may do about it. A server that sends ERROR
//! and then FIN is right. One that closes without a word, or resets, gets a
//! warning, because clients cope with it. Everything else is a failure.

use std::time::Duration;

use crate::diagnosis::evidence::{End, Got};
use crate::diagnosis::show;
use crate::diagnosis::show::time;
use crate::verdict::Failure;
use crate::wire::{ECHO_REPLY, ERROR, Head, error_name, head};

/// A server that had to refuse what it was sent.
pub struct Refusal<'a> {
    /// The failure without what was expected and what came.
    pub base: Failure,
    /// The code that it had to send.
    pub code: u8,
    /// How long the ERROR could take, and how long we waited.
    pub within: Duration,
    pub waited: Duration,
    pub got: &'a Got,
    /// The first bytes of what was refused.
    pub sent: &'a [u8],
    /// What died, if that ended the connection; it is no way to refuse.
    pub death: Option<Death>,
}

/// What died of what a client sent.
#[derive(Clone, Copy, PartialEq)]
pub enum Death {
    /// The server.
    Program,
    /// The code that served this client: a thread, a task.
    Code,
}

impl Refusal<'_> {
    /// What is wrong, and whether it is no more than a warning.
    pub fn judge(&self) -> Option<(Failure, bool)> {
        let Refusal { got, code, within, .. } = *self;
        let wanted = format!("ERROR({code}) within {}, then FIN", time(within));
        if got.bytes.is_empty() {
            return Some(self.closed_or_waiting(got.end, wanted));
        }
        if got.bytes.get(4) == Some(&ECHO_REPLY) {
            return Some((self.answered(got, wanted), false));
        }
        let Head::Whole { kind, payload, size } = head(&got.bytes) else {
            return Some((self.no_frame(got, wanted), false));
        };
        if kind != ERROR {
            return Some((self.answered(got, wanted), false));
        }
        if payload.first() != Some(&code) {
            return Some((self.wrong_code(payload, wanted), false));
        }
        if size < got.bytes.len() {
            return Some((self.went_on(&got.bytes[size..], wanted), false));
        }
        match got.end {
            End::Fin => {
                let failure = bad_text(&self.base, payload, self.sent);
                failure.map(|failure| (failure, true))
            }
            End::Reset => Some((reset_after(&self.base, &wanted), true)),
            End::Open => Some((self.stays_open(wanted), false)),
        }
    }

    fn closed_or_waiting(&self, end: End, wanted: String) -> (Failure, bool) {
        if end == End::Open {
            let after = time(self.waited);
            let actual = format!(
                "connection still open after {after}, 0 bytes received"
            );
            let failure = self.base.of(wanted, actual);
            let (by_time, is_silent) = (true, true);
            return (Failure { by_time, is_silent, ..failure }, false);
        }
        let actual = format!("no ERROR; {}", end.text());
        let mut failure = self.base.of(wanted, actual);
        if self.death == Some(Death::Code) {
            failure.meaning = "The code that served this client died of an \
                               error instead of refusing, and that closed the \
                               connection."
                .into();
            failure.look =
                "where it checks N before it uses N, and the type of N".into();
        }
        if self.death.is_some() {
            return (failure, false);
        }
        failure.meaning = "Your server refused, but did not say why, so \
                           whoever wrote the client has to guess."
            .into();
        failure.look =
            "what it does after an error, before it closes (step 4, rule 3)"
                .into();
        (failure, true)
    }

    fn no_frame(&self, got: &Got, wanted: String) -> Failure {
        let shown = show::bytes(&got.bytes, got.bytes.len());
        let mut failure = self.base.of(wanted, shown);
        failure.meaning = if got.bytes.starts_with(b"HTTP/") {
            "Your server answered like a web server.".into()
        } else {
            "Your server sent bytes that are not a whole frame of the \
             contract."
                .into()
        };
        failure.look =
            "how your server writes an ERROR: length, kind 7f, code, text"
                .into();
        failure
    }

    fn answered(&self, got: &Got, wanted: String) -> Failure {
        let shown = show::bytes(&got.bytes, got.bytes.len());
        let mut failure = self.base.of(wanted, shown);
        failure.meaning = "Your server answered what it must refuse.".into();
        failure
    }

    fn wrong_code(&self, payload: &[u8], wanted: String) -> Failure {
        let Some(code) = payload.first() else {
            let mut failure = self.base.of(wanted, "an ERROR without a code");
            failure.look =
                "the payload of ERROR: one byte code, then text".into();
            return failure;
        };
        let actual = format!("ERROR({code}), {}", error_name(*code));
        let mut failure = self.base.of(wanted, actual);
        failure.meaning = "Your server refused, but gave another reason, so a \
                           client cannot tell what it did wrong."
            .into();
        failure.look = "the table of error codes in the contract".into();
        failure
    }

    fn went_on(&self, rest: &[u8], wanted: String) -> Failure {
        let shown = show::bytes(rest, rest.len());
        let mut failure =
            self.base.of(wanted, "ERROR, and these bytes after it");
        failure.actual.push(shown);
        failure.meaning = "Your server went on parsing after a bad length, \
                           although it cannot know where the next frame \
                           begins."
            .into();
        failure.look =
            "what your read loop does after your server has sent the ERROR"
                .into();
        failure
    }

    fn stays_open(&self, wanted: String) -> Failure {
        let mut failure = self
            .base
            .of(wanted, "ERROR, and 2 s later the connection is still open");
        failure.meaning = "Your server did not end the connection after an \
                           ERROR that is fatal."
            .into();
        failure.look =
            "what your server does after it has sent the ERROR".into();
        failure.by_time = true;
        failure
    }
}

/// The ERROR came, and then a reset, which can overtake it.
pub fn reset_after(base: &Failure, wanted: &str) -> Failure {
    let mut failure = base.of(wanted, "ERROR, then a reset (RST)");
    failure.meaning = "Your server closed while bytes were still unread, or \
                       with SO_LINGER set to 0, so its kernel sent a reset, \
                       which can destroy the ERROR on its way."
        .into();
    failure.look =
        "how your server closes, and what is still unread then (step 4, rule \
         3)"
        .into();
    failure
}

/// What is wrong with the text of an ERROR, whose payload this is: a warning.
pub fn bad_text(
    base: &Failure,
    payload: &[u8],
    sent: &[u8],
) -> Option<Failure> {
    let text = payload.get(1..)?;
    let actual = if text.len() > 200 {
        format!("an ERROR text of {}", show::size(text.len()))
    } else if std::str::from_utf8(text).is_err() {
        "an ERROR text that is not UTF-8".to_owned()
    } else if has_bytes_of(text, sent) {
        "an ERROR text with the sender's own bytes in it".to_owned()
    } else {
        return None;
    };
    let wanted = "at most 200 bytes of UTF-8, all the server's own";
    let mut failure = base.of(wanted, actual);
    failure.meaning =
        "Clients show this text on terminals and in logs, so all of it must be \
         short, valid text of your own."
            .into();
    failure.look = "what your server puts into the text, and where it comes \
                    from"
        .into();
    Some(failure)
}

/// Is a piece of what was sent in the text?
fn has_bytes_of(text: &[u8], sent: &[u8]) -> bool {
    let mut parts = sent.windows(6).filter(|part| part.is_ascii());
    parts.any(|part| text.windows(6).any(|window| window == part))
}

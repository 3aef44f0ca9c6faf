//! A fatal error and what a server may do about it: send ERROR and then FIN
//! is right; close without a word, or reset, works, and is a warning; all
//! else is a failure.

use std::time::{Duration, Instant};

use crate::case::{Check, Failure};
use crate::diagnosis::show;
use crate::harness::lab::{SLACK, time};
use crate::harness::peer::{End, Got, Peer};
use crate::wire::{ECHO_REPLY, ERROR, Head, error_name, head};

/// How long the FIN may take after the ERROR: a server that closes only when
/// it has thrown away what still comes needs a second.
const FIN: Duration = Duration::from_secs(2);

/// The code of a time limit.
const TIMEOUT: u8 = 5;

/// What is read before the judgement: an ERROR is at most 206 bytes.
const MOST: usize = 4096;

impl Peer<'_> {
    /// The server must refuse with this code, `within` from `since`.
    pub fn expect_fatal(
        &mut self,
        code: u8,
        since: Instant,
        within: Duration,
    ) -> Check {
        let limit = since + within + SLACK;
        let first = self.read(1, limit);
        let after = first.end;
        let mut got = Got { bytes: first.bytes, end: after };
        if !got.bytes.is_empty() {
            let rest = self.read(MOST, self.lab.until(FIN));
            got.bytes.extend(rest.bytes);
            got.end = rest.end;
        }
        let wanted = format!("ERROR({code}) within {}, then FIN", time(within));
        match self.judge(code, &got, wanted, within) {
            None => {
                self.note(&format!("got ERROR({code}) and FIN"));
                Ok(())
            }
            Some((failure, true)) => {
                self.lab.warn(failure);
                self.note("closed");
                Ok(())
            }
            Some((failure, false)) => Err(failure.into()),
        }
    }

    /// What is wrong, and whether it is no more than a warning.
    fn judge(
        &self,
        code: u8,
        got: &Got,
        wanted: String,
        within: Duration,
    ) -> Option<(Failure, bool)> {
        if got.bytes.is_empty() && got.end == End::Open {
            return Some((self.waiting(wanted, within), false));
        }
        if got.bytes.is_empty() {
            return Some(self.closed(code, got.end, wanted));
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
            End::Fin => self.bad_text(payload),
            End::Reset => Some((self.reset_after(wanted), true)),
            End::Open => Some((self.stays_open(wanted), false)),
        }
    }

    fn waiting(&self, wanted: String, within: Duration) -> Failure {
        let after = time(within + SLACK);
        let actual =
            format!("connection still open after {after}, 0 bytes received");
        let failure = self.fail(wanted, &actual);
        Failure { by_time: true, ..failure }
    }

    /// It closed without a word. That is a way to refuse, unless something
    /// died: the program, or the code that served this client.
    fn closed(&self, code: u8, end: End, wanted: String) -> (Failure, bool) {
        let actual = format!("no ERROR; {}", end.text());
        // At a time limit it is the end that was due, whatever it came from.
        let has_died = code != TIMEOUT && self.has_killed();
        let mut failure = self.fail(wanted, &actual);
        if failure.gone.is_some() {
            return (failure, false);
        }
        if has_died {
            failure.meaning = "Your server did not refuse: the code that \
                               served this client died of an error, and that \
                               closed the connection."
                .into();
            failure.look = "whether N is checked before it is used, and the \
                            type in which it is kept"
                .into();
            return (failure, false);
        }
        failure.meaning = "Your server refused, but did not say why: whoever \
                           wrote the client has to guess."
            .into();
        failure.look =
            "what you do after an error, before you close (step 4, rule 3)"
                .into();
        (failure, true)
    }

    fn no_frame(&self, got: &Got, wanted: String) -> Failure {
        let shown = show::bytes(&got.bytes, got.bytes.len());
        let mut failure = self.fail(wanted, &shown);
        failure.meaning = if got.bytes.starts_with(b"HTTP/") {
            "It answered like a web server.".into()
        } else {
            "What came is not a whole frame of the contract.".into()
        };
        failure.look =
            "how you write an ERROR: length, kind 7f, code, text".into();
        failure
    }

    fn answered(&self, got: &Got, wanted: String) -> Failure {
        let shown = show::bytes(&got.bytes, got.bytes.len());
        let mut failure = self.fail(wanted, &shown);
        failure.meaning = "Your server answered what it must refuse.".into();
        failure
    }

    fn wrong_code(&self, payload: &[u8], wanted: String) -> Failure {
        let Some(code) = payload.first() else {
            let mut failure = self.fail(wanted, "an ERROR without a code");
            failure.look =
                "the payload of ERROR: one byte code, then text".into();
            return failure;
        };
        let actual = format!("ERROR({code}), {}", error_name(*code));
        let mut failure = self.fail(wanted, &actual);
        failure.meaning = "It refused, and gave another reason: a client \
                           cannot tell what it did wrong."
            .into();
        failure.look = "the table of error codes in the contract".into();
        failure
    }

    fn went_on(&self, rest: &[u8], wanted: String) -> Failure {
        let shown = show::bytes(rest, rest.len());
        let mut failure = self.fail(wanted, "ERROR, and after it");
        failure.actual.push(shown);
        failure.meaning = "After a bad length nobody knows where a frame \
                           begins; your server went on parsing all the same."
            .into();
        failure.look =
            "what your read loop does after it has sent the ERROR".into();
        failure
    }

    fn bad_text(&self, payload: &[u8]) -> Option<(Failure, bool)> {
        let text = &payload[1..];
        let actual = if text.len() > 200 {
            format!("an ERROR text of {}", show::size(text.len()))
        } else if std::str::from_utf8(text).is_err() {
            "an ERROR text that is not UTF-8".to_owned()
        } else if self.has_own_bytes(text) {
            "an ERROR text with the sender's own bytes in it".to_owned()
        } else {
            return None;
        };
        let wanted = "at most 200 bytes of UTF-8, all the server's own";
        let mut failure = self.fail(wanted, &actual);
        failure.meaning = "Clients show this text on terminals and in logs, \
                           and count on that."
            .into();
        failure.look =
            "what you put into the text, and where it comes from".into();
        Some((failure, true))
    }

    /// Is a piece of what was sent in the text of the ERROR?
    fn has_own_bytes(&self, text: &[u8]) -> bool {
        let sent = self.sent_bytes().windows(6);
        let mut words = sent.filter(|part| part.is_ascii());
        words.any(|part| text.windows(6).any(|window| window == part))
    }

    pub fn reset_after(&self, wanted: String) -> Failure {
        let mut failure = self.fail(wanted, "ERROR, then a reset (RST)");
        failure.meaning =
            "It closed while bytes were still unread: the system \
                           resets, and the ERROR may be lost with it."
                .into();
        failure.look =
            "how you close, and what is still unread then (step 4, rule 3)"
                .into();
        failure
    }

    fn stays_open(&self, wanted: String) -> Failure {
        let mut failure = self
            .fail(wanted, "ERROR, and 2 s later the connection is still open");
        failure.meaning = "The error is fatal: after it the server must end \
                           the connection."
            .into();
        failure.look = "what follows after you have sent the ERROR".into();
        failure.by_time = true;
        failure
    }
}

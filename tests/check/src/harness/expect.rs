//! What must come on a connection, and what the report says if it does not.

use std::time::{Duration, Instant};

use crate::diagnosis::evidence::{End, Got};
use crate::diagnosis::fatal::{Death, Refusal, bad_text};
use crate::diagnosis::mismatch::{Mismatch, QUEUED, no_error};
use crate::diagnosis::{cause, show};
use crate::harness::lab::{PATIENCE, SLACK};
use crate::harness::peer::Peer;
use crate::verdict::{Check, Failure};
use crate::wire::ERROR;

/// How long the FIN may take after the ERROR: a server that closes only when
/// it has thrown away what still comes needs a second.
const FIN: Duration = Duration::from_secs(2);

/// The code of a time limit.
const TIMEOUT: u8 = 5;

/// What is read before the judgement: an ERROR is at most 206 bytes.
const MOST: usize = 4096;

impl Peer<'_> {
    /// Sends a message as the step does.
    pub fn say(&mut self, payload: &[u8]) -> Check {
        self.send(&self.lab.request(payload))
    }

    /// The echo of a message must come.
    pub fn hear(&mut self, payload: &[u8]) -> Check {
        self.expect(&self.lab.answer(payload), PATIENCE)
    }

    pub fn exchange(&mut self, payload: &[u8]) -> Check {
        self.say(payload)?;
        self.hear(payload)
    }

    /// Exactly these bytes must come within the limit.
    pub fn expect(&mut self, want: &[u8], within: Duration) -> Check {
        let mut got = self.read(want.len(), self.lab.until(within));
        if got.bytes == want {
            self.note(&format!("got {}", show::size(want.len())));
            self.previous = want[..want.len().min(64)].to_vec();
            return Ok(());
        }
        if got.end == End::Open && !want.starts_with(&got.bytes) {
            // What is wrong may be longer; all of it shows the cause better.
            let more = self.lab.until(Duration::from_millis(50));
            let rest = self.read(64, more);
            got.bytes.extend(rest.bytes);
            got.end = rest.end;
        }
        Err(self.mismatch(want, &got, within).into())
    }

    /// Reads to the end: exactly these bytes must come, and then FIN.
    pub fn expect_all(&mut self, want: &[u8]) -> Check {
        let got = self.read(want.len() + 64, self.lab.until(PATIENCE));
        if got.bytes == want && got.end == End::Fin {
            self.note("got all of it and FIN");
            return Ok(());
        }
        if got.bytes != want {
            return Err(self.mismatch(want, &got, PATIENCE).into());
        }
        Err(self.no_fin(got.end, !want.is_empty()).into())
    }

    /// All came that was due, if anything was, but not the end.
    pub fn no_fin(&self, end: End, has_come: bool) -> Failure {
        let expected = if has_come { "FIN after it" } else { "FIN" };
        let mut failure = self.fail(expected, end.text());
        failure.by_time = end == End::Open;
        failure.is_silent = end == End::Open && !has_come;
        let (meaning, look) = match end {
            _ if self.is_queued(end) => (QUEUED.meaning, QUEUED.look),
            End::Open if has_come => (
                "Your server sent all bytes that were due, but it did not \
                 close the connection, so the client still waits for the end.",
                "what closes the connection, on each way out",
            ),
            End::Reset => (
                "Your server closed before it had read or sent everything, or \
                 with SO_LINGER set to 0, so its kernel sent a reset instead \
                 of FIN.",
                "how your server closes, and what is still unread then",
            ),
            _ => return failure,
        };
        (failure.meaning, failure.look) = (meaning.into(), look.into());
        failure
    }

    /// Nothing may come now.
    pub fn expect_nothing(&mut self, why: &str) -> Check {
        let got = self.read(64, self.lab.until(Duration::from_millis(30)));
        if got.bytes.is_empty() && got.end == End::Open {
            return Ok(());
        }
        let actual = match got.bytes.is_empty() {
            true => got.end.text().to_owned(),
            false => show::bytes(&got.bytes, got.bytes.len()),
        };
        let mut failure = self.fail(format!("nothing {why}"), &actual);
        let (meaning, look) = match got.bytes.is_empty() {
            false => cause::surplus(&got.bytes),
            true => (
                "Your server closed the connection, although the client has \
                 not ended and may have more to ask.",
                "the loop around `read` and `write`: what ends it?",
            ),
        };
        (failure.meaning, failure.look) = (meaning.into(), look.into());
        Err(failure.into())
    }

    /// What came is not what had to come.
    pub fn mismatch(
        &self,
        want: &[u8],
        got: &Got,
        within: Duration,
    ) -> Failure {
        let lab = self.lab;
        let mismatch = Mismatch {
            traits: &lab.traits,
            basic: lab.setup.basic,
            is_framed: lab.is_framed(),
            has_own_hint: lab.has_own_hint(),
            is_queued: got.bytes.is_empty() && self.is_queued(got.end),
            previous: &self.previous,
            other: lab.other(),
        };
        mismatch.describe(&self.fail("", ""), want, got, within)
    }

    /// The server must refuse with this code, `within` from `since`.
    pub fn expect_fatal(
        &mut self,
        code: u8,
        since: Instant,
        within: Duration,
    ) -> Check {
        let got = self.read_refusal(since + within + SLACK);
        let is_closed = got.bytes.is_empty() && got.end != End::Open;
        let refusal = Refusal {
            base: self.base(),
            code,
            within,
            waited: within + SLACK,
            got: &got,
            sent: self.sent_bytes(),
            death: is_closed.then(|| self.death(code)).flatten(),
        };
        let judgement = refusal.judge();
        self.settle(code, judgement)
    }

    /// A failure, a warning, or neither.
    fn settle(&self, code: u8, judgement: Option<(Failure, bool)>) -> Check {
        let Some((failure, is_warning)) = judgement else {
            self.note(&format!("got ERROR({code}) and FIN"));
            return Ok(());
        };
        let failure = self.lab.witness(failure);
        if !is_warning {
            return Err(failure.into());
        }
        self.lab.warn(failure);
        self.note("closed");
        Ok(())
    }

    /// Did the connection end because something died?
    fn death(&self, code: u8) -> Option<Death> {
        if self.lab.look("").gone.is_some() {
            return Some(Death::Program);
        }
        // At a time limit it is the end that was due, whatever it came from.
        (code != TIMEOUT && self.has_killed()).then_some(Death::Code)
    }

    /// What comes until that moment, and what follows after it.
    fn read_refusal(&mut self, until: Instant) -> Got {
        let mut got = self.read(1, until);
        if !got.bytes.is_empty() {
            let rest = self.read(MOST, self.lab.until(FIN));
            got.bytes.extend(rest.bytes);
            got.end = rest.end;
        }
        got
    }

    /// An ERROR that ends nothing must come.
    pub fn expect_error(&mut self, code: u8) -> Check {
        let want = format!("ERROR({code}); the connection stays open");
        let head = self.read(6, self.lab.until(PATIENCE));
        let is_error = head.bytes.get(4..) == Some(&[ERROR, code]);
        let length =
            head.bytes.first_chunk().map_or(0, |n| u32::from_be_bytes(*n));
        if is_error && (2..=202).contains(&length) {
            let text = self.read(length as usize - 2, self.lab.until(PATIENCE));
            if text.bytes.len() == length as usize - 2 {
                let payload = [&head.bytes[5..], &text.bytes].concat();
                let base = self.fail("", "");
                let bad = bad_text(&base, &payload, self.sent_bytes());
                if let Some(failure) = bad {
                    self.lab.warn(failure);
                }
                self.note(&format!("got ERROR({code})"));
                return Ok(());
            }
        }
        Err(no_error(&self.fail("", ""), &want, &head, code).into())
    }
}

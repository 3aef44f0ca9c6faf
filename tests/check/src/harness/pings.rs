//! What has come on a connection. From step 6 on either end may send a PING at
//! any time: one that is no subject of a case is taken out, and answered. From
//! step 8 on the same holds for GOAWAY, which needs no answer.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::diagnosis::evidence::{End, Got};
use crate::harness::peer::Peer;
use crate::steps::{GOODBYE, HEARTBEAT};
use crate::wire::{GOAWAY, MAX_LENGTH, PING, PONG, frame};

/// How a PING begins, and how a GOAWAY: with its length and its kind.
const PING_HEAD: [u8; 5] = [0, 0, 0, 9, PING];
const GOAWAY_HEAD: [u8; 5] = [0, 0, 0, 2, GOAWAY];

/// The most bytes of what is taken out: a PING.
const SIZE: usize = PING_HEAD.len() + 8;

/// What has come and was not taken.
pub struct Inbox {
    bytes: Vec<u8>,
    /// How many of these are no part of a PING, for certain.
    sure: usize,
    /// How many bytes of a frame are still to come.
    rest: usize,
    /// How the frames begin that are taken out.
    sifts: &'static [[u8; 5]],
    /// How many PINGs have come, and what was in the last one.
    pings: usize,
    last_ping: Vec<u8>,
    /// The reason in the first GOAWAY.
    goaway: Option<u8>,
    /// The end, which the system may report only once.
    end: Option<End>,
}

impl Inbox {
    /// What a program of this step sends.
    pub fn new(step: u8) -> Inbox {
        let sifts: &[_] = match step {
            GOODBYE.. => &[PING_HEAD, GOAWAY_HEAD],
            HEARTBEAT.. => &[PING_HEAD],
            _ => &[],
        };
        Inbox {
            bytes: Vec::new(),
            sure: 0,
            rest: 0,
            sifts,
            pings: 0,
            last_ping: Vec::new(),
            goaway: None,
            end: None,
        }
    }

    /// How many bytes can be taken.
    pub fn ready(&self) -> usize {
        self.sure
    }

    /// Takes at most `most` bytes. The beginning of a PING stays, unless
    /// nothing follows it.
    pub fn take(&mut self, most: usize, end: End) -> Vec<u8> {
        if end != End::Open {
            self.sure = self.bytes.len();
        }
        let n = self.sure.min(most);
        self.sure -= n;
        self.bytes.drain(..n).collect()
    }

    /// Looks at what came last. Returns what was in the PINGs.
    fn sift(&mut self) -> Vec<Vec<u8>> {
        let mut pings = Vec::new();
        while let Some((n, is_out)) = self.known() {
            if !is_out {
                self.sure += n;
                self.rest -= n;
                continue;
            }
            let end = self.sure + n;
            let frame: Vec<u8> = self.bytes.drain(self.sure..end).collect();
            let (head, payload) = frame.split_at(PING_HEAD.len());
            match head == PING_HEAD {
                true => pings.push(payload.to_vec()),
                false => self.goaway = self.goaway.or(Some(payload[0])),
            }
        }
        self.pings += pings.len();
        if let Some(last) = pings.last() {
            self.last_ping.clone_from(last);
        }
        pings
    }

    /// How many more bytes belong to a frame, and whether that is a whole one
    /// that is taken out; nothing if that cannot be told yet.
    fn known(&mut self) -> Option<(usize, bool)> {
        let tail = &self.bytes[self.sure..];
        if self.sifts.is_empty() {
            self.rest = usize::MAX;
        }
        if self.rest == 0 {
            let length = u32::from_be_bytes(*tail.first_chunk()?);
            let size = 4 + length as usize;
            if self.sifts.iter().any(|head| tail.starts_with(head)) {
                return (tail.len() >= size).then_some((size, true));
            }
            if self.sifts.iter().any(|head| head.starts_with(tail)) {
                return None;
            }
            self.rest = match length {
                1..=MAX_LENGTH => size,
                _ => usize::MAX, // no more frames can be found
            };
        }
        let n = tail.len().min(self.rest);
        (n > 0).then_some((n, false))
    }
}

impl Peer<'_> {
    /// Reads once; returns how the connection ended, or `Open` if nothing
    /// more came until then.
    pub(super) fn read_more(
        &mut self,
        room: usize,
        until: Instant,
    ) -> Option<End> {
        if self.inbox.end.is_some() {
            return self.inbox.end;
        }
        let left = until.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        let _ = self.stream.set_read_timeout(Some(left));
        let least = if self.inbox.sifts.is_empty() { 1 } else { SIZE };
        let mut buffer = vec![0; room.clamp(least, 64 * 1024)];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.inbox.end = Some(End::Fin),
            Ok(n) => {
                self.inbox.bytes.extend_from_slice(&buffer[..n]);
                for ping in self.inbox.sift() {
                    if self.answers_pings {
                        let _ = self.stream.write_all(&frame(PONG, &ping));
                    }
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    return Some(End::Open);
                }
                _ => self.inbox.end = Some(End::Reset),
            },
        }
        self.inbox.end
    }

    /// What is there to be read: `Open` if bytes are, and nothing if neither
    /// bytes nor the end have come within the limit. What comes stays unread.
    pub fn peeks(&mut self, limit: Duration) -> Option<End> {
        let until = Instant::now() + limit;
        while self.inbox.ready() == 0 {
            match self.read_more(1, until) {
                Some(End::Open) => return None,
                None => {}
                end => return end,
            }
        }
        Some(End::Open)
    }
    /// What is in the next PING, which stays unanswered; nothing if something
    /// else comes before it, or nothing until then.
    pub fn next_ping(&mut self, until: Instant) -> Option<Vec<u8>> {
        let (before, answers) = (self.inbox.pings, self.answers_pings);
        self.answers_pings = false;
        while self.inbox.pings == before {
            if self.inbox.ready() > 0 || self.read_more(1, until).is_some() {
                break;
            }
        }
        self.answers_pings = answers;
        let has_come = self.inbox.pings > before;
        has_come.then(|| self.inbox.last_ping.clone())
    }

    /// The reason in the GOAWAY that must come before anything else, until
    /// then.
    pub fn goaway(&mut self, until: Instant) -> Option<u8> {
        while self.inbox.goaway.is_none() {
            if self.inbox.ready() > 0 || self.read_more(1, until).is_some() {
                break;
            }
        }
        self.inbox.goaway
    }

    /// How many PINGs have come.
    pub fn pings(&self) -> usize {
        self.inbox.pings
    }

    /// Nothing but PINGs may come until then, and it must stay open.
    pub fn stays_until(&mut self, until: Instant) -> Option<Got> {
        let got = self.read(64, until);
        let is_quiet = got.bytes.is_empty() && got.end == End::Open;
        (!is_quiet).then_some(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{echo, reply};

    /// However the bytes are sliced, all PINGs are found, and nothing else.
    #[test]
    fn pings_are_taken_out_of_a_sliced_stream() {
        let ping = frame(PING, b"12345678");
        let other = [frame(PING, b"123"), echo(&ping), reply(b"")].concat();
        let bye = frame(GOAWAY, &[1]);
        let other = [&other[..], &frame(GOAWAY, b"12")].concat();
        let all = [&ping[..], &other, &ping, &bye, &ping, &other].concat();
        for size in 1..all.len() {
            let mut inbox = Inbox::new(8);
            let mut taken = Vec::new();
            for slice in all.chunks(size) {
                inbox.bytes.extend_from_slice(slice);
                inbox.sift();
                taken.extend(inbox.take(7, End::Open));
            }
            taken.extend(inbox.take(usize::MAX, End::Fin));
            assert_eq!(taken, other.repeat(2), "{size}");
            assert_eq!((inbox.pings, &inbox.last_ping[..]), (3, &ping[5..]));
            assert_eq!(inbox.goaway, Some(1));
        }
    }

    #[test]
    fn what_is_no_frame_comes_through() {
        let ping = frame(PING, b"12345678");
        let mut inbox = Inbox::new(6);
        inbox.bytes = [b"HTTP/1.1", &ping[..]].concat();
        inbox.sift();
        assert_eq!((inbox.ready(), inbox.pings), (8 + ping.len(), 0));
        let mut inbox = Inbox::new(5);
        inbox.bytes.clone_from(&ping);
        inbox.sift();
        assert_eq!(inbox.take(usize::MAX, End::Open), ping);
    }
}

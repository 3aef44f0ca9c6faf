//! What has come on a connection. From step 6 on either end may send a PING at
//! any time: one that is no subject of a case is taken out, and answered.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::diagnosis::evidence::{End, Got};
use crate::harness::peer::Peer;
use crate::wire::{MAX_LENGTH, PING, PONG, frame};

/// How a PING begins: with its length and its kind.
const HEAD: [u8; 5] = [0, 0, 0, 9, PING];

/// The bytes of a whole PING.
const SIZE: usize = HEAD.len() + 8;

/// What has come and was not taken.
pub struct Inbox {
    bytes: Vec<u8>,
    /// How many of these are no part of a PING, for certain.
    sure: usize,
    /// How many bytes of a frame are still to come.
    rest: usize,
    /// Are PINGs taken out?
    sifts: bool,
    /// How many PINGs have come, and what was in the last one.
    pings: usize,
    last_ping: Vec<u8>,
    /// The end, which the system may report only once.
    end: Option<End>,
}

impl Inbox {
    pub fn new(sifts: bool) -> Inbox {
        Inbox {
            bytes: Vec::new(),
            sure: 0,
            rest: 0,
            sifts,
            pings: 0,
            last_ping: Vec::new(),
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
        while let Some(n) = self.known() {
            if n == 0 {
                let end = self.sure + SIZE;
                let ping: Vec<u8> = self.bytes.drain(self.sure..end).collect();
                pings.push(ping[HEAD.len()..].to_vec());
            }
            self.sure += n;
            self.rest -= n;
        }
        self.pings += pings.len();
        if let Some(last) = pings.last() {
            self.last_ping.clone_from(last);
        }
        pings
    }

    /// How many more bytes belong to a frame; 0 if a whole PING comes next,
    /// nothing if that cannot be told yet.
    fn known(&mut self) -> Option<usize> {
        let tail = &self.bytes[self.sure..];
        if self.rest == 0 && tail.starts_with(&HEAD) && self.sifts {
            return (tail.len() >= SIZE).then_some(0);
        }
        if self.rest == 0 && self.sifts {
            let length = u32::from_be_bytes(*tail.first_chunk()?);
            if HEAD.starts_with(tail) {
                return None;
            }
            self.rest = match length {
                1..=MAX_LENGTH => 4 + length as usize,
                _ => usize::MAX, // no more frames can be found
            };
        } else if !self.sifts {
            self.rest = usize::MAX;
        }
        Some(tail.len().min(self.rest)).filter(|&n| n > 0)
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
        let least = if self.inbox.sifts { SIZE } else { 1 };
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
        let all = [&ping[..], &other, &ping, &ping, &other].concat();
        for size in 1..all.len() {
            let mut inbox = Inbox::new(true);
            let mut taken = Vec::new();
            for slice in all.chunks(size) {
                inbox.bytes.extend_from_slice(slice);
                inbox.sift();
                taken.extend(inbox.take(7, End::Open));
            }
            taken.extend(inbox.take(usize::MAX, End::Fin));
            assert_eq!(taken, other.repeat(2), "{size}");
            assert_eq!((inbox.pings, &inbox.last_ping[..]), (3, &ping[5..]));
        }
    }

    #[test]
    fn what_is_no_frame_comes_through() {
        let ping = frame(PING, b"12345678");
        let mut inbox = Inbox::new(true);
        inbox.bytes = [b"HTTP/1.1", &ping[..]].concat();
        inbox.sift();
        assert_eq!((inbox.ready(), inbox.pings), (8 + ping.len(), 0));
        let mut inbox = Inbox::new(false);
        inbox.bytes.clone_from(&ping);
        inbox.sift();
        assert_eq!(inbox.take(usize::MAX, End::Open), ping);
    }
}

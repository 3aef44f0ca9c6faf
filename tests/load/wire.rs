//! What a request looks like, and which bytes must come back.
//!
//! The payload of an ECHO is the number of the request, in up to eight bytes,
//! and after it a part of a pattern that does not repeat. A reply that is
//! swapped, repeated or cut therefore differs from the one that is due. An
//! ADD adds 1 to the total of a client that no other connection uses, so the
//! total in its reply is known, too.

use std::fmt::Write;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::errors::{Failure, Kind, wrong};

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speak {
    /// Bytes, which come back unchanged: steps 2 and 3
    Raw,
    /// The frames of steps 4 to 8
    Frames,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// ECHO: the payload comes back
    Echo,
    /// ADD: the total of the connection's own client grows by 1 (step 7)
    Add,
    /// ECHO and ADD in turn
    Mixed,
}

/// The largest payload of a frame, in bytes: N counts the kind, too.
pub const MAX_PAYLOAD: usize = 65_535;
const HEADER: usize = 5;

const ECHO: u8 = 0x01;
const PING: u8 = 0x02;
const ADD: u8 = 0x03;
const GOAWAY: u8 = 0x04;
const REPLY: u8 = 0x80;
const PONG: u8 = 0x82;
const ERROR: u8 = 0x7f;

/// The names of the codes of ERROR, from 1.
const CODES: [&str; 9] = [
    "FRAME_TOO_LARGE",
    "BAD_LENGTH",
    "UNKNOWN_KIND",
    "BAD_PAYLOAD",
    "TIMEOUT",
    "OVERLOADED",
    "STALE_SEQ",
    "SHUTTING_DOWN",
    "CONFLICT",
];

/// What all requests of a run have in common.
pub struct Shape {
    pub speak: Speak,
    pub work: Work,
    /// The payload of an ECHO, in bytes.
    pub size: usize,
    pattern: Vec<u8>,
}

impl Shape {
    pub fn new(speak: Speak, work: Work, size: usize) -> Shape {
        let mut state = 1u64;
        let pattern = (0..size).map(|_| {
            // Knuth's generator (MMIX), which is enough for varied bytes.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
        Shape { speak, work, size, pattern: pattern.collect() }
    }

    fn is_add(&self, n: u64) -> bool {
        match self.work {
            Work::Echo => false,
            Work::Add => true,
            Work::Mixed => n % 2 == 1,
        }
    }

    /// The start of the payload of request or reply `n`, and its length. In a
    /// reply to ADD, the total stands where the amount was; after `seq` times
    /// 1 it is `seq`.
    fn start(&self, id: u64, n: u64, is_reply: bool) -> ([u8; 24], usize) {
        let mut start = [0; 24];
        if self.is_add(n) {
            let seq = if self.work == Work::Add { n + 1 } else { n / 2 + 1 };
            let last = if is_reply { seq } else { 1 };
            start[..8].copy_from_slice(&id.to_be_bytes());
            start[8..16].copy_from_slice(&seq.to_be_bytes());
            start[16..].copy_from_slice(&last.to_be_bytes());
            return (start, 24);
        }
        start[..8].copy_from_slice(&id.wrapping_add(n).to_le_bytes());
        (start, self.size.min(8))
    }

    /// The length of the payload of request or reply `n`, in bytes.
    fn payload(&self, n: u64) -> usize {
        if self.is_add(n) { 24 } else { self.size }
    }

    /// The bytes of a request on the wire, in the mean.
    pub fn bytes(&self) -> f64 {
        let payload = (self.payload(0) + self.payload(1)) as f64 / 2.0;
        match self.speak {
            Speak::Raw => payload,
            Speak::Frames => payload + HEADER as f64,
        }
    }

    /// Appends request `n` of connection `id`.
    pub fn encode(&self, id: u64, n: u64, output: &mut Vec<u8>) {
        let (start, length) = self.start(id, n, false);
        let payload = self.payload(n);
        if self.speak == Speak::Frames {
            let kind = if self.is_add(n) { ADD } else { ECHO };
            encode_header(kind, payload, output);
        }
        output.extend_from_slice(&start[..length]);
        if payload > length {
            output.extend_from_slice(&self.pattern[length..]);
        }
    }

    /// Are these the bytes of reply `n` from `at`?
    fn is_right(&self, id: u64, n: u64, at: usize, bytes: &[u8]) -> bool {
        let (start, length) = self.start(id, n, true);
        let cut = length.saturating_sub(at).min(bytes.len());
        let (head, tail) = bytes.split_at(cut);
        (cut == 0 || *head == start[at..at + cut])
            && (tail.is_empty()
                || *tail == self.pattern[at + cut..at + bytes.len()])
    }
}

fn encode_header(kind: u8, payload: usize, output: &mut Vec<u8>) {
    let length = 1 + payload as u32;
    output.extend_from_slice(&length.to_be_bytes());
    output.push(kind);
}

/// How far the replies of one connection are.
pub struct Wire {
    /// Where the numbers of this connection's requests start, and the id of
    /// its client in ADD.
    id: u64,
    /// How many requests have been encoded, and how many replies were right.
    asked: u64,
    answered: u64,
    header: [u8; HEADER],
    have: usize, // bytes of the header that have come
    at: usize,   // bytes of the payload that have come
    /// What is neither a reply to ECHO nor to ADD, so far.
    notice: Vec<u8>,
}

impl Wire {
    pub fn new(id: u64) -> Wire {
        Wire {
            id,
            asked: 0,
            answered: 0,
            header: [0; HEADER],
            have: 0,
            at: 0,
            notice: Vec::new(),
        }
    }

    /// Goes on with the next request on a new connection, as the same client,
    /// unless a request got no reply.
    pub fn resume(&mut self) -> bool {
        self.next();
        self.notice.clear();
        self.asked > 0 && self.asked == self.answered
    }

    /// Appends the next request.
    pub fn ask(&mut self, shape: &Shape, output: &mut Vec<u8>) {
        shape.encode(self.id, self.asked, output);
        self.asked += 1;
    }

    /// Says where the stream stands, for a connection that broke.
    pub fn place(&self) -> String {
        let n = self.answered + 1;
        match (self.asked - self.answered, self.have + self.at) {
            (0, 0) => format!("after reply {}", self.answered),
            (_, 0) => format!("before reply {n}"),
            (_, bytes) => format!("inside reply {n}, after {bytes} bytes"),
        }
    }

    /// Checks what the server sent, and returns how many replies it ended.
    /// An answer to a PING is appended to `output`.
    ///
    /// # Errors
    /// A byte is not the one that is due, or the server reports an error.
    pub fn take(
        &mut self,
        shape: &Shape,
        mut bytes: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<usize, Failure> {
        let before = self.answered;
        while !bytes.is_empty() {
            let rest = match shape.speak {
                Speak::Raw => self.reply(shape, bytes, shape.size)?,
                Speak::Frames => self.frame(shape, bytes, output)?,
            };
            bytes = rest;
        }
        Ok((self.answered - before) as usize)
    }

    /// Checks a part of a reply of `size` bytes, and returns what follows it.
    fn reply<'a>(
        &mut self,
        shape: &Shape,
        bytes: &'a [u8],
        size: usize,
    ) -> Result<&'a [u8], Failure> {
        let n = self.answered;
        if self.asked == n {
            return Err(wrong(format!(
                "the server sent more after reply {n}, unasked"
            )));
        }
        let (part, rest) = bytes.split_at(bytes.len().min(size - self.at));
        if !shape.is_right(self.id, n, self.at, part) {
            let is_wrong = |i: &usize| {
                !shape.is_right(self.id, n, self.at + i, &part[*i..=*i])
            };
            let i = self.at + (0..part.len()).find(is_wrong).unwrap_or(0);
            return Err(wrong(format!(
                "reply {} differs from its request at byte {i} of {size}",
                n + 1
            )));
        }
        self.at += part.len();
        if self.at == size {
            self.next();
            self.answered += 1;
        }
        Ok(rest)
    }

    /// Makes room for the next frame.
    fn next(&mut self) {
        (self.have, self.at) = (0, 0);
    }

    /// Takes a part of a frame, and returns what follows it.
    fn frame<'a>(
        &mut self,
        shape: &Shape,
        bytes: &'a [u8],
        output: &mut Vec<u8>,
    ) -> Result<&'a [u8], Failure> {
        let missing = HEADER - self.have;
        let (part, rest) = bytes.split_at(missing.min(bytes.len()));
        self.header[self.have..self.have + part.len()].copy_from_slice(part);
        self.have += part.len();
        if self.have < HEADER {
            return Ok(rest);
        }
        let (kind, size) = self.check_header(shape)?;
        if kind == ECHO | REPLY || kind == ADD | REPLY {
            return self.reply(shape, rest, size);
        }
        let (part, rest) = rest.split_at(rest.len().min(size - self.at));
        self.notice.extend_from_slice(part);
        self.at += part.len();
        if self.at == size {
            self.next();
            let notice = std::mem::take(&mut self.notice);
            heed(kind, &notice, output)?;
        }
        Ok(rest)
    }

    /// The kind of the frame and the length of its payload.
    fn check_header(&self, shape: &Shape) -> Result<(u8, usize), Failure> {
        let [a, b, c, d, kind] = self.header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let n = self.answered;
        if length == 0 || length > MAX_PAYLOAD + 1 {
            return Err(wrong(format!(
                "after reply {n}: a frame of length {length}"
            )));
        }
        let size = length - 1;
        let due = if shape.is_add(n) { ADD } else { ECHO } | REPLY;
        let fits = match kind {
            PING | PONG => size == 8,
            GOAWAY => size == 1,
            ERROR => (1..=201).contains(&size),
            _ => kind == due && size == shape.payload(n),
        };
        if !fits {
            return Err(wrong(format!(
                "after reply {n}: a frame of kind {kind:02X} with {size} \
                 bytes, instead of kind {due:02X} with {}",
                shape.payload(n)
            )));
        }
        Ok((kind, size))
    }
}

/// Does what a frame asks for that is not a reply.
fn heed(kind: u8, payload: &[u8], output: &mut Vec<u8>) -> Result<(), Failure> {
    match (kind, payload) {
        (PING, _) => {
            encode_header(PONG, payload.len(), output);
            output.extend_from_slice(payload);
            Ok(())
        }
        (GOAWAY, [reason, ..]) => {
            let why = match reason {
                1 => "it is shutting down",
                2 => "it has too much to do",
                _ => "for an unknown reason",
            };
            let text = format!("the server sent GOAWAY: {why}");
            Err(Failure::new(Kind::Other, text))
        }
        (ERROR, [code, text @ ..]) => {
            let name = CODES.get((*code as usize).wrapping_sub(1));
            let name = name.unwrap_or(&"unknown");
            let mut told = format!("the server sent ERROR {code} ({name}): ");
            let text = String::from_utf8_lossy(text);
            let _ = write!(told, "{}", text.escape_debug());
            Err(Failure::new(Kind::Other, told))
        }
        _ => Ok(()), // a PONG that we did not ask for
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(shape: &Shape, id: u64, n: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        shape.encode(id, n, &mut bytes);
        if shape.speak == Speak::Frames {
            bytes[4] |= REPLY;
            if bytes[4] == ADD | REPLY {
                let seq: [u8; 8] = bytes[13..21].try_into().unwrap();
                bytes[21..].copy_from_slice(&seq);
            }
        }
        bytes
    }

    fn shapes() -> Vec<Shape> {
        let frames = [0, 1, 7, 8, 9, 64, MAX_PAYLOAD]
            .map(|size| Shape::new(Speak::Frames, Work::Mixed, size));
        let raw = [1, 7, 8, 9, 64, 70_000]
            .map(|size| Shape::new(Speak::Raw, Work::Echo, size));
        frames.into_iter().chain(raw).collect()
    }

    #[test]
    fn right_replies_are_right_however_they_are_sliced() {
        for shape in shapes() {
            for slice in [1, 3, 64, 1_000_000] {
                let (mut wire, mut output) = (Wire::new(77), Vec::new());
                let mut replies = Vec::new();
                for n in 0..3 {
                    wire.ask(&shape, &mut output);
                    replies.extend(turned(&shape, 77, n));
                }
                output.clear();
                let parts = replies.chunks(slice);
                let done = parts
                    .map(|part| wire.take(&shape, part, &mut output).unwrap());
                assert_eq!(done.sum::<usize>(), 3);
                assert!(output.is_empty());
            }
        }
    }

    #[test]
    fn any_wrong_byte_is_noticed() {
        for shape in shapes().into_iter().filter(|shape| shape.size < 100) {
            let right = [turned(&shape, 9, 0), turned(&shape, 9, 1)].concat();
            for i in 0..right.len() {
                let (mut wire, mut output) = (Wire::new(9), Vec::new());
                wire.ask(&shape, &mut output);
                wire.ask(&shape, &mut output);
                let mut bytes = right.clone();
                bytes[i] ^= 0x10;
                let taken = wire.take(&shape, &bytes, &mut output);
                // A length that grew makes us wait for what never comes.
                assert!(!matches!(taken, Ok(2)), "byte {i} of {}", shape.size);
            }
        }
    }

    #[test]
    fn a_reply_that_comes_twice_or_unasked_is_wrong() {
        for shape in shapes().iter().filter(|shape| shape.size > 0) {
            let (mut wire, mut output) = (Wire::new(5), Vec::new());
            wire.ask(shape, &mut output);
            let reply = turned(shape, 5, 0);
            assert_eq!(wire.take(shape, &reply, &mut output), Ok(1));
            let unasked = wire.take(shape, &reply, &mut output);
            assert_eq!(unasked.unwrap_err().kind, Kind::WrongReply);
        }
    }

    #[test]
    fn a_ping_is_answered_and_an_error_has_its_name() {
        let shape = Shape::new(Speak::Frames, Work::Echo, 64);
        let (mut wire, mut output) = (Wire::new(5), Vec::new());
        let ping = [&[0, 0, 0, 9, PING][..], b"abcdefgh"].concat();
        assert_eq!(wire.take(&shape, &ping[..7], &mut output), Ok(0));
        assert_eq!(wire.take(&shape, &ping[7..], &mut output), Ok(0));
        assert_eq!(output, [&[0, 0, 0, 9, PONG][..], b"abcdefgh"].concat());
        let full = [&[0, 0, 0, 6, ERROR, 6][..], b"full"].concat();
        let failure = wire.take(&shape, &full, &mut output).unwrap_err();
        let text = "the server sent ERROR 6 (OVERLOADED): full";
        assert_eq!(failure, Failure::new(Kind::Other, text.to_owned()));
    }

    #[test]
    fn a_client_that_reconnects_goes_on_where_it_was() {
        let shape = Shape::new(Speak::Frames, Work::Mixed, 64);
        let (mut wire, mut output) = (Wire::new(5), Vec::new());
        assert!(!wire.resume());
        for n in 0..4 {
            output.clear();
            wire.ask(&shape, &mut output);
            let mut request = Vec::new();
            shape.encode(5, n, &mut request);
            assert_eq!(output, request);
            assert_eq!(output[4], if n % 2 == 1 { ADD } else { ECHO });
            let reply = turned(&shape, 5, n);
            assert_eq!(wire.take(&shape, &reply, &mut output), Ok(1));
            assert!(wire.resume());
        }
        // Nobody knows whether the server has done this one.
        wire.ask(&shape, &mut output);
        assert!(!wire.resume());
    }
}

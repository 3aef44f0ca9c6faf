//! Frames, written down a second time: a mistake in the checker's own copy
//! would otherwise be in both.

use crate::on;

pub const MAX: usize = 65_536;
pub const ECHO: u8 = 1;
pub const PING: u8 = 2;
pub const PONG: u8 = 0x82;
pub const ADD: u8 = 3;
pub const GOAWAY: u8 = 4;
pub const WORK: u8 = 5;
pub const REPLY: u8 = 0x81;
pub const ERROR: u8 = 0x7f;

/// What the first bytes are.
pub enum Parsed {
    NotYet,
    /// To be refused with this code.
    Refuse(u8),
    /// Kind, payload, and how many bytes were taken.
    Frame(u8, Vec<u8>, usize),
}

pub fn parse(bytes: &[u8]) -> Parsed {
    let Some(&length) = bytes.first_chunk::<4>() else {
        return Parsed::NotYet;
    };
    let n = read_length(length);
    if n == 0 {
        return refuse_zero();
    }
    let is_whole = bytes.len() - 4 >= n as usize;
    if is_too_large(n) && (is_whole || !on("limit-checked-late")) {
        return Parsed::Refuse(1);
    }
    if !is_whole {
        return Parsed::NotYet;
    }
    let body = &bytes[4..4 + n as usize];
    Parsed::Frame(body[0], body[1..].to_vec(), 4 + body.len())
}

fn read_length(length: [u8; 4]) -> u32 {
    let n = match on("little-endian") {
        true => u32::from_le_bytes(length),
        false => u32::from_be_bytes(length),
    };
    match () {
        () if on("length-counts-itself") => n.saturating_sub(4),
        () if on("length-forgets-kind") => n.saturating_add(1),
        () => n,
    }
}

fn refuse_zero() -> Parsed {
    match () {
        () if on("zero-ignored") => Parsed::Frame(ECHO, Vec::new(), 4),
        () if on("zero-aborts") => std::process::abort(),
        () if on("wrong-code") => Parsed::Refuse(1),
        () => Parsed::Refuse(2),
    }
}

fn is_too_large(n: u32) -> bool {
    if on("believes-length") {
        return false;
    }
    if on("signed-length") {
        return n as i32 > MAX as i32;
    }
    let most = match () {
        () if on("limit-one-too-small") => MAX - 1,
        () if on("limit-one-too-large") => MAX + 1,
        () => MAX,
    };
    n as usize > most
}

pub fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut n = 1 + payload.len() as u32;
    if on("length-counts-itself") {
        n += 4;
    }
    if on("length-forgets-kind") {
        n -= 1;
    }
    let length = match on("little-endian") {
        true => n.to_le_bytes(),
        false => n.to_be_bytes(),
    };
    if on("reply-without-header") {
        return payload.to_vec();
    }
    if on("reply-without-kind") {
        return [&(n - 1).to_be_bytes(), payload].concat();
    }
    [&length[..], &[kind], payload].concat()
}

pub fn error(code: u8, text: &str) -> Vec<u8> {
    frame(ERROR, &[&[code], text.as_bytes()].concat())
}

/// What names an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Name {
    pub client: u64,
    pub seq: u64,
}

impl Name {
    /// The 24 bytes of an ADD, or of its reply, with this third number.
    pub fn bytes(self, third: i64) -> Vec<u8> {
        let numbers = [self.client, self.seq, third as u64];
        numbers.map(u64::to_be_bytes).concat()
    }

    /// The name and the third number, if these are 24 bytes.
    pub fn read(bytes: &[u8]) -> Option<(Name, i64)> {
        let ([client, seq, third], []) = bytes.as_chunks() else {
            return None;
        };
        let [client, seq] = [client, seq].map(|n| u64::from_be_bytes(*n));
        Some((Name { client, seq }, i64::from_be_bytes(*third)))
    }
}

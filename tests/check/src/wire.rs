//! The frame, as the contract has it.
//!
//! ```text
//! +--------+--------+--------+--------+--------+------------------+
//! |  length N, u32, big endian        |  kind  |  payload         |
//! +--------+--------+--------+--------+--------+------------------+
//!             N = 1 + payload bytes,   1 <= N <= 65 536
//! ```

pub const MAX_LENGTH: u32 = 65_536;
pub const ECHO: u8 = 0x01;
pub const ECHO_REPLY: u8 = 0x81;
pub const PING: u8 = 0x02;
pub const PONG: u8 = 0x82;
pub const ADD: u8 = 0x03;
pub const ADD_REPLY: u8 = 0x83;
pub const GOAWAY: u8 = 0x04;
pub const WORK: u8 = 0x05;
pub const WORK_REPLY: u8 = 0x85;
pub const ERROR: u8 = 0x7f;

pub fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = 1 + payload.len() as u32;
    [&length.to_be_bytes(), &[kind][..], payload].concat()
}

pub fn echo(payload: &[u8]) -> Vec<u8> {
    frame(ECHO, payload)
}

pub fn reply(payload: &[u8]) -> Vec<u8> {
    frame(ECHO_REPLY, payload)
}

/// A request that takes this many milliseconds.
pub fn work(delay: u32, payload: &[u8]) -> Vec<u8> {
    frame(WORK, &[&delay.to_be_bytes(), payload].concat())
}

/// What the first bytes of a stream are.
#[derive(Debug, PartialEq)]
pub enum Head<'a> {
    /// Less than a frame.
    Part,
    /// A length that no frame may have.
    Bad(u32),
    /// A frame, and how many bytes it takes.
    Whole { kind: u8, payload: &'a [u8], size: usize },
}

pub fn head(bytes: &[u8]) -> Head<'_> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Head::Part;
    };
    let length = u32::from_be_bytes(*length);
    if !(1..=MAX_LENGTH).contains(&length) {
        return Head::Bad(length);
    }
    match rest.get(..length as usize) {
        None => Head::Part,
        Some(body) => Head::Whole {
            kind: body[0],
            payload: &body[1..],
            size: 4 + body.len(),
        },
    }
}

/// How many whole frames `bytes` begin with.
pub fn count(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Head::Whole { size, .. } = head(bytes) {
        bytes = &bytes[size..];
        count += 1;
    }
    count
}

pub fn error_name(code: u8) -> &'static str {
    match code {
        1 => "FRAME_TOO_LARGE",
        2 => "BAD_LENGTH",
        3 => "UNKNOWN_KIND",
        4 => "BAD_PAYLOAD",
        5 => "TIMEOUT",
        6 => "OVERLOADED",
        7 => "STALE_SEQ",
        8 => "SHUTTING_DOWN",
        9 => "CONFLICT",
        _ => "no code of the contract",
    }
}

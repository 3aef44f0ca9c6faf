// ANCHOR: wire
//! The frame: a length, a kind and a payload.
//!
//! ```text
//! +--------+--------+--------+--------+--------+------------------+
//! |  length N, u32, big endian        |  kind  |  payload         |
//! +--------+--------+--------+--------+--------+------------------+
//!             N = 1 + payload bytes,   1 <= N <= 65 536
//! ```

use std::error::Error;
use std::fmt;

/// The largest N, in bytes.
pub const MAX_LENGTH: usize = 65_536;

/// The largest payload, in bytes: N counts the kind, too.
pub const MAX_PAYLOAD: usize = MAX_LENGTH - 1;

/// The largest text of an ERROR frame, in bytes.
pub const MAX_TEXT: usize = 200;

/// The kinds. A reply has the kind of its request, with the highest bit set.
pub const ECHO: u8 = 0x01;
pub const PING: u8 = 0x02;
pub const ADD: u8 = 0x03;
pub const GOAWAY: u8 = 0x04;
pub const WORK: u8 = 0x05;
pub const ECHO_REPLY: u8 = 0x81;
pub const PONG: u8 = 0x82;
pub const ADD_REPLY: u8 = 0x83;
pub const WORK_REPLY: u8 = 0x85;
pub const ERROR: u8 = 0x7f;

/// The codes of an ERROR frame, whose payload is a code and a text.
pub const FRAME_TOO_LARGE: u8 = 1;
pub const BAD_LENGTH: u8 = 2;
pub const UNKNOWN_KIND: u8 = 3;
pub const BAD_PAYLOAD: u8 = 4;
pub const TIMEOUT: u8 = 5;
pub const OVERLOADED: u8 = 6;
pub const STALE_SEQ: u8 = 7;
pub const SHUTTING_DOWN: u8 = 8;
pub const CONFLICT: u8 = 9;

/// The reason of a GOAWAY frame: the server stops.
pub const SHUTDOWN: u8 = 1;

/// One message. The payload stays where it was received.
#[derive(Debug, PartialEq)]
pub struct Frame<'a> {
    pub kind: u8,
    pub payload: &'a [u8],
}

/// A length that no frame may have. The receiver of one cannot tell where the
/// next frame starts, so the connection is of no more use.
#[derive(Debug, PartialEq)]
pub enum LengthError {
    TooLarge(u32),
    Zero,
}

impl LengthError {
    /// The code of the ERROR frame that reports it.
    pub fn code(&self) -> u8 {
        match self {
            LengthError::TooLarge(_) => FRAME_TOO_LARGE,
            LengthError::Zero => BAD_LENGTH,
        }
    }
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            LengthError::TooLarge(n) => {
                write!(f, "a frame of length {n}; at most {MAX_LENGTH}")
            }
            LengthError::Zero => write!(f, "a frame of length 0; at least 1"),
        }
    }
}

impl Error for LengthError {}
// ANCHOR_END: wire

// ANCHOR: decode
/// Takes the first frame off `bytes`, which then start after it.
///
/// - Less than a frame is there: `None`, and `bytes` stay as they are.
/// - Exactly a frame is there: the frame, and no bytes are left.
/// - More is there: the frame, and the rest is left for the next call.
///
/// # Errors
/// The length is 0 or too large. Its four bytes tell, before anything behind
/// them has arrived, so no memory is spent on it.
pub fn decode<'a>(
    bytes: &mut &'a [u8],
) -> Result<Option<Frame<'a>>, LengthError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    if length as usize > MAX_LENGTH {
        return Err(LengthError::TooLarge(length));
    }
    if length == 0 {
        return Err(LengthError::Zero);
    }
    let Some((body, rest)) = rest.split_at_checked(length as usize) else {
        return Ok(None);
    };
    *bytes = rest;
    Ok(Some(Frame { kind: body[0], payload: &body[1..] }))
}
// ANCHOR_END: decode

// ANCHOR: encode
/// Appends a frame to `output`.
///
/// # Errors
/// The payload is larger than [`MAX_PAYLOAD`]; then `output` is unchanged.
pub fn encode(
    kind: u8,
    payload: &[u8],
    output: &mut Vec<u8>,
) -> Result<(), LengthError> {
    let length = u32::try_from(payload.len() + 1).unwrap_or(u32::MAX);
    if length as usize > MAX_LENGTH {
        return Err(LengthError::TooLarge(length));
    }
    output.extend_from_slice(&length.to_be_bytes());
    output.push(kind);
    output.extend_from_slice(payload);
    Ok(())
}

/// Appends an ERROR frame. `text` is ours, and at most [`MAX_TEXT`] long.
pub fn encode_error(code: u8, text: &str, output: &mut Vec<u8>) {
    debug_assert!(text.len() <= MAX_TEXT);
    let length = 2 + text.len() as u32;
    output.extend_from_slice(&length.to_be_bytes());
    output.extend_from_slice(&[ERROR, code]);
    output.extend_from_slice(text.as_bytes());
}
// ANCHOR_END: encode

#[cfg(test)]
mod tests {
    use super::*;

    const HI: [u8; 7] = [0, 0, 0, 3, ECHO, b'h', b'i'];

    /// All frames of `bytes`, and how many bytes are left.
    fn all(mut bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, usize) {
        let mut frames = Vec::new();
        while let Some(frame) = decode(&mut bytes).unwrap() {
            frames.push((frame.kind, frame.payload.to_vec()));
        }
        (frames, bytes.len())
    }

    #[test]
    fn less_than_a_frame() {
        for end in 0..HI.len() {
            assert_eq!(all(&HI[..end]), (vec![], end));
        }
    }

    #[test]
    fn exactly_a_frame() {
        assert_eq!(all(&HI), (vec![(ECHO, b"hi".to_vec())], 0));
    }

    #[test]
    fn more_than_a_frame() {
        let hi = (ECHO, b"hi".to_vec());
        let bytes = [&HI[..], &HI, &HI[..5]].concat();
        assert_eq!(all(&bytes), (vec![hi.clone(), hi], 5));
    }

    #[test]
    fn the_smallest_and_the_largest() {
        for size in [0, MAX_PAYLOAD] {
            let mut bytes = Vec::new();
            encode(ECHO, &vec![b'x'; size], &mut bytes).unwrap();
            assert_eq!(bytes.len(), 5 + size);
            assert_eq!(all(&bytes), (vec![(ECHO, vec![b'x'; size])], 0));
        }
    }

    /// With a sign, the last two would be less than the limit.
    #[test]
    fn a_length_is_refused_by_its_four_bytes() {
        let lengths = [65_537, 0x7fff_ffff, 0x8000_0000, u32::MAX];
        for length in lengths {
            let error = Err(LengthError::TooLarge(length));
            assert_eq!(decode(&mut &length.to_be_bytes()[..]), error);
        }
        assert_eq!(decode(&mut &[0, 0, 0, 0][..]), Err(LengthError::Zero));
    }

    #[test]
    fn what_is_too_large_is_not_encoded() {
        let mut bytes = b"before".to_vec();
        let large = vec![b'x'; MAX_PAYLOAD + 1];
        let error = Err(LengthError::TooLarge(65_537));
        assert_eq!(encode(ECHO, &large, &mut bytes), error);
        assert_eq!(bytes, b"before");
    }

    /// The start of an HTTP request, and a piece of a word such as "balloon".
    #[test]
    fn a_lost_frame_boundary_reads_text_as_a_length() {
        for (text, length) in [("GET ", 1_195_725_856), ("llon", 1_819_045_742)]
        {
            let error = Err(LengthError::TooLarge(length));
            assert_eq!(decode(&mut text.as_bytes()), error);
        }
    }
}

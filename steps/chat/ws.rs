// ANCHOR: wire
//! WebSocket: an HTTP request that turns into frames (RFC 6455).
//!
//! ```text
//!  0               1               2, 4 or 10
//! +-+---+---------+-+-------------+------------+-----------+---------+
//! |F|RSV|  kind   |M| length: 7,  | 0, 2 or 8  | 0 or 4:   | payload |
//! |I|   |         |A| or 126 for  | bytes of   | the key   | xor key |
//! |N|   |         |S| 2, 127 for  | length,    | if MASK   |         |
//! | |   |         |K| 8 bytes     | big endian | is set    |         |
//! +-+---+---------+-+-------------+------------+-----------+---------+
//! ```

use std::error::Error;
use std::fmt;

/// The kinds of frames (RFC 6455 section 5.2). A kind of 8 or more is of the
/// connection, not of the conversation.
pub const MORE: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The largest message, in bytes, all its fragments together.
pub const MAX_MESSAGE: usize = 4096;

/// The largest payload of a CLOSE, a PING or a PONG (section 5.5), in bytes.
pub const MAX_CONTROL: usize = 125;
// ANCHOR_END: wire

// ANCHOR: wrong

/// What is wrong with what has arrived. The receiver of it closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wrong {
    /// A rule of the protocol was broken; the text says which.
    Protocol(&'static str),
    /// A kind of data that we do not take: a binary message.
    Binary,
    /// A text that is not UTF-8.
    Utf8,
    /// A message of more than [`MAX_MESSAGE`] bytes.
    TooBig,
}

impl Wrong {
    /// The code for the CLOSE that reports it (section 7.4.1).
    pub fn code(self) -> u16 {
        match self {
            Wrong::Protocol(_) => 1002,
            Wrong::Binary => 1003,
            Wrong::Utf8 => 1007,
            Wrong::TooBig => 1009,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Wrong::Protocol(rule) => rule,
            Wrong::Binary => "a binary message; only text is taken",
            Wrong::Utf8 => "a text that is not UTF-8",
            Wrong::TooBig => "a message of more than 4096 bytes",
        })
    }
}

impl Error for Wrong {}
// ANCHOR_END: wrong

// ANCHOR: head
/// All of a frame but its payload.
struct Head {
    fin: bool, // is it the last fragment of its message?
    kind: u8,
    length: u64,
    key: [u8; 4], // zeros if there is none: they change nothing
    size: usize,  // of the head itself
}

/// Reads the head of a frame. `None` means that it is not whole yet.
///
/// # Errors
/// As soon as the bytes that are there cannot become a head.
fn head(bytes: &[u8], masked: bool) -> Result<Option<Head>, Wrong> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let (fin, kind) = (first & 0x80 != 0, first & 0x0f);
    rule(first & 0x70 == 0, "a reserved bit is set")?;
    let is_known = matches!(kind, MORE | TEXT | BINARY | CLOSE | PING | PONG);
    rule(is_known, "a frame of an unknown kind")?;
    rule(fin || kind < CLOSE, "a control frame in fragments")?;
    let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
    let has_key = second & 0x80 != 0;
    rule(has_key == masked, "a client must mask, a server must not")?;
    let short = second & 0x7f;
    let is_small = usize::from(short) <= MAX_CONTROL;
    rule(is_small || kind < CLOSE, "a control frame of over 125 bytes")?;
    let Some((length, rest)) = length(short, rest)? else { return Ok(None) };
    let Some((key, rest)) = key(has_key, rest) else { return Ok(None) };
    let size = bytes.len() - rest.len();
    Ok(Some(Head { fin, kind, length, key, size }))
}

/// Reads the length, which must be in the shortest form that holds it.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Wrong> {
    let (length, least, rest) = match short {
        126 => match rest.split_first_chunk() {
            Some((bytes, rest)) => {
                (u16::from_be_bytes(*bytes).into(), 126, rest)
            }
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), 65_536, rest),
            None => return Ok(None),
        },
        _ => (u64::from(short), 0, rest),
    };
    rule(length >= least, "a length that is not in its shortest form")?;
    rule(length <= i64::MAX as u64, "a length with its highest bit set")?;
    Ok(Some((length, rest)))
}

fn key(has_key: bool, rest: &[u8]) -> Option<([u8; 4], &[u8])> {
    if !has_key {
        return Some(([0; 4], rest));
    }
    let (key, rest) = rest.split_first_chunk()?;
    Some((*key, rest))
}

fn rule(is_kept: bool, text: &'static str) -> Result<(), Wrong> {
    if is_kept { Ok(()) } else { Err(Wrong::Protocol(text)) }
}
// ANCHOR_END: head

// ANCHOR: decoder
/// What the other end has said.
#[derive(Debug, PartialEq)]
pub enum Message {
    Text(String),
    Ping(Vec<u8>),
    Pong,
    /// Its code, if it gave one.
    Close(Option<u16>),
}

/// Makes messages out of frames. It keeps the fragments of a text whose end
/// has not come yet.
pub struct Decoder {
    masked: bool,
    text: Option<Vec<u8>>,
}

impl Decoder {
    /// A server decodes what is masked; a client, what is not.
    pub fn new(masked: bool) -> Decoder {
        Decoder { masked, text: None }
    }

    // ANCHOR: decode
    /// Takes the first message off `bytes`, which then start after it. `None`
    /// means that its end has not come yet; whole fragments are taken off.
    ///
    /// # Errors
    /// The frame breaks a rule or a limit. Its head tells, before any memory
    /// is spent; only for what is inside a text or a CLOSE it must be whole.
    /// The connection is of no more use.
    pub fn decode(
        &mut self,
        bytes: &mut &[u8],
    ) -> Result<Option<Message>, Wrong> {
        while let Some(head) = head(bytes, self.masked)? {
            self.check(&head)?;
            let length = head.length as usize; // at most MAX_MESSAGE: checked
            let frame = bytes[head.size..].split_at_checked(length);
            let Some((payload, rest)) = frame else { return Ok(None) };
            *bytes = rest;
            let key = head.key.iter().cycle();
            let payload = payload.iter().zip(key).map(|(byte, key)| byte ^ key);
            if let Some(message) = self.add(&head, payload)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// May such a frame come now?
    fn check(&self, head: &Head) -> Result<(), Wrong> {
        match head.kind {
            TEXT | BINARY => {
                let is_first = self.text.is_none();
                rule(is_first, "a message inside another message")?;
            }
            MORE => rule(self.text.is_some(), "a fragment of no message")?,
            _ => return Ok(()), // may come between the fragments of a message
        }
        let before = self.text.as_ref().map_or(0, Vec::len);
        match head.kind {
            BINARY => Err(Wrong::Binary),
            _ if head.length > (MAX_MESSAGE - before) as u64 => {
                Err(Wrong::TooBig)
            }
            _ => Ok(()),
        }
    }
    // ANCHOR_END: decode

    /// Takes a frame in. Only the last one of a message makes it whole.
    fn add(
        &mut self,
        head: &Head,
        payload: impl Iterator<Item = u8>,
    ) -> Result<Option<Message>, Wrong> {
        match head.kind {
            CLOSE => close(&payload.collect::<Vec<u8>>()).map(Some),
            PING => Ok(Some(Message::Ping(payload.collect()))),
            PONG => Ok(Some(Message::Pong)),
            _ => {
                let mut text = self.text.take().unwrap_or_default();
                text.extend(payload);
                if !head.fin {
                    self.text = Some(text);
                    return Ok(None);
                }
                // Only now: a fragment may end in the middle of a letter.
                let text = String::from_utf8(text).map_err(|_| Wrong::Utf8)?;
                Ok(Some(Message::Text(text)))
            }
        }
    }

    /// Has a message begun whose end has not come?
    pub fn is_inside(&self) -> bool {
        self.text.is_some()
    }
}

/// Reads a CLOSE: nothing, or a code and perhaps a reason (section 5.5.1).
fn close(payload: &[u8]) -> Result<Message, Wrong> {
    if payload.is_empty() {
        return Ok(Message::Close(None));
    }
    let code = payload.split_first_chunk();
    let Some((code, reason)) = code else {
        return Err(Wrong::Protocol("a CLOSE with half a code"));
    };
    let code = u16::from_be_bytes(*code);
    // 1004 to 1006 and 1015 never travel (section 7.4.1); those after 1011 are
    // in IANA's registry; from 3000 on they belong to applications.
    let is_fine = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    rule(is_fine, "a CLOSE with a code that must not be sent")?;
    std::str::from_utf8(reason).map_err(|_| Wrong::Utf8)?;
    Ok(Message::Close(Some(code)))
}
// ANCHOR_END: decoder

// ANCHOR: encode
/// Appends a frame to `output`: a whole message, masked if there is a key.
pub fn encode(
    kind: u8,
    payload: &[u8],
    key: Option<[u8; 4]>,
    output: &mut Vec<u8>,
) {
    let mask = if key.is_some() { 0x80 } else { 0 };
    output.push(0x80 | kind);
    match payload.len() {
        n @ 0..126 => output.push(mask | n as u8),
        n @ 126..65_536 => {
            output.push(mask | 126);
            output.extend((n as u16).to_be_bytes());
        }
        n => {
            output.push(mask | 127);
            output.extend((n as u64).to_be_bytes());
        }
    }
    output.extend(key.into_iter().flatten());
    let key = key.unwrap_or_default().into_iter().cycle();
    output.extend(payload.iter().zip(key).map(|(byte, key)| byte ^ key));
}

/// Appends a CLOSE. `reason` is ours, and at most 123 bytes long.
pub fn encode_close(code: u16, reason: &str, output: &mut Vec<u8>) {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    debug_assert!(payload.len() <= MAX_CONTROL);
    encode(CLOSE, &payload, None, output);
}
// ANCHOR_END: encode

// ANCHOR: accept
/// What no one but a reader of RFC 6455 would append (section 1.3).
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What proves to the client that its request was read as a WebSocket's, and
/// not answered by a server, or a cache, that knows nothing of it.
pub fn accept(key: &str) -> String {
    let digest = sha1_smol::Sha1::from(format!("{key}{MAGIC}")).digest();
    base64(&digest.bytes())
}

/// Bytes as text (RFC 4648 section 4): three bytes become four digits.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |n, &b| n << 8 | usize::from(b));
        let bits = bits << (8 * (3 - three.len()));
        for i in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * i) & 63];
            text.push(if i <= three.len() { digit.into() } else { '=' });
        }
    }
    text
}
// ANCHOR_END: accept

#[cfg(test)]
mod tests {
    use super::*;

    /// All messages of `bytes`, and how many bytes are left.
    fn all(
        decoder: &mut Decoder,
        mut bytes: &[u8],
    ) -> Result<(Vec<Message>, usize), Wrong> {
        let mut messages = Vec::new();
        while let Some(message) = decoder.decode(&mut bytes)? {
            messages.push(message);
        }
        Ok((messages, bytes.len()))
    }

    fn text(text: &str) -> Message {
        Message::Text(text.to_owned())
    }

    #[test]
    fn rfc_6455_section_1_3() {
        let accept = accept("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// RFC 4648 section 10.
    #[test]
    fn rfc_4648_section_10() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    const HELLO: &[u8] = b"\x81\x05Hello";
    const MASKED: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

    #[test]
    fn rfc_6455_section_5_7() {
        let hello = Ok((vec![text("Hello")], 0));
        assert_eq!(all(&mut Decoder::new(false), HELLO), hello);
        assert_eq!(all(&mut Decoder::new(true), MASKED), hello);
        let fragments = b"\x01\x03Hel\x80\x02lo";
        assert_eq!(all(&mut Decoder::new(false), fragments), hello);
        let ping = Message::Ping(b"Hello".to_vec());
        let bytes = b"\x89\x05Hello";
        assert_eq!(all(&mut Decoder::new(false), bytes), Ok((vec![ping], 0)));
        let pong = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let pongs = Ok((vec![Message::Pong], 0));
        assert_eq!(all(&mut Decoder::new(true), pong), pongs);
        for binary in [&b"\x82\x7e\x01\x00"[..], b"\x82\x7f\0\0\0\0\0\x01\0\0"]
        {
            let wrong = Err(Wrong::Binary);
            assert_eq!(all(&mut Decoder::new(false), binary), wrong);
        }
        let mut output = Vec::new();
        encode(TEXT, b"Hello", None, &mut output);
        assert_eq!(output, HELLO);
        output.clear();
        let key = Some([0x37, 0xfa, 0x21, 0x3d]);
        encode(TEXT, b"Hello", key, &mut output);
        assert_eq!(output, MASKED);
    }

    /// A text in two fragments with a PING between them, a longer one, and a
    /// CLOSE, all masked.
    fn conversation() -> (Vec<u8>, Vec<Message>) {
        let mut bytes = b"\x01\x83\0\0\0\0\xe2\x82h"[..8].to_vec(); // half a €
        bytes[1] = 0x82;
        encode(PING, b"still there?", Some([1, 2, 3, 4]), &mut bytes);
        bytes.extend(b"\x80\x82\x01\x01\x01\x01\xad\x30"); // its end, and "1"
        let long = "x".repeat(300);
        encode(TEXT, long.as_bytes(), Some([9, 8, 7, 6]), &mut bytes);
        encode(CLOSE, b"\x03\xe8bye", Some([5, 5, 5, 5]), &mut bytes);
        let ping = Message::Ping(b"still there?".to_vec());
        let close = Message::Close(Some(1000));
        (bytes, vec![ping, text("€1"), text(&long), close])
    }

    /// Feeds a decoder as a socket would, and returns what comes out.
    fn in_slices(bytes: &[u8], ends: &[usize]) -> Vec<Message> {
        let (mut decoder, mut input) = (Decoder::new(true), Vec::new());
        let (mut messages, mut at) = (Vec::new(), 0);
        for &end in ends.iter().chain([&bytes.len()]) {
            input.extend_from_slice(&bytes[at..end]);
            at = end;
            let mut rest = &input[..];
            while let Some(message) = decoder.decode(&mut rest).unwrap() {
                messages.push(message);
            }
            input = rest.to_vec();
        }
        assert!(input.is_empty());
        messages
    }

    #[test]
    fn a_close_says_why() {
        let mut bytes = Vec::new();
        encode_close(1013, "later", &mut bytes);
        assert_eq!(bytes, b"\x88\x07\x03\xf5later");
    }

    #[test]
    fn cut_at_every_byte() {
        let (bytes, messages) = conversation();
        for end in 0..bytes.len() {
            assert_eq!(in_slices(&bytes, &[end]), messages, "cut at {end}");
        }
        let every: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(in_slices(&bytes, &every), messages);
    }

    #[test]
    fn cut_anywhere() {
        let (bytes, messages) = conversation();
        for _ in 0..1000 {
            let mut ends: Vec<usize> = (0..rand::random_range(0..9))
                .map(|_| rand::random_range(0..bytes.len()))
                .collect();
            ends.sort_unstable();
            assert_eq!(in_slices(&bytes, &ends), messages, "cut at {ends:?}");
        }
    }

    /// What comes out of bytes that arrive one by one, how many are left, and
    /// how it ends.
    fn one_by_one(bytes: &[u8]) -> Result<(Vec<Message>, usize), Wrong> {
        let (mut decoder, mut input) = (Decoder::new(true), Vec::new());
        let mut messages = Vec::new();
        for byte in bytes {
            input.push(*byte);
            let (more, left) = all(&mut decoder, &input)?;
            messages.extend(more);
            input.drain(..input.len() - left);
        }
        Ok((messages, input.len()))
    }

    #[test]
    fn any_bytes_never_panic_and_are_decoded_the_same_in_slices() {
        for _ in 0..20_000 {
            let n = rand::random_range(0..40);
            let mut bytes: Vec<u8> = (0..n).map(|_| rand::random()).collect();
            if let [first, second, ..] = &mut bytes[..] {
                *first &= 0x8f; // otherwise hardly any gets past the first
                *second = 0x80 | *second & 0x0f;
            }
            let whole = all(&mut Decoder::new(true), &bytes);
            assert_eq!(one_by_one(&bytes), whole, "{bytes:x?}");
        }
    }

    #[test]
    fn lengths_of_each_form_up_to_the_limit() {
        for n in [0, 1, 125, 126, 127, 4095, 4096] {
            let mut bytes = Vec::new();
            let long = "x".repeat(n);
            encode(TEXT, long.as_bytes(), Some([1, 2, 3, 4]), &mut bytes);
            let decoded = all(&mut Decoder::new(true), &bytes);
            assert_eq!(decoded, Ok((vec![text(&long)], 0)));
        }
        let mut bytes = Vec::new();
        encode(TEXT, &[b'x'; 65_536], None, &mut bytes);
        assert_eq!(bytes[..10], *b"\x81\x7f\0\0\0\0\0\x01\0\0");
    }

    /// The head is enough; nothing is kept for what follows.
    #[test]
    fn what_is_too_big_is_refused_by_its_head() {
        let mut decoder = Decoder::new(false);
        let wrong = Err(Wrong::TooBig);
        assert_eq!(decoder.decode(&mut &b"\x81\x7e\x10\x01"[..]), wrong);
        assert_eq!(decoder.decode(&mut &b"\x01\x7e\x10\x00"[..]), Ok(None));
        let mut bytes = b"\x01\x7e\x10\x00".to_vec();
        bytes.extend([b'x'; 4096]);
        assert_eq!(all(&mut decoder, &bytes), Ok((vec![], 0)));
        assert!(decoder.is_inside());
        assert_eq!(decoder.decode(&mut &b"\x80\x01"[..]), wrong);
        assert_eq!(
            all(&mut decoder, b"\x80\x00"),
            Ok((vec![text(&"x".repeat(4096))], 0))
        );
    }
}

//! From symptoms to causes: what wrong bytes usually mean.

use crate::diagnosis::evidence::{Cause, End, Evidence, contains};
use crate::diagnosis::{cause_framed, show};

/// The cause, if the bytes show one.
pub fn find(e: &Evidence) -> Option<Cause> {
    if e.got.is_empty() {
        return None;
    }
    foreign(e)
        .or_else(|| previous(e))
        .or_else(|| if e.is_framed { cause_framed::find(e) } else { raw(e) })
}

/// Explains bytes that came although none were due.
pub fn surplus(got: &[u8]) -> (&'static str, &'static str) {
    match got {
        [b'\n', ..] | [b'\r', b'\n', ..] | [0] => (
            "Your server adds a newline or a zero byte that does not belong to \
             what it has to send.",
            "what your `write` adds: println, puts, a terminating zero",
        ),
        _ => (
            "Your server sends more bytes than are due, or sends them too \
             early.",
            "each `write`: which bytes that came does it answer?",
        ),
    }
}

/// Another protocol altogether.
fn foreign(e: &Evidence) -> Option<Cause> {
    let name = match e.got {
        [b'H', b'T', b'T', b'P', b'/', ..] => "HTTP",
        [0x16 | 0x15, 0x03, ..] => "TLS",
        [b'S', b'S', b'H', b'-', ..] => "SSH",
        _ => return None,
    };
    let meaning = format!(
        "These bytes look like {name}, so another program may have sent them."
    );
    Some((meaning, "which program runs there, and which library it uses"))
}

fn previous(e: &Evidence) -> Option<Cause> {
    let is_previous = e.previous.len() > 1 || e.expected.len() == 1;
    let is_old = is_previous
        && !e.previous.is_empty()
        && e.previous != e.expected
        && e.got.starts_with(e.previous);
    is_old.then(|| {
        (
            "Your server sent the answer to the request before: it sent that \
             one twice, or every reply is one behind."
                .into(),
            "what is still in your buffer when the next request comes",
        )
    })
}

// ---- Steps 1 to 3: bytes

fn raw(e: &Evidence) -> Option<Cause> {
    if e.got.starts_with(e.expected) {
        let (meaning, look) = surplus(&e.got[e.expected.len()..]);
        return Some((meaning.into(), look));
    }
    if contains(e.got, b"\xef\xbf\xbd") {
        return Some((
            "Your server decoded the bytes as UTF-8 instead of passing them \
             on: ef bf bd is what a decoder writes for bytes that are not \
             valid text."
                .into(),
            "where your program turns bytes into a string, and a string into \
             bytes",
        ));
    }
    round_size(e)
        .or_else(|| stripped(e))
        .or_else(|| short(e))
        .or_else(|| merged(e))
}

/// Exactly as much as a buffer.
fn round_size(e: &Evidence) -> Option<Cause> {
    let n = e.got.len();
    let is_round = n >= 256 && n.is_power_of_two() || n == 1000;
    if !e.expected.starts_with(e.got) || !is_round {
        return None;
    }
    let meaning = format!(
        "Exactly {n} bytes came back, as many as a buffer often holds: one \
         `read` need not bring all that the client sent, and one `write` may \
         take less than you gave it."
    );
    Some((meaning, "the loop around `read` and `write`: what ends it?"))
}

/// A byte that a text library takes for an end or for space.
fn stripped(e: &Evidence) -> Option<Cause> {
    let at = show::first_difference(e.expected, e.got)?;
    let (before, wrong) = (e.expected.get(..at)?, e.expected.get(at)?);
    // A byte of this kind has come back before: so it is not the reason, or
    // only at the end, where all that is missing is of this kind.
    let class = |byte: &u8| match byte {
        0x80.. => 2,
        b'\n' | b'\r' | b' ' | b'\t' => 1,
        _ => u8::from(*byte == 0) * 3,
    };
    let is_same = |byte: &u8| class(byte) == class(wrong);
    let is_tail = at == e.got.len() && e.expected[at..].iter().all(is_same);
    if !is_tail && before.iter().any(is_same) {
        return None;
    }
    let meaning = match wrong {
        0 => "Your server stops at a zero byte, as strlen does.",
        b'\n' | b'\r' | b' ' | b'\t' => {
            "Your server dropped a space or a newline, as trim, strip and line \
             readers do, but TCP carries bytes."
        }
        0x80.. if e.got.len() != e.expected.len() => {
            "Your server goes wrong at the first byte of 80 (hex) or more, \
             because it takes the bytes for text, but TCP carries bytes."
        }
        _ => return None,
    };
    Some((meaning.into(), "what your program does between `read` and `write`"))
}

fn short(e: &Evidence) -> Option<Cause> {
    let is_short = e.expected.starts_with(e.got);
    (is_short && e.end != End::Open).then(|| {
        (
            "Your server ended the connection before it had sent all that it \
             owed."
                .into(),
            "what your program does at EOF: does it still owe bytes?",
        )
    })
}

/// Bytes are missing in the middle.
fn merged(e: &Evidence) -> Option<Cause> {
    let at = show::first_difference(e.expected, e.got)?;
    let next = e.got.get(at..at + 8)?;
    contains(&e.expected[at..], next).then(|| {
        (
            "Your server left out bytes in the middle, because a `write` took \
             only a part of them and it forgot the rest."
                .into(),
            "what your `write` returns: how many bytes it took",
        )
    })
}

//! From step 4 on: what wrong frames usually mean.

use crate::diagnosis::evidence::{Cause, Evidence};
use crate::diagnosis::show;
use crate::wire::{self, ERROR, Head, error_name, head};

/// An ERROR in words, where another frame was due.
pub fn error_text(got: &[u8], want: &[u8]) -> Option<String> {
    let at = rest_after_common_frames(got, want);
    let Head::Whole { kind: ERROR, payload: [code, text @ ..], .. } = head(at)
    else {
        return None;
    };
    let text = show::shorten(&text.escape_ascii().to_string(), 30);
    Some(format!("that is ERROR({code}), {}: \"{text}\"", error_name(*code)))
}

/// The cause, if the frames show one.
pub fn find(e: &Evidence) -> Option<Cause> {
    let payload = match head(e.expected) {
        Head::Whole { payload, .. } => payload,
        _ => return None,
    };
    refused(e)
        .or_else(|| later_frame(e))
        .or_else(|| order(e))
        .or_else(|| mixed(e))
        .or_else(|| header(e, payload))
        .or_else(|| few(e))
        .or_else(|| text_as_length(e.got))
}

/// A correct frame was answered with an error.
fn refused(e: &Evidence) -> Option<Cause> {
    let at = rest_after_common_frames(e.got, e.expected);
    let Head::Whole { kind: ERROR, payload: [code, ..], .. } = head(at) else {
        return None;
    };
    let name = error_name(*code);
    let meaning = match code {
        1 | 2 => format!(
            "Your server answered ERROR({code}), {name}, so it read a length \
             that nobody sent: is its length big endian and unsigned, and does \
             N count the kind, but not itself?"
        ),
        3 => format!(
            "Your server answered ERROR(3), {name}, so it looked for the kind \
             in the wrong place, or lost its place in the stream."
        ),
        _ => format!(
            "Your server answered ERROR({code}), {name}, to a good frame."
        ),
    };
    Some((meaning, "how your program reads the 5 bytes in front of a payload"))
}

/// The first frames are right, and then one has a length that tells more.
fn later_frame(e: &Evidence) -> Option<Cause> {
    let got = rest_after_common_frames(e.got, e.expected);
    let expected = &e.expected[e.got.len() - got.len()..];
    let Head::Whole { payload, size, .. } = head(expected) else { return None };
    let have = u32::from_be_bytes(*got.first_chunk()?) as usize;
    if payload.is_empty() && got.starts_with(expected.get(size..size + 4)?) {
        let meaning = "Your server left out an empty message, but that is a \
                       frame, too: N = 1, a kind, and no payload.";
        return Some((
            meaning.into(),
            "what your program does with a text of 0 bytes",
        ));
    }
    let text = std::str::from_utf8(payload).ok()?;
    let characters = 1 + text.chars().count();
    let units = 1 + text.encode_utf16().count();
    let is_text = have != size - 4 && [characters, units].contains(&have);
    is_text.then(|| {
        let meaning = format!(
            "Your server sent N = {have}, so it counts the characters of the \
             text, but N counts bytes, and here that makes {}.",
            size - 4
        );
        (meaning, "how your program gets the length of what it sends")
    })
}

/// What follows the last whole frame that was right.
fn rest_after_common_frames<'a>(
    mut got: &'a [u8],
    mut expected: &[u8],
) -> &'a [u8] {
    while let Head::Whole { size, .. } = head(got) {
        if expected.get(..size) != Some(&got[..size]) {
            break;
        }
        (got, expected) = (&got[size..], &expected[size..]);
    }
    got
}

/// The five bytes in front of the payload are wrong.
fn header(e: &Evidence, payload: &[u8]) -> Option<Cause> {
    let look = "how your program writes the 5 bytes in front of a payload";
    if e.got.starts_with(payload) && !payload.is_empty() {
        return Some((
            "Your server sent the payload alone, without the length and the \
             kind in front of it."
                .into(),
            look,
        ));
    }
    let want = u32::from_be_bytes(*e.expected.first_chunk()?);
    let length = *e.got.first_chunk::<4>()?;
    let have = u32::from_be_bytes(length);
    let meaning = if e.got.get(4..) == Some(payload) && have + 1 == want {
        "Your server left out the kind: a reply is length, kind 81, payload."
            .into()
    } else if have == want {
        same_length(e, payload)?.into()
    } else {
        other_length(e, want, length)?
    };
    Some((meaning, look))
}

/// The length is right, and what follows is not.
fn same_length(e: &Evidence, payload: &[u8]) -> Option<&'static str> {
    let kind = |bytes: &[u8]| bytes.get(4).copied();
    let at = show::first_difference(e.expected, e.got);
    let cut = e.expected.len().checked_sub(4);
    if payload.len() > 4 && at == cut {
        return Some(
            "Your server left out the last 4 bytes of the payload, as a length \
             does that counts its own 4 bytes.",
        );
    }
    let is_request = kind(e.got) == Some(wire::ECHO);
    (is_request && kind(e.expected) == Some(wire::ECHO_REPLY)).then_some(
        "Your server sent the kind of the request, but the kind of a reply has \
         the highest bit set: 81.",
    )
}

fn other_length(e: &Evidence, want: u32, length: [u8; 4]) -> Option<String> {
    let (have, little) =
        (u32::from_be_bytes(length), u32::from_le_bytes(length));
    let is_whole = little as usize + 4 == e.got.len();
    if little == want || have > wire::MAX_LENGTH && is_whole {
        let meaning = "Your server sends the length in little endian, but the \
                       contract says big endian.";
        return Some(meaning.into());
    }
    wrong_by(e, want, have)
}

/// The length is wrong by a few, which tells what it counts.
fn wrong_by(e: &Evidence, want: u32, have: u32) -> Option<String> {
    let end = want as usize + 4; // of the frame that was due
    let counts = |what: &str| {
        format!("Your server sent N = {have} instead of {want}: {what}")
    };
    let newline = "Your server added a newline to the payload.";
    let longer = "Your server sent a payload that is one byte too long, such \
                  as one with a zero byte at its end.";
    let shorter = "Your server sent a payload that is one byte too short.";
    Some(match i64::from(have) - i64::from(want) {
        1 => match e.got.get(end) {
            Some(b'\n' | b'\r') => newline.into(),
            Some(_) => longer.into(),
            None => counts("the length is one too large for this payload."),
        },
        -1 if e.got.len() + 1 == end => shorter.into(),
        -1 => counts("the length does not count the kind."),
        3 => counts(
            "the length counts its own 4 bytes, and does not count the kind.",
        ),
        4 => counts("the length counts its own 4 bytes."),
        _ => return None,
    })
}

/// Only the first of several frames came back.
fn few(e: &Evidence) -> Option<Cause> {
    let (came, due) = (wire::count(e.got), wire::count(e.expected));
    let is_part = e.expected.starts_with(e.got);
    (is_part && 0 < came && came < due).then(|| {
        let meaning = format!(
            "Only {came} of {due} frames came: one `read` is not one message, \
             because it may bring many frames, or half of one."
        );
        (meaning, "what your program does with the bytes after the first frame")
    })
}

/// A length that is four letters of somebody's text.
pub fn text_as_length(got: &[u8]) -> Option<Cause> {
    let Head::Bad(length) = head(got) else { return None };
    let text = length.to_be_bytes();
    let is_text = text.iter().all(|byte| (b' '..=b'~').contains(byte));
    is_text.then(|| {
        let text = String::from_utf8_lossy(&text);
        let meaning = format!(
            "Your server sent {text:?} where a length belongs, which is a \
             piece of a payload, so it lost count of the bytes."
        );
        (meaning, "how many bytes your program takes for each frame: 4 + N")
    })
}

/// The first frame that is wrong is the reply to a later request.
fn order(e: &Evidence) -> Option<Cause> {
    let got = rest_after_common_frames(e.got, e.expected);
    let expected = &e.expected[e.got.len() - got.len()..];
    let (came, due) = (frames(got), frames(expected));
    let (first, rest) = due.split_first()?;
    if !rest.contains(came.first()?) {
        return None;
    }
    let (meaning, look) = match came.contains(first) {
        true => (
            "Your server sent its replies in the wrong order.",
            "which code writes the replies, and when: one after another?",
        ),
        false => (
            "Your server sent the reply to a later request where another one \
             was due, which is missing.",
            "what happens to a request while your program answers the one \
             before",
        ),
    };
    Some((meaning.into(), look))
}

/// The whole frames at the beginning.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Head::Whole { size, .. } = head(bytes) {
        let (frame, rest) = bytes.split_at(size);
        frames.push(frame);
        bytes = rest;
    }
    frames
}

/// Behind the header of a reply comes the header of another one.
fn mixed(e: &Evidence) -> Option<Cause> {
    let got = rest_after_common_frames(e.got, e.expected);
    let is_header = |bytes: &[u8]| {
        let Some([a, b, c, d, kind]) = bytes.first_chunk::<5>() else {
            return false;
        };
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        (1..=wire::MAX_LENGTH).contains(&length)
            && [wire::ECHO_REPLY, ERROR].contains(kind)
    };
    let is_mixed = wire::count(e.expected) > 1
        && is_header(got)
        && got.get(5..).is_some_and(is_header);
    is_mixed.then(|| {
        (
            "Your server mixed its replies: behind the header of one comes the \
             header of another, so two writers each wrote a reply in two \
             parts."
                .into(),
            "which code writes on a connection: one writer at a time, and each \
             reply in one piece?",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::evidence::End;

    fn meaning(expected: &[u8], got: &[u8]) -> String {
        let found = find(&Evidence {
            is_framed: true,
            expected,
            got,
            previous: b"",
            end: End::Open,
        });
        found.map(|(meaning, _)| meaning).unwrap_or_default()
    }

    /// Frames whose lengths differ by what a length that counts too much
    /// differs by.
    #[test]
    fn an_order_is_not_taken_for_a_length() {
        let [a, b, c] = [&b"one"[..], b"three", b"seven !"].map(wire::reply);
        let all = [&a[..], &b, &c].concat();
        let turned = [&c[..], &b, &a].concat();
        assert!(meaning(&all, &turned).contains("order"));
        let late = [&a[..], &c, &b].concat();
        assert!(meaning(&all, &late).contains("order"));
        let hole = [&a[..], &c].concat();
        assert!(meaning(&all, &hole).contains("missing"));
        let mixed = [&a[..], &b[..5], &c[..5], &c[5..], &b[5..]].concat();
        assert!(meaning(&all, &mixed).contains("mixed"));
        let wrong = [&[0, 0, 0, 8][..], &a[4..]].concat();
        assert!(meaning(&a, &wrong).contains("counts its own"));
    }

    /// What the length counts wrongly shows in the bytes that follow it.
    #[test]
    fn a_length_that_is_off_by_one_is_not_always_a_newline() {
        let due = wire::reply(b"three");
        let with = |length: u8, payload: &[u8]| {
            [&[0, 0, 0, length, wire::ECHO_REPLY][..], payload].concat()
        };
        for (got, says) in [
            (with(7, b"three\n"), "newline"),
            (with(7, b"three\0"), "too long"),
            (with(7, b"three"), "one too large"),
            (with(5, b"thre"), "too short"),
            (with(5, b"three"), "not count the kind"),
            (with(9, b"three"), "counts its own 4 bytes, and does not"),
        ] {
            assert!(meaning(&due, &got).contains(says), "{says}");
        }
    }
}

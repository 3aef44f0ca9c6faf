//! The frame of step 4, for any bytes in any slices.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[allow(dead_code)]
#[path = "../steps/step4/frame.rs"]
mod frame;
mod support;

use frame::{LengthError, MAX_LENGTH, decode, encode};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use support::bands::{cut, escape, figure, whole};
use support::{bands, snapshot};

type Frames = Vec<(u8, Vec<u8>)>;

/// Receives `bytes` in slices, as a server does: takes all whole frames out of
/// a buffer that outlives each read. Returns the frames, how many bytes were
/// left, and the largest size of the buffer.
fn receive(
    bytes: &[u8],
    sizes: &[usize],
) -> Result<(Frames, usize, usize), LengthError> {
    let (mut input, mut frames, mut largest) = (Vec::new(), Vec::new(), 0);
    let mut sizes = sizes.iter().cycle();
    let mut left = bytes;
    while !left.is_empty() {
        let (slice, later) =
            left.split_at(left.len().min(*sizes.next().unwrap()));
        left = later;
        input.extend_from_slice(slice);
        largest = largest.max(input.len());
        let mut rest = &input[..];
        while let Some(frame) = decode(&mut rest)? {
            frames.push((frame.kind, frame.payload.to_vec()));
        }
        let used = input.len() - rest.len();
        input.drain(..used);
    }
    Ok((frames, input.len(), largest))
}

proptest! {
    #[test]
    fn any_frames_in_any_slices(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..300)), 0..20),
        sizes in vec(1usize..700, 1..20),
    ) {
        let mut bytes = Vec::new();
        for (kind, payload) in &frames {
            encode(*kind, payload, &mut bytes).unwrap();
        }
        prop_assert_eq!(receive(&bytes, &sizes).unwrap().0, frames);
    }

    /// Whatever comes, nothing panics, and no more is kept than one frame and
    /// one slice.
    #[test]
    fn any_bytes_in_any_slices(
        bytes in vec(any::<u8>(), 0..2000),
        sizes in vec(1usize..100, 1..20),
    ) {
        if let Ok((_, _, largest)) = receive(&bytes, &sizes) {
            prop_assert!(largest <= 4 + MAX_LENGTH + 100);
        }
    }

    /// The same with small lengths, so that frames are found, too.
    #[test]
    fn small_lengths_in_any_slices(
        lengths in vec(0u32..40, 0..40),
        sizes in vec(1usize..100, 1..20),
    ) {
        let bytes: Vec<u8> =
            lengths.iter().flat_map(|n| n.to_be_bytes()).collect();
        let whole = receive(&bytes, &[bytes.len().max(1)]);
        let sliced = receive(&bytes, &sizes);
        prop_assert_eq!(whole.is_err(), sliced.is_err());
        if let (Ok(whole), Ok(sliced)) = (whole, sliced) {
            prop_assert_eq!((whole.0, whole.1), (sliced.0, sliced.1));
        }
    }
}

fn frame_of(kind: u8, text: &str) -> Result<Vec<u8>, LengthError> {
    let mut bytes = Vec::new();
    encode(kind, text.as_bytes(), &mut bytes)?;
    Ok(bytes)
}

/// The frame of the chapter on preparation, and its answer.
#[test]
fn hi_and_its_answer() {
    let ask = frame_of(frame::ECHO, "hi").unwrap();
    let answer = frame_of(frame::ECHO_REPLY, "hi").unwrap();
    let rows = [("client", &ask), ("server", &answer)];
    let rows = rows.map(|(from, bytes)| (from.to_owned(), &bytes[..]));
    snapshot("frame-hi", &bands::frames(rows.into_iter()));
}

/// Two frames, cut once at each place: what the first read gives, and what is
/// found when the second one has brought the rest.
#[test]
fn two_frames_cut_at_each_place() {
    let two = ["hi", "yo"].map(|text| frame_of(frame::ECHO, text).unwrap());
    let bytes = two.concat();
    let mut rows = String::new();
    for at in 1..=bytes.len() {
        let late = bytes.len() - at;
        let (first, kept, _) = receive(&bytes[..at], &[at]).unwrap();
        let (both, left, _) = receive(&bytes, &[at]).unwrap();
        assert_eq!((both.len(), left), (2, 0));
        let cut = cut(&[&two[0], &two[1]], at - kept, at);
        let (first, second) = both.split_at(first.len());
        rows += &format!(
            "<tr><th scope=\"row\">{at}</th><td class=\"hex\">{cut}</td>\
             <td>{}</td><td>{kept}</td><td>{late}</td><td>{}</td></tr>\n",
            texts(first),
            texts(second),
        );
    }
    let columns = [
        "first <code>read</code>",
        "all bytes, with a | after the first read",
        "<code>decode</code> finds",
        "and keeps",
        "second <code>read</code>",
        "<code>decode</code> finds",
    ];
    let note = "Each frame has a <span class=\"length\">length</span>, \
        a <span class=\"kind\">kind</span> and \
        a <span class=\"payload\">payload</span>. The server keeps the \
        <span class=\"kept\">underlined</span> bytes for the second read.";
    snapshot("frame-cuts", &figure("cuts", &columns, &rows, note));
}

/// The payloads, or a dash.
fn texts(frames: &[(u8, Vec<u8>)]) -> String {
    let texts = frames.iter();
    let texts = texts.map(|(_, text)| String::from_utf8_lossy(text));
    match texts.collect::<Vec<_>>().join(" ") {
        text if text.is_empty() => "–".to_owned(),
        text => text,
    }
}

/// Texts and their frames. The page builds such frames in JavaScript, and
/// `tests/browser/frames.mjs` compares it with these.
#[test]
fn texts_and_their_frames() {
    let texts =
        ["", "hi", "é", "你好", "👋", "two\nlines", "1 < 2 & \"3\" > 20"];
    let mut rows: String =
        texts.map(|text| example(&format!("{text:?}"), text)).concat();
    for size in [MAX_LENGTH - 1, MAX_LENGTH] {
        let name = format!("{size} times \"x\"");
        rows += &example(&name, &"x".repeat(size));
    }
    let columns = ["text", "bytes in all", "N", "frame"];
    let note = "A … stands for the rest of a long payload.";
    snapshot("frame-examples", &figure("examples", &columns, &rows, note));
}

fn example(name: &str, text: &str) -> String {
    let name = match escape(name) {
        name if text == "你好" => {
            format!("<span lang=\"zh-Hans\">{name}</span>")
        }
        name => name,
    };
    let cells = match frame_of(frame::ECHO, text) {
        Ok(bytes) => format!(
            "<td>{}</td><td>{}</td><td class=\"hex\">{}</td>",
            bytes.len(),
            bytes.len() - 4,
            whole(&bytes)
        ),
        Err(error) => format!("<td colspan=\"3\">{error}</td>"),
    };
    format!("<tr><th scope=\"row\">{name}</th>{cells}</tr>\n")
}

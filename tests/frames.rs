//! The frame of step 4, for any bytes in any slices, and the memory that it
//! takes.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[allow(dead_code)]
#[path = "../steps/step4/frame.rs"]
mod frame;
#[allow(dead_code)]
#[path = "../steps/step4/listener.rs"]
mod listener;
#[allow(dead_code)]
#[path = "../steps/step4/server.rs"]
mod server;
mod support;

use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use allocation_counter::measure;
use frame::{ECHO, ECHO_REPLY, LengthError, MAX_LENGTH, decode, encode};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use support::bands::{cut, escape, figure, whole};
use support::shapes::{banded, hex, rows, same};
use support::{DEADLINE, again, bands, snapshot};
use tokio::runtime::Builder;

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
    let table = bands::frames(rows.into_iter());
    check_bands(&table, &[&ask, &answer]).unwrap();
    snapshot("frame-hi", &table);
}

/// The rows with bands show the bytes of these frames, each in its band. A row
/// may end in "…".
fn check_bands(table: &str, frames: &[&[u8]]) -> Result<(), String> {
    let rows = table.lines().filter(|line| line.starts_with("<tr>"));
    let rows: Vec<_> = rows.filter(|row| row.contains("<span")).collect();
    same("rows", rows.len(), frames.len())?;
    for (row, frame) in rows.into_iter().zip(frames) {
        let (bytes, _) = hex(row);
        let mut seen = banded(frame);
        if row.contains(" …<") {
            seen.truncate(bytes.len().min(frame.len() - 1));
        }
        same("bytes", bytes, seen)?;
    }
    Ok(())
}

/// Each row shows what the first `read` brought, which of it was used, and
/// which bytes are in which band.
fn check_cuts(table: &str, frames: [&[u8]; 2]) -> Result<(), String> {
    let lines = table.lines().filter(|line| line.starts_with("<tr>"));
    for (i, (row, line)) in rows(table).iter().zip(lines).enumerate() {
        let cut = i + 1;
        let used = cut / frames[0].len() * frames[0].len();
        let state = |n| match n {
            _ if n < used => "used",
            _ if n < cut => "kept",
            _ => "later",
        };
        let seen = frames.iter().flat_map(|frame| banded(frame)).enumerate();
        let seen = seen
            .map(|(n, (byte, band))| (byte, format!("{} {band}", state(n))));
        let seen: Vec<_> = seen.collect();
        let numbers = [cut, cut - used, seen.len() - cut];
        let cells = [&row[0], &row[3], &row[4]];
        same("numbers", cells, numbers.map(|n| n.to_string()).each_ref())?;
        same("bytes", hex(line), (seen, Some(cut)))?;
    }
    Ok(())
}

fn kept(name: &str) -> String {
    let path = format!("{}/tests/snapshots/{name}.snap", support::ROOT);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_byte_in_another_band_is_found() {
    let ask = frame_of(frame::ECHO, "hi").unwrap();
    let answer = frame_of(frame::ECHO_REPLY, "hi").unwrap();
    let table = kept("frame-hi");
    check_bands(&table, &[&ask, &answer]).unwrap();
    check_bands(&table, &[&answer, &ask]).unwrap_err();
    let kind = "</span></td><td><span class=\"kind\">";
    let moved = table.replace(&format!(" 03{kind}"), &format!("{kind}03 "));
    check_bands(&moved, &[&ask, &answer]).unwrap_err();
    let other = table.replace("kind\">81", "payload\">81");
    check_bands(&other, &[&ask, &answer]).unwrap_err();
}

#[test]
fn a_cut_at_another_place_is_found() {
    let [hi, yo] = ["hi", "yo"].map(|text| frame_of(frame::ECHO, text));
    let (hi, yo) = (hi.unwrap(), yo.unwrap());
    let table = kept("frame-cuts");
    check_cuts(&table, [&hi, &yo]).unwrap();
    for (old, new) in [
        ("00</span></span><b>|</b>", "</span></span><b>|</b>00"),
        ("00</span></span><b>|</b>", "00</span></span>"),
        ("span class=\"used", "span class=\"kept"),
        ("<td>hi</td><td>2</td>", "<td>hi</td><td>3</td>"),
        ("79 6f", "6f 79"),
    ] {
        assert!(table.contains(old), "no {old}");
        check_cuts(&table.replacen(old, new, 1), [&hi, &yo]).unwrap_err();
    }
}

const CUTS: [&str; 6] = [
    "first <code>read</code>",
    "all bytes, with a | after the first read",
    "<code>decode</code> finds",
    "and keeps",
    "second <code>read</code>",
    "<code>decode</code> finds",
];

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
    let note = "Each frame has a <span class=\"length\">length</span>, \
        a <span class=\"kind\">kind</span> and \
        a <span class=\"payload\">payload</span>. The server keeps the \
        <span class=\"kept\">underlined</span> bytes for the second read.";
    let table = figure("cuts", &CUTS, &rows, note);
    check_cuts(&table, [&two[0], &two[1]]).unwrap();
    snapshot("frame-cuts", &table);
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
    let texts = texts.map(|text| (format!("{text:?}"), text.to_owned()));
    let long = [MAX_LENGTH - 1, MAX_LENGTH]
        .map(|size| (format!("{size} times \"x\""), "x".repeat(size)));
    let texts: Vec<_> = texts.into_iter().chain(long).collect();
    let rows = texts.iter().map(|(name, text)| example(name, text));
    let rows: String = rows.collect();
    let table = examples(&rows);
    let frames = texts.iter().map(|(_, text)| frame_of(frame::ECHO, text));
    let frames: Vec<_> = frames.filter_map(Result::ok).collect();
    let frames: Vec<&[u8]> = frames.iter().map(|frame| &frame[..]).collect();
    check_bands(&table, &frames).unwrap();
    snapshot("frame-examples", &table);
}

fn examples(rows: &str) -> String {
    let columns = ["text", "bytes in all", "N", "frame"];
    let note = "A … stands for the rest of a long payload.";
    figure("examples", &columns, rows, note)
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

// ---- How often is memory allocated?

/// What the server of step 4 would print.
fn say(_: impl Display) {}

/// The payload of a frame stays where it was received, and goes straight to
/// where it is sent from. Only a `Vec` that must grow allocates: here it does
/// once for the length, and once more for the payload.
#[test]
fn decode_and_encode_allocate_nothing() {
    let payload = [b'x'; 64];
    let (mut bytes, mut empty) = (Vec::with_capacity(69), Vec::new());
    let encoded = measure(|| encode(ECHO, &payload, &mut bytes).unwrap());
    let decoded = measure(|| {
        let frame = decode(&mut &bytes[..]).unwrap().unwrap();
        assert_eq!(frame.payload, payload);
    });
    assert_eq!((encoded.count_total, decoded.count_total), (0, 0));
    let grown = measure(|| encode(ECHO, &payload, &mut empty).unwrap());
    assert_eq!(grown.count_total, 2);
}

/// Step 4 collects the replies of a batch in a new `Vec`, with room for as many
/// bytes as have come. The rest of the server allocates nothing, however many
/// batches there are.
#[test]
fn step_4_allocates_once_for_a_batch_of_small_frames() {
    for (frames, few, many) in [(1, 1000, 9000), (16, 100, 600)] {
        let more = allocations(frames, many) - allocations(frames, few);
        assert_eq!(more, many - few, "for {frames} frames");
    }
}

/// How often the server of step 4 allocates for one client, which sends
/// `batches` times `frames` frames and each time waits for the replies.
fn allocations(frames: usize, batches: u64) -> u64 {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = runtime.block_on(async { listener::bind(any) }).unwrap();
    let addr = listener.local_addr().unwrap();
    let (done, is_done) = tokio::sync::oneshot::channel();
    // Only the thread of the server is counted.
    let client = thread::spawn(move || {
        ask(addr, frames, batches);
        done.send(())
    });
    let counted = measure(|| {
        runtime.block_on(async {
            tokio::select! {
                () = server::run(listener) => {}
                done = is_done => done.unwrap(),
            }
        });
    });
    client.join().unwrap().unwrap();
    counted.count_total
}

/// The client. It goes when it has seen that the server closes, too.
fn ask(addr: SocketAddr, frames: usize, batches: u64) {
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(3 * DEADLINE)).unwrap();
    let of_kind = |kind| {
        let mut frame = Vec::new();
        encode(kind, &[b'x'; 64], &mut frame).unwrap();
        frame.repeat(frames)
    };
    let (request, reply) = (of_kind(ECHO), of_kind(ECHO_REPLY));
    let mut received = reply.clone();
    for _ in 0..batches {
        client.write_all(&request).unwrap();
        client.read_exact(&mut received).unwrap();
        assert_eq!(received, reply);
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(again(|| client.read(&mut [0])).unwrap(), 0);
}

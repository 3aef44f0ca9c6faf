//! What frames get for an answer: the cases of the Autobahn test suite that
//! apply to a server without binary messages and without extensions, written
//! anew, and some more.

use std::fmt::Write as _;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::thread;

use super::ws::{self, Message};
use super::{Client, End, server, text};

/// A name, what the client sends, and what it gets.
type Case = (&'static str, Vec<u8>, &'static str);

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame with any first byte, masked, with the shortest length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ws::encode(0, payload, Some(KEY), &mut bytes);
    bytes[0] = first;
    bytes
}

/// A frame with another form of length.
fn long(first: u8, form: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | form];
    let length = length.to_be_bytes();
    bytes.extend(&length[if form == 126 { 6 } else { 0 }..]);
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[allow(clippy::too_many_lines)] // a table
fn framing() -> Vec<Case> {
    let ping = frame(0x81, b"ping");
    vec![
        ("a text", ping.clone(), "pong"),
        ("two texts in one piece", join(&[&ping, &ping]), "pong, pong"),
        ("an empty text", frame(0x81, b""), "CLOSE 1008"), // no word of ours
        ("no mask", b"\x81\x04ping".to_vec(), "CLOSE 1002"),
        ("a mask of zeros", long(0x81, 126, 200, &[b'x'; 200]), "CLOSE 1008"),
        ("reserved bit 1 (compression)", frame(0xc1, b"ping"), "CLOSE 1002"),
        ("reserved bit 2", frame(0xa1, b"ping"), "CLOSE 1002"),
        ("reserved bit 3", frame(0x91, b"ping"), "CLOSE 1002"),
        ("all reserved bits, in a PING", frame(0xf9, b""), "CLOSE 1002"),
        ("kind 3", frame(0x83, b""), "CLOSE 1002"),
        ("kind 7", frame(0x87, b"ping"), "CLOSE 1002"),
        ("kind 11", frame(0x8b, b""), "CLOSE 1002"),
        ("kind 15", frame(0x8f, b""), "CLOSE 1002"),
        (
            "a text, then kind 5",
            join(&[&ping, &frame(0x85, b"")]),
            "pong, CLOSE 1002",
        ),
        ("a binary message", frame(0x82, b"ping"), "CLOSE 1003"),
        ("4 in 2 bytes of length", long(0x81, 126, 4, b"ping"), "CLOSE 1002"),
        ("4 in 8 bytes of length", long(0x81, 127, 4, b"ping"), "CLOSE 1002"),
        ("65535 in 8 bytes", long(0x81, 127, 65_535, b""), "CLOSE 1002"),
        (
            "the highest bit of a length",
            long(0x81, 127, 1 << 63, b""),
            "CLOSE 1002",
        ),
        ("4096 bytes", frame(0x81, &[b'x'; 4096]), "CLOSE 1008"),
        (
            "4097 bytes, the head alone",
            long(0x81, 126, 4097, b""),
            "CLOSE 1009",
        ),
        (
            "2^63 - 1 bytes, the head alone",
            long(0x81, 127, i64::MAX as u64, b""),
            "CLOSE 1009",
        ),
    ]
}

fn control() -> Vec<Case> {
    let large = [b'p'; 126];
    let ten: Vec<u8> = (0..10).flat_map(|n| frame(0x89, &[b'0' + n])).collect();
    vec![
        ("a PING", frame(0x89, b""), "PONG \"\""),
        ("a PING with a text", frame(0x89, b"hi"), "PONG \"hi\""),
        (
            "a PING with bytes that are no text",
            frame(0x89, b"\xff\x00"),
            "PONG \"\\xff\\x00\"",
        ),
        ("a PING with 125 bytes", frame(0x89, &large[..125]), "PONG of 125"),
        ("a PING with 126 bytes", frame(0x89, &large), "CLOSE 1002"),
        ("ten PINGs in one piece", ten, "10 PONGs"),
        ("a PONG that nobody asked for", frame(0x8a, b"hi"), ""),
        (
            "a PING in fragments",
            join(&[&frame(9, b"h"), &frame(0x80, b"i")]),
            "CLOSE 1002",
        ),
        ("a PONG with 126 bytes", frame(0x8a, &large), "CLOSE 1002"),
    ]
}

#[allow(clippy::too_many_lines)] // a table
fn fragments() -> Vec<Case> {
    let [pi, ng, empty] = [frame(1, b"pi"), frame(0x80, b"ng"), frame(0, b"")];
    let ping = frame(0x89, b"hi");
    let bytes: Vec<u8> = b"pin".iter().flat_map(|b| frame(0, &[*b])).collect();
    let half = frame(1, &[b'x'; 4000]);
    vec![
        ("two fragments", join(&[&pi, &ng]), "pong"),
        ("a PING between them", join(&[&pi, &ping, &ng]), "PONG \"hi\", pong"),
        ("a PONG between them", join(&[&pi, &frame(0x8a, b""), &ng]), "pong"),
        ("empty ones between them", join(&[&pi, &empty, &empty, &ng]), "pong"),
        (
            "a fragment for each byte",
            join(&[&frame(1, b""), &bytes, &frame(0x80, b"g")]),
            "pong",
        ),
        ("a last fragment alone", ng.clone(), "CLOSE 1002"),
        ("a fragment alone", empty.clone(), "CLOSE 1002"),
        ("one more after the last", join(&[&pi, &ng, &ng]), "pong, CLOSE 1002"),
        (
            "a text inside a text",
            join(&[&pi, &frame(0x81, b"ping")]),
            "CLOSE 1002",
        ),
        (
            "a binary message inside it",
            join(&[&pi, &frame(0x82, b"")]),
            "CLOSE 1002",
        ),
        ("a CLOSE between them", join(&[&pi, &close(1000, b"")]), "CLOSE 1000"),
        (
            "4000 + 96 bytes",
            join(&[&half, &frame(0x80, &[b'x'; 96])]),
            "CLOSE 1008",
        ),
        (
            "4000 + 97 bytes",
            join(&[&half, &frame(0x80, &[b'x'; 97])]),
            "CLOSE 1009",
        ),
    ]
}

fn utf_8() -> Vec<Case> {
    let hello = "say 1 κόσμε".as_bytes();
    let mut cut = frame(1, &hello[..7]); // in the middle of a letter
    cut.extend(frame(0x80, &hello[7..]));
    let bad = |bytes: &[u8]| frame(0x81, &join(&[b"say 1 ", bytes]));
    vec![
        ("letters of 2 bytes", frame(0x81, hello), "ack 1"),
        ("a letter in two fragments", cut, "ack 1"),
        ("a byte that is none", bad(b"\xff"), "CLOSE 1007"),
        ("half a letter", bad(b"\xce"), "CLOSE 1007"),
        ("\"/\" in two bytes", bad(b"\xc0\xaf"), "CLOSE 1007"),
        ("a surrogate (U+D800)", bad(b"\xed\xa0\x80"), "CLOSE 1007"),
        ("beyond Unicode (U+110000)", bad(b"\xf4\x90\x80\x80"), "CLOSE 1007"),
        (
            "bad UTF-8, in the second fragment",
            join(&[&frame(1, b"say 1 "), &frame(0x80, b"\x80")]),
            "CLOSE 1007",
        ),
    ]
}

fn closes() -> Vec<Case> {
    let mut cases = vec![
        ("a CLOSE", frame(0x88, b""), "CLOSE 1000"),
        ("a CLOSE with half a code", frame(0x88, b"\x03"), "CLOSE 1002"),
        ("a CLOSE with a reason", close(1000, b"bye"), "CLOSE 1000"),
        ("a reason of 123 bytes", close(1000, &[b'r'; 123]), "CLOSE 1000"),
        ("a reason of 124 bytes", close(1000, &[b'r'; 124]), "CLOSE 1002"),
        ("a reason that is not UTF-8", close(1000, b"\xff"), "CLOSE 1007"),
        (
            "a text after a CLOSE",
            join(&[&close(1000, b""), &frame(0x81, b"ping")]),
            "CLOSE 1000",
        ),
        (
            "a PING after a CLOSE",
            join(&[&close(1000, b""), &frame(0x89, b"")]),
            "CLOSE 1000",
        ),
        ("half a frame, and the end", b"\x81\x84\0\0".to_vec(), "the end"),
    ];
    let fine = [1001, 1003, 1007, 1011, 1013, 1014, 3000, 3999, 4999];
    let bad = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535];
    for code in fine {
        let (name, answer) = (format!("code {code}"), format!("CLOSE {code}"));
        cases.push((name.leak(), close(code, b""), answer.leak()));
    }
    for code in bad {
        let name = format!("code {code}");
        cases.push((name.leak(), close(code, b""), "CLOSE 1002"));
    }
    cases
}

/// What comes back for `bytes`, in words.
fn answer(addr: SocketAddr, n: u64, bytes: &[u8], ends: bool) -> String {
    let mut client = Client::open(addr);
    client.say(&format!("join room-{n} ann 0-0 {n:016x}"));
    client.hear("welcome");
    client.stream.write_all(bytes).unwrap();
    if ends {
        client.stream.shutdown(Shutdown::Write).unwrap();
    } else {
        client.stream.write_all(&text("shout")).unwrap(); // CLOSE 1008
    }
    let mut answers = Vec::new();
    let end = loop {
        match pong_or(&mut client) {
            Ok(line) if line.starts_with("message") => {} // what it said
            Ok(answer) => answers.push(answer),
            Err(end) => break end,
        }
    };
    // The last CLOSE is that of the probe, if the case has not ended it.
    match end {
        End::Close(code) => answers.push(format!("CLOSE {}", code.unwrap())),
        End::Fin => answers.push("the end".to_owned()),
        End::Reset => answers.push("a reset".to_owned()),
    }
    if answers.len() > 10 {
        let is_pong = |answer: &&String| answer.starts_with("PONG");
        let n = answers.iter().filter(is_pong).count();
        answers.drain(..n);
        answers.insert(0, format!("{n} PONGs"));
    }
    answers.join(", ")
}

/// The next answer in words. A PONG is read here: the decoder forgets what it
/// carries.
fn pong_or(client: &mut Client) -> Result<String, End> {
    let at_end = client.input.is_empty();
    if at_end {
        client.more()?;
    }
    while let [0x8a, length, rest @ ..] = &client.input[..] {
        let length = usize::from(*length);
        if rest.len() >= length {
            let payload = rest[..length].escape_ascii().to_string();
            client.input.drain(..2 + length);
            return Ok(match length {
                125 => "PONG of 125".to_owned(),
                _ => format!("PONG \"{payload}\""),
            });
        }
        client.more()?;
    }
    match client.next()? {
        Message::Text(line) => Ok(line),
        other => Ok(format!("{other:?}")),
    }
}

fn answers(addr: SocketAddr, cases: &[Case]) -> Vec<String> {
    thread::scope(|scope| {
        let run = |(n, case): (u64, &Case)| {
            let (bytes, ends) = (case.1.clone(), case.2 == "the end");
            scope.spawn(move || answer(addr, n, &bytes, ends))
        };
        let all: Vec<_> = (0..).zip(cases).map(run).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Tries all cases, and returns the table that the book prints.
pub fn table() -> String {
    let (_server, addr) = server(&[]);
    let cases: Vec<Case> =
        [framing(), control(), fragments(), utf_8(), closes()].concat();
    assert!(cases.len() >= 40);
    let found = answers(addr, &cases);
    let mut wrong = String::new();
    for ((name, _, expected), found) in cases.iter().zip(&found) {
        // A conversation that went on was ended by our probe.
        let went_on = found.strip_suffix("CLOSE 1008").unwrap_or(found);
        let went_on = went_on.strip_suffix(", ").unwrap_or(went_on);
        let is_close = expected.contains("CLOSE") || *expected == "the end";
        if (if is_close { found } else { went_on }) != *expected {
            let _ = writeln!(wrong, "{name}: {found}, not {expected}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    let lines = cases.iter().map(|(name, _, expected)| {
        let answer = if expected.is_empty() { "nothing" } else { expected };
        format!("{name:<36}{answer}\n")
    });
    let head = format!("{:<36}{}\n", "sent", "answer");
    head + &lines.collect::<String>()
}

//! What others on the road can read: the same echo by step 8 and by TLS.
//!
//! The capture is kept in `tests/captures/tls.pcap`, to be opened with
//! Wireshark; what the book prints is made from it. Where tcpdump can run, the
//! two conversations are captured again and compared. To keep a new one (as
//! root, on Linux):
//!
//!     UPDATE_CAPTURES=tls cargo test -p tls --test tls wire

use std::env;
use std::fs;

use libtest_mimic::Trial;
use tempfile::NamedTempFile;

use crate::support::net::{Namespace, missing};
use crate::support::{Program, ROOT, bin, snapshot, trial, wait_until};
use crate::{folder, steps};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let missing = missing();
    if env::var("UPDATE_CAPTURES").is_ok_and(|names| names == "tls") {
        fs::copy(capture().path(), kept()).unwrap();
    }
    vec![
        trial("wire::an echo, as the book prints it", None, print),
        trial("wire::an echo, captured anew", missing, capture_again),
    ]
}

const STEP_8: u16 = 8888;
const TLS: u16 = 8889;
const TEXT: &str = "Hello, Server!";

fn kept() -> String {
    format!("{ROOT}/tests/captures/tls.pcap")
}

/// Captures an echo of step 8, then one over TLS.
fn capture() -> NamedTempFile {
    steps();
    let folder = folder();
    let net = Namespace::new("tls");
    let file = NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let tcpdump = net.tcpdump("lo", path, "tcp");
    let plain = net.server("step8");
    net.client("step8", TEXT).wait_end();
    plain.wait_for("ended");
    let start = |args: &[&str]| {
        let mut command = net.command(bin("tls"));
        Program::spawn(command.current_dir(&folder).args(args), false)
    };
    let server = start(&["server", "--addr", "127.0.0.1:8889"]);
    server.wait_for("listening");
    let ask = ["--addr", "127.0.0.1:8889", "--name", "localhost", TEXT];
    start(&[&["client"][..], &ask].concat()).wait_end();
    server.wait_for("ended");
    wait_until("both goodbyes", || {
        let records = records(&pieces(&fs::read(path).unwrap(), TLS));
        records.iter().filter(|r| r.bytes.len() == CLOSE_NOTIFY).count() == 2
    });
    drop(tcpdump);
    file
}

/// A record with an alert in it, in bytes.
const CLOSE_NOTIFY: usize = 24;

/// What one end sent without a pause.
#[derive(Debug)]
struct Piece {
    by_server: bool,
    bytes: Vec<u8>,
}

/// The payloads of a capture by tcpdump (pcap-savefile(5)) on a loopback
/// device, where packets start with an Ethernet header.
fn pieces(file: &[u8], port: u16) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut seen = Vec::new(); // TCP may send a segment twice
    let mut rest = file.get(24..).unwrap_or_default();
    while let Some((head, more)) = rest.split_first_chunk::<16>() {
        let size = u32::from_le_bytes(head[8..12].try_into().unwrap());
        let Some((packet, more)) = more.split_at_checked(size as usize) else {
            break; // tcpdump is still writing it
        };
        rest = more;
        let ip = &packet[14..];
        let length = u16::from_be_bytes([ip[2], ip[3]]) as usize;
        let tcp = &ip[usize::from(ip[0] & 15) * 4..length];
        let ports = [[tcp[0], tcp[1]], [tcp[2], tcp[3]]];
        let [from, to] = ports.map(u16::from_be_bytes);
        let bytes = tcp[usize::from(tcp[12] >> 4) * 4..].to_vec();
        let place = (from, tcp[4..8].to_vec());
        let is_new = !bytes.is_empty() && !seen.contains(&place);
        if (from == port || to == port) && is_new {
            seen.push(place);
            pieces.push(Piece { by_server: from == port, bytes });
        }
    }
    pieces
}

/// The records of TLS in some pieces (RFC 9846 section 5.1).
fn records(pieces: &[Piece]) -> Vec<Piece> {
    let mut records = Vec::new();
    for Piece { by_server, bytes } in pieces {
        let mut rest = &bytes[..];
        while let [_, _, _, high, low, ..] = rest {
            let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
            let (record, more) = rest.split_at(length.min(rest.len()));
            records.push(Piece { by_server: *by_server, bytes: record.into() });
            rest = more;
        }
    }
    records
}

fn print() {
    let file = fs::read(kept()).unwrap();
    let plain = pieces(&file, STEP_8);
    let tls = records(&pieces(&file, TLS));
    check(&plain, &tls);
    let mut text = "STEP 8\n".to_owned();
    for piece in &plain {
        let what = format!("{} bytes: a frame", piece.bytes.len());
        text += &shown(piece, &what, usize::MAX);
    }
    text += "\nTLS\n";
    for record in &tls {
        let all = matches!(record.bytes[..], [0x16, _, _, _, _, 1, ..]);
        let rows = if all { usize::MAX } else { 2 };
        text += &shown(record, &name(record), rows);
    }
    snapshot("tls-on-the-wire", text.trim_end());
}

/// What stands in clear at the start of a record.
fn name(record: &Piece) -> String {
    let what = match record.bytes[..] {
        [0x16, _, _, _, _, 1, ..] => "handshake: ClientHello",
        [0x16, _, _, _, _, 2, ..] => "handshake: ServerHello",
        [0x14, ..] => "change_cipher_spec: means nothing any more",
        [0x17, ..] => "application_data",
        _ => "?",
    };
    format!("{} bytes: {what}", record.bytes.len())
}

fn shown(piece: &Piece, what: &str, rows: usize) -> String {
    let end = if piece.by_server { "server" } else { "client" };
    let mut text = format!("{end}, {what}\n");
    for (n, row) in piece.bytes.chunks(16).enumerate() {
        if n == rows {
            text += "    …\n";
            break;
        }
        let hex: String = row.iter().map(|b| format!("{b:02x} ")).collect();
        let readable = |b: &u8| (32..127).contains(b);
        let letters =
            row.iter().map(|b| if readable(b) { *b as char } else { '.' });
        text += &format!("    {hex:48} {}\n", letters.collect::<String>());
    }
    text
}

/// Is it as the chapter says?
fn check(plain: &[Piece], tls: &[Piece]) {
    let count = |pieces: &[Piece], text: &str| {
        let found = pieces.iter().filter(|piece| {
            piece.bytes.windows(text.len()).any(|w| w == text.as_bytes())
        });
        found.count()
    };
    assert_eq!(count(plain, TEXT), 2);
    assert_eq!(count(tls, TEXT), 0);
    assert_eq!(count(tls, "localhost"), 1, "only in the ClientHello");
    assert_eq!(count(tls, "a CA for tests"), 0, "certificates are encrypted");
    // The frame's 19 bytes are in a record of 22 more; twice, for the reply.
    let frame = 19 + 5 + 1 + 16;
    let echoes = tls.iter().filter(|r| r.bytes.len() == frame);
    assert_eq!(echoes.count(), 2, "{:?}", essence(tls));
}

/// Who sent a record of which type. Signatures differ in length.
fn essence(records: &[Piece]) -> Vec<(bool, u8)> {
    let mut all: Vec<_> =
        records.iter().map(|r| (r.by_server, r.bytes[0])).collect();
    // What crosses on the road has no order.
    all.sort_by_key(|(by_server, _)| *by_server);
    all
}

fn capture_again() {
    let today = fs::read(capture().path()).unwrap();
    let file = fs::read(kept()).unwrap();
    let [today_tls, kept_tls] =
        [&today, &file].map(|f| records(&pieces(f, TLS)));
    check(&pieces(&today, STEP_8), &today_tls);
    assert_eq!(essence(&today_tls), essence(&kept_tls));
}

//! S4: what no honest client sends.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Check, Stop};
use crate::diagnosis::mismatch::expect_error;
use crate::harness::lab::Lab;
use crate::wire::{echo, frame};

mod table;

pub use table::CASES;

pub const AT_ONCE: Duration = Duration::from_secs(1);

/// Sends `bytes`, which must be refused; then a new client must be served.
fn refuse(lab: &Lab, bytes: &[u8], code: u8) -> Check {
    let addr = lab.server()?;
    refused(lab, addr, bytes, code)?;
    served(lab, addr)
}

fn refused(lab: &Lab, addr: SocketAddr, bytes: &[u8], code: u8) -> Check {
    let mut client = lab.connect(addr)?;
    let start = Instant::now();
    client.send_anyway(bytes);
    client.expect_fatal(code, start, AT_ONCE)
}

/// The server lives, and serves others.
pub fn served(lab: &Lab, addr: SocketAddr) -> Check {
    lab.hint(
        "After a client that broke the rules, nobody else is served.",
        "where the error of one connection goes",
    );
    lab.connect_as(addr, "next: ")?.exchange(lab.word(6).as_bytes())
}

fn s4_12(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let word = lab.word(6);
    let http = format!("GET /{word} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for bytes in [http.as_bytes(), tls, b"hello\r\n"] {
        refused(lab, addr, bytes, 1)?;
    }
    served(lab, addr)
}

fn s4_13(lab: &Lab) -> Check {
    unknown_kind(lab, 0x55)?;
    lab.hint(lab.case.hint.meaning, lab.case.hint.look);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    for kind in [0x00, 0x06, 0x80, 0xff] {
        client.send(&frame(kind, b""))?;
        expect_error(&mut client, 3)?;
    }
    client.send(&frame(0x55, &[0; 65_535]))?;
    expect_error(&mut client, 3)?;
    lab.hint(
        "Replies and ERRORs come in the order of the requests. Here one is \
         missing, or out of order.",
        "when a reply is written, and when an ERROR",
    );
    let (a, b) = (lab.word(4), lab.word(4));
    let (a, b) = (a.as_bytes(), b.as_bytes());
    client.send(&[echo(a), frame(0x55, b"?"), echo(b)].concat())?;
    client.hear(a)?;
    expect_error(&mut client, 3)?;
    client.hear(b)?;
    for _ in 0..20 {
        client.send(&frame(0x55, b"again"))?;
        expect_error(&mut client, 3)?;
    }
    client.exchange(b)
}

fn unknown_kind(lab: &Lab, kind: u8) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.send(&frame(kind, &[b"\x01", lab.word(9).as_bytes()].concat()))?;
    lab.hint(lab.case.hint.meaning, lab.case.hint.look);
    expect_error(&mut client, 3)?;
    lab.hint(
        "After the unknown kind, the next good frame was not answered.",
        "the unknown frame has a payload: skip it, and go on",
    );
    client.exchange(lab.word(5).as_bytes())
}

fn s4_16(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut good = lab.connect_as(addr, "B: ")?;
    good.exchange(lab.word(6).as_bytes())?;
    let mut bad = lab.connect_as(addr, "A: ")?;
    let start = Instant::now();
    bad.send_anyway(&[0xff; 4]);
    bad.expect_fatal(1, start, AT_ONCE)?;
    for _ in 0..2 {
        good.exchange(lab.word(6).as_bytes())?;
    }
    let mut next = lab.connect_as(addr, "C: ")?;
    for _ in 0..2 {
        next.exchange(lab.word(6).as_bytes())?;
    }
    Ok(())
}

fn s4_17(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let hidden = echo(b"hidden");
    // Twice: the limit plus one, and a length whose frame never gets whole.
    let large = echo(&hidden.repeat(65_537 / hidden.len() + 1));
    let endless = [&[0xff; 4], &hidden.repeat(100)[..]].concat();
    refused(lab, addr, &large, 1)?;
    refused(lab, addr, &endless, 1)?;
    served(lab, addr)
}

fn s4_18(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.sends_many(&[0xff; 64], 8_000_000);
    let start = Instant::now();
    let is_reset = thread::scope(|scope| {
        let writer = client.stream.try_clone().map(|mut writer| {
            scope.spawn(move || {
                let _ = writer.set_write_timeout(Some(Duration::from_secs(3)));
                writer.write_all(&vec![0xff; 8_000_000])
            })
        });
        // Late to read: what a reset throws away is thrown away by now.
        thread::sleep(Duration::from_millis(300));
        lab.note("sent 8 MB of ff, then reads");
        client.expect_fatal(1, start, AT_ONCE)?;
        // The system reports a reset once, and here the writer asked first.
        let written = writer.ok().and_then(|writer| writer.join().ok());
        Ok::<_, Box<Stop>>(written.is_some_and(|written| written.is_err()))
    })?;
    if is_reset {
        lab.warn(client.reset_after("ERROR(1), then FIN".into()));
    }
    served(lab, addr)
}

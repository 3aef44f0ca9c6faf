//! S5: a server's time limits.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::case::{Check, Failure};
use crate::harness::lab::{Lab, SLACK};
use crate::harness::peer::Peer;
use crate::wire::echo;

mod table;

pub use table::CASES;

/// The limit that these cases set, in ms.
const LIMIT: u64 = 600;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The server must cut with ERROR 5 at the limit, and not before.
fn expect_cut(client: &mut Peer, since: Instant) -> Check {
    if client.stirs_before(since + ms(LIMIT * 9 / 10)) {
        let mut failure = client.fail(
            format!("ERROR(5) at {LIMIT} ms, not before"),
            "the server spoke or closed before the time was up",
        );
        failure.meaning =
            "The limit was shorter than the one that was set.".into();
        failure.look = "the unit and the start of your timer".into();
        return Err(failure.into());
    }
    client.expect_fatal(5, since, ms(LIMIT))
}

fn s5_01(lab: &Lab) -> Check {
    lab.set("TCP_IDLE_MS", LIMIT);
    let addr = lab.server()?;
    let mut talker = lab.connect_as(addr, "B: ")?;
    let start = Instant::now();
    let mut silent = lab.connect_as(addr, "A: ")?;
    for _ in 0..3 {
        talker.exchange(lab.word(5).as_bytes())?;
        thread::sleep(ms(100));
    }
    talker.exchange(lab.word(5).as_bytes())?;
    let spoke = Instant::now();
    lab.note("A: silent since the connect; B: since its answer");
    expect_cut(&mut silent, start)?;
    talker.expect_fatal(5, spoke, ms(LIMIT))
}

fn s5_02(lab: &Lab) -> Check {
    lab.set("TCP_FRAME_MS", LIMIT);
    lab.set("TCP_IDLE_MS", LIMIT);
    let addr = lab.server()?;
    let bytes = echo(lab.word(60).as_bytes());
    let mut client = lab.connect(addr)?;
    client.exchange(lab.word(5).as_bytes())?;
    let start = Instant::now();
    client.sends(&bytes);
    lab.note("sends 1 byte each 100 ms");
    thread::scope(|scope| {
        if let Ok(mut writer) = client.stream.try_clone() {
            scope.spawn(move || {
                for byte in &bytes[..20] {
                    if writer.write_all(&[*byte]).is_err() {
                        return;
                    }
                    thread::sleep(ms(100));
                }
            });
        }
        let result = expect_cut(&mut client, start);
        let _ = client.stream.shutdown(std::net::Shutdown::Both);
        result
    })
}

fn s5_03(lab: &Lab) -> Check {
    // Twice what we take between two requests: our own sleep may be late.
    lab.set("TCP_IDLE_MS", 1000);
    lab.set("TCP_FRAME_MS", 1000);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    for _ in 0..4 {
        client.exchange(lab.word(5).as_bytes())?;
        thread::sleep(ms(400));
    }
    client.exchange(lab.word(5).as_bytes())?;
    never_between_frames(lab, &mut client)
}

/// Each write ends in the middle of a frame, so that some of one is always
/// there; but none of them takes long.
fn never_between_frames(lab: &Lab, client: &mut Peer) -> Check {
    lab.hint(
        "Each frame was whole in time. Does the clock of the first one run \
         on when bytes of the next are there?",
        "when the clock of a frame is started, and when it is stopped",
    );
    let mut half = 0; // of the frame before
    let mut words = Vec::new();
    for _ in 0..7 {
        words.push(lab.word(7));
        let bytes: Vec<u8> =
            words.iter().flat_map(|word| echo(word.as_bytes())).collect();
        let end = bytes.len() - 6;
        client.send(&bytes[half..end])?;
        half = end;
        if words.len() > 1 {
            client.hear(words[words.len() - 2].as_bytes())?;
        }
        thread::sleep(ms(200));
    }
    Ok(())
}

fn s5_04(lab: &Lab) -> Check {
    lab.set("TCP_IDLE_MS", LIMIT);
    lab.set("TCP_FRAME_MS", 4000);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let word = lab.word(12);
    let bytes = echo(word.as_bytes());
    for (from, to, pause) in [(0, 2, 200), (2, 9, 900), (9, 17, 0)] {
        client.send(&bytes[from..to])?;
        thread::sleep(ms(pause));
    }
    client.hear(word.as_bytes())?;
    client.fin();
    client.expect_all(b"")
}

fn s5_05(lab: &Lab) -> Check {
    lab.set("TCP_FRAME_MS", LIMIT);
    lab.set("TCP_IDLE_MS", 10_000);
    let addr = lab.server()?;
    let start = Instant::now();
    let mut halves = Vec::new();
    for _ in 0..40 {
        let mut half = lab.connect_as(addr, "")?;
        half.send(&[0, 0])?;
        halves.push(half);
    }
    let sent = Instant::now();
    lab.hint(
        "While others hold half a header, an honest client is not served.",
        "who reads the header: code that all clients share?",
    );
    let mut normal = lab.connect_as(addr, "normal: ")?;
    for _ in 0..4 {
        normal.exchange(lab.word(5).as_bytes())?;
        thread::sleep(ms(100));
    }
    let hint = lab.case.hint;
    lab.hint(hint.meaning, hint.look);
    let (first, rest) = halves.split_at_mut(1);
    expect_cut(&mut first[0], start)?;
    for half in rest {
        half.expect_fatal(5, sent, ms(LIMIT + 400))?;
    }
    normal.exchange(lab.word(5).as_bytes())
}

/// What a server may take from a client that does not read: the system's
/// buffers swallow 4 to 8 MB of it.
const MOST: usize = 64 << 20;

fn s5_06(lab: &Lab) -> Check {
    lab.set("TCP_WRITE_MS", LIMIT);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let _ = SockRef::from(&client.stream).set_recv_buffer_size(16 * 1024);
    let message = echo(&lab.bytes(60_000));
    client.sends(&message);
    lab.note("sends 60 KB frames and never reads");
    let _ = client.stream.set_write_timeout(Some(ms(50)));
    let (mut taken, mut moved) = (0, Instant::now());
    let mut part = 0;
    while taken < MOST {
        match client.stream.write(&message[part..]) {
            Ok(n) => {
                (taken, moved) = (taken + n, Instant::now());
                part = (part + n) % message.len();
            }
            Err(error) if is_wait(&error) => {
                // A second more, for who reads and throws away first.
                if moved.elapsed() > ms(LIMIT + 1000) + SLACK {
                    return Err(still_open(&client).into());
                }
            }
            Err(_) => return Ok(()),
        }
    }
    Err(took_all(&client).into())
}

fn took_all(client: &Peer) -> Failure {
    let expected = "it stops reading when nobody takes its replies";
    let mut failure = client.fail(expected, "it took 64 MB");
    failure.meaning = "It keeps in memory what nobody reads.".into();
    failure.look = "what limits the replies that wait to be written".into();
    failure
}

fn is_wait(error: &std::io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    [WouldBlock, TimedOut, Interrupted].contains(&error.kind())
}

fn still_open(client: &Peer) -> Failure {
    let wanted = format!("closed {LIMIT} ms after the last progress");
    let actual = "nothing moves, and the connection is still open";
    Failure { by_time: true, ..client.fail(wanted, actual) }
}

//! S5: a server's time limits.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::case::{Case, Proof};
use crate::diagnosis::evidence::End;
use crate::harness::lab::{Lab, PATIENCE, SLACK};
use crate::harness::peer::Peer;
use crate::harness::visit::{narrow, write_until_stalled};
use crate::steps::{from, only};
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure, Stop};
use crate::wire::{echo, reply};

/// The limit that these cases set, in ms.
const LIMIT: u64 = 600;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The server must cut with ERROR 5 at the limit, and not before.
fn expect_cut(client: &mut Peer, since: Instant) -> Check {
    expect_cut_at(client, since, LIMIT)
}

/// The same at another limit, in ms.
pub fn expect_cut_at(client: &mut Peer, since: Instant, limit: u64) -> Check {
    if client.stirs_before(since + ms(limit * 9 / 10)) {
        let mut failure = client.fail(
            format!("ERROR(5) at {limit} ms, not before"),
            "the server spoke or closed before the limit had passed",
        );
        failure.meaning =
            "Your server's limit is shorter than the one that the checker set."
                .into();
        failure.look = "the unit and the start of your timer".into();
        return Err(failure.into());
    }
    client.expect_fatal(5, since, ms(limit))
}

const S5_01: Case = Case {
    id: "S5-01",
    title: "cuts a silent client after TCP_IDLE_MS",
    does: "With TCP_IDLE_MS=600, A connects and stays silent; B meanwhile \
           exchanges four ECHOs, 100 ms apart, and is silent from then on. The \
           checker expects that each gets ERROR 5 within 600 ms of silence, \
           then FIN, and A not before 540 ms.",
    steps: only(5),
    rule: (5, 1),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "A client that has vanished sends nothing, not even an end. Without a \
          limit the server keeps its connection forever, and such connections \
          add up until the server has no descriptor left.",
    hint: Hint {
        meaning: "Your server keeps the connection of a silent client forever, \
                  so perhaps it does not read TCP_IDLE_MS.",
        look: "what limits the wait for the first byte of a frame",
    },
    proof: Proof::Defects(&[
        "no-idle-limit",
        "limits-in-seconds",
        "half-the-limit",
        "timeout-is-silent",
        "wrong-timeout-code",
    ]),
    script: s5_01,
};

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

const S5_02: Case = Case {
    id: "S5-02",
    title: "cuts a client that sends a byte now and then",
    does: "With TCP_FRAME_MS=600 and TCP_IDLE_MS=600, A exchanges an ECHO, then \
           sends the bytes of another, one every 100 ms, for at most 2 s. Then \
           B sends those of an ECHO of 60 000 bytes, one every 0.5 ms. The \
           checker expects ERROR 5 between 540 and 600 ms after the first of \
           these bytes of each, then FIN.",
    steps: from(5),
    rule: (5, 1),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "If each byte starts the timer again, a client that sends single \
          bytes, each in time, can keep the connection forever (slowloris). \
          That is why the limit is for the frame: from its first byte to its \
          last. When it has passed, a server may look once more, for what came \
          in time; B always has one byte more.",
    hint: Hint {
        meaning: "Each byte starts your server's timer again, so a client can \
                  stay forever by sending one byte in time; or only the first \
                  frame has a limit.",
        look: "when your server starts the timer of a frame, and when it \
               starts it again",
    },
    proof: Proof::Defects(&[
        "per-read-timer",
        "first-frame-only",
        "grace-at-each-byte",
    ]),
    script: s5_02,
};

fn s5_02(lab: &Lab) -> Check {
    lab.set("TCP_FRAME_MS", LIMIT);
    lab.set("TCP_IDLE_MS", LIMIT);
    let addr = lab.server()?;
    let bytes = echo(lab.word(60).as_bytes());
    let mut client = lab.connect_as(addr, "A: ")?;
    client.exchange(lab.word(5).as_bytes())?;
    lab.note("A: sends 1 byte every 100 ms");
    cut_while_it_drips(&mut client, &bytes[..20], (ms(100), LIMIT))?;
    lab.hint(
        "Your server asks its clock only when no byte comes for a moment, or \
         waits once more after each byte that came too late.",
        "what your server does after a byte that came when the limit had passed",
    );
    let mut client = lab.connect_as(addr, "B: ")?;
    lab.note("B: sends 1 byte every 0.5 ms");
    let bytes = echo(&lab.bytes(60_000));
    cut_while_it_drips(&mut client, &bytes, (Duration::from_micros(500), LIMIT))
}

/// Sends a byte, a pause, and so on; the server must cut it at the limit, in
/// ms.
pub fn cut_while_it_drips(
    client: &mut Peer,
    bytes: &[u8],
    (pause, limit): (Duration, u64),
) -> Check {
    let start = Instant::now();
    client.sends(bytes);
    thread::scope(|scope| {
        if let Ok(mut writer) = client.stream.try_clone() {
            scope.spawn(move || {
                for byte in bytes {
                    if writer.write_all(&[*byte]).is_err() {
                        return;
                    }
                    thread::sleep(pause);
                }
            });
        }
        let result = expect_cut_at(client, start, limit);
        let _ = client.stream.shutdown(Shutdown::Both);
        result
    })
}

const S5_03: Case = Case {
    id: "S5-03",
    title: "does not cut a client that keeps the limits",
    does: "With TCP_IDLE_MS=1000 and TCP_FRAME_MS=1000, the checker sends five \
           ECHOs on one connection, each 400 ms after the reply to the one \
           before; then seven, each write ending 6 bytes before the end of \
           one, and 200 ms apart. It expects each reply within 3 s.",
    steps: from(5),
    rule: (5, 3),
    tags: &[Tag::Timed, Tag::Starts],
    why: "A limit must never hit a client that keeps it. The server starts the \
          clock again with each frame, because a clock that runs from the \
          connect cuts every client that stays longer than the limit.",
    hint: Hint {
        meaning: "Your server does not start its timer again after a request.",
        look: "when your server starts the clock between two frames",
    },
    proof: Proof::Defects(&["timer-from-connect"]),
    script: s5_03,
};

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
        "Your server cut a client whose frames were all whole in time, perhaps \
         because the clock of one frame runs on when bytes of the next are \
         there.",
        "when your server starts the clock of a frame, and when it stops it",
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

const S5_04: Case = Case {
    id: "S5-04",
    title: "loses no byte to a timer",
    does: "With TCP_IDLE_MS=600 and TCP_FRAME_MS=4000, the checker sends an \
           ECHO of 12 letters in pieces of 2, 7 and 8 bytes, with pauses of \
           200 and 900 ms. It expects the reply within 3 s of the last piece; \
           then it sends FIN, and expects FIN.",
    steps: from(5),
    rule: (5, 3),
    tags: &[Tag::Timed, Tag::Starts],
    why: "A read of exactly n bytes that a timer interrupts has already taken \
          some of them. If the server throws these away, it takes a piece of \
          the payload for the next length. The pause inside this frame is \
          longer than TCP_IDLE_MS but shorter than TCP_FRAME_MS, so the client \
          has kept every limit.",
    hint: Hint {
        meaning: "A timer interrupted a `read` and your server threw away the \
                  bytes that had come; or it used the limit between frames \
                  inside one.",
        look: "what a timer does to the bytes that your server has read so far",
    },
    proof: Proof::Defects(&["timer-drops-bytes", "idle-inside-frame"]),
    script: s5_04,
};

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

const S5_05: Case = Case {
    id: "S5-05",
    title: "40 half headers hold nobody up, and are cut",
    does: "With TCP_FRAME_MS=600 and TCP_IDLE_MS=10000, 40 clients send 2 \
           bytes of a header and stop; a normal client sends four ECHOs, 100 \
           ms apart, and a fifth at the end. The checker expects each reply \
           within 3 s; ERROR 5, then FIN, for the first of the 40 after 540 to \
           600 ms, and for the others within 1 s.",
    steps: from(5),
    rule: (5, 1),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "This is the same attack with more clients: 40 of them send two bytes \
          each and wait. The server must serve the others meanwhile, and drop \
          the 40 when the limit has passed.",
    hint: Hint {
        meaning: "Your server keeps clients that began a frame and stopped, or \
                  they hold up the others.",
        look: "the limit inside a frame, even inside its header",
    },
    proof: Proof::Defects(&["no-limit-in-header", "header-in-accept-loop"]),
    script: s5_05,
};

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
        "Your server does not serve an honest client while others hold half a \
         header.",
        "which code reads the header: code that all clients share?",
    );
    let mut normal = lab.connect_as(addr, "normal: ")?;
    for _ in 0..4 {
        normal.exchange(lab.word(5).as_bytes())?;
        thread::sleep(ms(100));
    }
    lab.own_hint();
    let (first, rest) = halves.split_at_mut(1);
    expect_cut(&mut first[0], start)?;
    for half in rest {
        half.expect_fatal(5, sent, ms(LIMIT + 400))?;
    }
    normal.exchange(lab.word(5).as_bytes())
}

const S5_06: Case = Case {
    id: "S5-06",
    title: "closes the connection of a client that never reads",
    does: "With TCP_WRITE_MS=600, the checker sends ECHOs of 60 000 bytes and \
           never reads. It expects that the server stops taking them before 64 \
           MiB, and closes within 600 ms (plus 2 s) after the last byte has \
           moved. (Then the checker reads once: its own kernel may have had no \
           room for the server's last bytes, and for the RST behind them.)",
    steps: from(5),
    rule: (5, 2),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "When a client does not take its replies, they pile up: first in the \
          kernel's buffers, then in the server's memory. The server must stop \
          reading, and after TCP_WRITE_MS without progress it must close.",
    hint: Hint {
        meaning: "Your server waits without a limit for a write that makes no \
                  progress.",
        look: "the limit of a `write`, and what happens when it has passed",
    },
    proof: Proof::Defects(&["no-write-limit", "unbounded-replies"]),
    script: s5_06,
};

/// What a server may take from a client that does not read: the kernel's
/// buffers swallow 4 to 8 MB of it.
const MOST: usize = 64 << 20;

fn s5_06(lab: &Lab) -> Check {
    lab.set("TCP_WRITE_MS", LIMIT);
    let addr = lab.server()?;
    // Its buffer is small before it connects. A window that shrinks later may
    // never open again, and then the server waits for bytes, not for a reader.
    let small = narrow(lab, addr, (16 * 1024, None))?;
    let mut client = Peer::new(lab, small, "");
    let message = echo(&lab.bytes(60_000));
    client.sends(&message);
    lab.note("sends 60 KB frames and never reads");
    closes_unread(&mut client, &message, || Ok(()))
}

/// The server must stop taking this, and close at its limit for a write.
/// Meanwhile we look after it.
pub fn closes_unread(
    client: &mut Peer,
    message: &[u8],
    look: impl Fn() -> Check,
) -> Check {
    let lab = client.lab;
    let _ = client.stream.set_write_timeout(Some(ms(50)));
    let (mut taken, mut moved) = (0, Instant::now());
    let mut part = 0;
    while taken < MOST {
        if lab.within(SLACK).is_zero() {
            return Err(still_open(client).into()); // a little now and then
        }
        match client.stream.write(&message[part..]) {
            Ok(n) => {
                (taken, moved) = (taken + n, Instant::now());
                part = (part + n) % message.len();
                look()?;
            }
            Err(error) if is_wait(&error) => {
                // More, for a `write` that took a part before it waited, and is
                // tried again, and for a server that reads and throws away
                // before it closes.
                if moved.elapsed() > ms(LIMIT + 2000) + SLACK {
                    return has_reset(client);
                }
            }
            Err(_) => return Ok(()),
        }
    }
    Err(took_all(client).into())
}

/// Our kernel may have had no room for the server's last bytes, and then it
/// did not take the RST behind them either. Once we read, it tells the server
/// that there is room; if the server has closed, another RST answers.
fn has_reset(client: &mut Peer) -> Check {
    let failure = still_open(client);
    match client.read(MOST, client.lab.until(SLACK)).end {
        End::Reset => Ok(()),
        _ => Err(failure.into()),
    }
}

fn took_all(client: &Peer) -> Failure {
    let expected = "it stops reading when nobody takes its replies";
    let mut failure = client.fail(expected, "it took 64 MB");
    failure.meaning = "Your server keeps in memory what the client does not \
                       read."
        .into();
    failure.look = "what limits the replies that wait until your server can \
                    write them"
        .into();
    failure
}

fn is_wait(error: &std::io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    [WouldBlock, TimedOut, Interrupted].contains(&error.kind())
}

fn still_open(client: &Peer) -> Failure {
    let wanted = format!("closed {LIMIT} ms after the last progress");
    let actual = "nothing moves, and the connection is still open";
    // It had two seconds more.
    Failure { by_time: true, is_sure: true, ..client.fail(wanted, actual) }
}

const S5_07: Case = Case {
    id: "S5-07",
    title: "does not cut a client that reads slowly, but steadily",
    does: "With TCP_WRITE_MS=1000, the checker sends ECHOs of 60 000 bytes as \
           fast as the server takes them, and reads 16 000 bytes every 25 ms, \
           for 4 s. It expects that bytes come all the time, and that the \
           connection stays.",
    steps: from(5),
    rule: (5, 2),
    tags: &[Tag::Timed, Tag::Starts],
    why: "The limit is for a write without progress. A client behind a slow \
          line takes its replies all the time, only not quickly: the buffers \
          stay full, and each write of the server waits a little. A limit for \
          the whole write, or for all replies together, cuts such a client, \
          although the client has done nothing wrong.",
    hint: Hint {
        meaning: "Your server dropped a client that reads steadily, because \
                  its limit is for the whole write, or because its send buffer \
                  is so large that the kernel takes no byte for longer than \
                  the limit.",
        look: "what starts the clock of a `write` again, and SO_SNDBUF",
    },
    proof: Proof::Defects(&["write-limit-in-all"]),
    script: s5_07,
};

fn s5_07(lab: &Lab) -> Check {
    lab.set("TCP_WRITE_MS", 1000);
    let addr = lab.server()?;
    let small = narrow(lab, addr, (64 * 1024, None))?;
    let mut client = Peer::new(lab, small, "");
    let message = echo(&lab.bytes(60_000));
    client.sends(&message);
    let ended = thread::scope(|scope| {
        if let Ok(mut writer) = client.stream.try_clone() {
            let _ = writer.set_write_timeout(Some(PATIENCE));
            scope.spawn(move || {
                while writer.write_all(&message).is_ok() {} // until it is shut
            });
        }
        let ended = read_slowly(&mut client, ms(4000));
        let _ = client.stream.shutdown(Shutdown::Both); // frees the writer
        ended
    });
    lab.note("read 16 000 bytes every 25 ms, for 4 s");
    match ended {
        None => Ok(()),
        Some(end) => {
            let expected = "it goes on as long as the client reads";
            let by_time = end == End::Open; // nothing came
            // Our writer may have taken the error of a reset.
            let closed = "the connection was closed or reset";
            let actual = if by_time { end.text() } else { closed };
            let failure = client.fail(expected, actual);
            Err(Failure { by_time, ..failure }.into())
        }
    }
}

/// Reads for this time; returns how it ended, if it did before.
fn read_slowly(client: &mut Peer, time: Duration) -> Option<End> {
    let start = Instant::now();
    let mut buffer = vec![0; 16_000];
    let _ = client.stream.set_read_timeout(Some(PATIENCE));
    while start.elapsed() < time {
        match client.stream.read(&mut buffer) {
            Ok(0) => return Some(End::Fin),
            Ok(_) => thread::sleep(ms(25)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Some(End::Open);
            }
            Err(_) => return Some(End::Reset),
        }
    }
    None
}

const S5_08: Case = Case {
    id: "S5-08",
    title: "does not count the time in which it does not read",
    does: "With TCP_IDLE_MS=600 and TCP_FRAME_MS=600, the checker sends ECHOs \
           of 60 000 bytes without reading, until nothing moves; waits 0.9 s; \
           then reads, sends the rest of the last frame, and FIN. It expects \
           all replies, in order. If the server cuts the connection, that is a \
           warning.",
    steps: from(5),
    rule: (5, 3),
    tags: &[Tag::Timed, Tag::Starts],
    why: "A server that waits until a client takes its replies does not read \
          from it meanwhile. The next frame of that client is on its way, but \
          the server does not let it in. The client has its own limit for \
          taking the replies, TCP_WRITE_MS, and keeps it, so the server must \
          stop the clock of the frame.",
    hint: Hint {
        meaning: "Your server read nothing while it waited for the client to \
                  take replies, but the clock of the next frame ran.",
        look: "which clock runs while your server writes",
    },
    proof: Proof::Defects(&["clock-runs-while-writing"]),
    script: s5_08,
};

fn s5_08(lab: &Lab) -> Check {
    lab.set("TCP_IDLE_MS", 600);
    lab.set("TCP_FRAME_MS", 600);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    reads_late(&mut client, 900);
    Ok(())
}

/// Sends until nothing moves, reads so many ms later, and warns if not all
/// replies come.
pub fn reads_late(client: &mut Peer, pause: u64) {
    let lab = client.lab;
    let payload = lab.bytes(60_000);
    let (request, answer) = (echo(&payload), reply(&payload));
    let all = request.repeat(300);
    client.sends(&all);
    let sent = write_until_stalled(&mut client.stream, &all);
    let count = sent.div_ceil(request.len());
    thread::sleep(ms(pause));
    let waited = pause as f64 / 1000.0;
    lab.note(format!("sent until nothing moved, and waited {waited} s"));
    let rest = all[sent..count * request.len()].to_vec();
    let got = thread::scope(|scope| {
        if let Ok(mut writer) = client.stream.try_clone() {
            let _ = writer.set_write_timeout(Some(PATIENCE));
            scope.spawn(move || {
                let _ = writer.write_all(&rest);
                let _ = writer.shutdown(Shutdown::Write);
            });
        }
        // A kernel that is short of buffers may repeat what it has sent.
        client.read_while_moving(count * answer.len() + 64, 4 * PATIENCE)
    });
    let want = answer.repeat(count);
    if got.bytes != want || got.end != End::Fin {
        let end = match got.end {
            End::Open => "nothing more",
            End::Fin | End::Reset => "the connection was closed",
        };
        let actual = format!("only a part came, then {end}");
        lab.warn(client.fail("all replies, and FIN", &actual));
    }
}

const S5_09: Case = Case {
    id: "S5-09",
    title: "answers what came in time, even if it looks late",
    does: "With TCP_IDLE_MS=1000 and TCP_FRAME_MS=1000, A has sent 7 bytes of \
           an ECHO, and B nothing since its last reply. The checker stops the \
           server (SIGSTOP); 0.3 s later A sends the rest, and B a whole ECHO; \
           after 1.5 s the checker lets the server run again (SIGCONT). It \
           expects both replies. If the server cuts a client, that is a \
           warning.",
    steps: from(5),
    rule: (5, 3),
    tags: &[Tag::Timed, Tag::Linux, Tag::Starts],
    why: "A paused machine, a garbage collector, or a long wait for a \
          processor can hold up the server. When it looks again, the limit has \
          passed, and the frame is there as well. The frame came in time, and \
          only the server was late. A server that asks the clock first cuts \
          all clients after each such pause.",
    hint: Hint {
        meaning: "Your server looked at the clock first and cut the client, \
                  although the frame had arrived before its limit.",
        look: "what wins when a timer has fired but bytes are there, too",
    },
    proof: Proof::Defects(&["timer-before-data"]),
    script: s5_09,
};

fn s5_09(lab: &Lab) -> Check {
    lab.set("TCP_IDLE_MS", 1000);
    lab.set("TCP_FRAME_MS", 1000);
    let addr = lab.server()?;
    let (first, second) = (lab.word(12), lab.word(7));
    let bytes = echo(first.as_bytes());
    let mut a = lab.connect_as(addr, "A: ")?;
    let mut b = lab.connect_as(addr, "B: ")?;
    let start = Instant::now();
    a.exchange(lab.word(5).as_bytes())?;
    b.exchange(lab.word(5).as_bytes())?;
    a.send(&bytes[..7])?;
    thread::sleep(ms(100)); // the server has read these
    lab.signal_all(Signal::STOP);
    thread::sleep(ms(300));
    a.send(&bytes[7..])?;
    b.say(second.as_bytes())?;
    let was_in_time = start.elapsed() < ms(900);
    thread::sleep(ms(1200));
    lab.signal_all(Signal::CONT);
    lab.note("the server was stopped for 1.5 s");
    let answered =
        a.hear(first.as_bytes()).and_then(|()| b.hear(second.as_bytes()));
    match answered.map_err(|stop| *stop) {
        Err(Stop::Fail(failure)) if was_in_time => lab.warn(failure),
        Err(Stop::Fail(_)) => return Err(was_late()),
        Err(other) => return Err(Box::new(other)),
        Ok(()) => {}
    }
    Ok(())
}

fn was_late() -> Box<Stop> {
    let why = "this machine was too busy to send in time";
    Box::new(Stop::Unknown(why.to_owned()))
}

/// All of them.
pub const CASES: &[Case] =
    &[S5_01, S5_02, S5_03, S5_04, S5_05, S5_06, S5_07, S5_08, S5_09];

//! S4: what no honest client sends.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::diagnosis::fatal::reset_after;
use crate::harness::lab::{AT_ONCE, Lab, PATIENCE};
use crate::harness::peer::Peer;
use crate::harness::visit::{HARDLY_READS, narrow, served};
use crate::program::proc;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure};
use crate::wire::{ECHO_REPLY, ERROR, echo, frame, reply};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const BELIEVES: Hint = Hint {
    meaning: "Your server believed the length, and waits for bytes that will \
              never come.",
    look: "the line after your server reads the 4 length bytes: does it check \
           N before it uses N?",
};

const STREAM: Hint = Hint {
    meaning: "Your server ended at an unknown kind, but the frame was whole, \
              and the next one begins right after it.",
    look: "what your server does with a kind that it does not know",
};

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

const S4_04: Case = Case {
    id: "S4-04",
    title: "refuses a frame that is one byte too large",
    does: "The checker sends an ECHO of 65 536 bytes (N = 65 537), all of it. \
           It expects ERROR 1 within 1 s, then FIN, and an answer for a new \
           client.",
    steps: from(4),
    rule: (4, 3),
    tags: &[Tag::Hostile],
    why: "65 537 is the first length that is too large. Anyone who looks for a \
          limit that is off by one finds it, and then the buffer behind that \
          limit is one byte too small.",
    hint: Hint {
        meaning: "Your server's limit is off by one, or it counts the payload \
                  only.",
        look: "the comparison with the limit: N may be at most 65 536",
    },
    proof: Proof::Defects(&["limit-one-too-large", "stays-open-after-error"]),
    script: s4_04,
};

fn s4_04(lab: &Lab) -> Check {
    refuse(lab, &echo(&lab.bytes(65_536)), 1)
}

const S4_05: Case = Case {
    id: "S4-05",
    title: "refuses a length of 4 294 967 295 at once",
    does: "The checker sends `ff ff ff ff` and nothing more. It expects ERROR \
           1 within 1 s, then FIN, and an answer for a new client.",
    steps: from(4),
    rule: (4, 3),
    tags: &[Tag::Hostile],
    why: "Four bytes cost the sender almost nothing. A server that believes \
          them sets memory aside, or waits for 4 GB, so a few such clients are \
          enough to stop it. The server can refuse with the fourth byte, \
          because it needs no further byte to know that the length is too \
          large.",
    hint: Hint {
        meaning: "Your server believed the length, and waits for 4 GB that \
                  will never come.",
        look: BELIEVES.look,
    },
    proof: Proof::Defects(&[
        "believes-length",
        "limit-checked-late",
        "closes-silently",
    ]),
    script: s4_05,
};

fn s4_05(lab: &Lab) -> Check {
    refuse(lab, &[0xff; 4], 1)
}

const S4_06: Case = Case {
    id: "S4-06",
    title: "refuses a length that looks negative: 80 00 00 00",
    does: "The checker sends `80 00 00 00` and nothing more. It expects ERROR \
           1 within 1 s, then FIN, and an answer for a new client.",
    steps: from(4),
    rule: (4, 3),
    tags: &[Tag::Hostile],
    why: "80 00 00 00 is the smallest number of a signed 32-bit type. It is \
          less than any limit, so a comparison with the limit lets it through. \
          Many programs have crashed on what they did with such a length next.",
    hint: Hint {
        meaning: "Your server keeps the length in a signed type, in which it \
                  is negative and therefore below the limit.",
        look: "the type in which your program keeps the length",
    },
    proof: Proof::Defects(&["signed-length"]),
    script: s4_06,
};

fn s4_06(lab: &Lab) -> Check {
    refuse(lab, &[0x80, 0, 0, 0], 1)
}

const S4_07: Case = Case {
    id: "S4-07",
    title: "refuses a length of 0",
    does: "The checker sends `00 00 00 00` and nothing more. It expects ERROR \
           2 within 1 s, then FIN, and an answer for a new client.",
    steps: from(4),
    rule: (4, 3),
    tags: &[Tag::Hostile],
    why: "Each frame has a kind, so N = 0 cannot be a frame. A server that \
          looks for a kind anyway takes a byte of the next frame, or reads \
          outside an array. A client can keep a server busy forever if the \
          server skips such frames.",
    hint: Hint {
        meaning: "Your server took N = 0 for an empty message.",
        look: "the check of the length: which values does it let through?",
    },
    proof: Proof::Defects(&["zero-ignored", "zero-aborts", "wrong-code"]),
    script: s4_07,
};

fn s4_07(lab: &Lab) -> Check {
    refuse(lab, &[0; 4], 2)
}

const S4_12: Case = Case {
    id: "S4-12",
    title: "refuses HTTP, TLS and plain text",
    does: "The checker sends an HTTP request, the first 11 bytes of a TLS \
           handshake, and `hello` with CR and LF, each on a connection of its \
           own. It expects for each ERROR 1 within 1 s, then FIN, and at the \
           end an answer for a new client.",
    steps: from(4),
    rule: (4, 3),
    tags: &[Tag::Hostile],
    why: "Every server that listens gets visitors: browsers, scanners, and \
          people with a terminal. The server reads their first four bytes as a \
          length, which is far too large. So it sends such a visitor an error \
          at once, and neither of the two waits.",
    hint: BELIEVES,
    proof: Proof::Defects(&["dies-on-bad-frame"]),
    script: s4_12,
};

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

const S4_13: Case = Case {
    id: "S4-13",
    title: "answers an unknown kind with ERROR 3, and goes on",
    does: "The checker sends a frame of kind 55 (hex) with a payload of 10 \
           bytes, and after the answer an ECHO of 5 letters on the same \
           connection. On a second connection it sends kinds 00, 06, 80 and ff \
           without a payload, one of 65 535 bytes, one between two ECHOs in \
           the same write, and 5 000 without a payload in one write. It \
           expects each time ERROR 3, in its place among the replies, within 3 \
           s. An ERROR whose text is not UTF-8, is longer than 200 bytes, or \
           contains what the client sent, is a warning.",
    steps: from(4),
    rule: (4, 4),
    tags: &[],
    why: "One day a newer client will use a kind that this server does not \
          know. The client must learn that and be able to carry on: the length \
          was right, so the next frame begins where it should.",
    hint: STREAM,
    proof: Proof::Defects(&[
        "unknown-kind-ends",
        "unknown-kind-ignored",
        "unknown-kind-desync",
        "echoes-any-kind",
        "errors-first",
        "quotes-the-client",
    ]),
    script: s4_13,
};

fn s4_13(lab: &Lab) -> Check {
    unknown_kind(lab, 0x55)?;
    lab.own_hint();
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    for kind in [0x00, 0x06, 0x80, 0xff] {
        client.send(&frame(kind, b""))?;
        client.expect_error(3)?;
    }
    client.send(&frame(0x55, &[0; 65_535]))?;
    client.expect_error(3)?;
    let meaning = "Your server left out a reply or an ERROR, or sent one out \
                   of order, but both come in the order of the requests.";
    let look = "when your server writes a reply, and when an ERROR";
    lab.hint(meaning, look);
    lab.other_means(meaning, look);
    let (a, b) = (lab.word(4), lab.word(4));
    let (a, b) = (a.as_bytes(), b.as_bytes());
    client.send(&[echo(a), frame(0x55, b"?"), echo(b)].concat())?;
    client.hear(a)?;
    client.expect_error(3)?;
    client.hear(b)?;
    many_unknown_kinds(&mut client)?;
    client.exchange(b)
}

/// The answers take more room than the frames.
fn many_unknown_kinds(client: &mut Peer) -> Check {
    client.lab.hint(
        "Your server did not answer all of many short frames of an unknown \
         kind that came in one write, perhaps because each ERROR is longer \
         than the frame it answers.",
        "the size of the buffer into which your server writes",
    );
    client.send(&frame(0x55, b"").repeat(5000))?;
    for _ in 0..5000 {
        client.expect_error(3)?;
    }
    Ok(())
}

fn unknown_kind(lab: &Lab, kind: u8) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.send(&frame(kind, &[b"\x01", lab.word(9).as_bytes()].concat()))?;
    lab.own_hint();
    client.expect_error(3)?;
    lab.hint(
        "Your server did not answer the next good frame after the unknown \
         kind.",
        "the payload of the unknown frame: does your server skip it?",
    );
    client.exchange(lab.word(5).as_bytes())
}

const S4_16: Case = Case {
    id: "S4-16",
    title: "one client's mistake does not harm another",
    does: "B exchanges an ECHO. A sends `ff ff ff ff` and must get ERROR 1 \
           within 1 s, then FIN. The checker expects within 3 s the answers to \
           two more ECHOs of B, on its old connection, and to two of a new \
           client C.",
    steps: from(4),
    rule: (4, 3),
    tags: &[Tag::Hostile, Tag::Closing],
    why: "An error on one connection must end there. If it reaches the loop \
          that all connections share, the worst client decides how long the \
          others are served.",
    hint: Hint {
        meaning: "The fatal error of one client reached another client.",
        look: "where the error of one connection goes",
    },
    proof: Proof::Defects(&["one-error-ends-all"]),
    script: s4_16,
};

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

const S4_17: Case = Case {
    id: "S4-17",
    title: "does not read frames after a fatal error",
    does: "The checker sends a frame of N = 65 539 whose payload is 5 958 \
           small ECHOs, and on another connection `ff ff ff ff` with 100 of \
           them behind it. It expects each time ERROR 1 within 1 s, then FIN, \
           and no byte between them; at the end the server must answer a new \
           client.",
    steps: from(4),
    rule: (4, 3),
    tags: &[Tag::Hostile],
    why: "After a bad length the server cannot know where the next frame \
          begins. A server that goes on parsing lets the sender choose, \
          because the payload of the refused frame may look like a valid \
          request.",
    hint: Hint {
        meaning: "Your server went on parsing after a fatal error.",
        look: "what your read loop does after your server has sent the ERROR",
    },
    proof: Proof::Defects(&["parses-after-fatal"]),
    script: s4_17,
};

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

const S4_18: Case = Case {
    id: "S4-18",
    title: "its ERROR arrives although 8 MB are on their way",
    does: "The checker sends 8 000 000 bytes of `ff`, and begins to read after \
           300 ms. It expects ERROR 1 within 1 s of its start, then FIN (a \
           reset is a warning), and an answer for a new client.",
    steps: from(4),
    rule: (4, 3),
    tags: &[Tag::Hostile],
    why: "If a server closes while bytes are unread, its kernel sends a reset, \
          and the reset throws away what the client has not read yet, \
          including the ERROR. On one machine the ERROR often arrives in spite \
          of that, but over a real network it may not.",
    hint: BELIEVES,
    proof: Proof::Defects(&["resets-after-error"]),
    script: s4_18,
};

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
        // We read late, so that a reset has thrown away what it can by then.
        thread::sleep(Duration::from_millis(300));
        lab.note("sent 8 MB of ff, then reads");
        let refused = client.expect_fatal(1, start, AT_ONCE);
        let Ok(writer) = writer else { return refused.map(|()| false) };
        let until = lab.until(PATIENCE);
        while refused.is_ok() && !writer.is_finished() && Instant::now() < until
        {
            thread::sleep(Duration::from_millis(1));
        }
        // The system reports a reset once, and here the writer asked first.
        let is_over = writer.is_finished();
        let _ = client.stream.shutdown(Shutdown::Both); // frees the writer
        let written = writer.join().ok().filter(|_| is_over);
        refused.map(|()| written.is_some_and(|written| written.is_err()))
    })?;
    if is_reset {
        lab.warn(reset_after(&client.fail("", ""), "ERROR(1), then FIN"));
    }
    served(lab, addr)
}

const S4_19: Case = Case {
    id: "S4-19",
    title: "answers a client's reply or ERROR with ERROR 3",
    does: "The checker sends a frame of kind 81 (hex) with a payload of 10 \
           bytes, and after the answer an ECHO of 5 letters; then the same \
           with kind 7f, on a new connection. It expects each time ERROR 3, \
           then the reply, each within 3 s.",
    steps: from(4),
    rule: (4, 4),
    tags: &[Tag::Hostile],
    why: "Only servers send replies and ERRORs, so from a client they make no \
          sense. But the frame is whole, so the server has no reason to end \
          the connection: it tells the client of its mistake and serves the \
          next frame.",
    hint: STREAM,
    proof: Proof::Defects(&["echoes-server-kinds"]),
    script: s4_19,
};

fn s4_19(lab: &Lab) -> Check {
    unknown_kind(lab, ECHO_REPLY)?;
    unknown_kind(lab, ERROR)
}

const S4_21: Case = Case {
    id: "S4-21",
    title: "answers what came before a bad length",
    does: "The checker sends two ECHO frames and a length of 4 294 967 295 in \
           one write, and on another connection two frames and a length of 0. \
           It expects both replies, in order, and then ERROR 1 or 2 and FIN.",
    steps: from(4),
    rule: (4, 1),
    tags: &[Tag::Hostile, Tag::Closing],
    why: "Two good frames and a bad length arrive in one read. The good frames \
          came first, so the server owes them an answer: a mistake does not \
          undo what was right before it.",
    hint: Hint {
        meaning: "Your server dropped the replies to the good frames when it \
                  found the bad length.",
        look: "what happens to replies that still wait in your server when it \
               refuses a frame",
    },
    proof: Proof::Defects(&["drops-before-bad-length"]),
    script: s4_21,
};

fn s4_21(lab: &Lab) -> Check {
    let addr = lab.server()?;
    for (bytes, code) in [([0xff; 4], 1), ([0; 4], 2)] {
        let (a, b) = (lab.word(5), lab.word(7));
        let (a, b) = (a.as_bytes(), b.as_bytes());
        let mut client = lab.connect(addr)?;
        client.send_anyway(&[echo(a), echo(b), bytes.to_vec()].concat());
        let start = Instant::now();
        client.expect(&[reply(a), reply(b)].concat(), PATIENCE)?;
        client.expect_fatal(code, start, AT_ONCE)?;
    }
    served(lab, addr)
}

const S4_22: Case = Case {
    id: "S4-22",
    title: "closes soon after a fatal error, whatever still comes",
    does: "The checker sends a length of 4 294 967 295, reads ERROR 1 and FIN, \
           and goes on sending a byte every 50 ms. It expects that the server \
           has closed 3 s after the bad length, so that a write fails. A FIN \
           that comes later than 0.6 s after the bad length is a warning, and \
           so is a write that fails before 0.9 s.",
    steps: from(4),
    rule: (4, 3),
    tags: &[Tag::Timed, Tag::Hostile],
    why: "After its ERROR a server reads and throws away, so that the ERROR \
          can arrive. It does so for only a second, because otherwise a client \
          that never stops sending keeps the connection forever. The server \
          need not hold back its own end (FIN) until then: its FIN tells the \
          client at once that no more replies will come.",
    hint: Hint {
        meaning: "Your server goes on throwing away what comes for as long as \
                  the client likes to send.",
        look: "the second after an ERROR: is it one for all reads, or one for \
               each?",
    },
    proof: Proof::Defects(&["drains-for-ever", "ends-late"]),
    script: s4_22,
};

/// A server that is slow to close is given twice the time.
const CLOSED: Duration = Duration::from_secs(3);

/// The second in which a server throws away what still comes, or a little less.
const SECOND: Duration = Duration::from_millis(900);

fn closed_early(client: &Peer) -> Failure {
    let expected = "it reads and throws away for 1 s";
    let mut failure = client.fail(expected, "it closed before that");
    failure.meaning = "Your server closed too early: its kernel answers what \
                       comes after the close with a reset, which can overtake \
                       the ERROR on a slow line."
        .into();
    failure.look = "how long your server reads after an ERROR, before it \
                    closes"
        .into();
    failure
}

fn ends_late(client: &Peer) -> Failure {
    let expected = "FIN right behind the ERROR";
    let mut failure = client.fail(expected, "FIN comes much later");
    failure.meaning =
        "Your server knows that it will send no more, but it tells the client \
         only after it has thrown away what still came."
            .into();
    failure.look = "when your server ends its direction after an ERROR".into();
    failure
}

fn s4_22(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let start = Instant::now();
    client.send_anyway(&[0xff; 4]);
    client.expect_fatal(1, start, AT_ONCE)?;
    if start.elapsed() > ms(600) + lab.lateness() {
        lab.warn(ends_late(&client));
    }
    lab.note("goes on sending, a byte every 50 ms");
    while start.elapsed() < CLOSED {
        // A server that has closed answers with RST: the next write fails.
        if client.stream.write_all(b"x").is_err() {
            if start.elapsed() < SECOND {
                lab.warn(closed_early(&client));
            }
            return served(lab, addr);
        }
        thread::sleep(ms(50));
    }
    let expected = "closed 1 s after the ERROR";
    let failure = client.fail(expected, "it still reads, 3 s after it");
    // It had two seconds more.
    Err(Failure { by_time: true, is_sure: true, ..failure }.into())
}

const S4_24: Case = Case {
    id: "S4-24",
    title: "keeps nothing of a client that it has refused",
    does: "A client with a small receive buffer sends an ECHO of 40 000 bytes \
           and `ff ff ff ff`, reads nothing, and keeps its socket open. The \
           checker expects that 4 s later the server's kernel holds no byte of \
           the reply any more, and that the server answers a new client. Bytes \
           that the kernel still holds are a warning.",
    steps: from(4),
    rule: (4, 3),
    tags: &[Tag::Linux, Tag::Starts, Tag::Hostile],
    why: "When a program closes a connection, the kernel goes on trying to \
          deliver what the client has not taken. If the client stays and never \
          reads, the kernel tries for minutes, although the server believes \
          that the connection is over. Clients that do this one after another \
          fill the kernel's memory, and no limit of your program counts those \
          bytes.",
    hint: Hint {
        meaning: "Your server has closed, but its kernel still holds bytes for \
                  this client and offers them again and again, for minutes.",
        look: "how your server closes when the second after the ERROR has \
               passed: its kernel can keep what is unsent, or throw it away",
    },
    proof: Proof::Defects(&["keeps-unsent"]),
    script: s4_24,
};

fn s4_24(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = narrow(lab, addr, HARDLY_READS)?;
    let local = client.local_addr().map_or(0, |addr| addr.port());
    let request = [echo(&lab.bytes(40_000)), vec![0xff; 4]].concat();
    let _ = client.set_write_timeout(Some(PATIENCE));
    let _ = client.write_all(&request);
    lab.note("sent an ECHO of 40 000 bytes and ff ff ff ff, never reads");
    let start = Instant::now();
    loop {
        let is_reset = matches!(client.take_error(), Ok(Some(_)));
        let is_unsent = proc::unsent(addr.port(), local) > 0;
        if is_reset || !is_unsent && start.elapsed() > ms(1500) {
            break;
        }
        if start.elapsed() > ms(4000) {
            lab.warn(not_over(lab, addr.port(), local));
            break;
        }
        thread::sleep(ms(20));
    }
    served(lab, addr)
}

/// The connection is not over: the program still has it, or only its kernel.
fn not_over(lab: &Lab, from: u16, to: u16) -> Failure {
    let expected = "the connection is over 1 s after the ERROR";
    if proc::is_orphan(from, to) {
        return lab.fail(
            expected,
            "its kernel still keeps what the client did not read",
        );
    }
    let actual = "4 s later your server still has the connection";
    let mut failure = lab.fail(expected, actual);
    failure.meaning = "Your server waits for a client that it must refuse, or \
                       it has not read the bad length yet."
        .into();
    failure.look = "what your server waits for: a write to this client?".into();
    failure
}

/// All of them.
pub const CASES: &[Case] = &[
    S4_04, S4_05, S4_06, S4_07, S4_12, S4_13, S4_16, S4_17, S4_18, S4_19,
    S4_21, S4_22, S4_24,
];

//! S4: what comes before a fatal error, and what after it.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Check, Failure, Hint, Tag};
use crate::cases::hostile::{AT_ONCE, served};
use crate::harness::lab::Lab;
use crate::wire::echo;

pub const CASES: &[Case] = &[
    Case {
        id: "S4-21",
        title: "answers what came before a bad length",
        does: "Two ECHO frames and a length of 4 294 967 295 are sent in one \
               write; on another connection, two frames and a length of 0. \
               Expects both replies, in order, and then ERROR 1 or 2 and FIN.",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[Tag::Hostile],
        why: "Two good frames and a bad length arrive in one read. The good \
              ones came first, and they are owed an answer: a mistake does \
              not undo what was right before it.",
        hint: Hint {
            meaning: "The replies to the good frames were dropped when the \
                      bad length was found.",
            look: "what happens to replies that wait to be written when a \
                   frame is refused",
        },
        script: s4_21,
    },
    Case {
        id: "S4-22",
        title: "closes soon after a fatal error, whatever still comes",
        does: "Sends a length of 4 294 967 295, reads ERROR 1 and FIN, and \
               goes on sending a byte each 50 ms. Expects that the server has \
               closed 3 s after the bad length, so that a write fails.",
        steps: 4..=5,
        rule: (4, 3),
        tags: &[Tag::Timed, Tag::Hostile],
        why: "After its ERROR a server reads and throws away, so that the \
              ERROR can arrive. But only for a second: else a client that \
              never stops sending keeps the connection for ever.",
        hint: Hint {
            meaning: "Your server throws away what still comes for as long \
                      as the client likes to send.",
            look: "the second after an ERROR: is it one for all reads, or \
                   one for each?",
        },
        script: s4_22,
    },
];

fn s4_21(lab: &Lab) -> Check {
    let addr = lab.server()?;
    for (bytes, code) in [([0xff; 4], 1), ([0; 4], 2)] {
        let (a, b) = (lab.word(5), lab.word(7));
        let (a, b) = (a.as_bytes(), b.as_bytes());
        let mut client = lab.connect(addr)?;
        client.send_anyway(&[echo(a), echo(b), bytes.to_vec()].concat());
        let start = Instant::now();
        client.hear(a)?;
        client.hear(b)?;
        client.expect_fatal(code, start, AT_ONCE)?;
    }
    served(lab, addr)
}

/// A server that is slow to close is given twice the time.
const CLOSED: Duration = Duration::from_secs(3);

fn s4_22(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let start = Instant::now();
    client.send_anyway(&[0xff; 4]);
    client.expect_fatal(1, start, AT_ONCE)?;
    lab.note("goes on sending, a byte each 50 ms");
    while start.elapsed() < CLOSED {
        // Who has closed answers with RST, and the next write fails.
        if client.stream.write_all(b"x").is_err() {
            return served(lab, addr);
        }
        thread::sleep(Duration::from_millis(50));
    }
    let expected = "closed 1 s after the ERROR";
    let failure = client.fail(expected, "it still reads, 3 s after it");
    Err(Failure { by_time: true, ..failure }.into())
}

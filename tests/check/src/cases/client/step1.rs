//! C1: a client that asks, and prints the answer.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::case::{Case, Proof};
use crate::harness::lab::Lab;
use crate::harness::stage::{START, Stage, closed_port, expect_fin, words};
use crate::traits::{Hint, Tag};
use crate::verdict::Check;

const C1_01: Case = Case {
    id: "C1-01",
    title: "prints an answer that comes in pieces",
    does: "Reads the request of 14 bytes, and FIN within 1 s after it; \
           then answers 15 bytes with a newline among them, one every 3 \
           ms, and closes. Expects exactly the answer on stdout, and exit \
           code 0 within 8 s.",
    steps: 1..=3,
    rule: (1, 4),
    tags: &[],
    why: "The answer comes one byte at a time. Only the end of the stream \
          says that it is complete. And the server can only know that the \
          request is over when the client ends its own direction.",
    hint: Hint {
        meaning: "Your client read once and took that for the whole \
                  answer.",
        look: "the loop around read: what ends it?",
    },
    proof: Proof::Defects(&["reads-once", "no-fin", "adds-newline-at-end"]),
    script: c1_01,
};

fn c1_01(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let text = format!("Hello, {}!", lab.word(6));
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    expect_fin(lab, &mut client)?;
    let answer = format!("Hello,\n{}!", lab.word(7));
    client.sends(answer.as_bytes());
    for byte in answer.bytes() {
        let _ = client.stream.write_all(&[byte]);
        thread::sleep(Duration::from_millis(3)); // a packet of its own
    }
    lab.note("answered, one byte in each packet");
    drop(client);
    let ended = lab.finish_within(START)?;
    ended.printed_lines(lab, &[&answer])?;
    ended.code(lab, 0)
}

const C1_02: Case = Case {
    id: "C1-02",
    title: "says that nobody listens",
    does: "Nobody listens at the address that the client is given. Expects \
           an exit code that is not 0 within 3 s, a message on stderr, and \
           nothing on stdout.",
    steps: 1..=4,
    rule: (1, 4),
    tags: &[Tag::Hostile],
    why: "The most frequent error of all: the server does not run. Whoever \
          reads the message wants to know which address was tried and what \
          to do next. A script that calls the client reads only the exit \
          code.",
    hint: Hint {
        meaning: "The error of connect was ignored, or your client went on \
                  waiting after it.",
        look: "what your client does when connect fails",
    },
    proof: Proof::Defects(&[
        "refusal-is-success",
        "refusal-is-silent",
        "refusal-forever",
    ]),
    script: c1_02,
};

fn c1_02(lab: &Lab) -> Check {
    let (_socket, addr) = closed_port()?;
    let client = lab.start(addr, &["hi".to_owned()], None)?;
    lab.keep(client);
    lab.note("nobody listens at its {addr}");
    let ended = lab.finish_within(Duration::from_secs(3))?;
    ended.failed(lab)?;
    ended.said_why(lab)?;
    ended.silent(lab)
}

const C1_03: Case = Case {
    id: "C1-03",
    title: "does not take a reset for the end",
    does: "Reads the request and FIN, answers 6 letters, and resets (RST) \
           100 ms later. Expects an exit code that is not 0 within 8 s, \
           and a message on stderr. If the 6 letters are not on stdout, \
           that is a warning.",
    steps: 1..=3,
    rule: (1, 4),
    tags: &[Tag::Hostile],
    why: "The server sends half an answer, and then it crashes. The end of \
          a stream (FIN) says that all is there; a reset says that it is \
          not. A client that treats both alike reports half an answer as a \
          whole one.",
    hint: Hint {
        meaning: "Your client took a connection that broke for one that \
                  ended.",
        look: "what you do when read fails, and what when it returns 0 \
               bytes",
    },
    proof: Proof::Defects(&["reset-is-end"]),
    script: c1_03,
};

fn c1_03(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let [text, half] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    expect_fin(lab, &mut client)?;
    client.send_anyway(half.as_bytes());
    // What has come before a reset can be read; what comes with it may not.
    thread::sleep(Duration::from_millis(100));
    client.reset();
    let ended = lab.finish_within(START)?;
    ended.failed(lab)?;
    ended.said_why(lab)?;
    if !ended.stdout.starts_with(half.as_bytes()) {
        let failure = lab.fail("what came before the reset", "not printed");
        lab.warn(failure);
    }
    Ok(())
}

/// All of them.
pub const CASES: &[Case] = &[C1_01, C1_02, C1_03];

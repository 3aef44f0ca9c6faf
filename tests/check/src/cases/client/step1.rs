//! C1: a client that asks, and prints the answer.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::harness::ended::Ended;
use crate::harness::lab::Lab;
use crate::harness::stage::{
    START, Stage, closed_port, expect_fin, quick, reply_to, words,
};
use crate::program::running::{Input, Reader, Streams, describe};
use crate::steps::all;
use crate::traits::{Hint, Tag};
use crate::verdict::Check;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const C1_01: Case = Case {
    id: "C1-01",
    title: "prints an answer that comes in pieces",
    does: "The checker reads the request of 14 bytes, and FIN within 1 s after \
           it; then it answers 15 bytes with a newline among them, one every 3 \
           ms, and closes. It expects exactly the answer on stdout, and exit \
           code 0 within 8 s. In a second run, letters of 2, 3 and 4 bytes are \
           among them (LC_ALL is C.UTF-8).",
    steps: 1..=3,
    rule: (1, 4),
    tags: &[],
    why: "The answer comes one byte at a time, so only the end of the stream \
          tells the client that it is complete. In the same way the server \
          knows that the request is complete only when the client ends its own \
          direction.",
    hint: Hint {
        meaning: "Your client read once and took that for the whole answer.",
        look: "the loop around `read`: what ends it?",
    },
    proof: Proof::Defects(&[
        "reads-once",
        "no-fin",
        "adds-newline-at-end",
        "decodes-each-piece",
    ]),
    script: c1_01,
};

fn c1_01(lab: &Lab) -> Check {
    lab.set_text("LC_ALL", "C.UTF-8"); // some languages ask for it
    in_pieces(lab, &format!("Hello,\n{}!", lab.word(7)))?;
    lab.hint(
        "A letter may take several bytes, and your client decoded each piece \
         by itself when those bytes came in two pieces.",
        "where your client turns bytes into text: before it has all bytes of a \
         letter?",
    );
    in_pieces(lab, &format!("é€😀\n{}", lab.word(5)))
}

/// Answers with this, a byte at a time; the client must print just that.
fn in_pieces(lab: &Lab, answer: &str) -> Check {
    let stage = Stage::open(lab)?;
    let text = format!("Hello, {}!", lab.word(6));
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    expect_fin(lab, &mut client)?;
    client.sends(answer.as_bytes());
    for byte in answer.bytes() {
        let _ = client.stream.write_all(&[byte]);
        thread::sleep(Duration::from_millis(3)); // a packet of its own
    }
    lab.note("answered, one byte in each packet");
    drop(client);
    let ended = lab.finish_within(START)?;
    ended.printed_lines(lab, &[answer])?;
    ended.code(lab, 0)
}

const C1_02: Case = Case {
    id: "C1-02",
    title: "says that nobody listens",
    does: "The checker gives the client an address where no server listens. It \
           expects an exit code that is not 0 within 3 s, a message on stderr, \
           and nothing on stdout. A message that does not name the port is a \
           warning.",
    steps: 1..=4,
    rule: (1, 4),
    tags: &[Tag::Hostile],
    why: "This is the most frequent error of all: the server is not running. \
          Whoever reads the message wants to know which address the client \
          tried and what to do next. A script that calls the client sees only \
          the exit code.",
    hint: Hint {
        meaning: "Your client ignored the error of `connect`, or went on \
                  waiting after it.",
        look: "what your client does when `connect` fails",
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
    ended.said(
        lab,
        &addr.port().to_string(),
        "the address that your client tried",
    );
    ended.silent(lab)
}

const C1_03: Case = Case {
    id: "C1-03",
    title: "does not take a reset for the end",
    does: "The checker reads the request and FIN, answers 6 letters, and \
           resets (RST) 100 ms later. It expects an exit code that is not 0 \
           within 8 s, and a message on stderr. If the 6 letters are not on \
           stdout, that is a warning.",
    steps: 1..=3,
    rule: (1, 4),
    tags: &[Tag::Hostile],
    why: "The server sends half an answer, and then it crashes. The end of a \
          stream (FIN) tells the client that it has everything, but a reset \
          tells it that it has not. A client that treats both alike reports \
          half an answer as a whole one.",
    hint: Hint {
        meaning: "Your client took a connection that broke for one that ended.",
        look: "what your client does when `read` fails, and what when it \
               returns 0 bytes",
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

const C1_04: Case = Case {
    id: "C1-04",
    title: "does not exit with 0 when nobody reads its output",
    does: "The checker answers a client whose stdout is a pipe that nobody \
           reads; then it starts one that is refused, and whose stderr is such \
           a pipe. Exit code 0, or a panic, is a warning, and so is a client \
           that still runs 8 s later.",
    steps: all(),
    rule: (1, 4),
    tags: &[],
    why: "With `client … | head -1`, or on a full disk, the client may fail to \
          print its answer. A script that sees exit code 0 goes on as if it \
          had the whole answer. And if the client cannot print a message, that \
          must not turn one error into another.",
    hint: Hint {
        meaning: "Your client does not notice that it cannot print, or it \
                  breaks because of that.",
        look: "what `print` returns, or what your client does when it fails",
    },
    proof: Proof::Defects(&["ignores-print-errors"]),
    script: c1_04,
};

fn c1_04(lab: &Lab) -> Check {
    quick(lab, 2);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    let gone = Streams { stdout: Reader::Gone, ..Streams::default() };
    stage.start_with(&[&text], gone)?;
    let mut client = stage.first(&text)?;
    client.send_anyway(&reply_to(lab, &text));
    client.fin();
    lab.note("answered, but nobody reads its stdout");
    let ended = lab.finish_within(START)?;
    complain_of(lab, &ended, "an exit code that is not 0");
    let (_socket, addr) = closed_port()?;
    let gone = Streams { stderr: Reader::Gone, ..Streams::default() };
    let client = lab.start(addr, &[text], gone)?;
    lab.keep(client);
    lab.note_instead("nobody listens at its {addr}, nor reads its stderr");
    let ended = lab.finish_within(START)?;
    complain_of(lab, &ended, "the same exit code as with a reader");
    Ok(())
}

/// Exit code 0, or a panic, is a warning.
fn complain_of(lab: &Lab, ended: &Ended, expected: &str) {
    if let Some(0 | 101) = ended.status.code() {
        lab.warn(lab.fail(expected, describe(ended.status)));
    }
}

const C1_05: Case = Case {
    id: "C1-05",
    title: "says that it cannot read its input",
    does: "The checker starts the client without a TEXT, and with a folder as \
           its stdin, so that each read of it fails. Exit code 0, or nothing \
           on stderr, is a warning. The checker does not try a client that \
           takes no input from stdin.",
    steps: all(),
    rule: (1, 4),
    tags: &[],
    why: "`client < file` is one slip away from `client < folder`. A read that \
          fails is not the end of the input. A client that takes it for the \
          end sends nothing, gets nothing, and reports success.",
    hint: Hint {
        meaning: "Your client could not read its input, and took that for the \
                  end of its input.",
        look: "what your client does when a `read` of stdin fails",
    },
    proof: Proof::Defects(&["input-error-is-end"]),
    script: c1_05,
};

fn c1_05(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let line = lab.word(6) + "\n";
    drop(stage.first_from(Input::Bytes(line.into()), START)?);
    lab.end_programs();
    let folder = Streams { stdin: Input::Folder, ..Streams::default() };
    stage.start_with(&[], folder)?;
    lab.note_instead("its stdin is a folder");
    let until = lab.until(START);
    let mut held = Vec::new();
    while lab.client_ended().is_none() && Instant::now() < until {
        // Our server has nothing to say to it.
        if let Some(stream) = stage.accept_within(ms(20)) {
            let _ = stream.shutdown(Shutdown::Write);
            held.push(stream);
        }
    }
    let ended = lab.finish(Duration::ZERO, START)?;
    complain_of(lab, &ended, "an exit code that is not 0");
    if ended.stderr.trim_ascii().is_empty() {
        lab.warn(lab.fail("a message on stderr", "nothing on stderr"));
    }
    Ok(())
}

/// All of them.
pub const CASES: &[Case] = &[C1_01, C1_02, C1_03, C1_04, C1_05];

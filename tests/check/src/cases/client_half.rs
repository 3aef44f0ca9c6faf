//! C1 and C4: a server that says half of it, or no.

use std::thread;
use std::time::Duration;

use crate::case::{Case, Check, Hint, Tag};
use crate::cases::client_basic::expect_fin;
use crate::harness::ended::Ended;
use crate::harness::lab::Lab;
use crate::harness::stage::{START, Stage, words};
use crate::wire::{self, ERROR, frame};

const HOSTILE: &[Tag] = &[Tag::Hostile];

pub const CASES: &[Case] = &[
    Case {
        id: "C1-03",
        title: "does not take a reset for the end",
        does: "Reads the request and FIN, answers 6 letters, and resets (RST) \
               100 ms later. Expects an exit code that is not 0 within 8 s, \
               and a message on stderr. If the 6 letters are not on stdout, \
               that is a warning.",
        steps: 1..=3,
        rule: (1, 4),
        tags: HOSTILE,
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
        script: c1_03,
    },
    Case {
        id: "C4-03",
        title: "does not take half a reply for a whole one",
        does: "In three runs, answers the request with the reply without its \
               last 2 bytes, without its last 7, and not at all; each time FIN \
               follows. Expects an exit code that is not 0 within 8 s, a \
               message on stderr, and nothing on stdout.",
        steps: 4..=4,
        rule: (4, 8),
        tags: HOSTILE,
        why: "The server ends in the middle of a reply, or before it. A script \
              that calls the client sees stdout and the exit code. The first \
              must not show half a reply; the second must say that something \
              is missing.",
        hint: Hint {
            meaning: "The server ended too early, and your client took that \
                      for a normal end.",
            look: "what your client checks at EOF",
        },
        script: c4_03,
    },
    Case {
        id: "C4-04",
        title: "treats an ERROR as an error",
        does: "Answers the request with ERROR 4, with an escape sequence in \
               its text, then FIN; in further runs with a frame of kind 01 \
               and of kind 82. Expects each time an exit code that is not 0 \
               within 8 s, and nothing on stdout; after the ERROR a message \
               on stderr. If the escape byte (1b) is on stderr, that is a \
               warning.",
        steps: 4..=4,
        rule: (4, 8),
        tags: HOSTILE,
        why: "An ERROR is not an answer: it belongs on stderr, with an exit \
              code other than 0. Its text comes from somebody else, and may \
              contain bytes that command a terminal.",
        hint: Hint {
            meaning: "Your client does not look at the kind of the frame that \
                      came.",
            look: "what you do with each kind that a server may send",
        },
        script: c4_04,
    },
];

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

fn c4_03(lab: &Lab) -> Check {
    for missing in [2, 7, usize::MAX] {
        let ended = answer(lab, |text| {
            let reply = wire::reply(text.as_bytes());
            let size = reply.len().saturating_sub(missing);
            (
                reply[..size].to_vec(),
                match size {
                    0 => "ended without a reply",
                    _ => "answered a part of the reply, then FIN",
                },
            )
        })?;
        ended.failed(lab)?;
        ended.silent(lab)?;
        ended.said_why(lab)?;
    }
    Ok(())
}

fn c4_04(lab: &Lab) -> Check {
    let text = b"\x04not \x1b[1mthis";
    let ended = answer(lab, |_| (frame(ERROR, text), "answered ERROR(4)"))?;
    ended.failed(lab)?;
    ended.silent(lab)?;
    ended.said_why(lab)?;
    if ended.stderr.contains(&0x1b) {
        let actual = "the escape character of the server's text, as it came";
        let mut failure = lab.fail("a text that commands no terminal", actual);
        failure.meaning = "Whoever writes the text can clear your screen, or \
                           worse."
            .into();
        failure.look = "how you print a text that is not yours".into();
        lab.warn(failure);
    }
    for (kind, what) in
        [(0x01, "answered with kind 01"), (0x82, "with kind 82")]
    {
        let ended = answer(lab, |text| (frame(kind, text.as_bytes()), what))?;
        ended.failed(lab)?;
        ended.silent(lab)?;
    }
    Ok(())
}

/// Reads one request, answers with these bytes, and ends.
fn answer(
    lab: &Lab,
    bytes: impl FnOnce(&str) -> (Vec<u8>, &'static str),
) -> Check<Ended> {
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    let (bytes, what) = bytes(&text);
    client.send_anyway(&bytes);
    client.fin();
    lab.note_instead(what);
    lab.finish_within(START)
}

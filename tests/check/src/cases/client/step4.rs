//! C4: a client that checks each frame it gets.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::diagnosis::evidence::{End, Got};
use crate::harness::ended::Ended;
use crate::harness::lab::{AT_ONCE, Lab};
use crate::harness::peer::Peer;
use crate::harness::stage::{START, Stage, words};
use crate::steps::{from, only};
use crate::traits::{Hint, Tag};
use crate::verdict::Check;
use crate::wire::{self, ERROR, frame};

const C4_01: Case = Case {
    id: "C4-01",
    title: "refuses a reply with an impossible length",
    does: "Answers the request with a length of `ff ff ff ff` and nothing \
           more; and in further runs with `00 00 00 00`, `00 01 00 01` \
           and `80 00 00 00`. Expects each time an exit code that is not \
           0 within 1 s, no further connection, and nothing on stdout.",
    steps: from(4),
    rule: (4, 8),
    tags: &[Tag::Hostile],
    why: "A server can be broken, hostile, or not the one you meant. The \
          client checks the length as strictly as a server does, and does \
          not wait for bytes that will never come.",
    hint: Hint {
        meaning: "Your client believed the length of the reply, and waits.",
        look: "the line after you read the 4 length bytes",
    },
    proof: Proof::Defects(&["believes-length", "zero-ignored"]),
    script: c4_01,
};

fn c4_01(lab: &Lab) -> Check {
    for length in [u32::MAX, 0, 65_537, 0x8000_0000] {
        let stage = Stage::open(lab)?;
        let [text] = words(lab);
        stage.start(&[&text])?;
        let mut client = stage.first(&text)?;
        client.send_anyway(&length.to_be_bytes());
        lab.note(format!("answered with a length of {length:08x}"));
        let ended = stage.finish_alone(AT_ONCE)?;
        ended.failed(lab)?;
        ended.silent(lab)?;
    }
    Ok(())
}

const C4_02: Case = Case {
    id: "C4-02",
    title: "prints replies that were merged and sliced",
    does: "Starts the client with three TEXTs: 6 letters, none at all, \
           and letters with spaces around them that take more than one \
           byte each (LC_ALL is C.UTF-8). Sends the replies to all ECHOs \
           that have come in slices of 7 bytes, 3 ms apart. Expects the \
           three texts on stdout, in order and each with a newline, and \
           exit code 0 within 8 s. A client that takes no more than one \
           TEXT gets a warning.",
    steps: from(4),
    rule: (4, 1),
    tags: &[Tag::Basic],
    why: "Replies arrive as the network likes: three in one read, or one \
          in three. Each is printed once, in order, with a newline after \
          it.",
    hint: Hint {
        meaning: "Your client takes one read for one reply.",
        look: "what you do when a read brings half a reply, or more than \
               one",
    },
    proof: Proof::Defects(&[
        "one-reply-per-read",
        "prints-without-newline",
        "little-endian",
        "length-in-characters",
        "skips-empty-text",
    ]),
    script: c4_02,
};

fn c4_02(lab: &Lab) -> Check {
    lab.set_text("LC_ALL", "C.UTF-8"); // some languages ask for it
    let stage = Stage::open(lab)?;
    let texts: [String; 2] = words(lab);
    let odd = format!(" é€😀 {} ", texts[1]); // N counts bytes
    let texts = [&texts[0], "", &odd];
    stage.start(&texts)?;
    let first = stage.accept(START);
    if first.is_err() && texts.len() > 1 && is_usage(lab) {
        return one_text_only(lab, &stage, texts[0]);
    }
    let mut client = first?;
    lab.open_window();
    let mut answered = 0;
    while answered < texts.len() {
        let more = answer_in_slices(lab, &mut client, &texts[answered..])?;
        answered += more;
        if answered < texts.len() {
            // A connection for each request is right, too.
            lab.hint(FRAMES.meaning, FRAMES.look);
            client = stage.accept(AT_ONCE)?;
        }
    }
    lab.note("got 3 requests, answered in slices of 7 bytes");
    drop(client);
    let ended = lab.finish_within(START)?;
    ended.printed_lines(lab, &texts)?;
    ended.code(lab, 0)
}

fn join(make: fn(&[u8]) -> Vec<u8>, texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| make(text.as_bytes())).collect()
}

/// Does the client say that its command line is wrong?
fn is_usage(lab: &Lab) -> bool {
    lab.client_ended().and_then(|status| status.code()) == Some(2)
}

/// A client that takes no more than one TEXT is tried with one.
fn one_text_only(lab: &Lab, stage: &Stage, text: &str) -> Check {
    let mut failure = lab.fail("a frame for each TEXT", "it refuses three");
    failure.meaning = "The contract lets a client send several TEXTs; yours \
                       was tried with one."
        .into();
    failure.look = "how you read the command line".into();
    lab.warn(failure);
    stage.start(&[text])?;
    let mut client = stage.accept(START)?;
    lab.open_window();
    answer_in_slices(lab, &mut client, &[text])?;
    drop(client);
    let ended = lab.finish_within(START)?;
    ended.printed_lines(lab, &[text])?;
    ended.code(lab, 0)
}

/// Answers what comes on one connection, and returns how many requests that
/// were. Some clients wait for each reply, others do not: both are right. So
/// what has come is answered, and then we wait for more.
fn answer_in_slices(
    lab: &Lab,
    client: &mut Peer,
    texts: &[&str],
) -> Check<usize> {
    let want = join(wire::echo, texts);
    let mut got = Got { bytes: Vec::new(), end: End::Open };
    let until = lab.until(Duration::from_secs(5));
    let mut answered = 0;
    while answered < texts.len() {
        let pause = Instant::now() + Duration::from_millis(200);
        let part = client.read(want.len() - got.bytes.len(), pause);
        got.bytes.extend(part.bytes);
        got.end = part.end;
        let due = wire::count(&got.bytes);
        let is_good = want.starts_with(&got.bytes);
        // Its end may stand right behind a request, or after our reply.
        let is_end = is_good && got.end != End::Open && due > 0;
        if is_end && due == answered {
            return Ok(answered);
        }
        let is_over = got.end != End::Open && !is_end;
        if !is_good || is_over || Instant::now() > until {
            lab.hint(FRAMES.meaning, FRAMES.look);
            client.sends(b"");
            let limit = Duration::from_secs(5);
            return Err(client.mismatch(&want, &got, limit).into());
        }
        send_in_slices(client, &join(wire::reply, &texts[answered..due]));
        answered = due;
    }
    Ok(answered)
}

const FRAMES: Hint = Hint {
    meaning: "From step 4 on each TEXT on the command line is a frame.",
    look: "how many frames you send for three TEXTs",
};

fn send_in_slices(client: &mut Peer, bytes: &[u8]) {
    for slice in bytes.chunks(7) {
        let _ = client.stream.write_all(slice);
        thread::sleep(Duration::from_millis(3)); // a packet of its own
    }
}

const C4_03: Case = Case {
    id: "C4-03",
    title: "does not take half a reply for a whole one",
    does: "In three runs, answers the request with the reply without its \
           last 2 bytes, without its last 7, and not at all; each time FIN \
           follows. Expects an exit code that is not 0 within 8 s, a \
           message on stderr, and nothing on stdout.",
    steps: only(4),
    rule: (4, 8),
    tags: &[Tag::Hostile],
    why: "The server ends in the middle of a reply, or before it. A script \
          that calls the client sees stdout and the exit code. The first \
          must not show half a reply; the second must say that something \
          is missing.",
    hint: Hint {
        meaning: "The server ended too early, and your client took that \
                  for a normal end.",
        look: "what your client checks at EOF",
    },
    proof: Proof::Defects(&["cut-reply-is-fine", "no-reply-is-fine"]),
    script: c4_03,
};

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

const C4_04: Case = Case {
    id: "C4-04",
    title: "treats an ERROR as an error",
    does: "Answers the request with ERROR 4, with an escape sequence in \
           its text, then FIN; in further runs with a frame of kind 01 \
           and of kind 82. Expects each time an exit code that is not 0 \
           within 8 s, and nothing on stdout; after the ERROR a message \
           on stderr. If the escape byte (1b) is on stderr, that is a \
           warning.",
    steps: only(4),
    rule: (4, 8),
    tags: &[Tag::Hostile],
    why: "An ERROR is not an answer: it belongs on stderr, with an exit \
          code other than 0. Its text comes from somebody else, and may \
          contain bytes that command a terminal.",
    hint: Hint {
        meaning: "Your client does not look at the kind of the frame that \
                  came.",
        look: "what you do with each kind that a server may send",
    },
    proof: Proof::Defects(&[
        "prints-any-kind",
        "error-is-success",
        "raw-error-text",
    ]),
    script: c4_04,
};

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

/// All of them.
pub const CASES: &[Case] = &[C4_01, C4_02, C4_03, C4_04];

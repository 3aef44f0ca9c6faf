//! C4: a client that checks each frame it gets.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::diagnosis::evidence::{End, Got};
use crate::harness::ended::Ended;
use crate::harness::lab::{AT_ONCE, Lab, PATIENCE};
use crate::harness::peer::Peer;
use crate::harness::stage::{START, Stage, words};
use crate::harness::talk::small_listener;
use crate::program::running::{Input, describe};
use crate::steps::{from, only};
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure};
use crate::wire::{self, ERROR, MAX_LENGTH, frame, reply};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const C4_01: Case = Case {
    id: "C4-01",
    title: "refuses a reply with an impossible length",
    does: "The checker answers the request with a length of `ff ff ff ff` and \
           nothing more; and in further runs with `00 00 00 00`, `00 01 00 01` \
           and `80 00 00 00`. It expects each time an exit code that is not 0 \
           within 1 s, no further connection, and nothing on stdout.",
    steps: from(4),
    rule: (4, 8),
    tags: &[Tag::Hostile],
    why: "A server can be broken, hostile, or not the one you meant. That is \
          why the client checks the length as strictly as a server does, and \
          does not wait for bytes that will never come.",
    hint: Hint {
        meaning: "Your client believed the length of the reply, and waits for \
                  bytes that will never come.",
        look: "the line after your client reads the 4 length bytes",
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
    does: "The checker starts the client with three TEXTs: 6 letters, none at \
           all, and letters that take more than one byte each, with spaces \
           around them and a newline among them (LC_ALL is C.UTF-8). For \
           all ECHOs that have come it sends the replies in slices of 7 bytes, \
           3 ms apart. It expects the three texts on stdout, in order and each with \
           a newline, and exit code 0 within 8 s. A client that takes no more \
           than one TEXT gets a warning.",
    steps: from(4),
    rule: (4, 1),
    tags: &[Tag::Basic],
    why: "The network decides how replies arrive: three in one read, or one in \
          three reads. The client prints each reply once, in order, with a \
          newline after it.",
    hint: Hint {
        meaning: "Your client takes one `read` for one reply.",
        look: "what your client does when a `read` brings half a reply, or \
               more than one",
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
    let odd = format!(" é€😀\n{} ", texts[1]); // N counts bytes
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
    failure.meaning = "The contract lets a client send several TEXTs, but the \
                       checker could try yours with only one."
        .into();
    failure.look = "how your client reads the command line".into();
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
        // Its end may come right behind a request, or after our reply.
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
    meaning: "Your client does not send each TEXT as a frame of its own, as it \
              must from step 4 on.",
    look: "how many frames your client sends for three TEXTs",
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
    does: "In three runs, the checker answers the request with the reply \
           without its last 2 bytes, without its last 7, and not at all; each \
           time FIN follows. It expects an exit code that is not 0 within 8 s, \
           a message on stderr, and nothing on stdout.",
    steps: only(4),
    rule: (4, 8),
    tags: &[Tag::Hostile],
    why: "The server ends in the middle of a reply, or before it. A script \
          that calls the client sees stdout and the exit code, so the client \
          must not show half a reply on stdout, and its exit code must say \
          that something is missing.",
    hint: Hint {
        meaning: "The server ended too early, and your client took that for a \
                  normal end.",
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
    does: "The checker answers the request with ERROR 4, with an escape \
           sequence in its text, then FIN; in further runs with a frame of \
           kind 01 and of kind 82. It expects each time an exit code that is \
           not 0 within 8 s, and nothing on stdout; after the ERROR it also \
           expects a message on stderr. If the text of the ERROR is not on \
           stderr, or the escape byte (1b) in it is, that is a warning.",
    steps: only(4),
    rule: (4, 8),
    tags: &[Tag::Hostile],
    why: "An ERROR is not an answer, so the client prints it on stderr and \
          ends with an exit code other than 0. Somebody outside your program \
          chose its text, which may contain bytes that command a terminal.",
    hint: Hint {
        meaning: "Your client does not look at the kind of the frame that \
                  came.",
        look: "what your client does with each kind that a server may send",
    },
    proof: Proof::Defects(&[
        "prints-any-kind",
        "error-is-success",
        "raw-error-text",
    ]),
    script: c4_04,
};

fn c4_04(lab: &Lab) -> Check {
    let why = lab.word(9);
    let text = [b"\x04", why.as_bytes(), b" \x1b[1m!"].concat();
    let ended = answer(lab, |_| (frame(ERROR, &text), "answered ERROR(4)"))?;
    ended.failed(lab)?;
    ended.silent(lab)?;
    ended.said_why(lab)?;
    ended.said(lab, &why, "the server's text");
    ended.commands_no_terminal(lab);
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

const C4_05: Case = Case {
    id: "C4-05",
    title: "takes replies while it still sends",
    does: "The checker starts the client with 16 TEXTs of 50 000 letters. Its \
           server has small buffers, and reads the next request when it has \
           written the reply to the one before. It expects that neither end \
           waits for more than 3 s, all texts on stdout, in order, and exit \
           code 0.",
    steps: only(4),
    rule: (2, 4),
    tags: &[],
    why: "A client that sends all its requests before it reads a reply works \
          as long as the buffers between the two ends have room for all of it. \
          When they are full, the server waits for the client to take replies, \
          and the client waits for the server to take requests.",
    hint: Hint {
        meaning: "Your client sends everything before it reads, so both ends \
                  wait for the other one to read.",
        look: "how your client does both at the same time: can it read while a \
               `write` waits?",
    },
    proof: Proof::Defects(&["sends-then-receives"]),
    script: c4_05,
};

fn c4_05(lab: &Lab) -> Check {
    let stage = Stage::on(lab, small_listener()?)?;
    let texts: [String; 16] = std::array::from_fn(|_| lab.word(50_000));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    stage.start(&texts)?;
    let mut client = Some(stage.first_connection()?);
    for (n, text) in texts.iter().enumerate() {
        let (mut peer, _) =
            stage.next_request(client.take(), text, PATIENCE)?;
        if peer.stream.write_all(&reply(text.as_bytes())).is_err() {
            let actual = format!("it takes nothing of reply {}", n + 1);
            let failure = lab.fail("it reads while it sends", actual);
            return Err(Failure { by_time: true, ..failure }.into());
        }
        lab.note_instead(&format!("got and answered {} requests", n + 1));
        client = Some(peer);
    }
    drop(client);
    let ended = lab.finish_within(START)?;
    ended.printed_lines(lab, &texts)?;
    ended.code(lab, 0)
}

const C4_06: Case = Case {
    id: "C4-06",
    title: "prints what came whole, and then fails",
    does: "The checker starts the client with two TEXTs, and answers the first \
           one. After that come, in six runs: nothing, the first byte of the \
           second reply, its first 6, a length of `ff ff ff ff`, an ERROR 3, \
           and a frame of kind 55 (hex); then FIN. It expects each time the \
           first TEXT on stdout and nothing more, a message on stderr, and an \
           exit code that is not 0 within 8 s.",
    steps: only(4),
    rule: (4, 8),
    tags: &[Tag::Hostile],
    why: "The first reply is whole and right, so the caller should get it. The \
          second one is missing or broken, and the caller must learn that, \
          too. A client that prints all or nothing loses an answer, and one \
          that exits with 0 hides a loss.",
    hint: Hint {
        meaning: "One reply came whole and another one did not, and your \
                  client lost the first or hid what happened to the second.",
        look: "when your client prints a reply: when it is whole, or at the \
               end?",
    },
    proof: Proof::Defects(&["prints-all-or-nothing"]),
    script: c4_06,
};

fn c4_06(lab: &Lab) -> Check {
    for run in 0..6 {
        let stage = Stage::open(lab)?;
        let [first, second] = words(lab);
        let client = stage.first_of(&[&first, &second])?;
        let whole = reply(second.as_bytes());
        let (bytes, what) = match run {
            0 => (Vec::new(), "nothing"),
            1 => (whole[..1].to_vec(), "1 byte of a reply"),
            2 => (whole[..6].to_vec(), "6 bytes of a reply"),
            3 => (vec![0xff; 4], "ff ff ff ff"),
            4 => (frame(ERROR, b"\x03no"), "ERROR(3)"),
            _ => (frame(0x55, b"?"), "kind 55"),
        };
        let texts = [&first[..], &second];
        answer_first(&stage, client, texts, &bytes)?.fin();
        lab.note_instead(&format!("answered one of two, then {what}, FIN"));
        let ended = lab.finish_within(START)?;
        ended.printed_lines(lab, &[&first])?;
        ended.failed(lab)?;
        ended.said_why(lab)?;
    }
    Ok(())
}

/// Answers the first of two requests, and with these bytes the second.
fn answer_first<'a>(
    stage: &Stage<'a>,
    mut client: Peer<'a>,
    [first, second]: [&str; 2],
    bytes: &[u8],
) -> Check<Peer<'a>> {
    let first = reply(first.as_bytes());
    // A client that does not wait for replies has sent both by now.
    if client.peeks(ms(100)) == Some(End::Open) {
        client.request(second)?;
        client.send_anyway(&[&first, bytes].concat());
        return Ok(client);
    }
    client.send_anyway(&first);
    client = stage.next_request(Some(client), second, PATIENCE)?.0;
    client.send_anyway(bytes);
    Ok(client)
}

const C4_07: Case = Case {
    id: "C4-07",
    title: "prints no reply that it did not ask for",
    does: "The checker starts the client with two TEXTs. With the reply to the \
           last one it sends, in the same write, a reply with another text, \
           and then FIN. It expects the two TEXTs on stdout and nothing more, \
           within 8 s. Exit code 0 is a warning.",
    steps: only(4),
    rule: (4, 8),
    tags: &[Tag::Hostile],
    why: "A client must count the replies, and not only read them: three \
          replies to two requests mean that the two ends disagree about what \
          the client asked. The third one answers no request, so a script that \
          reads the client's stdout must not see it.",
    hint: Hint {
        meaning: "Your client prints whatever comes, even when it has no open \
                  request.",
        look: "how your client knows how many replies the server still owes",
    },
    proof: Proof::Defects(&["prints-surplus"]),
    script: c4_07,
};

fn c4_07(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let [first, second, extra] = words(lab);
    let mut client = stage.first_of(&[&first, &second])?;
    client.send_anyway(&reply(first.as_bytes()));
    let next = stage.next_request(Some(client), &second, PATIENCE)?;
    client = next.0;
    let both = [reply(second.as_bytes()), reply(extra.as_bytes())];
    client.send_anyway(&both.concat());
    client.fin();
    lab.note_instead("answered two requests with three replies");
    let ended = lab.finish_within(START)?;
    ended.printed_lines(lab, &[&first, &second])?;
    if ended.status.success() {
        let expected = "an exit code that is not 0";
        let mut failure = lab.fail(expected, describe(ended.status));
        failure.meaning = "One reply too many came, but your client says that \
                           all went well."
            .into();
        lab.warn(failure);
    }
    Ok(())
}

const C4_08: Case = Case {
    id: "C4-08",
    title: "does not send a TEXT that is too long for a frame",
    does: "The checker starts the client with a TEXT of 65 535 letters, the \
           longest that a frame can carry, and answers it: it expects the TEXT \
           on stdout, and exit code 0. Then it uses a TEXT of 65 536 letters: \
           it expects an exit code that is not 0 within 8 s, a message on \
           stderr, nothing on stdout, and not one byte on the connection.",
    steps: from(4),
    rule: (4, 8),
    tags: &[],
    why: "A client must check what it sends as strictly as what it receives. \
          The server refuses a frame of 65 537 bytes, and with it everything \
          behind that frame on the connection. A client that cuts the TEXT, or \
          makes two frames of it, gets a good answer to another question.",
    hint: Hint {
        meaning: "Your client sends more than fits into a frame, but the limit \
                  holds for clients, too.",
        look: "where your client checks the length of a TEXT before it sends \
               it",
    },
    proof: Proof::Defects(&["sends-too-long"]),
    script: c4_08,
};

fn c4_08(lab: &Lab) -> Check {
    let longest = lab.word(MAX_LENGTH as usize - 1);
    let stage = Stage::open(lab)?;
    stage.start(&[&longest])?;
    let mut client = stage.first(&longest)?;
    client.send_anyway(&reply(longest.as_bytes()));
    client.fin();
    let ended = lab.finish_within(START)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&longest])?;
    lab.note_instead("now with a TEXT of 65 536 letters");
    let stage = Stage::open(lab)?;
    stage.start(&[&(longest + "x")])?;
    let until = lab.until(START);
    while lab.client_ended().is_none() && Instant::now() < until {
        let Some(stream) = stage.accept_within(ms(20)) else { continue };
        let mut client = Peer::new(lab, stream, "");
        let got = client.read(1, until.min(Instant::now() + AT_ONCE));
        if !got.bytes.is_empty() {
            let actual = "bytes on the connection";
            return Err(lab.fail("nothing is sent", actual).into());
        }
    }
    let ended = lab.finish(Duration::ZERO, START)?;
    ended.failed(lab)?;
    ended.said_why(lab)?;
    ended.silent(lab)
}

const C4_09: Case = Case {
    id: "C4-09",
    title: "notices the server's end although its input is open",
    does: "The checker writes a line to the client's stdin, which stays open; \
           it reads the request, and ends without a reply (FIN). If the client \
           still runs 3 s later, that is a warning. Then the checker ends the \
           client's stdin, and expects an exit code that is not 0 within 8 s. \
           The checker does not try a client that takes no input from stdin.",
    steps: only(4),
    rule: (4, 8),
    tags: &[],
    why: "The reply can never come any more. The person at the keyboard should \
          hear of it now, and not after typing the next line. A client that \
          only waits for its input does not see what happens on its connection \
          meanwhile.",
    hint: Hint {
        meaning: "The server has ended and owes a reply, but your client still \
                  waits for its input.",
        look: "what your client waits for: its input, the connection, or both?",
    },
    proof: Proof::Defects(&["waits-for-input"]),
    script: c4_09,
};

fn c4_09(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let [line] = words(lab);
    let open = Input::Open(format!("{line}\n").into());
    let Some(mut client) = stage.first_from(open, ms(4000))? else {
        let expected = "a request for the line on its stdin";
        lab.warn(lab.fail(expected, "none, as long as its stdin is open"));
        return Ok(());
    };
    client.request(&line)?;
    client.fin();
    lab.note("ended without a reply, its stdin is still open");
    if lab.last_ended(PATIENCE).is_none() {
        let expected = "it ends within 3 s";
        lab.warn(lab.fail(expected, "it waits for its stdin to end"));
    }
    lab.with_last(|client| client.end_input());
    let ended = lab.finish_within(START)?;
    ended.failed(lab)?;
    ended.said_why(lab)?;
    ended.silent(lab)
}

/// All of them.
pub const CASES: &[Case] =
    &[C4_01, C4_02, C4_03, C4_04, C4_05, C4_06, C4_07, C4_08, C4_09];

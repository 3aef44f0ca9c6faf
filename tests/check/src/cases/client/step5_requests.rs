//! C5: several requests of one client, and what is between them.

use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::diagnosis::evidence::End;
use crate::harness::ended::Ended;
use crate::harness::lab::{AT_ONCE, Lab, PATIENCE};
use crate::harness::peer::Peer;
use crate::harness::stage::{Stage, quick, words};
use crate::harness::talk::answer_and_end;
use crate::program::running::{Input, Reader, Streams};
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure};
use crate::wire::{ERROR, frame, reply};

const FAULT: &[Tag] = &[Tag::Timed, Tag::Starts, Tag::Hostile];
const TIMED: &[Tag] = &[Tag::Timed, Tag::Starts];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const C5_14: Case = Case {
    id: "C5-14",
    title: "replaces a connection that the server has ended",
    does: "The checker starts the client with three TEXTs, with waits of at \
           most 40 ms. It answers the first one; the server's end (FIN) comes \
           with the reply, in the second run behind an ERROR 5. It answers the \
           other two on the next connection. It expects the three TEXTs on \
           stdout, and exit code 0. A second request on the connection that \
           has ended is a warning.",
    steps: from(5),
    rule: (5, 7),
    tags: FAULT,
    why: "A server ends connections on which nothing happens, and it ends all \
          of them when it stops. Between two requests that is not a failure, \
          because no request was under way. A client that looks before it \
          sends opens a new connection. A client that sends first gets no \
          reply, and cannot know whether the server executed its request.",
    hint: Hint {
        meaning: "Your client failed when the server ended the connection \
                  between two requests, but the next request belongs on a new \
                  connection.",
        look: "what your client checks before it uses a connection again",
    },
    proof: Proof::Defects(&["uses-ended-connection", "end-is-broken"]),
    script: c5_14,
};

fn c5_14(lab: &Lab) -> Check {
    quick(lab, 5);
    for goodbye in [Vec::new(), frame(ERROR, b"\x05no frame")] {
        let stage = Stage::open(lab)?;
        let texts: [String; 3] = words(lab);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut client = stage.first_of(&texts)?;
        answer_and_end(&mut client, texts[0], &goodbye);
        lab.note_instead("answered the first of three, and ended");
        let (mut next, is_new) =
            stage.next_request(Some(client), texts[1], AT_ONCE)?;
        if !is_new {
            lab.warn(sent_into_the_void(lab));
            drop(next);
            next = stage.next(texts[1], AT_ONCE)?;
        }
        next.send_anyway(&reply(texts[1].as_bytes()));
        next = stage.next_request(Some(next), texts[2], AT_ONCE)?.0;
        answer_and_end(&mut next, texts[2], b"");
        let ended = lab.finish_within(AT_ONCE)?;
        ended.code(lab, 0)?;
        ended.printed_lines(lab, &texts)?;
    }
    Ok(())
}

fn sent_into_the_void(lab: &Lab) -> Failure {
    let expected = "the second request on a new connection";
    let mut failure = lab.fail(expected, "it came on the one that had ended");
    failure.meaning =
        "Your client sent a request to a server that had already ended the \
         connection, so it cannot know what became of it."
            .into();
    failure.printed.clear(); // the first reply may be there by now, or not
    failure
}

const C5_15: Case = Case {
    id: "C5-15",
    title: "uses no reply that it did not ask for",
    does: "With the reply the checker sends, in the same write, a reply with \
           another text. In the first run, with one TEXT, it expects that TEXT \
           on stdout, and exit code 0 or 5. In the second run, with two TEXTs, \
           it does so with the first reply: it expects both TEXTs on stdout, \
           the second request on a new connection, and exit code 0. Exit code \
           5 after the first one is a warning, and so is a second request on \
           the old connection.",
    steps: from(5),
    rule: (5, 7),
    tags: FAULT,
    why: "A reply that the client did not ask for waits in the buffer, and \
          looks exactly like the reply to the next request. From then on, each \
          answer on this connection would belong to the question before. A new \
          connection starts with an empty buffer.",
    hint: Hint {
        meaning: "Your client took a reply that belonged to no request for the \
                  reply to the next one.",
        look: "what your client does with bytes that are left when a reply is \
               whole",
    },
    proof: Proof::Defects(&["takes-old-reply"]),
    script: c5_15,
};

fn c5_15(lab: &Lab) -> Check {
    quick(lab, 5);
    let stage = Stage::open(lab)?;
    let [first, second, extra] = words(lab);
    let extra = reply(extra.as_bytes());
    surplus_at_the_end(lab, &extra)?;
    let mut client = stage.first_of(&[&first, &second])?;
    client.send_anyway(&[reply(first.as_bytes()), extra].concat());
    lab.note("answered it with two replies");
    let next = stage.next_request(Some(client), &second, AT_ONCE);
    if next.is_err() && lab.last_ended(ms(100)).is_some() {
        let ended = lab.finish(Duration::ZERO, AT_ONCE)?;
        ended.code(lab, 5)?;
        return does_not_go_on(lab, &ended, &first);
    }
    let (mut client, is_new) = next?;
    if !is_new {
        lab.warn(on_the_old_one(lab));
    }
    client.send_anyway(&reply(second.as_bytes()));
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    if ended.status.code() == Some(5) {
        return does_not_go_on(lab, &ended, &first);
    }
    ended.printed_lines(lab, &[&first, &second])?;
    ended.code(lab, 0)
}

fn on_the_old_one(lab: &Lab) -> Failure {
    let expected = "the second request on a new connection";
    let mut failure = lab.fail(expected, "it came on the old one");
    failure.meaning =
        "Your client could drop the surplus reply because it was there \
         already, but it would take one that comes a moment later for the \
         reply to the second request."
            .into();
    failure.printed.clear(); // it may print the first one now
    failure
}

/// It saw that something is wrong, which is not yet a reason to give up.
fn does_not_go_on(lab: &Lab, ended: &Ended, first: &str) -> Check {
    let expected = "the second request on a new connection";
    let mut failure = lab.fail(expected, "exit code 5");
    failure.meaning = "Your client noticed a reply that it did not ask for, \
                       but it could have carried on with a new connection."
        .into();
    lab.warn(failure);
    ended.printed_lines(lab, &[first])
}

fn surplus_at_the_end(lab: &Lab, extra: &[u8]) -> Check {
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    client.send_anyway(&[&reply(text.as_bytes()), extra].concat());
    client.fin();
    lab.note_instead("answered the only request with two replies");
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.printed_lines(lab, &[&text])?;
    match ended.status.code() {
        Some(5) => Ok(()), // it looked, and did not like it
        _ => ended.code(lab, 0),
    }
}

const C5_17: Case = Case {
    id: "C5-17",
    title: "keeps its reply, whatever the server says after it",
    does: "With the reply to the only request the checker sends, in the same \
           packet, an ERROR 5, 6 or 8, and FIN; in three more runs the ERROR \
           lacks its last 3 bytes. It expects each time the text on stdout and \
           exit code 0 within 1 s, and no second connection.",
    steps: from(5),
    rule: (5, 8),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::ExitCodes],
    why: "The server answers, and then it closes the connection and says why: \
          it stops, or the client did not ask for more. The client no longer \
          needs this connection, so that news does not concern it. It has its \
          answer, so it must not tell a script that it has none.",
    hint: Hint {
        meaning: "The reply was whole and right, but your client let itself be \
                  disturbed by what the server said afterwards, on a \
                  connection that it no longer needs.",
        look: "what your client reads when it has the last reply",
    },
    proof: Proof::Defects(&["goodbye-is-error"]),
    script: c5_17,
};

fn c5_17(lab: &Lab) -> Check {
    quick(lab, 5);
    for goodbye in [&b"\x05late"[..], b"\x06busy", b"\x08bye"] {
        for cut in [0, 3] {
            let mut goodbye = frame(ERROR, goodbye);
            goodbye.truncate(goodbye.len() - cut);
            let stage = Stage::open(lab)?;
            let [text] = words(lab);
            stage.start(&[&text])?;
            let mut client = stage.first(&text)?;
            answer_and_end(&mut client, &text, &goodbye);
            lab.note_instead("answered, with an ERROR and FIN behind it");
            let ended = stage.finish_alone(AT_ONCE)?;
            ended.printed_lines(lab, &[&text])?;
            ended.code(lab, 0)?;
        }
    }
    Ok(())
}

const C5_20: Case = Case {
    id: "C5-20",
    title: "gives each request limits of its own",
    does: "The checker starts the client with four TEXTs. With \
           TCP_DEADLINE_MS=1000 and TCP_REQUEST_MS=1000, it answers each \
           request after 400 ms. In a second run, with TCP_ATTEMPTS=2 and \
           waits of at most 40 ms, it drops the first attempt of each request \
           and answers the second. It expects each time the four TEXTs on \
           stdout, and exit code 0.",
    steps: from(5),
    rule: (5, 4),
    tags: TIMED,
    why: "Four requests take longer than one, and each may fail once. If the \
          client has one deadline for all of them, or never resets its count \
          of attempts, it works well with one request but gives up in the \
          middle of a long list.",
    hint: Hint {
        meaning: "Your client carries the deadline, or the count of attempts, \
                  over from one request to the next.",
        look: "where the deadline and the count of attempts start",
    },
    proof: Proof::Defects(&["one-deadline-for-all"]),
    script: c5_20,
};

fn c5_20(lab: &Lab) -> Check {
    quick(lab, 2);
    lab.set("TCP_DEADLINE_MS", 1000);
    lab.set("TCP_REQUEST_MS", 1000);
    all_answered(lab, |stage, mut client, text| {
        thread::sleep(ms(400));
        client.send_anyway(&reply(text.as_bytes()));
        stage.lab.note_instead("answered each request after 400 ms");
        Ok(client)
    })?;
    lab.set("TCP_DEADLINE_MS", 30_000);
    all_answered(lab, |stage, client, text| {
        drop(client);
        let mut client = stage.next(text, AT_ONCE)?;
        client.send_anyway(&reply(text.as_bytes()));
        stage.lab.note_instead("answered the second attempt of each request");
        Ok(client)
    })
}

/// Four TEXTs, each answered in this way; the client must get them all.
fn all_answered<'a>(
    lab: &'a Lab<'a>,
    answer: impl Fn(&Stage<'a>, Peer<'a>, &str) -> Check<Peer<'a>>,
) -> Check {
    let stage = Stage::open(lab)?;
    let texts: [String; 4] = words(lab);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut client = stage.first_of(&texts)?;
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            client = stage.next_request(Some(client), text, AT_ONCE)?.0;
        }
        client = answer(&stage, client, text)?;
    }
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &texts)
}

const C5_21: Case = Case {
    id: "C5-21",
    title: "does not count the time until its output is read",
    does: "With TCP_REQUEST_MS=400 and TCP_DEADLINE_MS=400, the checker starts \
           the client with 12 TEXTs of 30 000 letters, answers each request at \
           once, and leaves the client's stdout unread for 1.2 s. It expects \
           all TEXTs on stdout, in order, and exit code 0.",
    steps: from(5),
    rule: (5, 4),
    tags: TIMED,
    why: "`client … | less` stops when the screen is full, and carries on when \
          somebody presses a key. The server is not responsible for that time. \
          If the client's clock runs meanwhile, the client reports an unknown \
          outcome for a request that it has not even sent.",
    hint: Hint {
        meaning: "Your client let the clock of a request run while it waited \
                  for whoever reads its output.",
        look: "when the clock of a request starts, and what may still happen \
               before your client sends the request",
    },
    proof: Proof::Defects(&["clock-starts-early"]),
    script: c5_21,
};

fn c5_21(lab: &Lab) -> Check {
    lab.set("TCP_REQUEST_MS", 400);
    lab.set("TCP_DEADLINE_MS", 400);
    let stage = Stage::open(lab)?;
    let texts: [String; 12] = std::array::from_fn(|_| lab.word(30_000));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let held = Streams { stdout: Reader::Later, ..Streams::default() };
    stage.start_with(&texts, held)?;
    let mut client = stage.first_connection()?;
    client.request(texts[0])?;
    let release = Instant::now() + ms(1200);
    lab.note("its stdout is not read for 1.2 s");
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            while !client.stirs_before(release) && Instant::now() < release {}
            if Instant::now() >= release {
                lab.with_last(|client| client.out.release());
            }
            client = stage.next_request(Some(client), text, AT_ONCE)?.0;
        }
        client.send_anyway(&reply(text.as_bytes()));
    }
    lab.with_last(|client| client.out.release());
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &texts)
}

const C5_22: Case = Case {
    id: "C5-22",
    title: "asks for each line of its input as it comes",
    does: "With TCP_REQUEST_MS=600 and TCP_DEADLINE_MS=600, the checker writes \
           a line to the client's stdin and answers the request; 0.9 s later \
           it writes an empty line; then a word without a newline, and the \
           end. It expects a request for each, all three on stdout, and exit \
           code 0. If the first request comes only when the input has ended, \
           that is a warning, and the checker tries no more. The checker does \
           not try a client that takes no input from stdin.",
    steps: from(5),
    rule: (5, 4),
    tags: TIMED,
    why: "A person at the keyboard takes longer than any limit between two \
          lines, and wants to see each answer before typing the next line. \
          Neither the server nor the network is responsible for that time, so \
          the client must not count it.",
    hint: Hint {
        meaning: "Your client let the clock of a request run while it waited \
                  for its input, or it took an empty line for no request.",
        look: "when the clock of a request starts, and what ends your input",
    },
    proof: Proof::Defects(&["waits-for-all-input"]),
    script: c5_22,
};

fn c5_22(lab: &Lab) -> Check {
    lab.set("TCP_REQUEST_MS", 600);
    lab.set("TCP_DEADLINE_MS", 600);
    let stage = Stage::open(lab)?;
    let [first, last] = words(lab);
    let open = Input::Open(format!("{first}\n").into());
    let Some(mut client) = stage.first_from(open, ms(4000))? else {
        return waits_for_the_end(&stage, &last);
    };
    client.request(&first)?;
    client.send_anyway(&reply(first.as_bytes()));
    thread::sleep(ms(900));
    lab.with_last(|client| client.feed(b"\n"));
    client = stage.next_request(Some(client), "", PATIENCE)?.0;
    client.send_anyway(&reply(b""));
    lab.with_last(|client| {
        client.feed(last.as_bytes());
        client.end_input();
    });
    client = stage.next_request(Some(client), &last, PATIENCE)?.0;
    client.send_anyway(&reply(last.as_bytes()));
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&first, "", &last])
}

/// The client has not come: it may want to read all of its input first.
fn waits_for_the_end(stage: &Stage, last: &str) -> Check {
    let lab = stage.lab;
    lab.with_last(|client| {
        client.feed(b"\n");
        client.feed(last.as_bytes());
        client.end_input();
    });
    stage.accept(PATIENCE)?;
    let expected = "a request as soon as the first line is there";
    let mut failure = lab.fail(expected, "it came when the input had ended");
    failure.meaning = "Your client reads all of its input before it sends the \
                       first line, so nobody can talk to it from a keyboard."
        .into();
    failure.look =
        "how your client reads stdin: line by line, or to its end?".into();
    lab.warn(failure);
    Ok(())
}

const C5_23: Case = Case {
    id: "C5-23",
    title: "has one request in flight",
    does: "The checker starts the client with three TEXTs, reads the first \
           request, and answers it 200 ms later; the others likewise. It \
           expects no further byte before the reply, on this connection or on \
           another one; then the three TEXTs on stdout, and exit code 0.",
    steps: from(5),
    rule: (5, 4),
    tags: TIMED,
    why: "When the connection breaks, the outcome of every request that the \
          client has sent without getting its answer is unknown. With one \
          request in flight, that is one request, and you can say exactly when \
          its limits start and end. With a hundred in flight, the server may \
          have executed all of them, and the limit of the last one runs while \
          the server still works on the first.",
    hint: Hint {
        meaning: "Your client sent the next request before it had the reply to \
                  the one before.",
        look: "what your client waits for before it sends the next request",
    },
    proof: Proof::Defects(&["sends-ahead"]),
    script: c5_23,
};

fn c5_23(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let texts: [String; 3] = words(lab);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut client = stage.first_of(&texts)?;
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            client = stage.next_request(Some(client), text, AT_ONCE)?.0;
        }
        let is_early = client.peeks(ms(200)) == Some(End::Open);
        if is_early || stage.accept_within(ms(1)).is_some() {
            let expected = "nothing more before the reply";
            let failure = lab.fail(expected, "the next request came");
            return Err(failure.into());
        }
        client.send_anyway(&reply(text.as_bytes()));
    }
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &texts)
}

/// All of them.
pub const CASES: &[Case] = &[C5_14, C5_15, C5_17, C5_20, C5_21, C5_22, C5_23];

//! C5: when a client asks again, when it must not, and what it says then.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::diagnosis::evidence::End;
use crate::harness::ended::Ended;
use crate::harness::lab::{AT_ONCE, Lab, SLACK, any_port};
use crate::harness::peer::Peer;
use crate::harness::stage::{
    START, Stage, closed_port, no_port, quick, reply_to, words,
};
use crate::os;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Stop};
use crate::wire::{ERROR, frame, reply};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const C5_01: Case = Case {
    id: "C5-01",
    title: "refused each time: exit code 3",
    does: "With TCP_ATTEMPTS=3 and waits of at most 40 ms, the checker gives \
           the client an address where no server listens. It expects exit code \
           3 within 4 s, a message on stderr, and nothing on stdout.",
    steps: from(5),
    rule: (5, 8),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::ExitCodes],
    why: "No server listened, so no server executed the request. That is worth \
          an exit code of its own, because a caller that gets a 3 may safely \
          ask again, or ask another server.",
    hint: Hint {
        meaning: "Your client never connected, so it knows that no server \
                  executed the request, but its exit code says something \
                  different.",
        look: "which of your exit codes a failed connect leads to",
    },
    proof: Proof::Defects(&["refused-is-1"]),
    script: c5_01,
};

fn c5_01(lab: &Lab) -> Check {
    quick(lab, 3);
    let (_socket, addr) = closed_port()?;
    let client = lab.start(addr, &["hi".to_owned()], None)?;
    lab.keep(client);
    lab.note("nobody listens at its {addr}");
    let ended = lab.finish_within(Duration::from_secs(4))?;
    ended.code(lab, 3)?;
    ended.said_why(lab)?;
    ended.silent(lab)
}

const C5_04: Case = Case {
    id: "C5-04",
    title: "asks again when the connection is lost",
    does: "With TCP_ATTEMPTS=5 and waits of at most 40 ms, after the request \
           the checker closes the first connection, resets the second one \
           (RST), and answers on the third. It expects the 2nd and 3rd attempt \
           within 1 s each, exit code 0 within 1 s of the reply, and its text \
           on stdout.",
    steps: from(5),
    rule: (5, 6),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "The server dropped two connections after it had read the request. An \
          ECHO does no harm if the server executes it twice, so the client may \
          ask again. It gets its answer on the third attempt.",
    hint: Hint {
        meaning: "Your client gave up, although it may repeat an ECHO and had \
                  attempts left.",
        look: "which errors lead back to a new connection",
    },
    proof: Proof::Defects(&["gives-up-early"]),
    script: c5_04,
};

fn c5_04(lab: &Lab) -> Check {
    quick(lab, 5);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    drop(stage.first(&text)?);
    lab.note("dropped it");
    stage.next(&text, AT_ONCE)?.reset();
    let mut third = stage.next(&text, AT_ONCE)?;
    third.send_anyway(&reply_to(lab, &text));
    third.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&text])
}

const C5_05: Case = Case {
    id: "C5-05",
    title: "5 attempts, with waits that grow up to a cap",
    does: "The checker closes each connection after its request. It expects 5 \
           attempts at the default settings, with waits of at most 100, 200, \
           400 and 800 ms (plus 25 % and 250 ms), together at least 30 ms. \
           With TCP_ATTEMPTS=10, TCP_BACKOFF_BASE_MS=20 and \
           TCP_BACKOFF_CAP_MS=40 it expects 10, with waits of at most 20 and \
           then 40 ms. It expects each time exit code 4 within 2 s of the last \
           one, and nothing on stdout.",
    steps: from(5),
    rule: (5, 5),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "A client that does not wait asks a server in trouble ten thousand \
          times a second. If the waits have no cap, the client may wait for \
          hours. If the attempts have no end, the client never tells anyone \
          that it did not work.",
    hint: Hint {
        meaning: "Your client does not make the attempts, or the waits between \
                  them, that the contract asks for.",
        look: "where your client counts attempts, and how long each wait may \
               be (rule 5)",
    },
    proof: Proof::Defects(&[
        "retries-forever",
        "one-attempt-more",
        "no-wait",
        "no-cap",
    ]),
    script: c5_05,
};

fn c5_05(lab: &Lab) -> Check {
    // The defaults: 5 attempts, ceilings of 100, 200, 400 and 800 ms.
    let waits = drop_all(lab, 5, &[100, 200, 400, 800])?;
    // All of the 4 random waits together: below 30 ms once in 200 000 runs.
    if waits.iter().sum::<Duration>() < Duration::from_millis(30) {
        let expected = "random waits of up to 100, 200, 400 and 800 ms";
        let mut failure = lab.fail(expected, "no wait at all");
        failure.meaning =
            "Your client asks again at once, as fast as it can.".into();
        failure.look = "what your client does between two attempts".into();
        return Err(failure.into());
    }
    lab.note("now with TCP_BACKOFF_CAP_MS=40");
    quick(lab, 10);
    let ceilings = [20, 40, 40, 40, 40, 40, 40, 40, 40];
    let waits = drop_all(lab, 10, &ceilings)?;
    let most = Duration::from_millis(ceilings.iter().sum::<u64>() * 5 / 4);
    if waits.iter().sum::<Duration>() > most + SLACK {
        let expected = format!("waits of {} ms at most, all together", 340);
        let mut failure = lab.fail(expected, "longer, by 25 % and more");
        failure.by_time = true;
        return Err(failure.into());
    }
    Ok(())
}

/// Drops each attempt after its request. Returns the waits in between.
fn drop_all(lab: &Lab, n: usize, ceilings: &[u64]) -> Check<Vec<Duration>> {
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    drop(stage.first(&text)?);
    let mut waits = Vec::new();
    for (k, ceiling) in ceilings.iter().enumerate() {
        let most = Duration::from_millis(ceiling * 5 / 4);
        let dropped = Instant::now();
        lab.note(format!("dropped attempt {}", k + 1));
        let limit = most + SLACK;
        let mut next = stage
            .accept(limit)
            .map_err(|stop| explain_gap(lab, *stop, k + 1, n, *ceiling))?;
        waits.push(dropped.elapsed());
        next.request(&text)?;
    }
    lab.note(format!("dropped attempt {n}"));
    let ended = stage_is_over(&stage, n)?;
    ended.code(lab, 4)?;
    ended.silent(lab)?;
    Ok(waits)
}

fn explain_gap(
    lab: &Lab,
    stop: Stop,
    k: usize,
    n: usize,
    ceiling: u64,
) -> Box<Stop> {
    let Stop::Fail(mut failure) = stop else {
        return Box::new(stop);
    };
    if lab.client_ended().is_some() {
        failure.expected = format!("{n} attempts");
        failure.actual[0] = format!("{k}, then {}", failure.actual[0]);
    } else {
        failure.expected =
            format!("attempt {} after at most {ceiling} ms", k + 1);
        failure.meaning = format!(
            "Your client waits longer than the ceiling of {ceiling} ms, even \
             with 25 % more."
        );
    }
    failure.into()
}

/// No attempt more than there should be.
fn stage_is_over<'a>(stage: &Stage<'a>, n: usize) -> Check<Ended> {
    // One wait more, of at most 1600 ms, and it would ask again.
    let ended = stage.finish_alone(AT_ONCE * 2);
    ended.map_err(|stop| match *stop {
        Stop::Fail(mut failure) if !failure.by_time => {
            failure.expected = format!("{n} attempts, and no more");
            failure.meaning =
                "Your client does not count its attempts, or it counts only \
                 the repeated ones."
                    .into();
            failure.into()
        }
        other => Box::new(other),
    })
}

const C5_06: Case = Case {
    id: "C5-06",
    title: "does not ask again after a definite error",
    does: "With TCP_ATTEMPTS=5, the checker answers the request with ERROR 4, \
           and in further runs with ERROR 1, 2, 3, 7 and 9. It expects each \
           time exit code 6 within 1 s, no second connection, and nothing on \
           stdout. If the text of the ERROR is not on stderr, or the escape \
           byte (1b) in it is, that is a warning.",
    steps: from(5),
    rule: (5, 6),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::ExitCodes],
    why: "With ERROR 4 the server says that it did not execute the request, \
          and that it will give the same request the same answer. So the \
          client only adds load if it asks again.",
    hint: Hint {
        meaning: "Your client asked again after an error that is final, or did \
                  not report it as a refusal with exit code 6.",
        look: "the table of error codes: after which may a client ask again?",
    },
    proof: Proof::Defects(&["retries-definite"]),
    script: c5_06,
};

fn c5_06(lab: &Lab) -> Check {
    quick(lab, 5);
    for code in [4, 1, 2, 3, 7, 9] {
        let stage = Stage::open(lab)?;
        let [text] = words(lab);
        stage.start(&[&text])?;
        let mut client = stage.first(&text)?;
        let why = lab.word(9);
        let error = [&[code], why.as_bytes(), b" \x1b[1m!"].concat();
        client.send_anyway(&frame(ERROR, &error));
        lab.note_instead(&format!("answered ERROR({code}) \"{why} …\""));
        let ended = stage.finish_alone(AT_ONCE)?;
        ended.code(lab, 6)?;
        ended.silent(lab)?;
        ended.said(lab, &why, "the server's text");
        ended.commands_no_terminal(lab);
    }
    Ok(())
}

const C5_11: Case = Case {
    id: "C5-11",
    title: "8 clients that lose the server do not return together",
    does: "8 clients run at the default settings. The checker closes their \
           first connections all together, when the 8 requests are there, and \
           later ones as soon as the request has come. It expects at least 5 \
           attempts of each, and that the 3rd or the 4th waits of the 8 are \
           spread over more than 60 ms.",
    steps: from(5),
    rule: (5, 5),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "When a server comes back, all clients that lost it ask at once, and \
          then again together after each wait. The load that stopped the \
          server stops it again. A random wait spreads the clients.",
    hint: Hint {
        meaning: "All clients wait equally long, so the wait has no random \
                  part.",
        look: "how your client chooses the length of a wait",
    },
    proof: Proof::Defects(&["no-jitter"]),
    script: c5_11,
};

const CLIENTS: usize = 8;

/// With randomness the waits differ by 300 ms and more, without it by 7.
const SPREAD: Duration = Duration::from_millis(60);

pub fn c5_11(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let texts: [String; CLIENTS] = words(lab);
    for text in &texts {
        stage.start(&[text])?;
    }
    let (mut dropped, mut waits) = ([None; CLIENTS], vec![vec![]; CLIENTS]);
    // All of them are there before the first connection is dropped.
    let mut held: Vec<(usize, TcpStream)> = Vec::new();
    while waits.iter().any(|waits| waits.len() < 4) {
        let limit = START.min(lab.left());
        let Some(stream) = stage.accept_within(limit) else {
            return too_few(lab);
        };
        let came = Instant::now();
        let who = which(lab, stream, &texts)?;
        if let Some(dropped) = dropped[who.0] {
            waits[who.0].push(came - dropped);
        }
        held.push(who);
        if held.len() == CLIENTS && dropped.iter().all(Option::is_none) {
            lab.open_window(); // their start does not count
        }
        if held.len() == CLIENTS || dropped.iter().all(Option::is_some) {
            lab.note("dropped");
            for (i, stream) in held.drain(..) {
                drop(stream);
                dropped[i] = Some(Instant::now());
            }
        }
    }
    is_spread(lab, &waits)
}

/// Whose connection is it? Their texts differ.
fn which(
    lab: &Lab,
    stream: TcpStream,
    texts: &[String],
) -> Check<(usize, TcpStream)> {
    let mut peer = Peer::new(lab, stream, "");
    let want = lab.request(texts[0].as_bytes());
    let got = peer.read(want.len(), lab.until(AT_ONCE * 3));
    let is_of = |text: &String| lab.request(text.as_bytes()) == got.bytes;
    match texts.iter().position(is_of) {
        Some(who) => Ok((who, peer.stream)),
        None => {
            let mut failure = peer.mismatch(&want, &got, AT_ONCE * 3);
            failure.by_time = got.end == End::Open;
            Err(failure.into())
        }
    }
}

fn too_few(lab: &Lab) -> Check {
    let mut failure = lab.fail("5 attempts of each of 8 clients", "fewer");
    failure.by_time = true;
    failure.is_sure = true;
    failure.meaning =
        "One of your clients gave up before its fifth attempt.".into();
    Err(failure.into())
}

fn is_spread(lab: &Lab, waits: &[Vec<Duration>]) -> Check {
    let spread = |k: usize| {
        let waits = waits.iter().map(|waits| waits[k]);
        waits.clone().max().unwrap_or_default()
            - waits.min().unwrap_or_default()
    };
    if spread(2) > SPREAD || spread(3) > SPREAD {
        return Ok(());
    }
    let expected = "their 3rd or 4th waits differ by more than 60 ms";
    let actual = "all came back within 60 ms of each other, twice";
    let mut failure = lab.fail(expected, actual);
    failure.is_sure = true; // lateness would spread them
    failure.printed.clear(); // of the last one of eight: no news
    Err(failure.into())
}

const C5_12: Case = Case {
    id: "C5-12",
    title: "unknown once, refused since then: exit code 4",
    does: "With TCP_ATTEMPTS=3 and waits of at most 40 ms, the checker reads \
           the first request and closes the connection; from then on no server \
           listens. It expects exit code 4 within 3 s, and nothing on stdout.",
    steps: from(5),
    rule: (5, 8),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::Linux, Tag::ExitCodes],
    why: "The client sent the first attempt and cannot know what became of it. \
          The refusals of the later attempts do not undo the first. A caller \
          that gets a 3 may ask another server, and then two servers execute \
          the request.",
    hint: Hint {
        meaning: "Your client judges by its last attempt, and forgets that a \
                  server may have executed an earlier one.",
        look: "what your client remembers of an attempt when the next one \
               begins",
    },
    proof: Proof::Defects(&["judges-by-last"]),
    script: c5_12,
};

fn c5_12(lab: &Lab) -> Check {
    quick(lab, 3);
    let kept = os::kept_port(any_port());
    let (_port, listener) = kept.map_err(|error| no_port(&error))?;
    let stage = Stage::on(lab, listener)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let client = stage.first(&text)?;
    drop(stage); // before the client can come again
    drop(client);
    lab.note("dropped it; from now on nobody listens");
    let ended = lab.finish_within(Duration::from_secs(3))?;
    ended.code(lab, 4)?;
    ended.silent(lab)
}

const C5_13: Case = Case {
    id: "C5-13",
    title: "asks again when the server is too busy",
    does: "With TCP_ATTEMPTS=3 and waits of at most 40 ms, the checker answers \
           ERROR 6, then ERROR 8, then the reply, and expects its text on \
           stdout and exit code 0. In a second run it answers ERROR 6, 8 and \
           8, and expects nothing on stdout and exit code 3. Each attempt, and \
           each end, must come within 1 s. In a third run, with TCP_ATTEMPTS=8 \
           and waits of at most 200 and 400 ms, it answers ERROR 6 each time, \
           and expects that the client takes at least 80 ms for all of it.",
    steps: from(5),
    rule: (5, 6),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::ExitCodes],
    why: "With ERROR 6 the server says two things: it did not execute the \
          request, and the client should come back later. So the client may \
          ask again, after its wait. If the server stays busy, the client \
          still knows the outcome, so it ends with exit code 3.",
    hint: Hint {
        meaning: "Your client gave up after ERROR 6 or 8, or called the \
                  outcome unknown; but a client may ask again after them, \
                  because they say for certain that the server did not execute \
                  the request.",
        look: "the table of error codes: after which may a client ask again?",
    },
    proof: Proof::Defects(&[
        "gives-up-when-busy",
        "busy-is-unknown",
        "no-wait-when-busy",
    ]),
    script: c5_13,
};

fn c5_13(lab: &Lab) -> Check {
    busy_at_first(lab)?;
    comes_back_later(lab)
}

/// Answers ERROR 6 and 8, and the third time the reply; or ERROR 8 again.
fn busy_at_first(lab: &Lab) -> Check {
    quick(lab, 3);
    for busy in [2, 3] {
        let stage = Stage::open(lab)?;
        let [text] = words(lab);
        stage.start(&[&text])?;
        let mut client = stage.first(&text)?;
        for attempt in 1..=3 {
            if attempt > 1 {
                client = stage.next(&text, AT_ONCE)?;
            }
            if attempt > busy {
                client.send_anyway(&reply_to(lab, &text));
                lab.note("answered");
                break;
            }
            let code = if attempt == 1 { 6 } else { 8 };
            client.send_anyway(&frame(ERROR, &[code, b'n', b'o']));
            client.fin();
            lab.note(format!("answered ERROR({code})"));
        }
        let ended = stage.finish_alone(AT_ONCE)?;
        ended.code(lab, if busy < 3 { 0 } else { 3 })?;
        match busy < 3 {
            true => ended.printed_lines(lab, &[&text])?,
            false => ended.silent(lab)?,
        }
    }
    Ok(())
}

/// The waits are those of a lost connection. Eight attempts, and seven waits
/// of up to 200 and then 400 ms: below 80 ms in all once in 10^8 runs.
fn comes_back_later(lab: &Lab) -> Check {
    quick(lab, 8);
    lab.set("TCP_BACKOFF_BASE_MS", 200);
    lab.set("TCP_BACKOFF_CAP_MS", 400);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    let start = Instant::now();
    lab.note_instead("sent its request");
    for attempt in 1..=8 {
        if attempt > 1 {
            client = stage.next(&text, ms(500) + SLACK)?;
        }
        client.send_anyway(&frame(ERROR, b"\x06busy"));
        client.fin();
    }
    lab.note_instead("answered ERROR(6) eight times");
    let taken = start.elapsed();
    let ended = stage.finish_alone(AT_ONCE)?;
    if taken < ms(80) {
        let expected = "random waits of up to 200 and 400 ms in between";
        let mut failure = lab.fail(expected, "no wait at all");
        failure.meaning = "Your client sends a busy server the same request \
                           again at once, and so do its other clients."
            .into();
        failure.look = "what it does between two attempts after ERROR 6".into();
        return Err(failure.into());
    }
    ended.code(lab, 3)?;
    ended.silent(lab)
}

const C5_18: Case = Case {
    id: "C5-18",
    title: "unknown stays unknown, whatever the next attempt brings",
    does: "With TCP_ATTEMPTS=3 and waits of at most 40 ms, in five runs the \
           attempts get: ERROR 5, then the reply; ERROR 5 three times; no \
           reply but FIN, ERROR 6, ERROR 8; ERROR 5, ERROR 6, ERROR 6; ERROR \
           5, ERROR 3. The checker expects exit code 0 and the text on stdout in the first \
           run, and exit code 4 and nothing on stdout in the others; each \
           attempt, and each end, within 1 s.",
    steps: from(5),
    rule: (5, 8),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::ExitCodes],
    why: "With ERROR 5 the server says that it gave up waiting, but not what \
          became of the request, so the client may ask again, as after a lost \
          connection. An attempt that a server may have executed stays \
          unknown. The ERROR 6 or 3 that comes later is about another attempt.",
    hint: Hint {
        meaning: "Your client did not treat ERROR 5 and a lost connection as \
                  an unknown outcome, which the refusal of a later attempt \
                  does not change.",
        look: "the table of error codes, and what your client remembers of an \
               attempt",
    },
    proof: Proof::Defects(&["timeout-is-definite", "refusal-undoes-unknown"]),
    script: c5_18,
};

fn c5_18(lab: &Lab) -> Check {
    quick(lab, 3);
    // 0 stands for no reply, and 99 for the reply.
    let runs = [&[5, 99][..], &[5, 5, 5], &[0, 6, 8], &[5, 6, 6], &[5, 3]];
    for codes in runs {
        let stage = Stage::open(lab)?;
        let [text] = words(lab);
        stage.start(&[&text])?;
        let mut client = stage.first(&text)?;
        lab.note_instead("sent its request");
        for (i, code) in codes.iter().enumerate() {
            if i > 0 {
                client = stage.next(&text, AT_ONCE)?;
            }
            answer_with(&mut client, *code, &text);
        }
        let ended = stage.finish_alone(AT_ONCE)?;
        let is_answered = codes.contains(&99);
        ended.code(lab, if is_answered { 0 } else { 4 })?;
        match is_answered {
            true => ended.printed_lines(lab, &[&text])?,
            false => ended.silent(lab)?,
        }
    }
    Ok(())
}

fn answer_with(client: &mut Peer, code: u8, text: &str) {
    let (bytes, what) = match code {
        0 => (Vec::new(), "no reply".to_owned()),
        99 => (reply(text.as_bytes()), "the reply".to_owned()),
        _ => (frame(ERROR, &[code, b'!']), format!("ERROR({code})")),
    };
    client.send_anyway(&bytes);
    client.fin();
    client.lab.note(format!("answered {what}"));
}

const C5_19: Case = Case {
    id: "C5-19",
    title: "doubles its wait 69 times, and does not lose count",
    does: "With TCP_ATTEMPTS=70, TCP_BACKOFF_BASE_MS=10 and \
           TCP_BACKOFF_CAP_MS=20, the checker closes each connection after its \
           request. It expects 70 attempts, with waits of at most 20 ms (plus \
           25 % and 250 ms), the last 35 together at least 60 ms; then exit \
           code 4 within 2 s, and nothing on stdout.",
    steps: from(5),
    rule: (5, 5),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "10 ms, doubled 28 times, is more than a signed 32-bit number holds; \
          doubled 60 times, it is more than 64 bits hold. The result is then \
          negative, or zero, so the wait fails, or the client does not wait at \
          all. A client that runs for days gets there, but a test with five \
          attempts does not.",
    hint: Hint {
        meaning: "Your client doubles the ceiling of the wait until it no \
                  longer fits into its type.",
        look: "where your client doubles the ceiling: before the cap, or after \
               it?",
    },
    proof: Proof::Defects(&["ceiling-overflows"]),
    script: c5_19,
};

fn c5_19(lab: &Lab) -> Check {
    quick(lab, 70);
    lab.set("TCP_BACKOFF_BASE_MS", 10);
    lab.set("TCP_BACKOFF_CAP_MS", 20);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    drop(stage.first(&text)?);
    let mut middle = None;
    for n in 1..70 {
        lab.note_instead(&format!("dropped {n} attempts"));
        let dropped = Instant::now();
        if n == 35 {
            middle = Some(dropped);
        }
        let mut next = stage.accept(ms(25) + SLACK)?;
        next.request(&text)?;
    }
    let taken = middle.map_or(Duration::ZERO, |middle| middle.elapsed());
    let ended = stage.finish_alone(AT_ONCE * 2)?;
    if taken < ms(60) {
        // 35 waits take 350 ms on average, so luck cannot make them this
        // short.
        let expected = "waits of up to 20 ms, after 35 attempts as before";
        return Err(lab.fail(expected, "no wait any more").into());
    }
    ended.code(lab, 4)?;
    ended.silent(lab)
}

/// All of them.
pub const CASES: &[Case] =
    &[C5_01, C5_04, C5_05, C5_06, C5_11, C5_12, C5_13, C5_18, C5_19];

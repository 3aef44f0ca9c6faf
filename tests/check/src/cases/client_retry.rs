//! C5: when a client asks again, and when it must not.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::case::{Case, Check, Hint, Tag};
use crate::cases::client_basic::closed_port;
use crate::cases::client_herd::c5_11;
use crate::harness::lab::{Lab, SLACK};
use crate::harness::stage::{AT_ONCE, Stage, quick, reply_to, words};
use crate::wire::{ERROR, frame};

const FAULT: &[Tag] = &[Tag::Timed, Tag::Starts, Tag::Hostile];

pub const CASES: &[Case] = &[
    Case {
        id: "C5-01",
        title: "refused each time: exit code 3",
        does: "TCP_ATTEMPTS=3, waits of at most 40 ms; nobody listens at the \
               address that the client is given. Expects exit code 3 within 4 \
               s, a message on stderr, and nothing on stdout.",
        steps: 5..=5,
        rule: (5, 8),
        tags: FAULT,
        why: "Nobody listened, so the request was certainly not executed. That \
              is worth an exit code of its own: a caller that gets a 3 may \
              safely ask again, or ask another server.",
        hint: Hint {
            meaning: "The outcome is known here: your client never connected, \
                      so nothing was executed.",
            look: "which of your exit codes a failed connect leads to",
        },
        script: c5_01,
    },
    Case {
        id: "C5-04",
        title: "asks again when the connection is lost",
        does: "TCP_ATTEMPTS=5, waits of at most 40 ms. After the request it \
               closes the first connection, resets the second one (RST), and \
               answers on the third. Expects the 2nd and 3rd attempt within 1 \
               s each, exit code 0 within 1 s of the reply, and its text on \
               stdout.",
        steps: 5..=5,
        rule: (5, 6),
        tags: FAULT,
        why: "The server dropped two connections after it had read the \
              request. An ECHO does no harm when it is done twice, so the \
              client may ask again. The third attempt is answered.",
        hint: Hint {
            meaning: "Your client gave up, although an ECHO may be repeated \
                      and attempts were left.",
            look: "which errors lead back to a new connection",
        },
        script: c5_04,
    },
    Case {
        id: "C5-05",
        title: "5 attempts, with waits that grow up to a cap",
        does: "Closes each connection after its request. Expects 5 attempts at \
               the default settings, with waits of at most 100, 200, 400 and \
               800 ms (25 % and 250 ms more are granted), together at least 30 \
               ms. With TCP_ATTEMPTS=10, TCP_BACKOFF_BASE_MS=20 and \
               TCP_BACKOFF_CAP_MS=40 it expects 10, with waits of at most 20 \
               and then 40 ms. Each time exit code 4 within 2 s of the last \
               one, and nothing on stdout.",
        steps: 5..=5,
        rule: (5, 5),
        tags: FAULT,
        why: "Without a wait, a client asks a server in trouble ten thousand \
              times a second. Without a cap, it may wait for hours. Without an \
              end, it never tells anyone that it did not work.",
        hint: Hint {
            meaning: "The attempts or the waits between them are not those of \
                      the contract.",
            look: "where attempts are counted, and how long each wait may be \
                   (rule 5)",
        },
        script: c5_05,
    },
    Case {
        id: "C5-06",
        title: "does not ask again after a definite error",
        does: "TCP_ATTEMPTS=5. Answers the request with ERROR 4, and in \
               further runs with ERROR 1, 2, 3, 7 and 9. Expects each time \
               exit code 6 within 1 s, no second connection, and nothing on \
               stdout.",
        steps: 5..=5,
        rule: (5, 6),
        tags: FAULT,
        why: "ERROR 4 says: not executed, and the same request will get the \
              same answer. Asking again only adds load.",
        hint: Hint {
            meaning: "ERROR 4 is final: asking again will not help.",
            look: "the table of error codes: which may be retried?",
        },
        script: c5_06,
    },
    Case {
        id: "C5-11",
        title: "8 clients that lose the server do not return together",
        does: "8 clients at the default settings: closes their first \
               connections all together, when the 8 requests are there, and \
               later ones as soon as the request has come. Expects at least 5 \
               attempts of each, and that the 3rd or the 4th waits of the 8 \
               are spread over more than 60 ms.",
        steps: 5..=5,
        rule: (5, 5),
        tags: FAULT,
        why: "When a server comes back, all clients that lost it are there at \
              once, and then again together after each wait. The load that \
              stopped it stops it again. A random wait spreads them.",
        hint: Hint {
            meaning: "All clients wait equally long: there is no randomness in \
                      the wait.",
            look: "how the length of a wait is chosen",
        },
        script: c5_11,
    },
];

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

fn c5_05(lab: &Lab) -> Check {
    // The defaults: 5 attempts, ceilings of 100, 200, 400 and 800 ms.
    let waits = drop_all(lab, 5, &[100, 200, 400, 800])?;
    // All of the 4 random waits together: below 30 ms once in 200 000 runs.
    if waits.iter().sum::<Duration>() < Duration::from_millis(30) {
        let expected = "random waits of up to 100, 200, 400 and 800 ms";
        let mut failure = lab.fail(expected, "no wait at all");
        failure.meaning =
            "Your client asks again at once, as fast as it can.".into();
        failure.look = "what is between two attempts".into();
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
    stop: crate::case::Stop,
    k: usize,
    n: usize,
    ceiling: u64,
) -> Box<crate::case::Stop> {
    let crate::case::Stop::Fail(mut failure) = stop else {
        return Box::new(stop);
    };
    if lab.client_ended().is_some() {
        failure.expected = format!("{n} attempts");
        failure.actual[0] = format!("{k}, then {}", failure.actual[0]);
    } else {
        failure.expected =
            format!("attempt {} after at most {ceiling} ms", k + 1);
        failure.meaning = format!(
            "The wait is longer than its ceiling of {ceiling} ms, even with \
             25 % more."
        );
    }
    failure.into()
}

/// No attempt more than there should be.
fn stage_is_over<'a>(
    stage: &Stage<'a>,
    n: usize,
) -> Check<crate::harness::ended::Ended> {
    // One wait more, of at most 1600 ms, and it would ask again.
    let ended = stage.finish_alone(AT_ONCE * 2);
    ended.map_err(|stop| match *stop {
        crate::case::Stop::Fail(mut failure) if !failure.by_time => {
            failure.expected = format!("{n} attempts, and no more");
            failure.meaning =
                "Your client does not count its attempts, or counts the \
                 retries only."
                    .into();
            failure.into()
        }
        other => Box::new(other),
    })
}

fn c5_06(lab: &Lab) -> Check {
    quick(lab, 5);
    for code in [4, 1, 2, 3, 7, 9] {
        let stage = Stage::open(lab)?;
        let [text] = words(lab);
        stage.start(&[&text])?;
        let mut client = stage.first(&text)?;
        client.send_anyway(&frame(ERROR, &[code, b'n', b'o']));
        lab.note_instead(&format!("answered ERROR({code})"));
        let ended = stage.finish_alone(AT_ONCE)?;
        ended.code(lab, 6)?;
        ended.silent(lab)?;
    }
    Ok(())
}

/// Sends slowly, byte by byte.
pub fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        let _ = stream.write_all(&[*byte]);
        std::thread::sleep(Duration::from_millis(3));
    }
}

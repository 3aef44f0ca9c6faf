//! C6: a client's heartbeat.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::diagnosis::evidence::End;
use crate::harness::lab::{AT_ONCE, Lab, PATIENCE, SLACK};
use crate::harness::peer::Peer;
use crate::harness::stage::{START, Stage, quick, words};
use crate::program::running::Input;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure, Stop};
use crate::wire::{PING, PONG, frame, reply};

const FAULT: &[Tag] = &[Tag::Timed, Tag::Starts, Tag::Hostile];
const TIMED: &[Tag] = &[Tag::Timed, Tag::Starts];

/// The heartbeat that these cases set, in ms.
const H: u64 = 200;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const C6_01: Case = Case {
    id: "C6-01",
    title: "answers a PING while it waits for a reply",
    does: "The checker reads the request and sends a PING with 8 random bytes, \
           then one a byte at a time. It expects for each a PONG with the same \
           8 bytes within 1 s. Then it sends a PING and the reply in one \
           write, and FIN: it expects the text on stdout, and exit code 0 \
           within 1 s. The checker does not try a client that ends its \
           direction with its request.",
    steps: from(6),
    rule: (6, 2),
    tags: TIMED,
    why: "The server asks whether the client is still there, and must be told \
          even while the client waits. A client that reads nothing but its \
          reply is taken for dead, or it takes the PING for the reply.",
    hint: Hint {
        meaning: "Your client did not answer a PING that came before the \
                  reply; if it ended, it took the PING for its reply, or for \
                  a mistake of the server.",
        look: "what your client does with a frame of kind 02 while it waits \
               for a reply",
    },
    proof: Proof::Defects(&[
        "ignores-ping",
        "prints-ping",
        "ping-is-broken",
        "pong-of-zeros",
    ]),
    script: c6_01,
};

fn c6_01(lab: &Lab) -> Check {
    lab.other_means(
        "Your client answered a PING, but a PONG has kind 82 and carries the 8 \
         bytes of its PING.",
        "which bytes your client puts into a PONG",
    );
    quick(lab, 2);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    can_answer(&mut client)?;
    pinged(&mut client)?;
    let ping = lab.bytes(8);
    for byte in frame(PING, &ping) {
        let _ = client.stream.write_all(&[byte]);
        thread::sleep(ms(3)); // a packet of its own
    }
    client.sends(&frame(PING, &ping));
    client.expect(&frame(PONG, &ping), AT_ONCE)?;
    let last = frame(PING, &lab.bytes(8));
    client.send_anyway(&[&last[..], &reply(text.as_bytes())].concat());
    client.fin();
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.printed_lines(lab, &[&text])?;
    ended.code(lab, 0)
}

/// One that has ended its direction can answer no PING.
fn can_answer(client: &mut Peer) -> Check {
    match client.peeks(ms(30)) {
        Some(End::Fin) => {
            let why = "it ends its direction with its request";
            Err(Box::new(Stop::Skip(why.to_owned())))
        }
        _ => Ok(()),
    }
}

/// A PING must be answered at once.
fn pinged(client: &mut Peer) -> Check {
    let ping = client.lab.bytes(8);
    client.send(&frame(PING, &ping))?;
    if matches!(client.peeks(AT_ONCE), Some(End::Fin | End::Reset)) {
        client.lab.last_ended(ms(500)); // it says why
    }
    client.expect(&frame(PONG, &ping), AT_ONCE)
}

const C6_02: Case = Case {
    id: "C6-02",
    title: "gives up on a server that answers no PING",
    does: "With TCP_HEARTBEAT_MS=200, TCP_REQUEST_MS=10000 and TCP_ATTEMPTS=2, \
           the checker reads the request and is silent. It expects a PING \
           within 200 ms, and not before 100 ms; then that the client closes \
           within 600 ms, and not before 500 ms (its clock starts a little \
           before ours). It answers the second attempt, and expects the text \
           on stdout and exit code 0. In a second run, with TCP_ATTEMPTS=1, it \
           expects exit code 4 within 1 s, and nothing on stdout.",
    steps: from(6),
    rule: (6, 5),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::ExitCodes],
    why: "TCP_REQUEST_MS must be long enough for the slowest answer. Whether \
          the server is there at all can be found out much sooner. A server \
          that does not answer a PING may have done the work before it died, \
          so the outcome is unknown.",
    hint: Hint {
        meaning: "Your client gave up on a dead server, but its attempt may \
                  have been executed: the outcome is unknown, and an ECHO may \
                  be sent again.",
        look: "where a connection leads that the heartbeat has given up",
    },
    proof: Proof::Defects(&[
        "no-ping",
        "never-gives-up",
        "gives-up-too-early",
        "dead-is-broken",
    ]),
    script: c6_02,
};

fn c6_02(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    lab.set("TCP_REQUEST_MS", 10_000);
    for attempts in [2, 1] {
        quick(lab, attempts);
        let stage = Stage::open(lab)?;
        let [text] = words(lab);
        stage.start(&[&text])?;
        let mut client = stage.accept(START)?;
        let start = Instant::now(); // what follows takes a while
        lab.open_window();
        client.request(&text)?;
        lab.note_instead("read the request, and is silent");
        expect_ping(&mut client, start)?;
        expect_closed(&mut client, start)?;
        if attempts == 2 {
            let mut next = stage.next(&text, AT_ONCE)?;
            next.send_anyway(&reply(text.as_bytes()));
            next.fin();
        }
        let ended = stage.finish_alone(AT_ONCE)?;
        if attempts == 2 {
            ended.code(lab, 0)?;
            ended.printed_lines(lab, &[&text])?;
        } else {
            ended.code(lab, 4)?;
            ended.silent(lab)?;
        }
    }
    Ok(())
}

/// A PING must come after H of silence, and not before.
fn expect_ping(client: &mut Peer, since: Instant) -> Check {
    client.lab.hint(
        "Your client did not send a PING when the server had been silent for \
         TCP_HEARTBEAT_MS.",
        "what your client does while it waits for a reply and nothing comes",
    );
    let ping = client.next_ping(since + ms(H) + SLACK);
    let expected = format!("a PING with 8 bytes after {H} ms of silence");
    if ping.is_none() {
        let end = client.peeks(ms(1));
        let actual = match end {
            None => "no PING; the connection is still open",
            Some(End::Open) => "bytes that are no PING",
            Some(end) => end.text(),
        };
        let failure = client.fail(expected, actual);
        return Err(Failure { by_time: end.is_none(), ..failure }.into());
    }
    if since.elapsed() < ms(H / 2) {
        let failure = client.fail(expected, "it came before 100 ms");
        return Err(failure.into());
    }
    client.note("got a PING, and does not answer it");
    Ok(())
}

/// It must close after 3 H of silence, and not before.
fn expect_closed(client: &mut Peer, since: Instant) -> Check {
    client.lab.hint(
        "Your client still waits for a server that has not sent a byte for \
         three times TCP_HEARTBEAT_MS.",
        "what happens after a PING that gets no answer",
    );
    client.answers_pings = false;
    let end = client.how_it_ended(since + ms(3 * H) + SLACK)?;
    let expected = format!("it closes after {} ms of silence", 3 * H);
    if end == End::Open {
        let failure = client.fail(expected, end.text());
        return Err(Failure { by_time: true, ..failure }.into());
    }
    if since.elapsed() < ms(500) {
        let mut failure = client.fail(expected, "it closed before 500 ms");
        failure.meaning =
            "Your client gave up too early: the server had three \
                           times TCP_HEARTBEAT_MS to be heard."
                .into();
        failure.look = "how long your client waits after its PING".into();
        return Err(failure.into());
    }
    client.note("it closed");
    client.lab.own_hint();
    Ok(())
}

const C6_03: Case = Case {
    id: "C6-03",
    title: "waits for a server that answers its PINGs",
    does: "With TCP_HEARTBEAT_MS=200 and TCP_REQUEST_MS=3000, the checker \
           reads the request, answers the client's PINGs for 1.2 s, and then \
           sends the reply. It expects the text on stdout, and exit code 0. In \
           a second run, with TCP_REQUEST_MS=900 and TCP_ATTEMPTS=1, it \
           answers PINGs and nothing else: it expects exit code 4 within 900 \
           ms (plus 1 s), and nothing on stdout.",
    steps: from(6),
    rule: (6, 5),
    tags: FAULT,
    why: "The server works, and says so with each PONG, so the client has no \
          reason to give up on it. But a server can answer PINGs and never the \
          request: the limits of step 5 hold as before, whatever the heartbeat \
          says.",
    hint: Hint {
        meaning: "Your client gave up on a server that answered each PING, or \
                  broke at its PONG.",
        look: "what your client does with a frame of kind 82",
    },
    proof: Proof::Defects(&[
        "pong-is-broken",
        "only-reply-is-life",
        "pong-is-progress",
    ]),
    script: c6_03,
};

fn c6_03(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    lab.set("TCP_REQUEST_MS", 3000);
    quick(lab, 1);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    let asked = Instant::now();
    if let Some(got) = client.stays_until(asked + ms(1200)) {
        lab.last_ended(ms(500)); // it says why
        let expected = "it waits for the reply";
        return Err(client.fail(expected, got.end.text()).into());
    }
    lab.note("answered its PINGs for 1.2 s");
    client.send_anyway(&reply(text.as_bytes()));
    client.fin();
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&text])?;
    no_more_than_pongs(lab)
}

fn no_more_than_pongs(lab: &Lab) -> Check {
    lab.hint(
        "Your client waits as long as PONGs come, but they are no progress of \
         its request.",
        "which clock a PONG starts again: only the heartbeat's",
    );
    lab.set("TCP_REQUEST_MS", 900);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    lab.note_instead("answers PINGs and nothing else, TCP_REQUEST_MS=900");
    let end = client.how_it_ended(Instant::now() + ms(900) + SLACK)?;
    if end == End::Open {
        let failure = client.fail("it closes after 900 ms", end.text());
        return Err(Failure { by_time: true, ..failure }.into());
    }
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.code(lab, 4)?;
    ended.silent(lab)
}

const C6_04: Case = Case {
    id: "C6-04",
    title: "takes each byte of a slow reply for a sign of life",
    does: "With TCP_HEARTBEAT_MS=200, the checker sends the reply in single \
           bytes, 60 ms apart, and in a second run in four pieces, 300 ms \
           apart, so that a PING of the client comes in the middle, which it \
           cannot answer there. It expects each time the text on stdout, and \
           exit code 0.",
    steps: from(6),
    rule: (6, 1),
    tags: TIMED,
    why: "On a slow line a reply takes longer than the heartbeat waits, but \
          its bytes arrive, so the server is alive. And a timer that fires \
          while a reply is half read must not lose the half.",
    hint: Hint {
        meaning: "Your client took a server for dead whose reply was on its \
                  way, or its heartbeat lost the bytes that had come.",
        look: "what counts as a sign of life, and what becomes of a half-read \
               reply when the timer fires",
    },
    proof: Proof::Defects(&["frames-are-life", "tick-loses-bytes"]),
    script: c6_04,
};

fn c6_04(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    quick(lab, 1);
    for (size, pause) in [(1, 60), (4, 300)] {
        let stage = Stage::open(lab)?;
        let text = lab.word(11);
        stage.start(&[&text])?;
        let mut client = stage.first(&text)?;
        client.answers_pings = false;
        lab.note_instead(match size {
            1 => "answers a byte every 60 ms",
            _ => "answers 4 bytes every 300 ms",
        });
        for piece in reply(text.as_bytes()).chunks(size) {
            let _ = client.stream.write_all(piece);
            thread::sleep(ms(pause));
        }
        client.fin();
        let ended = stage.finish_alone(AT_ONCE)?;
        ended.code(lab, 0)?;
        ended.printed_lines(lab, &[&text])?;
    }
    Ok(())
}

const C6_05: Case = Case {
    id: "C6-05",
    title: "answers PINGs while it waits for its input",
    does: "With TCP_HEARTBEAT_MS=200, the checker writes a line to the \
           client's stdin, which stays open, and answers the request. For 1 s \
           it sends a PING every 150 ms, and expects each PONG within 1 s; \
           then it writes another line, and expects its request on the same \
           connection, both lines on stdout, and exit code 0. A client that \
           closes its connection after the reply need not answer PINGs. The \
           checker does not try a client that takes no input from stdin.",
    steps: from(6),
    rule: (6, 2),
    tags: TIMED,
    why: "A person at the keyboard thinks longer than any heartbeat waits. If \
          the client is blocked in a read of stdin meanwhile, the server takes \
          it for dead and closes the connection, although the client is well.",
    hint: Hint {
        meaning: "Your client keeps its connection while it waits for its \
                  input, but does not answer the server's PINGs meanwhile.",
        look: "what your client waits for between two requests: its input, the \
               connection, or both?",
    },
    proof: Proof::Defects(&["deaf-while-idle"]),
    script: c6_05,
};

fn c6_05(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    let stage = Stage::open(lab)?;
    let [first, last] = words(lab);
    let mut client = idle(&stage, &first)?;
    let until = Instant::now() + ms(1000);
    let mut is_kept = !matches!(client.peeks(ms(150)), Some(End::Fin));
    while is_kept && Instant::now() < until {
        pinged(&mut client)?;
        thread::sleep(ms(150));
    }
    is_kept &= !matches!(client.peeks(ms(1)), Some(End::Fin | End::Reset));
    say_last(lab, &last);
    let (mut client, is_new) =
        stage.next_request(Some(client), &last, PATIENCE)?;
    if is_new && is_kept {
        let expected = "its second request on the connection that it kept";
        return Err(lab.fail(expected, "it made a new one").into());
    }
    client.send_anyway(&reply(last.as_bytes()));
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&first, &last])
}

/// A client that has its reply, and waits for its next line.
fn idle<'a>(stage: &Stage<'a>, first: &str) -> Check<Peer<'a>> {
    let open = Input::Open(format!("{first}\n").into());
    let Some(mut client) = stage.first_from(open, ms(4000))? else {
        let why = "it sends nothing while its stdin is open";
        return Err(Box::new(Stop::Skip(why.to_owned())));
    };
    client.request(first)?;
    client.send_anyway(&reply(first.as_bytes()));
    stage.lab.note("answered it; its stdin is still open");
    Ok(client)
}

fn say_last(lab: &Lab, last: &str) {
    lab.with_last(|client| {
        client.feed(last.as_bytes());
        client.end_input();
    });
}

const C6_06: Case = Case {
    id: "C6-06",
    title: "notices while it is idle that the server is dead",
    does: "With TCP_HEARTBEAT_MS=200 and TCP_REQUEST_MS=2000, the checker \
           writes a line to the client's stdin, which stays open, answers the \
           request, and then is silent for 1 s, and answers no PING. It \
           expects that the client closes within 600 ms of the reply (later is \
           a warning); then it writes another line, and expects its request on \
           a new connection, both lines on stdout, and exit code 0.",
    steps: from(6),
    rule: (6, 5),
    tags: FAULT,
    why: "A kept connection can die while nobody uses it. A client that finds \
          out in time makes a new one before it asks again. Otherwise its next \
          request goes to a server that is gone, and has an unknown outcome.",
    hint: Hint {
        meaning: "Your client failed after the server had died while no \
                  request was under way, but the next request belongs on a new \
                  connection.",
        look: "what your client does with the connection it keeps while it \
               waits for its input",
    },
    proof: Proof::Defects(&["no-heartbeat-while-idle", "dead-idle-ends"]),
    script: c6_06,
};

fn c6_06(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    lab.set("TCP_REQUEST_MS", 2000);
    quick(lab, 3);
    let stage = Stage::open(lab)?;
    let [first, last] = words(lab);
    let mut client = idle(&stage, &first)?;
    client.answers_pings = false;
    let end = client.how_it_ended(Instant::now() + ms(1000))?;
    if end == End::Open {
        let expected = "it closes after 600 ms of silence";
        let mut failure = client.fail(expected, end.text());
        failure.meaning =
            "Your client keeps a connection on which nothing has \
                           come for three times TCP_HEARTBEAT_MS, so its next \
                           request may go to a server that is gone."
                .into();
        lab.warn(failure);
    }
    drop(client);
    say_last(lab, &last);
    let mut next = stage.next(&last, PATIENCE)?;
    next.send_anyway(&reply(last.as_bytes()));
    next.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&first, &last])
}

/// All of them.
pub const CASES: &[Case] = &[C6_01, C6_02, C6_03, C6_04, C6_05, C6_06];

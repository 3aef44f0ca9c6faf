//! S6: a server's heartbeat, and a request that takes a while.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::cases::server::step5::{
    closes_unread, cut_while_it_drips, reads_late,
};
use crate::diagnosis::cause_framed::error_text;
use crate::diagnosis::evidence::{End, Got};
use crate::diagnosis::show;
use crate::harness::lab::{AT_ONCE, Lab, PATIENCE, SLACK};
use crate::harness::peer::Peer;
use crate::harness::visit::{LITTLE, narrow, served, write_until_stalled};
use crate::program::proc;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure};
use crate::wire::{
    ERROR, PING, PONG, WORK, WORK_REPLY, echo, frame, reply, work,
};

const FAULT: &[Tag] = &[Tag::Timed, Tag::Starts, Tag::Hostile];
const TIMED: &[Tag] = &[Tag::Timed, Tag::Starts];

/// The heartbeat that most cases set, in ms.
const H: u64 = 200;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn done(payload: &[u8]) -> Vec<u8> {
    frame(WORK_REPLY, payload)
}

const PONGS: Hint = Hint {
    meaning: "Your server answered a PING, but a PONG has kind 82 and carries \
              the 8 bytes of its PING.",
    look: "which bytes your server puts into a PONG",
};

const S6_01: Case = Case {
    id: "S6-01",
    title: "answers a PING with a PONG",
    does: "The checker sends a PING with 8 random bytes, two more in one write \
           between two ECHOs, and one a byte at a time. It expects for each \
           PING a PONG with the same 8 bytes, and the replies to the ECHOs, \
           each within 3 s.",
    steps: from(6),
    rule: (6, 2),
    tags: &[],
    why: "A PING asks one thing: are you still there? The 8 bytes come back as \
          they were, so that the one who asked knows which PING this is the \
          answer to, and how long it took.",
    hint: Hint {
        meaning: "Your server did not answer a PING as the contract says: kind \
                  82, and the same 8 bytes.",
        look: "what your server does with kind 02, and what it sends back",
    },
    proof: Proof::Defects(&["pong-of-zeros", "ping-is-unknown"]),
    script: s6_01,
};

fn s6_01(lab: &Lab) -> Check {
    lab.other_means(PONGS.meaning, PONGS.look);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let [a, b, c, d] = std::array::from_fn(|_| lab.bytes(8));
    client.send(&frame(PING, &a))?;
    client.expect(&frame(PONG, &a), PATIENCE)?;
    let word = lab.word(5);
    let both = [frame(PING, &b), frame(PING, &c)].concat();
    client.exchange(word.as_bytes())?;
    client.send(&both)?;
    client.expect(&[frame(PONG, &b), frame(PONG, &c)].concat(), PATIENCE)?;
    client.exchange(word.as_bytes())?;
    for byte in frame(PING, &d) {
        client.send(&[byte])?;
        thread::sleep(ms(3)); // a packet of its own
    }
    client.sends(&frame(PING, &d));
    client.expect(&frame(PONG, &d), PATIENCE)
}

const S6_02: Case = Case {
    id: "S6-02",
    title: "asks a silent client after TCP_HEARTBEAT_MS",
    does: "With TCP_HEARTBEAT_MS=200, A connects and is silent; B exchanges \
           three ECHOs, 100 ms apart, and is silent from then on. The checker \
           expects that each gets a PING with 8 bytes within 200 ms of \
           silence, and not before 150 ms.",
    steps: from(6),
    rule: (6, 1),
    tags: TIMED,
    why: "A client that is silent may be idle, frozen, or gone, and TCP does \
          not tell them apart: on a connection on which nothing is sent, \
          nothing can fail. The server must send something to find out.",
    hint: Hint {
        meaning: "Your server sends no PING to a client that has been silent \
                  for TCP_HEARTBEAT_MS.",
        look: "what your server does when nothing has come for \
               TCP_HEARTBEAT_MS, and whether it reads that limit",
    },
    proof: Proof::Defects(&["no-ping", "pings-too-early", "ping-of-no-bytes"]),
    script: s6_02,
};

fn s6_02(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    let addr = lab.server()?;
    let start = Instant::now();
    let mut silent = lab.connect_as(addr, "A: ")?;
    lab.note("A: silent since the connect");
    expect_ping(&mut silent, start)?;
    let mut talker = lab.connect_as(addr, "B: ")?;
    for _ in 0..2 {
        talker.exchange(lab.word(5).as_bytes())?;
        thread::sleep(ms(100));
    }
    let spoke = Instant::now();
    talker.say(b"last")?;
    talker.hear(b"last")?;
    lab.note("B: silent since its answer");
    expect_ping(&mut talker, spoke)
}

/// A PING must come after H of silence, and not before.
fn expect_ping(client: &mut Peer, since: Instant) -> Check {
    let ping = client.next_ping(since + ms(H) + SLACK);
    let expected = format!("a PING with 8 bytes after {H} ms of silence");
    if ping.is_some() {
        if since.elapsed() >= ms(H * 3 / 4) {
            client.note("got a PING");
            return Ok(());
        }
        let mut failure = client.fail(expected, "it came before 150 ms");
        failure.meaning =
            "Your server sent a PING before the client had been silent for \
             TCP_HEARTBEAT_MS."
                .into();
        failure.look = "the unit of your timer, and what starts it".into();
        return Err(failure.into());
    }
    let got = client.read(64, Instant::now());
    let actual = match got.bytes.is_empty() {
        true => format!("no PING; {}", got.end.text()),
        false => show::bytes(&got.bytes, got.bytes.len()),
    };
    let by_time = got.bytes.is_empty() && got.end == End::Open;
    let mut failure = client.fail(expected, &actual);
    if got.bytes.get(4) == Some(&PING) {
        failure.meaning =
            "Your server sent a PING whose payload does not have 8 bytes."
                .into();
        failure.look = "how your server builds a PING: N = 9, kind 02".into();
    }
    Err(Failure { by_time, ..failure }.into())
}

const S6_03: Case = Case {
    id: "S6-03",
    title: "gives up on a client that answers no PING",
    does: "With TCP_HEARTBEAT_MS=200, A connects, is silent, and answers no \
           PING; B does the same after it has sent a WORK of 5 s. The checker \
           expects that the server closes both connections within 600 ms of \
           silence, and not before 540 ms.",
    steps: from(6),
    rule: (6, 1),
    tags: FAULT,
    why: "A laptop is closed, a cable is pulled, a phone loses its network: \
          none of these ends a connection. The server asks once, waits for two \
          more intervals, and then takes the client for dead, so that its \
          descriptor, its memory and its place are free again.",
    hint: Hint {
        meaning: "Your server keeps the connection of a client that has not \
                  sent a byte for three times TCP_HEARTBEAT_MS.",
        look: "what happens after a PING that gets no answer, and whether your \
               own PING starts the clock again",
    },
    proof: Proof::Defects(&[
        "never-gives-up",
        "gives-up-too-early",
        "work-stops-heartbeat",
    ]),
    script: s6_03,
};

fn s6_03(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    let addr = lab.server()?;
    let start = Instant::now();
    let mut silent = lab.connect_as(addr, "A: ")?;
    lab.note("A: silent since the connect, answers no PING");
    expect_dead(&mut silent, start)?;
    lab.hint(
        "Your server keeps the connection of a client that has vanished for \
         as long as it works for that client.",
        "whether the heartbeat goes on while a WORK runs",
    );
    let mut worker = lab.connect_as(addr, "B: ")?;
    let start = Instant::now();
    worker.send(&work(5000, b"in vain"))?;
    lab.note("B: silent since its WORK, answers no PING");
    expect_dead(&mut worker, start)
}

/// It must be closed after 3 H of silence, and not before.
fn expect_dead(client: &mut Peer, since: Instant) -> Check {
    let limit = 3 * H;
    client.answers_pings = false;
    let got = client.read(256, since + ms(limit) + SLACK);
    let took = since.elapsed();
    let expected = format!("closed after {limit} ms of silence");
    let is_error = got.bytes.get(4..6) == Some(&[ERROR, 5]);
    if !got.bytes.is_empty() && !is_error {
        let shown = show::bytes(&got.bytes, got.bytes.len());
        return Err(client.fail(expected, &shown).into());
    }
    if got.end == End::Open {
        let failure = client.fail(expected, got.end.text());
        return Err(Failure { by_time: true, ..failure }.into());
    }
    if took < ms(limit * 9 / 10) {
        let mut failure = client.fail(expected, "it closed before 540 ms");
        failure.meaning = "Your server gave up too early: the client had \
                           three times TCP_HEARTBEAT_MS to be heard."
            .into();
        failure.look = "how long your server waits after its PING".into();
        return Err(failure.into());
    }
    client.note("closed");
    Ok(())
}

const S6_04: Case = Case {
    id: "S6-04",
    title: "keeps a client that does no more than answer PINGs",
    does: "With TCP_HEARTBEAT_MS=200 and TCP_IDLE_MS=600, the checker connects \
           and answers each PING with its PONG, for 1.6 s. It expects nothing \
           but PINGs, at least three of them, and then the reply to an ECHO.",
    steps: from(6),
    rule: (6, 3),
    tags: TIMED,
    why: "The client is idle, not dead, and it says so each time the server \
          asks. An idle limit cannot tell the two apart, so it cuts a client \
          that has nothing to ask for a while. That is why the heartbeat takes \
          the place of the idle limit.",
    hint: Hint {
        meaning: "Your server cut or bothered a client that answered each PING \
                  in time.",
        look: "what your server does with a PONG, and whether the idle limit \
               of step 5 is still there",
    },
    proof: Proof::Defects(&["idle-limit-too", "pong-is-no-life", "pings-once"]),
    script: s6_04,
};

fn s6_04(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    lab.set("TCP_IDLE_MS", 3 * H);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    stays(&mut client, ms(8 * H), "it stays, and sends nothing but PINGs")?;
    lab.note("answered its PINGs for 1.6 s");
    if client.pings() < 3 {
        let actual = match client.pings() {
            1 => "1 PING in 1.6 s".to_owned(),
            n => format!("{n} PINGs in 1.6 s"),
        };
        let mut failure = client.fail("a PING every 200 ms", &actual);
        failure.meaning = "Your server does not ask again when the client has \
                           been silent once more for TCP_HEARTBEAT_MS."
            .into();
        failure.look = "what a PONG does to the clock of the heartbeat".into();
        return Err(failure.into());
    }
    client.exchange(lab.word(5).as_bytes())
}

/// Answers PINGs for this time; nothing else may come.
fn stays(client: &mut Peer, time: Duration, expected: &str) -> Check {
    match client.stays_until(Instant::now() + time) {
        None => Ok(()),
        Some(got) => Err(other(client, expected, &got).into()),
    }
}

/// Something else came, or the end.
fn other(client: &Peer, expected: &str, got: &Got) -> Failure {
    if got.bytes.is_empty() {
        return client.fail(expected, got.end.text());
    }
    let shown = show::bytes(&got.bytes, got.bytes.len());
    let mut failure = client.fail(expected, &shown);
    failure.actual.extend(error_text(&got.bytes, b""));
    failure
}

const S6_05: Case = Case {
    id: "S6-05",
    title: "does not doubt a client that it hears",
    does: "With TCP_HEARTBEAT_MS=400, the checker sends an ECHO every 100 ms, \
           for 1.6 s, and expects each reply. A PING is a warning.",
    steps: from(6),
    rule: (6, 1),
    tags: TIMED,
    why: "Whatever comes from the client shows that it is alive, so the clock \
          of the heartbeat starts again with each byte. A busy connection \
          needs no PING at all: the traffic is its heartbeat.",
    hint: Hint {
        meaning: "Your server cut a client whose bytes came all the time, \
                  perhaps because the clock of the heartbeat runs from the \
                  connect, or only a PONG starts it again.",
        look: "what starts the clock of the heartbeat",
    },
    proof: Proof::Defects(&["pings-by-the-clock", "only-pong-is-life"]),
    script: s6_05,
};

fn s6_05(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", 2 * H);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.answers_pings = false;
    let word = lab.word(5);
    for _ in 0..16 {
        client.exchange(word.as_bytes())?;
        lab.note_instead("sends an ECHO every 100 ms");
        thread::sleep(ms(H / 2));
    }
    client.expect_nothing("after the answers")?;
    if client.pings() > 0 {
        let expected = "no PING while the client is heard all the time";
        let mut failure = client.fail(expected, "a PING");
        failure.meaning = "Your server sends a PING although bytes came a \
                           moment ago, and so costs the network and the client \
                           more than it must."
            .into();
        failure.look = "what starts the clock of the heartbeat".into();
        lab.warn(failure);
    }
    Ok(())
}

const S6_06: Case = Case {
    id: "S6-06",
    title: "answers a PING while a WORK runs",
    does: "The checker sends a WORK of 300 ms and a PING in one write. It \
           expects the PONG, and then the reply to the WORK. The reply before \
           the PONG is a warning.",
    steps: from(6),
    rule: (6, 2),
    tags: TIMED,
    why: "The client sends a PING because it wants to know whether the server \
          still works on its request. If the answer comes only when the work \
          is done, the client gives up on a server that is busy and well.",
    hint: Hint {
        meaning: "Your server answered a WORK and a PING, which came together, \
                  with something else than a PONG and the reply.",
        look: "what your server does with a frame that comes while a WORK runs",
    },
    proof: Proof::Defects(&["pong-after-work"]),
    script: s6_06,
};

fn s6_06(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let (ping, word) = (lab.bytes(8), lab.word(6));
    let (pong, reply) = (frame(PONG, &ping), done(word.as_bytes()));
    client.send(&[work(300, word.as_bytes()), frame(PING, &ping)].concat())?;
    let want = [&pong[..], &reply].concat();
    let got = client.read(want.len(), lab.until(PATIENCE));
    if got.bytes == [&reply[..], &pong].concat() {
        let actual = "the reply came before the PONG";
        let mut failure = client.fail("the PONG at once", actual);
        failure.meaning = "Your server answers a PING only when the request \
                           before it is done, so a client takes a server that \
                           works for one that is dead."
            .into();
        failure.look = "whether a PONG waits in line behind the replies".into();
        lab.warn(failure);
        return Ok(());
    }
    match got.bytes == want {
        true => Ok(()),
        false => Err(client.mismatch(&want, &got, PATIENCE).into()),
    }
}

const S6_07: Case = Case {
    id: "S6-07",
    title: "takes each byte of a slow frame for a sign of life",
    does: "With TCP_HEARTBEAT_MS=200 and TCP_FRAME_MS=4000, the checker sends \
           an ECHO of 25 letters in single bytes, 35 ms apart; then another \
           one in four pieces, 300 ms apart, so that a PING comes in the \
           middle, which it cannot answer there. It expects each reply, and \
           then the reply to a third ECHO, within 3 s.",
    steps: from(6),
    rule: (6, 1),
    tags: TIMED,
    why: "On a slow line a frame takes longer than the heartbeat waits, but \
          its bytes arrive, so the client is alive. A client in the middle of \
          a frame cannot answer a PING either: its PONG would end up inside \
          the frame. And a timer that fires while a frame is half read must \
          not lose the half.",
    hint: Hint {
        meaning: "Your server took a client for dead whose frame was on its \
                  way, or its heartbeat lost the bytes that had come.",
        look: "what counts as a sign of life, and what becomes of a half-read \
               frame when the timer fires",
    },
    proof: Proof::Defects(&["frames-are-life", "tick-loses-bytes"]),
    script: s6_07,
};

fn s6_07(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    lab.set("TCP_FRAME_MS", 4000);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let (word, next) = (lab.word(25), lab.word(20));
    let bytes = echo(word.as_bytes());
    for byte in &bytes {
        let _ = client.stream.write_all(&[*byte]);
        thread::sleep(ms(35));
    }
    client.sends(&bytes);
    lab.note("sent a frame in single bytes, 35 ms apart");
    client.hear(word.as_bytes())?;
    let bytes = echo(next.as_bytes());
    for (from, to, pause) in [(0, 2, 300), (2, 5, 300), (5, 9, 300), (9, 25, 0)]
    {
        client.send_anyway(&bytes[from..to]);
        thread::sleep(ms(pause));
    }
    client.hear(next.as_bytes())?;
    client.exchange(lab.word(4).as_bytes())
}

const S6_08: Case = Case {
    id: "S6-08",
    title: "answers a PING without 8 bytes with ERROR 4",
    does: "The checker sends an ECHO, a PING with 3 bytes, and another ECHO in \
           one write; then a PING with none, and one with 9 bytes. It expects \
           the first reply, ERROR 4, the second reply; ERROR 4 twice; and then \
           the PONG for a good PING, each within 3 s.",
    steps: from(6),
    rule: (6, 2),
    tags: &[Tag::Hostile],
    why: "A PING with another payload breaks the rules, but its length says \
          where the next frame begins, so the server has no reason to end the \
          connection. It says what is wrong, and goes on.",
    hint: Hint {
        meaning: "Your server did not answer a PING that does not have 8 bytes \
                  with ERROR 4, in its place among the replies, and go on.",
        look: "what your server does with the payload of a PING before it \
               answers",
    },
    proof: Proof::Defects(&["short-ping-ends", "any-ping-is-good"]),
    script: s6_08,
};

fn s6_08(lab: &Lab) -> Check {
    lab.other_means(S6_08.hint.meaning, S6_08.hint.look);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let (a, b) = (lab.word(5), lab.word(6));
    let (a, b) = (a.as_bytes(), b.as_bytes());
    client.send(&[echo(a), frame(PING, b"???"), echo(b)].concat())?;
    client.hear(a)?;
    client.expect_error(4)?;
    client.hear(b)?;
    for size in [0, 9] {
        client.send(&frame(PING, &lab.bytes(size)))?;
        client.expect_error(4)?;
    }
    let ping = lab.bytes(8);
    client.send(&frame(PING, &ping))?;
    client.expect(&frame(PONG, &ping), PATIENCE)
}

const S6_09: Case = Case {
    id: "S6-09",
    title: "keeps its limit for a frame beside the heartbeat",
    does: "With TCP_HEARTBEAT_MS=200 and TCP_FRAME_MS=1200, the checker sends \
           the bytes of an ECHO, one every 150 ms, for at most 3 s. It expects \
           ERROR 5 between 1080 and 1200 ms after the first of these bytes, \
           then FIN.",
    steps: from(6),
    rule: (6, 3),
    tags: FAULT,
    why: "Each byte is a sign of life, so the heartbeat has nothing to say \
          against this client. But a client that never finishes a frame holds \
          the connection all the same. The two limits answer two questions: is \
          anybody there, and does it get anywhere?",
    hint: Hint {
        meaning: "Your server gave up the limit of a frame when it got a \
                  heartbeat, so single bytes keep a connection forever.",
        look: "which limits each byte starts again: only the heartbeat's",
    },
    proof: Proof::Defects(&["no-frame-limit"]),
    script: s6_09,
};

fn s6_09(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    lab.set("TCP_FRAME_MS", 6 * H);
    let addr = lab.server()?;
    let bytes = echo(lab.word(60).as_bytes());
    let mut client = lab.connect(addr)?;
    client.answers_pings = false; // it would be in the middle of the frame
    lab.note("sends 1 byte every 150 ms");
    cut_while_it_drips(&mut client, &bytes[..20], (ms(150), 6 * H))
}

const S6_10: Case = Case {
    id: "S6-10",
    title: "delays a WORK's own connection, and no other",
    does: "With TCP_HEARTBEAT_MS=200, A sends a WORK of 900 ms, one of 100 ms, \
           and an ECHO in one write, and answers PINGs. Meanwhile B, which was \
           there before, exchanges ECHOs for 300 ms, and then a new client C \
           one. The checker expects their replies within 700 ms of the WORK; \
           the reply to A's first WORK not before 810 ms; and all three of A's \
           replies, in order, within 1 s.",
    steps: from(6),
    rule: (6, 4),
    tags: TIMED,
    why: "WORK stands for a request that takes a while. The replies of one \
          connection come in the order of its requests, so what stands behind \
          the WORK waits. Other clients have nothing to do with it. The client \
          that waits answers PINGs, so the server has no reason to doubt it.",
    hint: Hint {
        meaning: "Your server did not answer two WORKs and an ECHO in order, \
                  and after their delays.",
        look: "where a reply waits until its turn has come",
    },
    proof: Proof::Defects(&[
        "work-blocks-all",
        "work-is-overtaken",
        "work-takes-no-time",
    ]),
    script: s6_10,
};

fn s6_10(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    let addr = lab.server()?;
    let mut other = lab.connect_as(addr, "B: ")?;
    other.exchange(lab.word(4).as_bytes())?;
    let mut a = lab.connect_as(addr, "A: ")?;
    let [first, second, third] = std::array::from_fn(|_| lab.word(6));
    let [first, second, third] =
        [&first, &second, &third].map(|w| w.as_bytes());
    let start = Instant::now();
    a.send(&[work(900, first), work(100, second), echo(third)].concat())?;
    others_are_served(&mut other, addr, start)?;
    lab.own_hint();
    if a.stirs_before(start + ms(810)) {
        let got = a.read(64, lab.until(ms(50)));
        let expected = "nothing before the delay of 900 ms has passed";
        let mut failure = self::other(&a, expected, &got);
        if got.bytes.get(5..11) == Some(third) {
            failure.meaning = "Your server sent the reply to a later request \
                               while the WORK before it still ran."
                .into();
        }
        return Err(failure.into());
    }
    let want = [done(first), done(second), reply(third)].concat();
    let left =
        (start + ms(1000) + SLACK).saturating_duration_since(Instant::now());
    a.expect(&want, left)
}

/// B and a new client must not wait for A's WORK.
fn others_are_served(b: &mut Peer, addr: SocketAddr, start: Instant) -> Check {
    let lab = b.lab;
    lab.hint(
        "Your server does not serve another client while it works for one.",
        "who waits for the delay of a WORK: one connection, or all?",
    );
    let word = lab.word(5);
    while start.elapsed() < ms(300) {
        b.exchange(word.as_bytes())?;
        thread::sleep(ms(50));
    }
    lab.connect_as(addr, "C: ")?.exchange(lab.word(5).as_bytes())?;
    if start.elapsed() > ms(700) {
        let expected = "replies for B and C while A's WORK runs";
        let failure = b.fail(expected, "they came after it");
        return Err(Failure { by_time: true, ..failure }.into());
    }
    Ok(())
}

const S6_11: Case = Case {
    id: "S6-11",
    title: "ignores a PONG that it did not ask for",
    does: "The checker sends a PONG with 8 bytes, and an ECHO behind it in the \
           same write; then two more PONGs, and an ECHO 50 ms later. It \
           expects the two replies and nothing else.",
    steps: from(6),
    rule: (6, 2),
    tags: &[Tag::Hostile],
    why: "A PONG may come late, when the server no longer waits for it, or \
          from a client that sends them without being asked. It harms nobody, \
          so the server need not answer, and must not end the connection.",
    hint: Hint {
        meaning: "Your server answered a PONG, or ended the connection, but a \
                  PONG is an answer itself.",
        look: "what your server does with kind 82 when no PING is open",
    },
    proof: Proof::Defects(&["pong-is-unknown"]),
    script: s6_11,
};

fn s6_11(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let pong = frame(PONG, &lab.bytes(8));
    let (a, b) = (lab.word(5), lab.word(6));
    client.send(&[&pong[..], &echo(a.as_bytes())].concat())?;
    client.hear(a.as_bytes())?;
    client.send(&pong.repeat(2))?;
    thread::sleep(ms(50));
    client.exchange(b.as_bytes())?;
    client.expect_nothing("after the answers")
}

const S6_12: Case = Case {
    id: "S6-12",
    title: "answers a WORK that it cannot do with ERROR 4",
    does: "The checker sends an ECHO and five bad WORKs in one write: no \
           payload, 3 bytes, delays of 10 001 and 4 294 967 295 ms, and one of \
           these with a text; then a WORK of 0 ms without a text. It expects \
           the reply, ERROR 4 five times, and the reply of kind 85 without a \
           payload, each within 3 s. To a WORK of 10 000 ms it expects no \
           answer for 300 ms.",
    steps: from(6),
    rule: (6, 4),
    tags: &[Tag::Hostile],
    why: "The first 4 bytes of a WORK are a number that a stranger chose. \
          Without a limit, that number keeps a task, a timer and a reply in \
          your server for 49 days. And a payload of 3 bytes has no such number \
          at all.",
    hint: Hint {
        meaning: "Your server did not check the delay of a WORK, or its size, \
                  before it used it.",
        look: "what your server does with the first 4 bytes of the payload: \
               are they there, and is the number at most 10 000?",
    },
    proof: Proof::Defects(&["any-delay-is-good", "short-work-ends"]),
    script: s6_12,
};

fn s6_12(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let word = lab.word(5);
    let bad = [
        frame(WORK, b""),
        frame(WORK, &[0, 0, 0]),
        work(10_001, b""),
        work(u32::MAX, b""),
        work(10_001, lab.word(6).as_bytes()),
    ];
    client.send(&[echo(word.as_bytes()), bad.concat()].concat())?;
    client.hear(word.as_bytes())?;
    for _ in &bad {
        client.expect_error(4)?;
    }
    client.send(&work(0, b""))?;
    client.expect(&done(b""), PATIENCE)?;
    client.send(&work(10_000, b"the longest"))?;
    let expected = "no answer yet: 10 000 ms are allowed";
    stays(&mut client, ms(300), expected)
}

const S6_13: Case = Case {
    id: "S6-13",
    title: "finishes a WORK for a client that has sent FIN",
    does: "With TCP_HEARTBEAT_MS=200, the checker sends an ECHO, a WORK of 900 \
           ms, and FIN. It expects both replies, then FIN, within 3 s. A PING \
           after the client's FIN is a warning.",
    steps: from(6),
    rule: (6, 1),
    tags: &[Tag::Timed, Tag::Starts, Tag::Closing],
    why: "After its FIN a client can send nothing more, so it cannot answer a \
          PING, and its silence means nothing. But it still reads, and waits \
          for the replies to what it sent before.",
    hint: Hint {
        meaning: "Your server gave up on a client that had ended its \
                  direction, but still waited for its replies.",
        look: "what your heartbeat does after EOF, and what your server still \
               owes then",
    },
    proof: Proof::Defects(&["dead-after-fin", "pings-after-fin"]),
    script: s6_13,
};

fn s6_13(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.answers_pings = false;
    let (a, b) = (lab.word(5), lab.word(6));
    let (a, b) = (a.as_bytes(), b.as_bytes());
    client.send(&[echo(a), work(900, b)].concat())?;
    client.fin();
    client.expect_all(&[reply(a), done(b)].concat())?;
    if client.pings() > 0 {
        let expected = "no PING after the client's FIN";
        let mut failure = client.fail(expected, "a PING");
        failure.meaning = "Your server asks a client that has ended its \
                           direction, and so can answer nothing any more."
            .into();
        failure.look = "what your heartbeat does after EOF".into();
        lab.warn(failure);
    }
    Ok(())
}

const S6_14: Case = Case {
    id: "S6-14",
    title: "does not take for silence what it does not read",
    does: "With TCP_HEARTBEAT_MS=200, TCP_WRITE_MS=3000 and TCP_FRAME_MS=3000, \
           the checker sends ECHOs of 60 000 bytes without reading, until \
           nothing moves; waits 1.2 s; then reads, sends the rest of the last \
           frame, and FIN. It expects all replies, in order. If the server \
           gives up on the client, that is a warning.",
    steps: from(6),
    rule: (6, 1),
    tags: TIMED,
    why: "A server that waits until a client takes its replies does not read \
          from it meanwhile, so it hears nothing, whatever the client says. \
          The client keeps the limit that counts now, TCP_WRITE_MS. The clock \
          of the heartbeat must stand still, as that of the frame does.",
    hint: Hint {
        meaning: "Your server read nothing while it waited for the client to \
                  take replies, and took that for the client's silence.",
        look: "which clock runs while your server writes",
    },
    proof: Proof::Defects(&["heartbeat-while-writing"]),
    script: s6_14,
};

fn s6_14(lab: &Lab) -> Check {
    lab.set("TCP_HEARTBEAT_MS", H);
    lab.set("TCP_WRITE_MS", 3000);
    lab.set("TCP_FRAME_MS", 3000);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.answers_pings = false; // it would be in the middle of a frame
    reads_late(&mut client, 1200);
    Ok(())
}

const S6_15: Case = Case {
    id: "S6-15",
    title: "keeps few PONGs, and few WORKs, for one client",
    does: "With TCP_WRITE_MS=600, the checker sends PINGs without end and \
           never reads. It expects that the server stops taking them before 64 \
           MiB, with less than 32 MiB more memory (on Linux), and closes \
           within 600 ms (plus 2 s) after the last byte has moved. Then it \
           sends WORKs of 10 s until nothing moves, on one connection with 60 \
           000 bytes each, on another one without any: it expects the same of \
           the memory, and an answer for a new client.",
    steps: from(6),
    rule: (6, 3),
    tags: &[Tag::Starts, Tag::Hostile, Tag::Heavy],
    why: "A PONG goes out at once and ahead of all replies, so it is easy to \
          give it a queue of its own, and to forget that this queue needs a \
          limit, too. A client that asks and asks, and never takes an answer, \
          then fills the server's memory. So does one that asks for work \
          faster than the work is done.",
    hint: Hint {
        meaning: "Your server waits without a limit for a client that takes no \
                  PONG, or keeps each PONG in memory until then.",
        look: "the limit of a `write`, and of the PONGs that wait for one",
    },
    proof: Proof::Defects(&[
        "pongs-without-limit",
        "works-without-limit",
        "no-write-limit",
    ]),
    script: s6_15,
};

fn s6_15(lab: &Lab) -> Check {
    lab.set("TCP_WRITE_MS", 600);
    let addr = lab.server()?;
    let small = narrow(lab, addr, LITTLE)?;
    let mut client = Peer::new(lab, small, "");
    let message = frame(PING, &lab.bytes(8)).repeat(5000);
    client.sends(&message);
    lab.note("sends PINGs and never reads");
    let memory = Memory::of(lab);
    closes_unread(&mut client, &message, || memory.is_small())?;
    lab.hint(
        "Your server reads on and on while a WORK runs, and keeps what it must \
         answer later.",
        "what limits the replies that wait behind a WORK",
    );
    for size in [60_000, 0] {
        let mut client = lab.connect(addr)?;
        let all = work(10_000, &lab.bytes(size)).repeat(MANY / (9 + size));
        client.sends(&all);
        let memory = Memory::of(lab);
        write_until_stalled(&mut client.stream, &all);
        let size = show::size(size);
        lab.note_instead(&format!("sends WORKs of {size} and 10 s"));
        memory.is_small()?;
    }
    served(lab, addr)
}

/// How many bytes of WORKs are sent, if the server takes them all.
const MANY: usize = 64 << 20;

/// How much memory the server used before.
pub struct Memory<'a> {
    lab: &'a Lab<'a>,
    before: u64,
}

/// How much more it may use for one client.
const MEMORY: u64 = 32 << 20;

impl<'a> Memory<'a> {
    pub fn of(lab: &'a Lab<'a>) -> Memory<'a> {
        Memory { lab, before: used(lab) }
    }

    pub fn is_small(&self) -> Check {
        if used(self.lab) < self.before + MEMORY {
            return Ok(());
        }
        let expected = "it stops reading when it has enough to answer";
        let actual = "its memory has grown by 32 MiB";
        let failure = self.lab.fail(expected, actual);
        let printed = Vec::new(); // it may be about the client before
        Err(Failure { is_sure: true, printed, ..failure }.into())
    }
}

fn used(lab: &Lab) -> u64 {
    lab.pids().iter().filter_map(|&pid| proc::resident(pid)).sum()
}

const S6_16: Case = Case {
    id: "S6-16",
    title: "finishes a WORK before it refuses what is behind it",
    does: "The checker sends a WORK of 300 ms and a length of 4 294 967 295 in \
           one write; on another connection a WORK of 300 ms, an ECHO, and a \
           length of 0. It expects the replies, in order, and then ERROR 1 or \
           2 within 1 s, and FIN; at the end an answer for a new client.",
    steps: from(6),
    rule: (6, 4),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::Closing],
    why: "The WORK was a good frame and came first, so the server owes its \
          reply, even if the next frame is broken. The mistake ends the \
          connection only when its turn has come.",
    hint: Hint {
        meaning: "Your server dropped the reply to a WORK when it found a bad \
                  length behind it, or never refused that length.",
        look: "what happens to replies that still wait when your server \
               refuses a frame",
    },
    proof: Proof::Defects(&["refusal-drops-work"]),
    script: s6_16,
};

fn s6_16(lab: &Lab) -> Check {
    let addr = lab.server()?;
    for (length, code) in [([0xff; 4], 1), ([0; 4], 2)] {
        let (a, b) = (lab.word(5), lab.word(7));
        let (a, b) = (a.as_bytes(), b.as_bytes());
        let mut client = lab.connect(addr)?;
        let (mut bytes, mut want) = (work(300, a), done(a));
        if code == 2 {
            bytes.extend(echo(b));
            want.extend(reply(b));
        }
        bytes.extend(length);
        client.send_anyway(&bytes);
        let start = Instant::now();
        client.expect(&want, PATIENCE)?;
        client.expect_fatal(code, start, AT_ONCE)?;
    }
    served(lab, addr)
}

/// All of them.
pub const CASES: &[Case] = &[
    S6_01, S6_02, S6_03, S6_04, S6_05, S6_06, S6_07, S6_08, S6_09, S6_10,
    S6_11, S6_12, S6_13, S6_14, S6_15, S6_16,
];

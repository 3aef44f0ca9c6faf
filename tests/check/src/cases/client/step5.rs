//! C5: a client's time limits, and what it makes of half an answer.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::case::{Case, Proof};
use crate::diagnosis::evidence::End;
use crate::harness::ended::Ended;
use crate::harness::lab::{AT_ONCE, Lab, SLACK, any_port};
use crate::harness::peer::Peer;
use crate::harness::stage::{START, Stage, quick, reply_to, words};
use crate::harness::talk::small_listener;
use crate::program::running::describe;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure, Stop};
use crate::wire::{ECHO, ERROR, frame, reply};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const C5_02: Case = Case {
    id: "C5-02",
    title: "gives up on a connect that is never answered",
    does: "The client's connect gets no answer at all: once with \
           TCP_CONNECT_MS=500 and TCP_ATTEMPTS=2, once with \
           TCP_CONNECT_MS=30000 and TCP_DEADLINE_MS=800. The checker expects \
           exit code 3 within 4 s, and nothing on stdout.",
    steps: from(5),
    rule: (5, 4),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::Linux],
    why: "A firewall drops the packets, or a machine in another network is \
          off, so the client gets no answer, not even a refusal. Without a \
          limit of your own, the client's kernel tries for about two minutes.",
    hint: Hint {
        meaning: "Your client leaves the connect to its kernel, which tries \
                  for about two minutes.",
        look: "the limit of a connect: TCP_CONNECT_MS",
    },
    proof: Proof::Defects(&["no-connect-limit"]),
    script: c5_02,
};

fn c5_02(lab: &Lab) -> Check {
    quick(lab, 2);
    let hole = BlackHole::dig()?;
    for (name, value) in [("TCP_CONNECT_MS", 500), ("TCP_DEADLINE_MS", 800)] {
        lab.set("TCP_CONNECT_MS", 30_000);
        lab.set(name, value);
        let client = lab.start(hole.addr, &["hi".to_owned()], None)?;
        lab.keep(client);
        lab.note(format!("nothing answers its connect, {name}={value}"));
        let ended = lab.finish(ms(4000), ms(4000))?;
        ended.code(lab, 3)?;
        ended.silent(lab)?;
    }
    Ok(())
}

/// An address that does not answer: on Linux a full queue of connections
/// ignores whoever knocks (listen(2)).
struct BlackHole {
    addr: SocketAddr,
    _queue: Socket,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    fn dig() -> Check<BlackHole> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None);
        let made = socket.and_then(|socket| {
            socket.bind(&any_port().into())?;
            socket.listen(0)?;
            Ok((socket.local_addr()?.as_socket(), socket))
        });
        if let Ok((Some(addr), queue)) = made {
            let mut waiting = Vec::new();
            for _ in 0..8 {
                match TcpStream::connect_timeout(&addr, ms(150)) {
                    Ok(stream) => waiting.push(stream),
                    Err(_) => {
                        let (_queue, _waiting) = (queue, waiting);
                        return Ok(BlackHole { addr, _queue, _waiting });
                    }
                }
            }
        }
        let why = "no address could be made that does not answer";
        Err(Box::new(Stop::Unknown(why.into())))
    }
}

const C5_03: Case = Case {
    id: "C5-03",
    title: "gives up on a server that never answers",
    does: "With TCP_REQUEST_MS=400 and TCP_ATTEMPTS=2, the checker reads each \
           request and never answers. It expects that the client closes each \
           connection after 300 to 400 ms (its clock starts a little before \
           ours) and makes no third attempt; then exit code 4 within 1 s, and \
           nothing on stdout.",
    steps: from(5),
    rule: (5, 4),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "The client has connected and asked, and then it hears nothing. The \
          server may have done the work, or not, so the outcome is unknown. \
          The client must also give up the connection, because it would take a \
          late reply for the reply to its next request.",
    hint: Hint {
        meaning: "Your client waits for a reply without a limit, or it keeps a \
                  connection that timed out.",
        look: "the limit of an attempt, TCP_REQUEST_MS, and what your client \
               closes after it",
    },
    proof: Proof::Defects(&["no-request-limit", "keeps-connection"]),
    script: c5_03,
};

/// The limit of an attempt that these cases set, in ms.
const REQUEST: u64 = 400;

fn c5_03(lab: &Lab) -> Check {
    quick(lab, 2);
    lab.set("TCP_REQUEST_MS", REQUEST);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    for limit in [START, AT_ONCE] {
        let mut client = stage.accept(limit)?;
        let start = Instant::now(); // what follows takes a while
        if limit == START {
            lab.open_window();
        }
        never_answer(&stage, &mut client, &text, start)?;
        lab.note("not answered; it closed");
    }
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.code(lab, 4)?;
    ended.silent(lab)
}

/// The client must close when its time is up, and not before.
fn never_answer(
    stage: &Stage,
    client: &mut Peer,
    text: &str,
    start: Instant,
) -> Check {
    client.request(text)?;
    // Its clock may have started before ours: when it sent.
    let early = start + ms(REQUEST * 3 / 4);
    if client.stirs_before(early) {
        return match client.how_it_ended(Instant::now() + ms(1))? {
            End::Fin => still_waits(stage, early),
            _ => Err(gave_up_early(stage.lab).into()),
        };
    }
    if client.how_it_ended(start + ms(REQUEST) + SLACK)? == End::Open {
        let expected = format!("it closes {REQUEST} ms after its request");
        let failure = stage.lab.fail(expected, "still open");
        return Err(Failure { by_time: true, ..failure }.into());
    }
    Ok(())
}

/// It has ended its direction only, and may do so: it has no more to ask.
/// That it waits shows when it neither ends nor asks again.
fn still_waits(stage: &Stage, until: Instant) -> Check {
    while Instant::now() < until {
        let has_come = stage.accept_within(ms(5)).is_some();
        if has_come || stage.lab.client_ended().is_some() {
            return Err(gave_up_early(stage.lab).into());
        }
    }
    Ok(())
}

fn gave_up_early(lab: &Lab) -> Failure {
    let expected = format!("it waits {REQUEST} ms for the reply");
    lab.fail(expected, "it gave up before that")
}

const C5_07: Case = Case {
    id: "C5-07",
    title: "takes a reply that comes byte by byte",
    does: "The checker answers the request with the right reply, one byte \
           every 3 ms, then FIN. It expects its text on stdout and exit code 0 \
           within 1 s, and no second connection.",
    steps: from(5),
    rule: (4, 1),
    tags: &[Tag::Timed, Tag::Starts],
    why: "A slow server is not a broken one. The limit is for the whole reply, \
          and this one comes well within it, one byte in each packet.",
    hint: Hint {
        meaning: "Your client takes one `read` for one reply.",
        look: "what your client does when a `read` brings only a part of a \
               reply",
    },
    proof: Proof::Defects(&["reply-in-one-read"]),
    script: c5_07,
};

fn c5_07(lab: &Lab) -> Check {
    quick(lab, 2);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    drip(&mut client.stream, &reply_to(lab, &text));
    lab.note("answered byte by byte");
    client.fin();
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&text])
}

/// Sends slowly, byte by byte.
pub fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        let _ = stream.write_all(&[*byte]);
        std::thread::sleep(Duration::from_millis(3));
    }
}

const C5_08: Case = Case {
    id: "C5-08",
    title: "a server that breaks the rules: exit code 5 at once",
    does: "With TCP_ATTEMPTS=5, the checker answers the request with `ff ff ff \
           ff`, and in further runs with a length of 0, an ERROR without a \
           code, an ERROR 99, frames of kind 01 and 55 (hex), an HTTP answer, \
           and a reply with another text of the same length and with a longer \
           one. It expects each time exit code 5 within 1 s, no second \
           connection, and nothing on stdout.",
    steps: from(5),
    rule: (5, 6),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "The server broke the protocol, so you cannot know what it did with \
          the request, and another attempt would only get more of the same. \
          That is why the client reports the error instead of asking again.",
    hint: Hint {
        meaning: "Your client believed the length, or repeated the request.",
        look: "the check of a reply's length, and where its error goes",
    },
    proof: Proof::Defects(&[
        "retries-broken-protocol",
        "believes-length",
        "believes-any-text",
    ]),
    script: c5_08,
};

/// Makes bytes from a request's text, and says what they are.
type Answer = fn(&str) -> (Vec<u8>, &'static str);

fn c5_08(lab: &Lab) -> Check {
    quick(lab, 5);
    breaks_the_rules(
        lab,
        &[
            |_| (vec![0xff; 4], "answered ff ff ff ff"),
            |_| (vec![0; 4], "answered a length of 0"),
            |_| (frame(ERROR, b""), "answered an ERROR without a code"),
            |_| (frame(ERROR, &[99, b'?']), "answered ERROR(99)"),
            |text| (frame(ECHO, text.as_bytes()), "answered with kind 01"),
            |_| (frame(0x55, b"?"), "answered with kind 55"),
            |_| (b"HTTP/1.1 400 Bad\r\n\r\n".to_vec(), "answered HTTP"),
        ],
    )?;
    lab.hint(
        "Your client took another text for the answer, but an ECHO returns \
         exactly what your client sent.",
        "what your client compares a reply with",
    );
    breaks_the_rules(
        lab,
        &[
            |text| {
                let other = text.chars().rev().collect::<String>() + "?";
                let other = &other.as_bytes()[1..];
                (reply(other), "answered another text of the same length")
            },
            |_| (reply(&[b'x'; 60_000]), "answered 60 000 letters"),
        ],
    )
}

/// Each of these answers breaks the rules, and that is the end.
fn breaks_the_rules(lab: &Lab, answers: &[Answer]) -> Check {
    for bytes in answers {
        let stage = Stage::open(lab)?;
        let [text] = words(lab);
        stage.start(&[&text])?;
        let mut client = stage.first(&text)?;
        let (bytes, what) = bytes(&text);
        client.send_anyway(&bytes);
        lab.note_instead(what);
        let ended = stage.finish_alone(AT_ONCE)?;
        ended.code(lab, 5)?;
        ended.silent(lab)?;
    }
    Ok(())
}

const C5_09: Case = Case {
    id: "C5-09",
    title: "prints nothing of a reply that was cut short",
    does: "With TCP_ATTEMPTS=3, the checker answers the attempts with the \
           reply without its last 2 bytes, with its header only, and with 1 \
           byte of it; each time FIN follows. It expects the next attempt \
           within 1 s, then exit code 4 within 1 s, and nothing on stdout.",
    steps: from(5),
    rule: (5, 8),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "Half an answer looks like an answer, and a script that reads stdout \
          cannot tell the difference. So the client prints nothing until the \
          frame is whole, and since the outcome is unknown, it ends with exit \
          code 4.",
    hint: Hint {
        meaning: "Your client took a part of a reply for a reply, or the \
                  server's early end for a normal end.",
        look: "what your client does at EOF inside a frame",
    },
    proof: Proof::Defects(&["prints-half", "cut-is-success"]),
    script: c5_09,
};

fn c5_09(lab: &Lab) -> Check {
    quick(lab, 3);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    let reply = reply(text.as_bytes());
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    for size in [reply.len() - 2, 5, 1] {
        if size < reply.len() - 2 {
            client = stage.next(&text, AT_ONCE)?;
        }
        client.send_anyway(&reply[..size]);
        client.fin();
        lab.note(format!("answered {} of {} bytes, FIN", size, reply.len()));
    }
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.silent(lab)?;
    ended.code(lab, 4)
}

const C5_10: Case = Case {
    id: "C5-10",
    title: "keeps its deadline, whatever the attempts",
    does: "With TCP_DEADLINE_MS=1200, TCP_ATTEMPTS=50 and waits of at most 20 \
           ms, the checker never answers. It expects exit code 4 within 1.2 s \
           of the first request, and nothing on stdout: once with \
           TCP_REQUEST_MS=200, and once with 5000.",
    steps: from(5),
    rule: (5, 4),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "Fifty attempts of 200 ms take ten seconds, but the caller wants an \
          answer or a no by the deadline. That is why the deadline counts all \
          attempts and waits, and cuts an attempt that is still running.",
    hint: Hint {
        meaning: "Your client does not check the deadline, or it does not \
                  check it inside an attempt.",
        look: "where your client checks TCP_DEADLINE_MS: in attempts, and in \
               waits?",
    },
    proof: Proof::Defects(&["no-deadline", "deadline-between-attempts"]),
    script: c5_10,
};

const DEADLINE: u64 = 1200;

fn c5_10(lab: &Lab) -> Check {
    lab.set("TCP_DEADLINE_MS", DEADLINE);
    lab.set("TCP_ATTEMPTS", 50);
    lab.set("TCP_BACKOFF_BASE_MS", 10);
    lab.set("TCP_BACKOFF_CAP_MS", 20);
    for request in [200, 5000] {
        lab.set("TCP_REQUEST_MS", request);
        let stage = Stage::open(lab)?;
        let [text] = words(lab);
        stage.start(&[&text])?;
        let mut held = vec![stage.first(&text)?.stream];
        let start = Instant::now();
        lab.note(format!("never answers, TCP_REQUEST_MS={request}"));
        let limit = start + ms(DEADLINE) + SLACK;
        while lab.client_ended().is_none() && Instant::now() < limit {
            held.extend(stage.accept_within(ms(10)));
        }
        let ended = lab.finish(Duration::ZERO, ms(DEADLINE))?;
        ended.code(lab, 4)?;
        ended.silent(lab)?;
    }
    Ok(())
}

const C5_16: Case = Case {
    id: "C5-16",
    title: "gives a whole reply one limit, not each byte of it",
    does: "With TCP_REQUEST_MS=500 and TCP_ATTEMPTS=2, the checker sends the \
           reply to the first attempt a byte every 100 ms, for 4 s, and \
           answers the second attempt at once. It expects the second attempt \
           within 550 ms of the first request, its text on stdout once, and \
           exit code 0. In a second run, with TCP_DEADLINE_MS=1000 and \
           TCP_REQUEST_MS=20000, it expects exit code 4 within 1 s.",
    steps: from(5),
    rule: (5, 4),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "A limit for each read starts again with each byte. A server that \
          sends a byte now and then keeps such a client waiting for as long as \
          it likes, and the deadline passes unnoticed. So the limit must be \
          for the whole reply.",
    hint: Hint {
        meaning: "Your client starts the limit again with each byte that \
                  comes, so it limits one `read` and not the whole reply.",
        look: "what your client compares the clock with before each `read`",
    },
    proof: Proof::Defects(&["per-read-limit"]),
    script: c5_16,
};

fn c5_16(lab: &Lab) -> Check {
    quick(lab, 2);
    lab.set("TCP_REQUEST_MS", 500);
    let stage = Stage::open(lab)?;
    let text = lab.word(40);
    stage.start(&[&text])?;
    let mut client = stage.accept(START)?;
    let start = Instant::now(); // what follows takes a while
    lab.open_window();
    client.request(&text)?;
    let late = start + ms(550) + SLACK;
    let Some(next) = drip_until(&stage, &mut client, &text, late) else {
        let expected = "a second attempt, 550 ms after the first at the latest";
        let failure = lab.fail(expected, "it waits for more bytes");
        return Err(Failure { by_time: true, ..failure }.into());
    };
    let mut next = Peer::new(lab, next, "");
    next.request(&text)?;
    client.send_anyway(&reply(text.as_bytes())); // too late, and elsewhere
    next.send_anyway(&reply(text.as_bytes()));
    next.fin();
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&text])?;
    past_the_deadline(lab)
}

/// Sends the reply byte by byte, until the client comes again or ends.
fn drip_until(
    stage: &Stage,
    client: &mut Peer,
    text: &str,
    until: Instant,
) -> Option<TcpStream> {
    client.lab.note("answers a byte every 100 ms");
    for byte in reply(text.as_bytes()) {
        let _ = client.stream.write_all(&[byte]);
        let next = stage.accept_within(ms(100));
        let is_over = client.lab.client_ended().is_some();
        if next.is_some() || is_over || Instant::now() > until {
            return next;
        }
    }
    None
}

fn past_the_deadline(lab: &Lab) -> Check {
    lab.set("TCP_REQUEST_MS", 20_000);
    lab.set("TCP_DEADLINE_MS", 1000);
    let stage = Stage::open(lab)?;
    let text = lab.word(40);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    let start = Instant::now();
    lab.note_instead("TCP_DEADLINE_MS=1000");
    let late = start + ms(1000) + SLACK;
    drip_until(&stage, &mut client, &text, late);
    let ended = lab.finish(Duration::ZERO, ms(1000))?;
    ended.code(lab, 4)?;
    ended.silent(lab)
}

const C5_24: Case = Case {
    id: "C5-24",
    title: "keeps its limits when the server does not read",
    does: "A TEXT has 60 000 letters; the checker's server has a small receive \
           buffer, and never reads. With TCP_REQUEST_MS=400 and TCP_ATTEMPTS=2 \
           it says nothing: the checker expects exit code 4 within 1 s, and \
           nothing on stdout. With TCP_DEADLINE_MS=1500 and two TEXTs it sends \
           both replies at once, before it has read a byte: the checker \
           expects that the client ends within 1.5 s, with exit code 4 or 5, \
           or with both TEXTs on stdout and exit code 0.",
    steps: from(5),
    rule: (5, 4),
    tags: &[Tag::Timed, Tag::Starts, Tag::Hostile],
    why: "A write waits when the other end does not read, and most programs \
          limit only their reads. A server that hangs, or a hostile one, then \
          holds the client forever, whatever the client's deadline says. That \
          is why the limit of an attempt starts with the first byte that the \
          client sends.",
    hint: Hint {
        meaning: "Your client waits in a `write` that has no limit, because \
                  the server does not read and its buffers are full.",
        look: "the limit of a `write`, and what the deadline interrupts",
    },
    proof: Proof::Defects(&["no-send-limit"]),
    script: c5_24,
};

fn c5_24(lab: &Lab) -> Check {
    quick(lab, 2);
    let texts: [String; 2] = std::array::from_fn(|_| lab.word(60_000));
    let texts = texts.each_ref().map(String::as_str);
    lab.set("TCP_REQUEST_MS", 400);
    let ended = never_reads(lab, &texts[..1], b"", 1000)?;
    ended.code(lab, 4)?;
    ended.silent(lab)?;
    lab.set("TCP_REQUEST_MS", 20_000);
    lab.set("TCP_DEADLINE_MS", 1500);
    let (ended, texts) = answers_unread(lab, &texts)?;
    match ended.status.code() {
        Some(4 | 5) => Ok(()),
        Some(0) => ended.printed_lines(lab, texts),
        _ => {
            let expected = "exit code 4 (outcome unknown), or 5";
            let failure = lab.fail(expected, describe(ended.status));
            Err(failure.into())
        }
    }
}

/// A server that answers all TEXTs before it has read any. Returns those that
/// the client took: all, or one.
fn answers_unread<'t, 'a>(
    lab: &Lab,
    texts: &'t [&'a str],
) -> Check<(Ended, &'t [&'a str])> {
    let replies = |texts: &[&str]| -> Vec<u8> {
        texts.iter().flat_map(|text| reply(text.as_bytes())).collect()
    };
    match never_reads(lab, texts, &replies(texts), 1500) {
        Err(stop) if matches!(*stop, Stop::Skip(_)) => {
            let one = &texts[..1];
            Ok((never_reads(lab, one, &replies(one), 1500)?, one))
        }
        ended => Ok((ended?, texts)),
    }
}

/// A server that never reads, and sends these bytes to each client at once.
fn never_reads(
    lab: &Lab,
    texts: &[&str],
    bytes: &[u8],
    limit: u64,
) -> Check<Ended> {
    let stage = Stage::on(lab, small_listener()?)?;
    stage.start(texts)?;
    let first = stage.first_connection()?;
    lab.note_instead(match bytes {
        [] => "reads nothing, says nothing",
        _ => "reads nothing, and sends both replies at once",
    });
    let until = Instant::now() + ms(limit) + SLACK;
    let mut clients = vec![(first.stream, 0)];
    while lab.client_ended().is_none() && Instant::now() < until {
        clients.extend(stage.accept_within(ms(10)).map(|stream| (stream, 0)));
        for (stream, sent) in &mut clients {
            let _ = stream.set_nonblocking(true);
            *sent += stream.write(&bytes[*sent..]).unwrap_or(0);
        }
    }
    lab.finish(Duration::ZERO, ms(limit))
}

/// All of them.
pub const CASES: &[Case] =
    &[C5_02, C5_03, C5_07, C5_08, C5_09, C5_10, C5_16, C5_24];

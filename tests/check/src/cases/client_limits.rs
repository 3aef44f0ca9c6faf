//! C5: a client's time limits, and what it makes of half an answer.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::case::{Check, Failure, Stop};
use crate::cases::client_retry::drip;
use crate::harness::lab::{Lab, SLACK, any_port};
use crate::harness::peer::{End, Peer};
use crate::harness::stage::{AT_ONCE, START, Stage, quick, reply_to, words};
use crate::wire::{ECHO, ERROR, frame};

mod table;

pub use table::CASES;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

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

/// Makes bytes from a request's text, and says what they are.
type Answer = fn(&str) -> (Vec<u8>, &'static str);

fn c5_08(lab: &Lab) -> Check {
    quick(lab, 5);
    let bad: [Answer; 4] = [
        |_| (vec![0xff; 4], "answered ff ff ff ff"),
        |_| (vec![0; 4], "answered a length of 0"),
        |_| (frame(ERROR, b""), "answered an ERROR without a code"),
        |text| (frame(ECHO, text.as_bytes()), "answered with kind 01"),
    ];
    for bytes in bad {
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
    another_text(lab)
}

/// Not each client compares: so this is a warning.
fn another_text(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let [text, other] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    client.send_anyway(&reply_to(lab, &other));
    client.fin();
    lab.note_instead("answered with another text of the same length");
    let ended = lab.finish_within(START)?;
    if ended.status.success() {
        let mut failure = lab.fail("exit code 5, nothing on stdout", "code 0");
        failure.meaning = "An ECHO returns what was sent. Your client took \
                           another text for the answer."
            .into();
        failure.look = "what you compare a reply with".into();
        lab.warn(failure);
    }
    Ok(())
}

fn c5_09(lab: &Lab) -> Check {
    quick(lab, 2);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    for attempt in 1..=2 {
        let reply = reply_to(lab, &text);
        client.send_anyway(&reply[..reply.len() - 2]);
        client.fin();
        lab.note("answered all but 2 bytes, then FIN");
        if attempt == 1 {
            client = stage.next(&text, AT_ONCE)?;
        }
    }
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.silent(lab)?;
    ended.code(lab, 4)
}

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

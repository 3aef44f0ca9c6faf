//! C5: a client's time limits, and what it makes of half an answer.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::case::{Check, Stop};
use crate::cases::client_retry::drip;
use crate::cases::stage::{AT_ONCE, START, Stage, quick, reply_to, words};
use crate::lab::{Lab, SLACK, any_port};
use crate::peer::Peer;

mod table;

pub use table::CASES;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn c5_02(lab: &Lab) -> Check {
    quick(lab, 2);
    lab.set("TCP_CONNECT_MS", 500);
    let hole = BlackHole::dig()?;
    let client = lab.start(hole.addr, &["hi".to_owned()], None)?;
    lab.keep(client);
    lab.note("nothing answers its connect");
    let ended = lab.finish(ms(4000), ms(4000))?;
    ended.code(lab, 3)?;
    ended.silent(lab)
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
        if limit == START {
            lab.open_window();
        }
        never_answer(lab, &mut client, &text)?;
        lab.note("not answered; it closed");
    }
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.code(lab, 4)?;
    ended.silent(lab)
}

/// The client must close when its time is up, and not before.
fn never_answer(lab: &Lab, client: &mut Peer, text: &str) -> Check {
    let start = Instant::now();
    client.request(text)?;
    if client.stirs_before(start + ms(REQUEST * 9 / 10))
        && client.is_closed(Instant::now() + ms(1))?
    {
        let expected = format!("it waits {REQUEST} ms for the reply");
        return Err(lab.fail(expected, "it closed before that").into());
    }
    if !client.is_closed(start + ms(REQUEST) + SLACK)? {
        let expected = format!("it closes {REQUEST} ms after its request");
        let mut failure = lab.fail(expected, "still open");
        failure.by_time = true;
        return Err(failure.into());
    }
    Ok(())
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

fn c5_08(lab: &Lab) -> Check {
    quick(lab, 5);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    client.send_anyway(&[0xff; 4]);
    lab.note("answered ff ff ff ff");
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.code(lab, 5)?;
    ended.silent(lab)
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

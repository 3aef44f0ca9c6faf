//! S8: how much a server takes on.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::cases::server::step6::Memory;
use crate::diagnosis::evidence::End;
use crate::harness::lab::{AT_ONCE, BULK, Lab, PATIENCE};
use crate::harness::peer::Peer;
use crate::harness::resources::{WATCHED, stays_calm};
use crate::harness::visit::{served, write_until_stalled};
use crate::os;
use crate::program::proc;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure};
use crate::wire::{echo, reply};

const FAULT: &[Tag] = &[Tag::Starts, Tag::Hostile];

/// How many connections most cases allow.
const MOST: usize = 8;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const S8_01: Case = Case {
    id: "S8-01",
    title: "turns away one connection too many with ERROR 6",
    does: "With TCP_MAX_CONNS=8, eight clients connect and exchange an ECHO \
           each. A ninth one connects and sends nothing, and a tenth one sends \
           an ECHO at once. The checker expects for both of them ERROR 6 \
           within 1 s, then FIN, and that the eight exchange one more ECHO. \
           When one of the eight has left, the next client must be served \
           within 3 s.",
    steps: from(8),
    rule: (8, 1),
    tags: FAULT,
    why: "Each connection costs memory and a descriptor. A server that takes \
          all of them serves ever more clients ever worse, until it dies, and \
          loses those that it served well. One that says no at once keeps \
          them, and the client that was turned away knows that nothing was \
          executed, and may try again.",
    hint: Hint {
        meaning: "Your server does not turn the ninth client away, although \
                  TCP_MAX_CONNS is 8.",
        look: "what your server does after `accept`, and whether it counts",
    },
    proof: Proof::Defects(&[
        "no-connection-limit",
        "limit-lets-one-more",
        "limit-is-one-less",
        "says-no-late",
        "full-is-silent",
    ]),
    script: s8_01,
};

fn s8_01(lab: &Lab) -> Check {
    let addr = limited(lab)?;
    let mut clients = full(lab, addr)?;
    lab.note_instead("8 clients are connected");
    let mut ninth = lab.connect_as(addr, "ninth: ")?;
    ninth.expect_fatal(6, Instant::now(), AT_ONCE)?;
    let mut tenth = lab.connect_as(addr, "tenth: ")?;
    tenth.send_anyway(&echo(lab.word(5).as_bytes()));
    tenth.expect_fatal(6, Instant::now(), AT_ONCE)?;
    lab.hint(
        "Your server no longer serves a client that it had accepted before it \
         was full.",
        "what else happens when your server turns a client away",
    );
    for client in &mut clients {
        client.exchange(lab.word(5).as_bytes())?;
    }
    drop(clients.pop());
    lab.note_instead("two were turned away, and one of the 8 left");
    clients.push(gets_in(lab, addr)?);
    Ok(())
}

/// A server that allows 8 connections.
fn limited(lab: &Lab) -> Check<SocketAddr> {
    lab.set("TCP_MAX_CONNS", MOST as u64);
    lab.server()
}

/// As many clients as are allowed, each of them served.
fn full<'a>(lab: &'a Lab<'a>, addr: SocketAddr) -> Check<Vec<Peer<'a>>> {
    lab.hint(
        "Your server turned a client away, although fewer than TCP_MAX_CONNS \
         were connected.",
        "what your server compares with its limit, and when it counts",
    );
    let mut clients = Vec::new();
    for _ in 0..MOST {
        let mut client = lab.connect(addr)?;
        client.exchange(lab.word(5).as_bytes())?;
        clients.push(client);
    }
    lab.own_hint();
    Ok(clients)
}

const STUCK: Hint = Hint {
    meaning: "Your server still counts a connection that has ended, so it \
              serves fewer and fewer clients, and at last none.",
    look: "what gives a slot back: is it done on each way out, even after an \
           error?",
};

/// A new client must be served, as soon as the server has noticed that another
/// one has left.
fn gets_in<'a>(lab: &'a Lab<'a>, addr: SocketAddr) -> Check<Peer<'a>> {
    lab.hint(STUCK.meaning, STUCK.look);
    let until = lab.until(PATIENCE);
    let word = lab.word(5);
    loop {
        let mut client = lab.connect_as(addr, "next: ")?;
        client.send_anyway(&echo(word.as_bytes()));
        let got = client.read(reply(word.as_bytes()).len(), until);
        if got.bytes == reply(word.as_bytes()) {
            lab.own_hint();
            return Ok(client);
        }
        let is_mute = got.bytes.is_empty() && got.end == End::Open;
        if Instant::now() > until || is_mute {
            let expected = "service within 3 s, because others have left";
            let mut failure = client.fail(expected, "it was turned away");
            failure.by_time = true;
            return Err(failure.into());
        }
        thread::sleep(ms(20));
    }
}

const S8_02: Case = Case {
    id: "S8-02",
    title: "gets each slot back, however a connection ends",
    does: "With TCP_MAX_CONNS=8, rounds of eight clients connect, exchange an \
           ECHO, and leave: by FIN, by a length of 0, by a reset (RST), and by \
           a reset while the server's reply waits. Before they leave in the \
           first round, 20 more are turned away. After each round the checker \
           expects that eight new clients are served, the first within 3 s.",
    steps: from(8),
    rule: (8, 1),
    tags: FAULT,
    why: "A slot that is not given back is lost until the server is started \
          again. If one way out of a hundred forgets it, the server works for \
          days, and then turns everybody away although it has nothing to do. \
          Those that were turned away never had a slot, so they must not give \
          one back either.",
    hint: STUCK,
    proof: Proof::Defects(&[
        "slot-lost-at-reset",
        "slot-lost-at-refusal",
        "slot-lost-when-full",
    ]),
    script: s8_02,
};

fn s8_02(lab: &Lab) -> Check {
    let addr = limited(lab)?;
    let mut clients = full(lab, addr)?;
    for _ in 0..20 {
        let mut other = lab.connect(addr)?;
        other.expect_fatal(6, Instant::now(), AT_ONCE)?;
    }
    for way in ["FIN", "a length of 0", "RST", "RST while a reply waits"] {
        for client in clients.drain(..) {
            leave(client, way);
        }
        lab.note_instead(&format!("8 clients left by {way}"));
        for _ in 0..MOST {
            clients.push(gets_in(lab, addr)?);
        }
    }
    let mut ninth = lab.connect_as(addr, "ninth: ")?;
    ninth.expect_fatal(6, Instant::now(), AT_ONCE)
}

fn leave(mut client: Peer, way: &str) {
    match way {
        "FIN" => client.fin(),
        "a length of 0" => {
            client.send_anyway(&[0; 4]);
            client.read(1, Instant::now() + ms(100));
        }
        "RST" => client.reset(),
        _ => {
            let request = echo(&[b'x'; 60_000]);
            let _ = client.stream.set_nonblocking(true);
            client.send_anyway(&request.repeat(20));
            let _ = client.stream.set_nonblocking(false);
            client.reset();
        }
    }
}

const S8_03: Case = Case {
    id: "S8-03",
    title: "does not read from a client that does not read",
    does: "A client sends ECHOs of 60 000 bytes and never reads, until nothing \
           has moved for 300 ms. The checker expects that the server has taken \
           less than 64 MiB, that its memory has grown by less than 32 MiB \
           (on Linux), and that another client is served within 3 s.",
    steps: from(8),
    rule: (8, 2),
    tags: FAULT,
    why: "Whoever sends and does not read makes the server work and keep the \
          results. If the server stops reading, the kernel's buffers fill up, \
          and in the end the client's own `write` waits: the pressure goes \
          back to where it comes from.",
    hint: Hint {
        meaning: "Your server goes on reading although nobody takes its \
                  replies, and keeps them in memory.",
        look: "what limits the replies that wait to be written, and what your \
               server does when they are too many",
    },
    proof: Proof::Defects(&["keeps-all-replies"]),
    script: s8_03,
};

fn s8_03(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect_as(addr, "A: ")?;
    client.exchange(b"ready")?;
    let memory = Memory::of(lab);
    let all = echo(&lab.bytes(60_000)).repeat(1120); // 67 MB
    client.sends(&all);
    let taken = write_until_stalled(&mut client.stream, &all);
    lab.note_instead("A sent until nothing moved, and never read");
    if taken >= 64 << 20 {
        let expected = "it stops reading when nobody takes its replies";
        return Err(client.fail(expected, "it took 64 MB").into());
    }
    memory.is_small()?;
    served(lab, addr)
}

const S8_04: Case = Case {
    id: "S8-04",
    title: "loses no reply to a slow reader",
    does: "A client sends 150 ECHOs of 60 000 random bytes, as fast as the \
           server takes them, and FIN; it begins to read 300 ms later, and \
           pauses for 5 ms after each 256 KB. The checker expects all replies, \
           in order, and FIN.",
    steps: from(8),
    rule: (8, 2),
    tags: FAULT,
    why: "A server that stops reading for a while has frames in three places: \
          in its own buffer, in the kernel's, and still with the client. When \
          the client takes its replies at last, the server carries on where it \
          was, and nothing is missing.",
    hint: Hint {
        meaning: "Your server stopped reading, as it should, but it lost some \
                  bytes when it went on, or it gave up on a client that reads.",
        look: "what a `write` does when it cannot take all bytes at once, and \
               where the rest stays",
    },
    proof: Proof::Defects(&["forgets-partial-write"]),
    script: s8_04,
};

fn s8_04(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let payloads: Vec<Vec<u8>> = (0..150).map(|_| lab.bytes(60_000)).collect();
    let all: Vec<u8> = payloads.iter().flat_map(|p| echo(p)).collect();
    let want: Vec<u8> = payloads.iter().flat_map(|p| reply(p)).collect();
    client.sends(&all);
    let got = thread::scope(|scope| {
        if let Ok(writer) = client.stream.try_clone() {
            scope.spawn(move || send_all(writer, &all));
        }
        let got = read_with_pauses(&mut client, want.len());
        let _ = client.stream.shutdown(Shutdown::Write); // ends the writer
        got
    });
    lab.note_instead("sent 9 MB, and read slowly");
    let end = client.read(1, lab.until(PATIENCE));
    if got == want && end.bytes.is_empty() && end.end == End::Fin {
        return Ok(());
    }
    let whole = want.chunks(60_005).zip(got.chunks(60_005));
    let whole = whole.take_while(|(want, got)| want == got).count();
    let is_cut = want.starts_with(&got);
    let actual = match is_cut {
        true => format!("{whole} replies as they should be"),
        false => "after some replies, bytes that are none".to_owned(),
    };
    let by_time = end.end == End::Open && is_cut;
    let failure = client.fail("150 replies, in order, and FIN", &actual);
    Err(Failure { by_time, ..failure }.into())
}

fn read_with_pauses(client: &mut Peer, size: usize) -> Vec<u8> {
    let lab = client.lab;
    thread::sleep(ms(300));
    let mut got = Vec::new();
    while got.len() < size {
        let part = client.read(256 << 10, lab.until(PATIENCE));
        got.extend(part.bytes);
        if part.end != End::Open || lab.left().is_zero() {
            break;
        }
        thread::sleep(ms(5));
    }
    got
}

fn send_all(mut writer: TcpStream, all: &[u8]) {
    let _ = writer.set_write_timeout(Some(BULK));
    let _ = std::io::Write::write_all(&mut writer, all);
    let _ = writer.shutdown(Shutdown::Write);
}

const S8_05: Case = Case {
    id: "S8-05",
    title: "serves again 2 s after it had no descriptor left",
    does: "One client is connected; then the server may have 40 descriptors, \
           or 10 more than it has, and 80 clients connect. The checker expects \
           that the server still runs, uses less than 15 % of a core (75 ms in \
           0.5 s), and answers the first client. When the 80 have left, it \
           must answer a new client within 2 s.",
    steps: from(8),
    rule: (8, 3),
    tags: &[Tag::Linux, Tag::Starts, Tag::Hostile, Tag::Closing, Tag::Ending],
    why: "TCP_MAX_CONNS is 1024, but the kernel may allow fewer descriptors, \
          and the journal and the standard streams need some, too. So the \
          limit that counts can be another one than you have set, and the \
          server must live through it.",
    hint: Hint {
        meaning: "When `accept` fails, your server ends, spins, or takes long \
                  to accept again.",
        look: "what your server does after an error of `accept`, and how long \
               it waits",
    },
    proof: Proof::Defects(&[
        "spins-at-limit",
        "dies-at-limit",
        "sleeps-at-limit",
    ]),
    script: s8_05,
};

fn s8_05(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut first = lab.connect_as(addr, "first: ")?;
    first.exchange(b"ready")?;
    for pid in lab.pids() {
        let open = proc::descriptors(&[pid]);
        os::limit_descriptors(pid, (open + 10).max(40));
    }
    let crowd: Vec<TcpStream> = (0..80)
        .flat_map(|_| TcpStream::connect_timeout(&addr, PATIENCE))
        .collect();
    lab.note_instead("40 descriptors, 80 more clients");
    thread::sleep(WATCHED);
    lab.lives_on()?;
    stays_calm(lab, "at its limit it waits, with less than 15 % of a core")?;
    first.exchange(lab.word(5).as_bytes())?;
    drop(crowd);
    let left = Instant::now();
    lab.note_instead("40 descriptors, 80 clients came and left");
    let mut next = lab.connect_as(addr, "next: ")?;
    let word = lab.word(5);
    next.say(word.as_bytes())?;
    let rest = (left + ms(2000)).saturating_duration_since(Instant::now());
    next.expect(&reply(word.as_bytes()), rest + ms(250))
}

/// All of them.
pub const CASES: &[Case] = &[S8_01, S8_02, S8_03, S8_04, S8_05];

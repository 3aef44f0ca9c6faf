//! C1 to C4: a client that sends, receives, and checks what it gets.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::case::{Check, Hint, Stop};
use crate::diagnosis::show;
use crate::harness::lab::{Lab, any_port};
use crate::harness::peer::{End, Got, Peer};
use crate::harness::stage::{AT_ONCE, START, Stage, words};
use crate::wire;

mod table;

pub use table::CASES;

fn c1_01(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let text = format!("Hello, {}!", lab.word(6));
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    expect_fin(lab, &mut client)?;
    let answer = format!("Hello,\n{}!", lab.word(7));
    client.sends(answer.as_bytes());
    for byte in answer.bytes() {
        let _ = client.stream.write_all(&[byte]);
        thread::sleep(Duration::from_millis(3)); // a packet of its own
    }
    lab.note("answered, one byte in each packet");
    drop(client);
    let ended = lab.finish_within(START)?;
    ended.printed_lines(lab, &[&answer])?;
    ended.code(lab, 0)
}

/// The client ends its direction when it has sent all.
pub fn expect_fin(lab: &Lab, client: &mut Peer) -> Check {
    let got = client.read(64, lab.until(AT_ONCE));
    if got.bytes.is_empty() && got.end == End::Fin {
        lab.note("and ended its direction");
        return Ok(());
    }
    let actual = match got.bytes.is_empty() {
        true => got.end.text().to_owned(),
        false => show::bytes(&got.bytes, got.bytes.len()),
    };
    let mut failure = lab.fail("FIN after the request", actual);
    failure.meaning = "A server that reads to the end of the request waits \
                       for it for ever."
        .into();
    failure.look =
        "what you do after the last write: end that direction".into();
    if got.bytes.is_empty() {
        return Err(failure.into());
    }
    failure.meaning = "It sends more than it was given: a newline?".into();
    lab.warn(failure);
    Ok(())
}

/// A port that is bound and not listening: refused for sure, and nobody else
/// can take it.
pub fn closed_port() -> Check<(Socket, SocketAddr)> {
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|s| {
        s.bind(&any_port().into())?;
        let addr = s.local_addr()?.as_socket();
        Ok(addr.map(|addr| (s, addr)))
    });
    bound
        .ok()
        .flatten()
        .ok_or_else(|| Box::new(Stop::Unknown("no port could be bound".into())))
}

fn c1_02(lab: &Lab) -> Check {
    let (_socket, addr) = closed_port()?;
    let client = lab.start(addr, &["hi".to_owned()], None)?;
    lab.keep(client);
    lab.note("nobody listens at its {addr}");
    let ended = lab.finish_within(Duration::from_secs(3))?;
    ended.failed(lab)?;
    ended.said_why(lab)?;
    ended.silent(lab)
}

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

fn c4_02(lab: &Lab) -> Check {
    lab.set_text("LC_ALL", "C.UTF-8"); // some languages ask for it
    let stage = Stage::open(lab)?;
    let texts: [String; 2] = words(lab);
    let odd = format!(" é€😀 {} ", texts[1]); // N counts bytes
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
    failure.meaning = "The contract lets a client send several TEXTs; yours \
                       was tried with one."
        .into();
    failure.look = "how you read the command line".into();
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
        // Its end may stand right behind a request, or after our reply.
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
    meaning: "From step 4 on each TEXT on the command line is a frame.",
    look: "how many frames you send for three TEXTs",
};

fn send_in_slices(client: &mut Peer, bytes: &[u8]) {
    for slice in bytes.chunks(7) {
        let _ = client.stream.write_all(slice);
        thread::sleep(Duration::from_millis(3)); // a packet of its own
    }
}

//! S2-03: more than all buffers between the two ends hold.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Check, Hint};
use crate::diagnosis::{cause_framed, show};
use crate::harness::lab::{CASE, Lab, PATIENCE};
use crate::harness::peer::{End, Got, Peer};
use crate::wire;

pub const CASES: &[Case] = &[Case {
    id: "S2-03",
    title: "loses nothing of 16 MB, even with a slow reader",
    does: "Sends 16 000 000 random bytes: at first without reading, until \
           nothing has moved for 300 ms; then it reads while it sends the \
           rest and FIN. Expects each byte back, in order, then FIN; and that \
           never more than 3 s pass in which nothing comes. From step 4 on in \
           payloads of 60 000 bytes.",
    steps: 2..=5,
    rule: (2, 1),
    tags: &[],
    why: "A write may take fewer bytes than it was given; small tests never \
          show it. Here the client sends and does not read until nothing moves \
          any more. By then all buffers are full: a write of the server waits, \
          or takes only a part. After that the client reads, and compares each \
          byte.",
    hint: Hint {
        meaning: "A write took only a part of the bytes, and the rest was \
                  forgotten.",
        look: "what your write returns, and what you do with it",
    },
    script: s2_03,
}];

const TOTAL: usize = 16_000_000;

/// Without progress for so long, all buffers are full.
const STALL: Duration = Duration::from_millis(300);

/// A server that takes little at a time is not waited for longer.
const LONG: Duration = Duration::from_secs(4);

/// Writes until nothing moves, or all is written; returns how much that was.
pub fn write_until_stalled(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let _ = stream.set_write_timeout(Some(STALL));
    let end = Instant::now() + LONG;
    let mut sent = 0;
    while sent < bytes.len() && Instant::now() < end {
        match stream.write(&bytes[sent..]) {
            Ok(0) => break,
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    sent
}

/// What is sent, and what must come back.
fn traffic(lab: &Lab) -> (Vec<u8>, Vec<u8>) {
    let data = lab.bytes(TOTAL);
    if !lab.is_framed() {
        return (data.clone(), data);
    }
    let messages = data.chunks(60_000);
    let requests = messages.clone().flat_map(wire::echo).collect();
    (requests, messages.flat_map(wire::reply).collect())
}

fn s2_03(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let (requests, want) = traffic(lab);
    let mut client = lab.connect(addr)?;
    client.sends(&requests);
    let sent = write_until_stalled(&mut client.stream, &requests);
    lab.note("sent until nothing moved");
    let rest = requests[sent..].to_vec();
    let got = thread::scope(|scope| {
        if let Ok(mut writer) = client.stream.try_clone() {
            let _ = writer.set_write_timeout(Some(CASE));
            scope.spawn(move || {
                let _ = writer.write_all(&rest);
                let _ = writer.shutdown(Shutdown::Write);
            });
        }
        let got = client.read_while_moving(want.len() + 1, PATIENCE);
        let _ = client.stream.shutdown(Shutdown::Both); // frees the writer
        got
    });
    lab.note("sent the rest and read all");
    compare(&client, &want, &got)
}

/// Does what came go on, a while later, as it should have here? Then a part is
/// missing in the middle. (Random bytes: eight of them are nowhere twice.)
fn is_gap(want: &[u8], got: &[u8]) -> bool {
    got.first_chunk::<8>()
        .is_some_and(|next| want.windows(8).any(|window| window == next))
}

fn compare(client: &Peer, want: &[u8], got: &Got) -> Check {
    let differs = show::first_difference(want, &got.bytes);
    let Some(at) = differs else {
        return match got.end {
            End::Fin => Ok(()),
            end => Err(client.fail("FIN after it", end.text()).into()),
        };
    };
    // Where exactly depends on how full the buffers were.
    let is_short = at == got.bytes.len();
    let actual = match (is_short, at < 4096) {
        (true, _) => format!("only a part came, then {}", got.end.text()),
        (false, true) => format!("byte {} differs", show::number(at)),
        (false, false) => "the beginning is right, then bytes differ".into(),
    };
    let mut failure = client.fail("each byte, in order, and FIN", &actual);
    failure.by_time = is_short && got.end == End::Open;
    if let Some((meaning, look)) = meaning_of(client.lab, want, got, at) {
        failure.meaning = meaning;
        failure.look = look.unwrap_or(&failure.look).to_owned();
    }
    Err(failure.into())
}

/// A better explanation than that a write took only a part, if there is one.
fn meaning_of(
    lab: &Lab,
    want: &[u8],
    got: &Got,
    at: usize,
) -> Option<(String, Option<&'static str>)> {
    let rest = &got.bytes[at..];
    let found = cause_framed::text_as_length(rest);
    if let Some((meaning, look)) = found.filter(|_| lab.is_framed()) {
        return Some((meaning, Some(look)));
    }
    if rest.is_empty() && got.end == End::Open && at > 0 {
        let meaning = "It stopped in the middle: does it wait for us to read \
                       while we wait for it to read?";
        return Some((meaning.into(), None));
    }
    let is_other = !rest.is_empty() && !is_gap(&want[at..], rest);
    is_other.then(|| {
        let meaning = "What came back is not what was sent, and more is \
                       wrong than that a part is missing.";
        let look = "what happens between your read and your write";
        (meaning.into(), Some(look))
    })
}

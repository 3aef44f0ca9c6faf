//! C2: more than all buffers between the two ends hold.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::diagnosis::show;
use crate::harness::ended::Ended;
use crate::harness::lab::{CASE, Lab, PATIENCE};
use crate::harness::stage::{START, Stage, words};
use crate::os;
use crate::program::running::{Input, describe};
use crate::steps::FRAMES;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Stop};
use crate::wire::{self, Head, head};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const C2_01: Case = Case {
    id: "C2-01",
    title: "sends and receives 16 MB at the same time",
    does: "The checker starts the client without {text}, writes 16 000 000 \
           bytes to its stdin, and echoes what it sends. It expects the same \
           bytes on stdout, and exit code 0, and never a pause of more than 3 \
           s in which nothing moves. In step 4 each line is a frame: an empty \
           one, 50 000 of 9 letters, and then lines of 60 000 bytes.",
    steps: 2..=4,
    rule: (2, 4),
    tags: &[Tag::Heavy],
    why: "A client that sends everything before it reads works until all \
          buffers between the two ends are full. Then it waits for the server \
          to read, and the server waits for it to read: forever.",
    hint: Hint {
        meaning: "Your client sends everything before it reads, so both ends \
                  wait for the other one to read.",
        look: "how your client does both at the same time: can it read while a \
               `write` waits?",
    },
    proof: Proof::Defects(&["sends-then-receives", "output-as-text"]),
    script: c2_01,
};

const TOTAL: usize = 16_000_000;

pub fn c2_01(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let mut input = lab.bytes(TOTAL);
    if lab.is_framed() {
        lines(&mut input);
    }
    let client = lab.start(stage.addr, &[], Some(input.clone()))?;
    lab.keep(client);
    lab.note("no {text}, but 16 MB on its stdin");
    let Ok(peer) = stage.accept(START) else {
        return Err(sent_nothing(lab));
    };
    lab.open_window();
    let moved = AtomicU64::new(0);
    let ended = with_echo(&stage, &peer.stream, &moved);
    if moved.load(Ordering::Relaxed) == 0 {
        return Err(sent_nothing(lab));
    }
    let ended = ended?;
    if !ended.status.success() {
        lab.hint(
            "Your client ended in the middle, with an error.",
            "what your client printed, and what it does when a `write` has to \
             wait",
        );
    }
    ended.code(lab, 0)?;
    same_bytes(lab, &input, &ended.stdout)
}

/// A client of one text only. From step 4 on that may be.
fn sent_nothing(lab: &Lab) -> Box<Stop> {
    if lab.is_framed() {
        let why = "it sends nothing from stdin".to_owned();
        return Box::new(Stop::Skip(why));
    }
    let actual = match lab.client_ended() {
        Some(status) => format!("it ended: {}", describe(status)),
        None => "it sent nothing".to_owned(),
    };
    let mut failure = lab.fail("it sends what is on its stdin", actual);
    failure.by_time = lab.client_ended().is_none();
    failure.meaning =
        "This case starts your client without {text}, so it must send all of \
         its stdin."
            .into();
    failure.look =
        "what your client does when its command line has no text".into();
    failure.into()
}

/// Echoes until the client has ended, or nothing moves.
fn with_echo(
    stage: &Stage,
    first: &TcpStream,
    moved: &AtomicU64,
) -> Check<Ended> {
    let is_over = AtomicBool::new(false);
    let (listener, step) = (&stage.listener, stage.lab.setup.step);
    let mut next = first.try_clone().ok();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if let Some(mut stream) = next {
                    echo_all(&mut stream, step, moved, &is_over);
                }
                // From step 4 on, a connection for each line is right, too.
                next = os::accept_within(listener, Duration::from_millis(50));
            }
        });
        let ended = end_or_stall(stage.lab, moved);
        is_over.store(true, Ordering::Relaxed);
        let _ = first.shutdown(Shutdown::Both);
        ended
    })
}

/// Waits for the client's end, as long as anything moves.
fn end_or_stall(lab: &Lab, moved: &AtomicU64) -> Check<Ended> {
    let so_far = || moved.load(Ordering::Relaxed) + lab.last_printed();
    let (mut seen, mut since) = (so_far(), Instant::now());
    while lab.client_ended().is_none() && !lab.left().is_zero() {
        if so_far() != seen {
            (seen, since) = (so_far(), Instant::now());
        } else if since.elapsed() > PATIENCE {
            let expected = "bytes move until all are there";
            let mut failure = lab.fail(expected, "nothing moves any more");
            failure.by_time = true;
            return Err(failure.into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    lab.finish(Duration::from_millis(1), CASE)
}

fn same_bytes(lab: &Lab, want: &[u8], got: &[u8]) -> Check {
    let actual = match show::first_difference(want, got) {
        None => return Ok(()),
        Some(at) if at == got.len() => "only a part of it",
        Some(at) if at == want.len() => "all of it, and more",
        _ => "bytes differ",
    };
    let mut failure = lab.fail("the same 16 MB on stdout", actual);
    failure.meaning = "Your client printed other bytes than it received: text \
                       instead of bytes, or an end too early."
        .into();
    failure.look = "what your client does between `read` and stdout".into();
    Err(failure.into())
}

/// An empty line, 50 000 short ones, and lines of 60 000 bytes.
fn lines(input: &mut [u8]) {
    input.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
    let (empty, rest) = input.split_at_mut(1);
    let (short, long) = rest.split_at_mut(500_000);
    let lines = short.chunks_mut(10).chain(long.chunks_mut(60_000));
    for line in lines.chain([empty]) {
        if let Some(end) = line.last_mut() {
            *end = b'\n';
        }
    }
}

/// A plain echo server: what it cannot write, it does not read.
fn echo_all(
    stream: &mut TcpStream,
    step: u8,
    moved: &AtomicU64,
    is_over: &AtomicBool,
) {
    // Our own limit of a write would end it early.
    let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
    let _ = stream.set_write_timeout(None);
    let mut input = Vec::new();
    let mut buffer = [0; 64 * 1024];
    while !is_over.load(Ordering::Relaxed) {
        os::acknowledge_at_once(stream);
        let n = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        moved.fetch_add(n as u64, Ordering::Relaxed);
        input.extend_from_slice(&buffer[..n]);
        let output = match step < FRAMES {
            true => std::mem::take(&mut input),
            false => replies(&mut input),
        };
        if stream.write_all(&output).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// Takes the whole frames out of `input`, and returns the replies.
fn replies(input: &mut Vec<u8>) -> Vec<u8> {
    let mut output = Vec::new();
    let mut used = 0;
    while let Head::Whole { payload, size, .. } = head(&input[used..]) {
        output.extend(wire::reply(payload));
        used += size;
    }
    input.drain(..used);
    output
}

const C2_02: Case = Case {
    id: "C2-02",
    title: "prints what came, although it could not send all",
    does: "The checker writes 6 000 000 bytes to the client's stdin, reads 4 \
           of them, answers 20 000 bytes, and resets (RST) 100 ms later, while \
           the client still sends. It expects an exit code that is not 0 \
           within 8 s, and a message on stderr. If not all 20 000 bytes are on \
           stdout, that is a warning.",
    steps: 2..=3,
    rule: (2, 4),
    tags: &[Tag::Hostile],
    why: "The server says why it stops, and stops. The client is in the middle \
          of sending, so its write fails first. A client that ends there never \
          shows the answer, which had arrived before.",
    hint: Hint {
        meaning: "The connection broke while your client was still sending, \
                  and your client took that for a normal end.",
        look: "what your client does when a `write` fails: does it still read \
               what has come?",
    },
    proof: Proof::Defects(&["reset-is-end"]),
    script: c2_02,
};

fn c2_02(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let input = lab.bytes(6_000_000);
    let first = input[..4].to_vec();
    let Some(mut client) = stage.first_from(Input::Bytes(input), START)? else {
        return Err(lab.fail("bytes of its stdin", "it sends nothing").into());
    };
    client.expect(&first, PATIENCE)?;
    let answer = lab.word(20_000);
    client.send(answer.as_bytes())?;
    // What has come before a reset can be read; what comes with it may not.
    thread::sleep(ms(100));
    client.reset();
    let ended = lab.finish_within(START)?;
    ended.failed(lab)?;
    ended.said_why(lab)?;
    if ended.stdout != answer.as_bytes() {
        let expected = "the 20 000 bytes that came, on stdout";
        let mut failure = lab.fail(expected, "not all of them");
        failure.meaning =
            "The answer had arrived before the connection broke, but your \
             client did not print all of it."
                .into();
        lab.warn(failure);
    }
    Ok(())
}

const C2_03: Case = Case {
    id: "C2-03",
    title: "shows an answer while its input is still open",
    does: "The checker writes a line to the client's stdin, which stays open; \
           it answers a line, and ends its direction (FIN). If the answer is \
           not on stdout within 3 s, that is a warning. Then the checker ends \
           the client's stdin, and expects exit code 0 within 8 s.",
    steps: 2..=3,
    rule: (2, 4),
    tags: &[],
    why: "Somebody sits at the keyboard, types a line, and wants to see the \
          answer before typing the next one. A client that prints only when \
          its input ends, or that leaves the answer in a buffer, looks dead \
          until then.",
    hint: Hint {
        meaning: "Your client shows the answer only when its input ends, or \
                  the answer is still in a buffer, because most languages do \
                  not write a line to a pipe at once.",
        look: "when your client prints what it has read, and whether it \
               flushes it",
    },
    proof: Proof::Defects(&["holds-its-output"]),
    script: c2_03,
};

fn c2_03(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let [line, answer] = words(lab).map(|word| word + "\n");
    let open = Input::Open(line.clone().into());
    let Some(mut client) = stage.first_from(open, ms(4000))? else {
        let expected = "a line, before its stdin ends";
        lab.warn(lab.fail(expected, "it sends nothing"));
        return Ok(());
    };
    client.request(&line)?;
    client.send_anyway(answer.as_bytes());
    client.fin();
    lab.note("answered and ended, its stdin is still open");
    if !lab.prints(answer.trim_end(), PATIENCE) {
        let expected = "the answer on stdout, before its stdin ends";
        lab.warn(lab.fail(expected, "nothing after 3 s"));
    }
    lab.with_last(|client| client.end_input());
    let ended = lab.finish_within(START)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&answer])
}

/// All of them.
pub const CASES: &[Case] = &[C2_01, C2_02, C2_03];

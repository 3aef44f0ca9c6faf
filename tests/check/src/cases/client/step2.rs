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
use crate::harness::stage::{START, Stage};
use crate::os;
use crate::steps::FRAMES;
use crate::traits::Hint;
use crate::verdict::{Check, Stop};
use crate::wire::{self, Head, head};

const C2_01: Case = Case {
    id: "C2-01",
    title: "sends and receives 16 MB at the same time",
    does: "Writes 16 000 000 bytes to the client's stdin, and echoes what \
           it sends. Expects the same bytes on stdout, and exit code 0; \
           and that never more than 3 s pass in which nothing moves. In \
           step 4 these are lines of 60 000 bytes, and each line is a \
           frame.",
    steps: 2..=4,
    rule: (2, 4),
    tags: &[],
    why: "A client that sends everything before it reads works until all \
          buffers between the two ends are full. Then it waits for the \
          server to read, and the server waits for it to read: for ever.",
    hint: Hint {
        meaning: "Your client sends everything before it reads: both ends \
                  wait for the other one to read.",
        look: "how you do both at the same time: can it read while a write \
               waits?",
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
    lab.note("16 MB on its stdin; our server echoes");
    let peer = stage.accept(START)?;
    lab.open_window();
    let moved = AtomicU64::new(0);
    let ended = with_echo(&stage, &peer.stream, &moved)?;
    if lab.is_framed() && moved.load(Ordering::Relaxed) == 0 {
        // From step 4 on, it may take its messages from the command line.
        let why = "it sends nothing from stdin".to_owned();
        return Err(Box::new(Stop::Skip(why)));
    }
    ended.code(lab, 0)?;
    same_bytes(lab, &input, &ended.stdout)
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
    failure.meaning = "What your client printed is not what came: text in \
                       place of bytes, or an end too early?"
        .into();
    failure.look = "what is between your read and stdout".into();
    Err(failure.into())
}

/// Lines of 60 000 bytes, and no newline within.
fn lines(input: &mut [u8]) {
    for line in input.chunks_mut(60_000) {
        let end = line.len() - 1;
        line.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        line[end] = b'\n';
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

/// All of them.
pub const CASES: &[Case] = &[C2_01];

//! C2-01: more than all buffers between the two ends hold.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::case::{Check, Stop};
use crate::cases::stage::{START, Stage};
use crate::lab::{BULK, Lab};
use crate::show;
use crate::wire::{self, Head, head};

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
    let came = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        if let Ok(mut stream) = peer.stream.try_clone() {
            let (is_framed, came) = (lab.is_framed(), &came);
            scope.spawn(move || echo_all(&mut stream, is_framed, came));
        }
        let ended = lab.finish_within(BULK);
        let _ = peer.stream.shutdown(Shutdown::Both);
        ended
    })?;
    if lab.is_framed() && !came.load(Ordering::Relaxed) {
        // From step 4 on, it may take its messages from the command line.
        let why = "it sends nothing from stdin".to_owned();
        return Err(Box::new(Stop::Skip(why)));
    }
    ended.code(lab, 0)?;
    same_bytes(lab, &input, &ended.stdout)
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

/// Lines of 1000 bytes, and no newline within.
fn lines(input: &mut [u8]) {
    for line in input.chunks_mut(1000) {
        let end = line.len() - 1;
        line.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        line[end] = b'\n';
    }
}

/// A plain echo server: what it cannot write, it does not read.
fn echo_all(stream: &mut TcpStream, is_framed: bool, came: &AtomicBool) {
    // Our own limits would end it early: a read's comes from `accept`.
    let _ = stream.set_read_timeout(None);
    let _ = stream.set_write_timeout(None);
    let mut input = Vec::new();
    let mut buffer = [0; 64 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        came.store(true, Ordering::Relaxed);
        input.extend_from_slice(&buffer[..n]);
        let output = if is_framed {
            replies(&mut input)
        } else {
            std::mem::take(&mut input)
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

//! C5-11: a herd of clients, and whether it stays together.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::case::Check;
use crate::harness::lab::Lab;
use crate::harness::peer::{End, Peer};
use crate::harness::stage::{AT_ONCE, START, Stage, words};

const CLIENTS: usize = 8;

/// With randomness the waits differ by 300 ms and more, without it by 7.
const SPREAD: Duration = Duration::from_millis(60);

pub fn c5_11(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let texts: [String; CLIENTS] = words(lab);
    for text in &texts {
        stage.start(&[text])?;
    }
    let (mut dropped, mut waits) = ([None; CLIENTS], vec![vec![]; CLIENTS]);
    // All of them are there before the first connection is dropped.
    let mut held: Vec<(usize, TcpStream)> = Vec::new();
    while waits.iter().any(|waits| waits.len() < 4) {
        let limit = START.min(lab.left());
        let Some(stream) = stage.accept_within(limit) else {
            return too_few(lab);
        };
        let came = Instant::now();
        let who = which(lab, stream, &texts)?;
        if let Some(dropped) = dropped[who.0] {
            waits[who.0].push(came - dropped);
        }
        held.push(who);
        if held.len() == CLIENTS && dropped.iter().all(Option::is_none) {
            lab.open_window(); // their start does not count
        }
        if held.len() == CLIENTS || dropped.iter().all(Option::is_some) {
            lab.note("dropped");
            for (i, stream) in held.drain(..) {
                drop(stream);
                dropped[i] = Some(Instant::now());
            }
        }
    }
    is_spread(lab, &waits)
}

/// Whose connection is it? Their texts differ.
fn which(
    lab: &Lab,
    stream: TcpStream,
    texts: &[String],
) -> Check<(usize, TcpStream)> {
    let mut peer = Peer::new(lab, stream, "");
    let want = lab.request(texts[0].as_bytes());
    let got = peer.read(want.len(), lab.until(AT_ONCE * 3));
    let is_of = |text: &String| lab.request(text.as_bytes()) == got.bytes;
    match texts.iter().position(is_of) {
        Some(who) => Ok((who, peer.stream)),
        None => {
            let mut failure = peer.mismatch(&want, &got, AT_ONCE * 3);
            failure.by_time = got.end == End::Open;
            Err(failure.into())
        }
    }
}

fn too_few(lab: &Lab) -> Check {
    let mut failure = lab.fail("5 attempts of each of 8 clients", "fewer");
    failure.by_time = true;
    failure.is_sure = true;
    failure.meaning = "Some client gave up before its fifth attempt.".into();
    Err(failure.into())
}

fn is_spread(lab: &Lab, waits: &[Vec<Duration>]) -> Check {
    let spread = |k: usize| {
        let waits = waits.iter().map(|waits| waits[k]);
        waits.clone().max().unwrap_or_default()
            - waits.min().unwrap_or_default()
    };
    if spread(2) > SPREAD || spread(3) > SPREAD {
        return Ok(());
    }
    let expected = "their 3rd or 4th waits differ by more than 60 ms";
    let actual = "all came back within 60 ms of each other, twice";
    let mut failure = lab.fail(expected, actual);
    failure.is_sure = true; // lateness would spread them
    failure.printed.clear(); // of the last one of eight: no news
    Err(failure.into())
}

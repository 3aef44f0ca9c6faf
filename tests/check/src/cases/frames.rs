//! S4: frames, as an honest client sends them.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::case::Check;
use crate::harness::lab::{BULK, Lab, PATIENCE};
use crate::wire::{echo, reply};

mod table;

pub use table::CASES;

fn s4_01(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.expect_nothing("before a request")?;
    client.exchange(lab.word(5).as_bytes())?;
    client.exchange(lab.word(7).as_bytes())?;
    client.expect_nothing("after the answers")
}

fn s4_02(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.exchange(b"")?;
    client.exchange(lab.word(3).as_bytes())
}

fn s4_03(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.exchange(&lab.bytes(65_535))?;
    client.exchange(lab.word(3).as_bytes())
}

fn s4_08(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let word = lab.word(8);
    let bytes = echo(word.as_bytes());
    for byte in &bytes {
        client.send(&[*byte])?;
        thread::sleep(Duration::from_millis(3)); // a packet of its own
    }
    client.sends(&bytes);
    client.hear(word.as_bytes())
}

fn s4_09(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let words: Vec<String> = (0..100).map(|i| lab.word(1 + i % 9)).collect();
    let mut client = lab.connect(addr)?;
    client.send(&join(&words, echo))?;
    client.expect(&join(&words, reply), PATIENCE)
}

fn join(words: &[String], make: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    words.iter().flat_map(|word| make(word.as_bytes())).collect()
}

fn s4_10(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let (first, second) = (lab.word(5), lab.word(9));
    let bytes = join(&[first.clone(), second.clone()], echo);
    let (early, late) = bytes.split_at(10 + 7);
    client.send(early)?;
    client.hear(first.as_bytes())?;
    thread::sleep(Duration::from_millis(50));
    client.send(late)?;
    client.hear(second.as_bytes())
}

fn s4_11(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let whole = lab.word(5);
    for cut in [1, 2, 3, 4, 5, 8] {
        let mut client = lab.connect(addr)?;
        let piece = &echo(b"never answered")[..cut];
        client.send(&[&echo(whole.as_bytes()), piece].concat())?;
        client.fin();
        client.expect_all(&reply(whole.as_bytes()))?;
    }
    Ok(())
}

fn s4_14(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let messages: Vec<Vec<u8>> = (0..60)
        .map(|i| lab.bytes(lab.below(if i % 10 == 0 { 60_000 } else { 300 })))
        .collect();
    let bytes: Vec<u8> = messages.iter().flat_map(|m| echo(m)).collect();
    let want: Vec<u8> = messages.iter().flat_map(|m| reply(m)).collect();
    let slices = slices(lab, &bytes);
    let mut client = lab.connect(addr)?;
    client.sends(&bytes);
    thread::scope(|scope| {
        if let Ok(mut writer) = client.stream.try_clone() {
            scope.spawn(move || {
                for slice in slices {
                    if writer.write_all(slice).is_err() {
                        return;
                    }
                    thread::sleep(Duration::from_micros(500));
                }
            });
        }
        client.expect(&want, BULK)
    })
}

/// Slices of 1 to 4096 bytes.
fn slices<'a>(lab: &Lab, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut slices = Vec::new();
    while !bytes.is_empty() {
        let most = if lab.below(2) == 0 { 8 } else { 4096 };
        let (slice, rest) =
            bytes.split_at(bytes.len().min(1 + lab.below(most)));
        slices.push(slice);
        bytes = rest;
    }
    slices
}

fn s4_15(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let words: Vec<String> = (0..50).map(|_| lab.word(6)).collect();
    let mut client = lab.connect(addr)?;
    client.send(&join(&words, echo))?;
    client.fin();
    client.expect_all(&join(&words, reply))?;
    // And a crowd of the smallest ones: who calls itself for each is too deep.
    let empty = vec![String::new(); 5000];
    let mut client = lab.connect(addr)?;
    client.send(&join(&empty, echo))?;
    client.fin();
    client.expect_all(&join(&empty, reply))
}

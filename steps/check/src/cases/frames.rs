//! S4: frames, as an honest client sends them.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::case::{Case, Check, Hint, Tag};
use crate::lab::{BULK, Lab, PATIENCE};
use crate::wire::{echo, reply};

const PARSER: Hint = Hint {
    meaning: "Your server takes one read for one message.",
    look: "where bytes are kept between two reads, until a frame is whole",
};

pub const CASES: &[Case] = &[
    Case {
        id: "S4-01",
        title: "answers an ECHO",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "The frame: four bytes of length, most significant first, one \
              byte of kind, then the payload. The length counts the kind and \
              the payload and not itself. Each other reading looks just as \
              natural, and talks to nobody.",
        hint: Hint {
            meaning: "It waits for more. Little endian makes 6 a length of \
                      100 663 296; and N counts the kind, so that only N - 1 \
                      bytes follow it.",
            look: "how you read the 4 bytes of the length",
        },
        script: s4_01,
    },
    Case {
        id: "S4-02",
        title: "answers an empty ECHO",
        steps: 4..=5,
        rule: (4, 2),
        tags: &[],
        why: "N = 1 is a frame: a kind and nothing else. Zero bytes of payload \
              are easily taken for the end of the stream, or for no message.",
        hint: Hint {
            meaning: "A payload of 0 bytes was taken for no message at all.",
            look: "the smallest frame: N = 1, no payload",
        },
        script: s4_02,
    },
    Case {
        id: "S4-03",
        title: "takes the largest frame: N = 65 536",
        steps: 4..=5,
        rule: (4, 2),
        tags: &[],
        why: "A limit is a number, and the number itself is inside. An honest \
              client that uses all it is given must not be refused by one.",
        hint: Hint {
            meaning: "The largest legal frame was refused or cut.",
            look: "the comparison with the limit: < or <=? N or payload?",
        },
        script: s4_03,
    },
    Case {
        id: "S4-08",
        title: "takes a frame one byte at a time",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "The network may slice a message wherever it likes, also inside \
              the length. On your own machine it almost never does; behind a \
              slow line it does so all the time.",
        hint: PARSER,
        script: s4_08,
    },
    Case {
        id: "S4-09",
        title: "answers 100 frames that come in one write",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "What was sent in many writes may arrive in one read. A server \
              that looks at the first frame of each read and drops the rest \
              loses messages exactly when there is much to do.",
        hint: PARSER,
        script: s4_09,
    },
    Case {
        id: "S4-10",
        title: "takes a frame and a part of the next",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "The end of a read has nothing to do with the end of a frame. \
              The first frame is answered at once; the seven bytes behind it \
              have to be kept until their rest has come.",
        hint: PARSER,
        script: s4_10,
    },
    Case {
        id: "S4-11",
        title: "does not answer a frame that was cut",
        steps: 4..=5,
        rule: (4, 5),
        tags: &[Tag::Hostile],
        why: "The client ends inside a frame. What is there is no message, \
              however much it looks like one: half a number is not a smaller \
              number. The whole frames before it are answered.",
        hint: Hint {
            meaning: "The piece at the end was answered, or the whole frame \
                      before it was not.",
            look: "what you do at EOF with bytes that are left",
        },
        script: s4_11,
    },
    Case {
        id: "S4-14",
        title: "answers 60 random frames in random slices",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "All of it at once: sizes and slices are drawn from the seed. \
              What survives this survives a network.",
        hint: PARSER,
        script: s4_14,
    },
    Case {
        id: "S4-15",
        title: "answers 50 requests before it ends",
        steps: 4..=5,
        rule: (4, 6),
        tags: &[],
        why: "A client may send all it wants, end its direction, and then \
              read. Its FIN means \"I have no more to ask\", and not \"I do \
              not want your answers\".",
        hint: Hint {
            meaning: "At the client's FIN your server closed and dropped the \
                      replies that it still owed.",
            look: "what happens at EOF: first send what is owed, then close",
        },
        script: s4_15,
    },
];

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

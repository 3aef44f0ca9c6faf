//! S4: frames, as an honest client sends them.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::case::{Case, Proof};
use crate::harness::lab::{BULK, Lab, PATIENCE};
use crate::program::proc;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::Check;
use crate::wire::{echo, reply};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const PARSER: Hint = Hint {
    meaning: "Your server takes one `read` for one message.",
    look: "what your server does when a `read` brings half a frame, or more \
           than one",
};

const S4_01: Case = Case {
    id: "S4-01",
    title: "answers an ECHO",
    does: "The checker sends an ECHO of 5 letters (N = 6) and, after its \
           reply, one of 7 (N = 8). It expects each reply within 3 s, no other \
           byte in the 30 ms before and after, and a connection that stays \
           open.",
    steps: from(4),
    rule: (4, 1),
    tags: &[Tag::Basic],
    why: "A frame is four bytes of length, most significant first, one byte of \
          kind, then the payload. The length counts the kind and the payload, \
          but not itself. Every other way to read these bytes looks just as \
          natural, but then no other program understands yours.",
    hint: Hint {
        meaning: "Your server waits for bytes that do not belong to the frame: \
                  a length of 6 in the wrong byte order reads as 100 663 296, \
                  and a server that forgets that N counts the kind waits for \
                  one byte too many.",
        look: "how your server reads the 4 bytes of the length",
    },
    proof: Proof::Defects(&[
        "little-endian",
        "length-counts-itself",
        "length-forgets-kind",
        "reply-without-header",
        "reply-kind-of-request",
        "reply-without-kind",
    ]),
    script: s4_01,
};

fn s4_01(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.expect_nothing("before a request")?;
    client.exchange(lab.word(5).as_bytes())?;
    client.exchange(lab.word(7).as_bytes())?;
    client.expect_nothing("after the answers")
}

const S4_02: Case = Case {
    id: "S4-02",
    title: "answers an empty ECHO",
    does: "The checker sends `00 00 00 01 01`. It expects `00 00 00 01 81` \
           within 3 s, and then the reply to an ECHO of 3 letters.",
    steps: from(4),
    rule: (4, 2),
    tags: &[],
    why: "N = 1 is a legal frame: it has a kind and no payload. A server \
          easily takes a payload of 0 bytes for the end of the stream, or for \
          no message.",
    hint: Hint {
        meaning: "Your server took a payload of 0 bytes for no message at all.",
        look: "the smallest frame: N = 1, no payload",
    },
    proof: Proof::Defects(&["ignores-empty"]),
    script: s4_02,
};

fn s4_02(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.exchange(b"")?;
    client.exchange(lab.word(3).as_bytes())
}

const S4_03: Case = Case {
    id: "S4-03",
    title: "takes the largest frame: N = 65 536",
    does: "The checker sends an ECHO of 65 535 random bytes (N = 65 536). It \
           expects the whole reply within 3 s, and then the reply to an ECHO \
           of 3 letters; then it sends two of the largest frames in one write \
           and expects both replies.",
    steps: from(4),
    rule: (4, 2),
    tags: &[],
    why: "A limit is a number, and that number itself is still allowed. A \
          server must not refuse an honest client that uses all that the \
          contract gives it.",
    hint: Hint {
        meaning: "Your server refused or cut the largest legal frame.",
        look: "the comparison with the limit: < or <=? N or payload?",
    },
    proof: Proof::Defects(&["limit-one-too-small"]),
    script: s4_03,
};

fn s4_03(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.exchange(&lab.bytes(65_535))?;
    client.exchange(lab.word(3).as_bytes())?;
    // A buffer may have room for exactly one.
    let (a, b) = (lab.bytes(65_535), lab.bytes(65_535));
    client.send(&[echo(&a), echo(&b)].concat())?;
    client.hear(&a)?;
    client.hear(&b)
}

const S4_08: Case = Case {
    id: "S4-08",
    title: "takes a frame one byte at a time",
    does: "The checker sends an ECHO of 8 letters: 13 bytes, each in a write \
           of its own, 3 ms apart. It expects the reply within 3 s.",
    steps: from(4),
    rule: (4, 1),
    tags: &[Tag::Slices],
    why: "The network may slice a message anywhere, even inside the length. On \
          your own machine it almost never does, but on a slow line it does so \
          all the time.",
    hint: PARSER,
    proof: Proof::Defects(&["read-is-message"]),
    script: s4_08,
};

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

const S4_09: Case = Case {
    id: "S4-09",
    title: "answers 100 frames that come in one write",
    does: "The checker sends 100 ECHOs of 1 to 9 letters in one write. It \
           expects 100 replies in the same order within 3 s.",
    steps: from(4),
    rule: (4, 1),
    tags: &[Tag::Slices],
    why: "Bytes that a client sent in many writes may arrive in one read. A \
          server that looks at the first frame of each read and drops the rest \
          loses messages exactly when it is busy.",
    hint: PARSER,
    proof: Proof::Defects(&["first-frame-only", "reorders"]),
    script: s4_09,
};

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

const S4_10: Case = Case {
    id: "S4-10",
    title: "takes a frame and a part of the next",
    does: "The checker sends in one write an ECHO of 5 letters and the first 7 \
           bytes of another one, and the other 7 bytes 50 ms after the first \
           reply. It expects each reply within 3 s.",
    steps: from(4),
    rule: (4, 1),
    tags: &[Tag::Slices],
    why: "The end of a read has nothing to do with the end of a frame. The \
          server answers the first frame at once, and keeps the seven bytes \
          behind it because they belong to the next frame.",
    hint: PARSER,
    proof: Proof::Defects(&["drops-tail"]),
    script: s4_10,
};

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

const S4_11: Case = Case {
    id: "S4-11",
    title: "does not answer a frame that was cut",
    does: "Six times, on a new connection, the checker sends in one write a \
           whole ECHO and the first 1, 2, 3, 4, 5 or 8 bytes of another one, \
           then FIN. It expects the reply to the whole one, no other byte, \
           then FIN, within 3 s.",
    steps: from(4),
    rule: (4, 5),
    tags: &[Tag::Hostile, Tag::Closing],
    why: "The client ends inside a frame. The piece is not a message, however \
          much it looks like one, just as half a number is not a smaller \
          number. The server still answers the whole frames before it.",
    hint: Hint {
        meaning: "Your server answered the piece at the end, or it did not \
                  answer the whole frame before it.",
        look: "what your server does at EOF with the bytes that are left",
    },
    proof: Proof::Defects(&["answers-cut-frame"]),
    script: s4_11,
};

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

const S4_14: Case = Case {
    id: "S4-14",
    title: "answers 60 random frames in random slices",
    does: "The checker sends 60 ECHOs of random bytes, six of them shorter \
           than 60 000 bytes, the others shorter than 300, in slices of 1 to \
           4096 bytes, 0.5 ms apart. It expects all 60 replies in order within \
           10 s.",
    steps: from(4),
    rule: (4, 1),
    tags: &[Tag::Slices],
    why: "The checker draws the sizes and the slices from its seed. When you \
          test by hand you try a few ways to slice a stream, but sooner or \
          later a network tries all of them.",
    hint: PARSER,
    proof: Proof::Without(
        "it tries at random what S4-08, S4-09 and S4-10 try one by one, and \
         the same defects make it fail",
    ),
    script: s4_14,
};

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
        let result = client.expect(&want, BULK);
        let _ = client.stream.shutdown(Shutdown::Both); // frees the writer
        result
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

const S4_15: Case = Case {
    id: "S4-15",
    title: "answers 50 requests although the client has ended",
    does: "The checker sends 50 ECHOs of 6 letters in one write, then FIN; on \
           a second connection it sends 5 000 empty ECHOs, then FIN. It \
           expects all replies in order, then FIN, within 3 s.",
    steps: from(4),
    rule: (4, 6),
    tags: &[Tag::Closing],
    why: "A client may send all its requests, end its direction, and then \
          read. Its FIN means \"I have no more questions\", and not \"I do not \
          want your answers\".",
    hint: Hint {
        meaning: "Your server closed at the client's FIN, and dropped the \
                  replies that it still owed.",
        look: "what your server does at EOF: does it still owe replies?",
    },
    proof: Proof::Defects(&["drops-at-half-close"]),
    script: s4_15,
};

fn s4_15(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let words: Vec<String> = (0..50).map(|_| lab.word(6)).collect();
    let mut client = lab.connect(addr)?;
    client.send(&join(&words, echo))?;
    client.fin();
    client.expect_all(&join(&words, reply))?;
    // And a crowd of the smallest ones: a server that calls itself for each
    // frame runs out of stack.
    let empty = vec![String::new(); 5000];
    let mut client = lab.connect(addr)?;
    client.send(&join(&empty, echo))?;
    client.fin();
    client.expect_all(&join(&empty, reply))
}

const S4_20: Case = Case {
    id: "S4-20",
    title: "a length that is only claimed costs no memory",
    does: "150 clients exchange 5 letters each. Then each sends the length of \
           the largest frame, `00 01 00 00`, and nothing more. The checker \
           expects that the server's memory then grows by less than 150 MiB; \
           more than 5 MiB is a warning. Meanwhile the server must answer \
           another client.",
    steps: from(4),
    rule: (4, 7),
    tags: &[Tag::Linux, Tag::Starts, Tag::Hostile],
    why: "The four bytes say that 65 536 will follow. A server that sets \
          memory aside as soon as it has read them pays 16 000 times what the \
          client paid, and a thousand clients need not send another byte. If \
          the server's memory grows only with the bytes that really come, the \
          client pays as much as the server.",
    hint: Hint {
        meaning: "Your server sets memory aside for bytes that the client has \
                  only announced, but the contract allows 1 MiB for each \
                  connection.",
        look: "how large your buffer is when only the length has come",
    },
    proof: Proof::Defects(&["memory-by-length"]),
    script: s4_20,
};

/// How many clients claim a frame of 64 KiB.
const CLAIMS: usize = 150;

fn s4_20(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut clients = Vec::new();
    for _ in 0..CLAIMS {
        let mut client = lab.connect(addr)?;
        client.exchange(lab.word(5).as_bytes())?;
        clients.push(client);
    }
    let memory = || -> u64 {
        lab.pids().iter().filter_map(|&pid| proc::resident(pid)).sum()
    };
    let before = memory();
    for client in &mut clients {
        client.send(&65_536u32.to_be_bytes())?;
    }
    lab.note_instead("150 clients sent a length of 65 536, and nothing more");
    thread::sleep(ms(200)); // the server has read them
    lab.connect_as(addr, "another: ")?.exchange(lab.word(6).as_bytes())?;
    let grown = memory().saturating_sub(before) >> 20;
    let expected = "less than 5 MiB more for 600 bytes";
    if grown >= CLAIMS as u64 {
        return Err(lab
            .fail(expected, "more than 1 MiB for each client")
            .into());
    }
    if grown >= 5 {
        lab.warn(lab.fail(expected, "as much as was claimed, or more"));
    }
    Ok(())
}

const S4_23: Case = Case {
    id: "S4-23",
    title: "waits for a frame that pauses in the middle",
    does: "On four connections at once, the checker exchanges an ECHO of 5 \
           letters, then sends the first 2, 4, 5 or 9 bytes of an ECHO of 12 \
           letters, and the rest 1.2 s later. It expects each reply within 3 \
           s, and then the reply to another ECHO.",
    steps: from(4),
    rule: (4, 1),
    tags: &[Tag::Slices],
    why: "Many servers give each read a short limit, so that they can check \
          now and then whether they should stop. A read of exactly n bytes \
          that ends at such a limit has already taken some of the bytes. A \
          server that starts over throws them away, and takes the middle of \
          the frame for its beginning.",
    hint: Hint {
        meaning: "Your server lost the bytes before the pause, because a timer \
                  or a poll interrupted a `read` and your server started the \
                  frame over.",
        look: "what becomes of the bytes that a `read` has taken when its time \
               is up",
    },
    proof: Proof::Defects(&["timer-drops-bytes"]),
    script: s4_23,
};

fn s4_23(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let word = lab.word(12);
    let bytes = echo(word.as_bytes());
    let mut clients = Vec::new();
    for cut in [2, 4, 5, 9] {
        let mut client = lab.connect(addr)?;
        client.exchange(lab.word(5).as_bytes())?;
        client.send(&bytes[..cut])?;
        clients.push((client, cut));
    }
    thread::sleep(ms(1200));
    for (client, cut) in &mut clients {
        lab.note_instead(&format!(
            "sent {cut} bytes, and 1.2 s later the rest"
        ));
        client.send(&bytes[*cut..])?;
        client.sends(&bytes);
        client.hear(word.as_bytes())?;
        client.exchange(lab.word(7).as_bytes())?;
    }
    Ok(())
}

/// All of them.
pub const CASES: &[Case] = &[
    S4_01, S4_02, S4_03, S4_08, S4_09, S4_10, S4_11, S4_14, S4_15, S4_20, S4_23,
];

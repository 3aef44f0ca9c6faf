//! S7: operations with an identity.

use std::thread;
use std::time::Duration;

use crate::case::{Case, Proof};
use crate::harness::adds::Add;
use crate::harness::lab::Lab;
use crate::harness::peer::Peer;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::Check;
use crate::wire::{ADD, WORK_REPLY, echo, frame, reply, work};

/// The numbers of a client that a server must remember.
const WINDOW: u64 = 64;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn add(client: u64, seq: u64, amount: i64) -> Add {
    Add { client, seq, amount }
}

/// Asks what the total is: adds 0 under a new number.
fn total_is(peer: &mut Peer, (client, seq): (u64, u64), total: i64) -> Check {
    peer.added(add(client, seq, 0), total)
}

const S7_01: Case = Case {
    id: "S7-01",
    title: "adds, and answers with the total",
    does: "A new client adds 5, then 7, then -20, under the numbers 1, 2 and \
           3. The checker expects for each an ADD's reply with the same client \
           and the same number, and the totals 5, 12 and -8, each within 3 s.",
    steps: from(7),
    rule: (7, 1),
    tags: &[],
    why: "An ECHO does no harm if it is executed twice, but an ADD does, as an \
          order or a payment would. That is why an ADD carries a name: the \
          client, and a number that this client uses once. Everything in this \
          step hangs on that name.",
    hint: Hint {
        meaning: "Your server did not answer an ADD as the contract says: kind \
                  83, the client and the number of the ADD, and the client's \
                  total after it.",
        look: "what your server does with kind 03, and how it reads three \
               numbers of 8 bytes, the last of them signed",
    },
    proof: Proof::Defects(&[
        "add-is-unknown",
        "replies-with-amount",
        "stale-underflows",
    ]),
    script: s7_01,
};

fn s7_01(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let client = lab.new_client();
    peer.added(add(client, 1, 5), 5)?;
    peer.added(add(client, 2, 7), 12)?;
    peer.added(add(client, 3, -20), -8)
}

const S7_02: Case = Case {
    id: "S7-02",
    title: "applies a copy once",
    does: "A client adds 5 under the number 1, and sends the same ADD twice \
           more; then it adds 0 under the number 2. The checker expects the \
           total 5 each time.",
    steps: from(7),
    rule: (7, 2),
    tags: &[],
    why: "A client that gets no reply cannot know whether its ADD was applied, \
          so it asks again. The server can know, because the second ADD has \
          the name of the first: it gives the same answer, and adds nothing.",
    hint: Hint {
        meaning: "Your server applied the same ADD again, although its client \
                  and its number are those of one that it had applied.",
        look: "what your server looks up before it adds",
    },
    proof: Proof::Defects(&["applies-each-copy"]),
    script: s7_02,
};

fn s7_02(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let client = lab.new_client();
    for _ in 0..3 {
        peer.added(add(client, 1, 5), 5)?;
    }
    total_is(&mut peer, (client, 2), 5)
}

const S7_03: Case = Case {
    id: "S7-03",
    title: "knows an ADD again on another connection",
    does: "A client adds 5 and ends its connection. On a second connection it \
           sends the same ADD, and on a third one it adds 7. Then the first \
           ADD comes once more, while the third connection is still there. The \
           checker expects the totals 5, 5, 12 and 5.",
    steps: from(7),
    rule: (7, 2),
    tags: &[],
    why: "A copy almost always comes on another connection, because the first \
          one is broken: that is the reason for asking again. So what the \
          server remembers must not end with the connection.",
    hint: Hint {
        meaning: "Your server remembers what it has applied for each \
                  connection, and forgets it when the connection ends; but \
                  that is when the copy comes.",
        look: "where your server keeps what it has applied: one place for all \
               connections?",
    },
    proof: Proof::Defects(&["dedup-per-connection"]),
    script: s7_03,
};

fn s7_03(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let client = lab.new_client();
    let first = add(client, 1, 5);
    lab.added(addr, first, 5)?;
    lab.added(addr, first, 5)?;
    let mut third = lab.connect_as(addr, "third: ")?;
    third.added(add(client, 2, 7), 12)?;
    lab.added(addr, first, 5)?;
    total_is(&mut third, (client, 3), 12)
}

const S7_04: Case = Case {
    id: "S7-04",
    title: "repeats its first answer, byte for byte",
    does: "A client adds 5, 7 and 30 under the numbers 1 to 3; then it sends \
           the first and the second ADD again. The checker expects the totals \
           5, 12, 42, and then 5 and 12 again.",
    steps: from(7),
    rule: (7, 2),
    tags: &[],
    why: "The client that asks again wants to know what its first attempt did. \
          If the answer is today's total, it depends on when the client asked, \
          and two copies of one answer contradict each other.",
    hint: Hint {
        meaning: "Your server knew the ADD again, but did not repeat the \
                  answer that it gave the first time.",
        look: "what your server remembers of an ADD: its reply, or only its \
               number?",
    },
    proof: Proof::Defects(&["recomputes-reply", "remembers-last-only"]),
    script: s7_04,
};

fn s7_04(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let client = lab.new_client();
    for (seq, amount, total) in
        [(1, 5, 5), (2, 7, 12), (3, 30, 42), (1, 5, 5), (2, 7, 12)]
    {
        peer.added(add(client, seq, amount), total)?;
    }
    Ok(())
}

const S7_05: Case = Case {
    id: "S7-05",
    title: "applies once what a vanished client sent",
    does: "Ten times, a client sends an ADD of 5 and vanishes without reading, \
           by turns with FIN and with a reset (RST), and asks again on a new \
           connection. Every second time it has read the reply before it \
           vanishes. The checker expects the totals 5, 10, and so on to 50.",
    steps: from(7),
    rule: (7, 2),
    tags: &[Tag::Hostile],
    why: "After a reset the client cannot tell whether the server had read the \
          ADD, and neither can the checker. Both are right here: applied the \
          first time, or only the second time, but never twice.",
    hint: Hint {
        meaning: "Your server applied an ADD twice whose client had vanished \
                  in between.",
        look: "what your server forgets when a connection ends with an error",
    },
    proof: Proof::Defects(&["forgets-after-reset"]),
    script: s7_05,
};

fn s7_05(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let client = lab.new_client();
    for seq in 1..=10 {
        let (this, total) = (add(client, seq, 5), 5 * seq as i64);
        let mut first = lab.connect_as(addr, "first: ")?;
        match seq % 4 {
            0 | 1 => first.adds(this)?,
            _ => first.added(this, total)?,
        }
        if seq % 2 == 0 {
            first.reset();
        }
        thread::sleep(ms(5)); // the reset overtakes nothing
        lab.connect_as(addr, "again: ")?.added(this, total)?;
        lab.note_instead(&format!("{seq} times sent, vanished, sent again"));
    }
    Ok(())
}

const S7_06: Case = Case {
    id: "S7-06",
    title: "applies once what comes on 8 connections at once",
    does: "Eight connections each send the same 20 ADDs, all at the same time. \
           The checker expects the same 20 replies on each, and afterwards the \
           total of the 20.",
    steps: from(7),
    rule: (7, 2),
    tags: &[Tag::Hostile],
    why: "A client that gives up too early asks again while its first attempt \
          is still on the way, so two copies can arrive at the same moment. If \
          the server looks up the number, and adds a moment later, both copies \
          find nothing, and both are applied.",
    hint: Hint {
        meaning: "Your server applied copies of an ADD that came at the same \
                  time: each of them looked before the other had added.",
        look: "what can happen between the moment when your server looks up \
               an ADD and the moment when it has added: one step, or two?",
    },
    proof: Proof::Defects(&["looks-then-adds"]),
    script: s7_06,
};

fn s7_06(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let client = lab.new_client();
    let adds: Vec<Add> = (1..=20).map(|seq| add(client, seq, 3)).collect();
    let all: Vec<u8> = adds.iter().flat_map(|add| add.frame()).collect();
    let mut peers = Vec::new();
    for _ in 0..8 {
        let mut peer = lab.connect(addr)?;
        peer.added(add(lab.new_client(), 1, 1), 1)?; // it is served
        peers.push(peer);
    }
    for peer in &mut peers {
        peer.send(&all)?;
    }
    lab.note_instead("8 connections sent the same 20 ADDs");
    for peer in &mut peers {
        for (add, total) in adds.iter().zip((3..).step_by(3)) {
            peer.totals(*add, total)?;
        }
    }
    lab.note_instead("got all replies");
    total_is(&mut peers[0], (client, 21), 60)
}

const S7_07: Case = Case {
    id: "S7-07",
    title: "refuses another amount under a known number",
    does: "A client adds 5 under the number 1, and then 6 under the same \
           number. The checker expects the total 5, then ERROR 9, the total 5 \
           for a copy of the first ADD, and the total 12 after adding 7 under \
           the number 2.",
    steps: from(7),
    rule: (7, 3),
    tags: &[Tag::Hostile],
    why: "Two different operations have one name, so the client has made a \
          mistake: it has lost count, or two clients share an id. To apply it \
          would break the promise of the number; to answer with the old reply \
          would tell the client that its 6 was added.",
    hint: Hint {
        meaning: "Your server did not refuse an ADD whose number was taken by \
                  another amount with ERROR 9, or did more than refuse it.",
        look: "what your server compares when it knows the number, and whether \
               it compares before it adds",
    },
    proof: Proof::Defects(&["ignores-conflict", "applies-conflict"]),
    script: s7_07,
};

fn s7_07(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let client = lab.new_client();
    peer.added(add(client, 1, 5), 5)?;
    peer.refuses(add(client, 1, 6), 9)?;
    peer.added(add(client, 1, 5), 5)?;
    peer.added(add(client, 2, 7), 12)
}

const S7_08: Case = Case {
    id: "S7-08",
    title: "keeps the numbers and totals of clients apart",
    does: "Three clients add 5, 7 and 9, all under the number 1, on one \
           connection. The third one's id differs from the first one's only in \
           its highest bit. Each sends its ADD again, on another connection, \
           and adds 1 under the number 2. The checker expects the totals 5, 7, \
           9, the same again, and 6, 8, 10.",
    steps: from(7),
    rule: (7, 1),
    tags: &[],
    why: "Every client counts from 1, so the number alone names nothing. And a \
          client draws its id from all numbers of 64 bits, so that no two \
          clients draw the same one; a server that keeps only 32 of them gives \
          that up.",
    hint: Hint {
        meaning: "Your server mixed up two clients that use the same number.",
        look: "the key under which your server remembers an ADD, and a total: \
               is all of the client's id in it?",
    },
    proof: Proof::Defects(&[
        "key-without-client",
        "one-total-for-all",
        "id-of-32-bits",
    ]),
    script: s7_08,
};

fn s7_08(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let a = lab.new_client();
    let clients = [(a, 5), (a + 7, 7), (a | 1 << 63, 9)];
    let mut peer = lab.connect_as(addr, "A: ")?;
    for (client, amount) in clients {
        peer.added(add(client, 1, amount), amount)?;
    }
    let mut other = lab.connect_as(addr, "B: ")?;
    for (client, amount) in clients {
        other.added(add(client, 1, amount), amount)?;
        other.added(add(client, 2, 1), amount + 1)?;
    }
    Ok(())
}

const S7_09: Case = Case {
    id: "S7-09",
    title: "remembers 64 numbers, and applies none below them",
    does: "A client adds 1 under each of the numbers 1 to 130; then it sends \
           the ADDs with the numbers 67, 66 and 1 again. The checker expects \
           the total 67, and then ERROR 7 twice. Another client uses the \
           number 1000, then 937, and then 936: the checker expects two \
           totals, and ERROR 7. At the end it looks at both totals.",
    steps: from(7),
    rule: (7, 4),
    tags: &[],
    why: "No server can remember everything, so it keeps the 64 highest \
          numbers of each client. What is older may be a copy, and may be new: \
          the server does not know any more, so it must not apply it. Client \
          and server must agree on the limit to the number.",
    hint: Hint {
        meaning: "Your server forgot a number that is among the 64 highest, or \
                  accepted one that is not.",
        look: "the comparison with the highest number: a number is too old if \
               it is the highest minus 64, or less",
    },
    proof: Proof::Defects(&[
        "window-one-too-small",
        "window-one-too-large",
        "applies-stale",
    ]),
    script: s7_09,
};

fn s7_09(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let client = lab.new_client();
    let all = (1..=130).flat_map(|seq| add(client, seq, 1).frame());
    peer.send(&all.collect::<Vec<u8>>())?;
    for seq in 1..=130 {
        peer.totals(add(client, seq, 1), seq as i64)?;
    }
    lab.note_instead("used the numbers 1 to 130");
    let oldest = 130 - WINDOW + 1;
    peer.added(add(client, oldest, 1), oldest as i64)?;
    lab.hint(
        "Your server accepted a number that is older than the 64 highest, but \
         it cannot know whether it has applied that one.",
        S7_09.hint.look,
    );
    peer.refuses(add(client, oldest - 1, 1), 7)?;
    peer.refuses(add(client, 1, 1), 7)?;
    total_is(&mut peer, (client, 131), 130)?;
    let other = client + 1;
    peer.added(add(other, 1000, 1), 1)?;
    peer.added(add(other, 1000 - WINDOW + 1, 1), 2)?;
    peer.refuses(add(other, 1000 - WINDOW, 1), 7)?;
    total_is(&mut peer, (other, 1001), 2)
}

const S7_10: Case = Case {
    id: "S7-10",
    title: "applies numbers in any order",
    does: "A client adds 3, 1 and 2 under the numbers 3, 1 and 2, and then \
           sends them again, in another order. A second client uses the \
           numbers 0, 2^63 - 1, 2^63 and 2^64 - 1. The checker expects that \
           each is applied when it comes, and remembered.",
    steps: from(7),
    rule: (7, 4),
    tags: &[],
    why: "A client may send number 2 on a new connection while number 1 is \
          still stuck on the old one. The order in which ADDs arrive is the \
          order in which they are applied; the number is a name and no place \
          in a row. And it has 64 bits without a sign, all of which a client \
          may use.",
    hint: Hint {
        meaning: "Your server did not apply a new number because it is smaller \
                  than the last one, or because it took it for a negative one.",
        look: "what your server asks of a new number: to be new, and not too \
               old",
    },
    proof: Proof::Defects(&["numbers-must-grow", "signed-numbers"]),
    script: s7_10,
};

fn s7_10(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let client = lab.new_client();
    let totals = [(3, 3), (1, 4), (2, 6), (1, 4), (2, 6), (3, 3)];
    for (seq, total) in totals {
        peer.added(add(client, seq, seq as i64), total)?;
    }
    let numbers = [0, i64::MAX as u64, 1 << 63, u64::MAX];
    for (seq, total) in numbers.into_iter().zip(1..) {
        peer.added(add(client + 1, seq, 1), total)?;
    }
    peer.added(add(client + 1, u64::MAX, 1), 4)
}

const S7_11: Case = Case {
    id: "S7-11",
    title: "answers an ADD without 24 bytes with ERROR 4",
    does: "The checker sends an ADD of 5, and then ADDs with 0, 8, 23, 25 and \
           48 bytes in one write with an ECHO behind them. It expects the \
           total 5, ERROR 4 five times, the reply to the ECHO, and still the \
           total 5.",
    steps: from(7),
    rule: (7, 5),
    tags: &[Tag::Hostile],
    why: "The three numbers of an ADD have 24 bytes. A server that takes them \
          from a shorter payload reads what is not there, and one that ignores \
          the rest of a longer one does something, but perhaps not what the \
          client meant.",
    hint: Hint {
        meaning: "Your server did not answer an ADD of a wrong size with ERROR \
                  4, and go on.",
        look: "what your server asks of the payload before it reads numbers \
               from it",
    },
    proof: Proof::Defects(&["short-add-ends", "long-add-is-good"]),
    script: s7_11,
};

fn s7_11(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let (client, word) = (lab.new_client(), lab.word(5));
    peer.added(add(client, 1, 5), 5)?;
    let payload = [&add(client, 2, 7).frame()[5..], &[7; 24]].concat();
    let sizes = [0, 8, 23, 25, 48];
    let bad = sizes.map(|size| frame(ADD, &payload[..size]));
    peer.send(&[bad.concat(), echo(word.as_bytes())].concat())?;
    for _ in sizes {
        peer.expect_error(4)?;
    }
    peer.hear(word.as_bytes())?;
    total_is(&mut peer, (client, 3), 5)
}

const S7_12: Case = Case {
    id: "S7-12",
    title: "sends one reply to one ADD",
    does: "A client adds 5, and the checker waits for 30 ms after the reply: \
           nothing more may come. The same with a copy of the ADD. Then it \
           sends FIN, and expects FIN.",
    steps: from(7),
    rule: (7, 1),
    tags: &[],
    why: "Replies come in the order of the requests, so each one moves the \
          client to its next request. One reply too many, such as a note that \
          the ADD has arrived, would be taken for the reply to the next one.",
    hint: Hint {
        meaning: "Your server sent more than one reply to an ADD.",
        look: "each place where your server answers an ADD",
    },
    proof: Proof::Defects(&["answers-add-twice"]),
    script: s7_12,
};

fn s7_12(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let first = add(lab.new_client(), 1, 5);
    for _ in 0..2 {
        peer.added(first, 5)?;
        peer.expect_nothing("after the reply")?;
    }
    peer.fin();
    peer.expect_all(b"")
}

const S7_13: Case = Case {
    id: "S7-13",
    title: "refuses a total that is too large",
    does: "A client adds the largest i64, and then 1. The checker expects that \
           total, then ERROR 4, and the same total as before. Then the client \
           adds -1. The same with the smallest i64 and -1 on another client.",
    steps: from(7),
    rule: (7, 5),
    tags: &[Tag::Hostile],
    why: "In many languages the largest number plus 1 is the smallest one, and \
          nobody is told. In others the program ends. A total that a stranger \
          can turn from a fortune into a debt is none, so the server must \
          check before it adds.",
    hint: Hint {
        meaning: "Your server did not refuse an ADD whose total has no place \
                  in 64 bits, or changed the total all the same.",
        look: "the addition: what does your language do when the sum is too \
               large, and is the total changed by then?",
    },
    proof: Proof::Defects(&[
        "overflow-wraps",
        "overflow-saturates",
        "applies-before-checking",
    ]),
    script: s7_13,
};

fn s7_13(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let client = lab.new_client();
    for (i, most, one) in [(0, i64::MAX, 1), (1, i64::MIN, -1)] {
        let client = client + i;
        peer.added(add(client, 1, most), most)?;
        peer.refuses(add(client, 2, one), 4)?;
        total_is(&mut peer, (client, 3), most)?;
        peer.added(add(client, 4, -one), most - one)?;
    }
    Ok(())
}

const S7_16: Case = Case {
    id: "S7-16",
    title: "answers an ADD in its turn",
    does: "The checker sends an ECHO, a WORK of 300 ms, an ADD of 5, an ECHO, \
           an ADD of 7, a copy of the first ADD, and FIN in one write. It \
           expects the six replies in this order, and FIN. Then it sends an \
           ADD a byte at a time, and expects its reply.",
    steps: from(7),
    rule: (7, 1),
    tags: &[Tag::Closing],
    why: "An ADD is answered by another part of the server, and that part may \
          be faster than what stands before it. The replies still come in the \
          order of the requests, because the client counts on it.",
    hint: Hint {
        meaning: "Your server did not answer all requests of a connection, in \
                  their order.",
        look: "where the reply to an ADD waits until its turn has come",
    },
    proof: Proof::Defects(&["add-overtakes", "adds-lost-at-fin"]),
    script: s7_16,
};

fn s7_16(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let client = lab.new_client();
    let [a, b, c] = std::array::from_fn(|_| lab.word(6));
    let [a, b, c] = [&a, &b, &c].map(|word| word.as_bytes());
    let (five, seven) = (add(client, 1, 5), add(client, 2, 7));
    let all = [
        (echo(a), reply(a)),
        (work(300, b), frame(WORK_REPLY, b)),
        (five.frame(), five.reply(5)),
        (echo(c), reply(c)),
        (seven.frame(), seven.reply(12)),
        (five.frame(), five.reply(5)),
    ];
    let (requests, replies): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    peer.send(&requests.concat())?;
    peer.fin();
    peer.expect_all(&replies.concat())?;
    byte_by_byte(&mut lab.connect(addr)?, add(client, 3, 1), 13)
}

fn byte_by_byte(peer: &mut Peer, add: Add, total: i64) -> Check {
    for byte in add.frame() {
        peer.send(&[byte])?;
        thread::sleep(ms(2)); // a packet of its own
    }
    peer.sends(&add.frame());
    peer.totals(add, total)
}

const S7_17: Case = Case {
    id: "S7-17",
    title: "remembers 10 000 clients",
    does: "10 000 clients add their own amount under the number 1, 100 ADDs \
           in one write. Then each of them adds 1 under the number 2, and \
           sends its first ADD again. The checker expects the totals of each \
           client, and its first reply again.",
    steps: from(7),
    rule: (7, 6),
    tags: &[Tag::Heavy],
    why: "A server that forgets a client applies its copy a second time. So it \
          must say how many clients it remembers, at least 10 000, and turn \
          new ones away beyond that. To forget the oldest one to make room is \
          the mistake that no test with three clients finds.",
    hint: Hint {
        meaning: "Your server forgot a client when many others came.",
        look: "how many clients your server remembers, and what it does with a \
               new one when there is no room",
    },
    proof: Proof::Defects(&["remembers-1000-clients"]),
    script: s7_17,
};

/// How many clients the contract asks for, and how many ADDs are in a write.
const CLIENTS: u64 = 10_000;
const AT_ONCE: u64 = 100;

fn s7_17(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let first = 1_000_000 * lab.new_client(); // and the next ones are its own
    let one = |i: u64| (add(first + i, 1, 1 + i as i64), 1 + i as i64);
    let two = |i: u64| (add(first + i, 2, 1), 2 + i as i64);
    for is_first in [true, false] {
        let mut peer = lab.connect(addr)?;
        for start in (0..CLIENTS).step_by(AT_ONCE as usize) {
            let adds = (start..start + AT_ONCE).flat_map(|i| match is_first {
                true => vec![one(i)],
                false => vec![two(i), one(i)],
            });
            let adds: Vec<(Add, i64)> = adds.collect();
            let bytes = adds.iter().flat_map(|(add, _)| add.frame());
            peer.send(&bytes.collect::<Vec<u8>>())?;
            for (add, total) in adds {
                peer.totals(add, total)?;
            }
            let what = if is_first { "have added" } else { "came again" };
            let end = start + AT_ONCE;
            lab.note_instead(&format!("{end} clients {what}"));
            lab.note_progress();
        }
    }
    Ok(())
}

/// All of them.
pub const CASES: &[Case] = &[
    S7_01, S7_02, S7_03, S7_04, S7_05, S7_06, S7_07, S7_08, S7_09, S7_10,
    S7_11, S7_12, S7_13, S7_16, S7_17,
];

//! C8: a client whose server says no, or goodbye.

use std::thread;
use std::time::Duration;

use crate::case::{Case, Proof};
use crate::harness::lab::{AT_ONCE, Lab};
use crate::harness::peer::Peer;
use crate::harness::stage::{START, Stage, quick, words};
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::Check;
use crate::wire::{ERROR, GOAWAY, frame, reply};

const FAULT: &[Tag] = &[Tag::Starts, Tag::Hostile];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Says that the server stops.
fn say_goodbye(client: &mut Peer) {
    client.send_anyway(&frame(GOAWAY, &[1]));
    client.note("said GOAWAY");
}

/// The client must print these, and exit with 0.
fn prints(lab: &Lab, texts: &[&str]) -> Check {
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, texts)
}

const C8_01: Case = Case {
    id: "C8-01",
    title: "comes back to a server that was full",
    does: "With TCP_ATTEMPTS=3 and waits of at most 40 ms, the checker sends \
           ERROR 6 and FIN as soon as the client has connected, before it has \
           read anything, and ERROR 8 on the second connection; it answers on \
           the third. It expects each attempt within 1 s, the text on stdout, \
           and exit code 0. In a second run, with TCP_ATTEMPTS=1 and ERROR 6, \
           it expects exit code 3 within 1 s, and nothing on stdout.",
    steps: from(8),
    rule: (8, 6),
    tags: &[Tag::Starts, Tag::Hostile, Tag::ExitCodes],
    why: "A full server says no at once, and may do so before the request is \
          there. The client must read what it says, even if its own write \
          fails meanwhile, because ERROR 6 means that nothing was executed: \
          asking again does no harm, and exit code 3 is the truth.",
    hint: Hint {
        meaning: "Your client did not take an ERROR 6 or 8 that came before \
                  its request for a no that is worth another attempt.",
        look: "what your client does with what it has read when the server \
               closes early, and which codes lead to another attempt",
    },
    proof: Proof::Defects(&["gives-up-when-busy", "early-no-is-unknown"]),
    script: c8_01,
};

fn c8_01(lab: &Lab) -> Check {
    quick(lab, 3);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut first = stage.accept(START)?;
    lab.open_window();
    say_no(&mut first, 6);
    let mut second = stage.accept(AT_ONCE)?;
    say_no(&mut second, 8);
    let mut third = stage.next(&text, AT_ONCE)?;
    third.send_anyway(&reply(text.as_bytes()));
    third.fin();
    prints(lab, &[&text])?;
    quick(lab, 1);
    let stage = Stage::open(lab)?;
    stage.start(&[&text])?;
    let mut only = stage.accept(START)?;
    lab.open_window();
    say_no(&mut only, 6);
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.code(lab, 3)?;
    ended.silent(lab)
}

/// Says no before anything has been asked.
fn say_no(client: &mut Peer, code: u8) {
    client.send_anyway(&frame(ERROR, &[&[code], &b"not now"[..]].concat()));
    client.note(&format!("said ERROR({code})"));
    client.fin();
}

const C8_02: Case = Case {
    id: "C8-02",
    title: "takes its reply after GOAWAY, and asks again at FIN",
    does: "With TCP_ATTEMPTS=3 and waits of at most 40 ms, the checker reads \
           the request, sends GOAWAY, and the reply 200 ms later. It expects \
           no other connection, the text on stdout, and exit code 0. In a \
           second run it sends GOAWAY and FIN: it expects the request again on \
           a new connection within 1 s, and answers.",
    steps: from(8),
    rule: (8, 6),
    tags: FAULT,
    why: "GOAWAY is no answer: it says that the server takes nothing more on \
          this connection, but still owes the reply. A client that runs off \
          loses it, and one that waits after FIN waits for nothing. So it \
          stays as long as the server does, and then asks elsewhere.",
    hint: Hint {
        meaning: "Your client took GOAWAY for its reply, or for a mistake, or \
                  left before the reply came.",
        look: "what your client does with kind 04 while it waits for a reply",
    },
    proof: Proof::Defects(&[
        "goaway-is-reply",
        "goaway-is-broken",
        "leaves-before-reply",
        "gives-up-after-goaway",
    ]),
    script: c8_02,
};

fn c8_02(lab: &Lab) -> Check {
    quick(lab, 3);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    say_goodbye(&mut client);
    if stage.accept_within(ms(200)).is_some() {
        let expected = "it waits for the reply on this connection";
        return Err(lab.fail(expected, "it connected again").into());
    }
    client.send_anyway(&reply(text.as_bytes()));
    client.fin();
    prints(lab, &[&text])?;
    let stage = Stage::open(lab)?;
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    say_goodbye(&mut client);
    client.fin();
    drop(client);
    let mut next = stage.next(&text, AT_ONCE)?;
    next.send_anyway(&reply(text.as_bytes()));
    next.fin();
    prints(lab, &[&text])
}

const C8_03: Case = Case {
    id: "C8-03",
    title: "asks its next request on a new connection after GOAWAY",
    does: "The checker starts the client with two TEXTs. It reads the first \
           request, sends GOAWAY and the reply, and does not close. It expects \
           the second request on a new connection within 1 s, both texts on \
           stdout, and exit code 0. The checker does not try a client that \
           takes one TEXT only.",
    steps: from(8),
    rule: (8, 6),
    tags: FAULT,
    why: "After GOAWAY the server may close at any moment, so a request that \
          is sent now may never be read. If the client asks on a new \
          connection at once, the outcome is never in doubt.",
    hint: Hint {
        meaning: "Your client sent its next request to a server that had said \
                  goodbye.",
        look: "which connections your client keeps for its next request",
    },
    proof: Proof::Defects(&["asks-after-goaway"]),
    script: c8_03,
};

fn c8_03(lab: &Lab) -> Check {
    quick(lab, 3);
    let stage = Stage::open(lab)?;
    let [first, last] = words(lab);
    let mut client = stage.first_of(&[&first, &last])?;
    say_goodbye(&mut client);
    thread::sleep(ms(50)); // it has seen it by now
    client.send_anyway(&reply(first.as_bytes()));
    let (mut next, is_new) =
        stage.next_request(Some(client), &last, AT_ONCE)?;
    if !is_new {
        let expected = "its second request on a new connection";
        let actual = "it came on the old one";
        return Err(next.fail(expected, actual).into());
    }
    next.send_anyway(&reply(last.as_bytes()));
    next.fin();
    prints(lab, &[&first, &last])
}

/// All of them.
pub const CASES: &[Case] = &[C8_01, C8_02, C8_03];

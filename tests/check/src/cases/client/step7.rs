//! C7: a client whose operations have an identity.

use crate::case::{Case, Proof};
use crate::harness::adds::Add;
use crate::harness::lab::{AT_ONCE, Lab};
use crate::harness::peer::Peer;
use crate::harness::stage::{Stage, quick};
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::Check;
use crate::wire::{ADD_REPLY, ERROR, frame, reply};

const FAULT: &[Tag] = &[Tag::Starts, Tag::Hostile];

/// A further attempt: the ADD that came on it.
fn next_add<'a>(stage: &Stage<'a>) -> Check<(Peer<'a>, Add)> {
    let mut client = stage.accept(AT_ONCE)?;
    let add = client.add_request()?;
    Ok((client, add))
}

/// Sends the total, and FIN.
fn answer(client: &mut Peer, add: Add, total: i64) {
    client.send_anyway(&add.reply(total));
    client.note(&format!("answered with the total {total}"));
    client.fin();
}

/// The client must print the total, and exit with 0.
fn prints(lab: &Lab, total: i64) -> Check {
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&total.to_string()])
}

const C7_01: Case = Case {
    id: "C7-01",
    title: "asks again under the same name",
    does: "The checker starts the client with the two words `--add 5` in place \
           of {text}, with TCP_ATTEMPTS=5 and waits of at most 40 ms. It reads \
           the first ADD and closes, resets the second connection (RST), and \
           answers the third. It expects the same client, number and amount \
           each time, each on a new connection within 1 s; the total on \
           stdout, and exit code 0 within 1 s of the reply.",
    steps: from(7),
    rule: (7, 7),
    tags: FAULT,
    why: "The first attempt may have been applied, and only its reply was \
          lost. If the second one has another name, the server must take it \
          for another operation, and adds 5 twice. So the client chooses the \
          name before the first attempt, and keeps it until it has an answer.",
    hint: Hint {
        meaning: "Your client asked again, but not under the name of its first \
                  attempt, so a server that had applied the first one would \
                  add twice.",
        look: "where your client chooses its id and its number: inside or \
               outside the loop of attempts?",
    },
    proof: Proof::Defects(&["new-id-each-time", "new-number-each-time"]),
    script: c7_01,
};

fn c7_01(lab: &Lab) -> Check {
    quick(lab, 5);
    let stage = Stage::open(lab)?;
    let (client, first) = stage.first_add(5)?;
    drop(client);
    lab.note("dropped it");
    for attempt in 2..=3 {
        let (mut client, add) = next_add(&stage)?;
        if add != first {
            let due = first.said("amount");
            return Err(client.fail(due, &add.said("amount")).into());
        }
        match attempt {
            2 => client.reset(),
            _ => answer(&mut client, add, 17),
        }
    }
    prints(lab, 17)
}

const C7_02: Case = Case {
    id: "C7-02",
    title: "skips the reply to another ADD",
    does: "The checker starts the client with `--add 5` in place of {text}. It \
           sends the replies to three other ADDs first (another number, \
           another client, both), and then the right one. It expects the total \
           of the right one on stdout, nothing else, and exit code 0 within 1 \
           s.",
    steps: from(7),
    rule: (7, 7),
    tags: FAULT,
    why: "A proxy or a server can deliver late what an earlier attempt asked \
          for. The reply says whose it is, so the client need not guess: it \
          takes the one with its own name, and lets the others pass.",
    hint: Hint {
        meaning: "Your client took the reply to another ADD for its own, or \
                  gave up on it.",
        look: "what your client compares before it takes a frame of kind 83 \
               for its reply",
    },
    proof: Proof::Defects(&["takes-any-83", "other-reply-is-broken"]),
    script: c7_02,
};

fn c7_02(lab: &Lab) -> Check {
    quick(lab, 1);
    let stage = Stage::open(lab)?;
    let (mut client, add) = stage.first_add(5)?;
    let Add { client: id, seq, amount } = add;
    let others = [(id, seq ^ 1), (id ^ 1, seq), (id ^ 1 << 40, seq ^ 1)];
    for ((client_id, seq), total) in others.into_iter().zip(100..) {
        let other = Add { client: client_id, seq, amount };
        client.send_anyway(&other.reply(total));
    }
    client.note("answered three other ADDs");
    answer(&mut client, add, 12);
    prints(lab, 12)
}

const C7_03: Case = Case {
    id: "C7-03",
    title: "gives up at once after ERROR 9 and ERROR 7",
    does: "With TCP_ATTEMPTS=3, the checker starts the client with `--add 5` \
           in place of {text}, and answers with ERROR 9; in a second run with \
           ERROR 7. It expects one attempt each, exit code 6 within 1 s, a \
           message on stderr, and nothing on stdout.",
    steps: from(7),
    rule: (7, 7),
    tags: &[Tag::Starts, Tag::Hostile, Tag::ExitCodes],
    why: "The server knows this name under another amount, or the name is so \
          old that the server has forgotten its answer. To ask again under the \
          same name leads to the same answer, and under another name it might \
          add twice. Only the user can decide.",
    hint: Hint {
        meaning: "Your client did not take ERROR 9 or ERROR 7 for the final \
                  answer, although asking again cannot help.",
        look: "which codes of an ERROR lead to another attempt",
    },
    proof: Proof::Defects(&["retries-conflict", "stale-is-unknown"]),
    script: c7_03,
};

fn c7_03(lab: &Lab) -> Check {
    quick(lab, 3);
    for (code, text) in [(9, &b"another amount"[..]), (7, b"too old")] {
        let stage = Stage::open(lab)?;
        let (mut client, _) = stage.first_add(5)?;
        client.send_anyway(&frame(ERROR, &[&[code], text].concat()));
        client.note(&format!("answered with ERROR({code})"));
        let ended = stage.finish_alone(AT_ONCE)?;
        ended.code(lab, 6)?;
        ended.said_why(lab)?;
        ended.silent(lab)?;
    }
    Ok(())
}

const C7_04: Case = Case {
    id: "C7-04",
    title: "has a name of its own, or the one it is given",
    does: "The checker starts the client three times: with `--add 5` in place \
           of {text}, with `--add -3`, and with `--add 7`, \
           TCP_CLIENT_ID=18446744073709551615 and TCP_SEQ=9. It expects that \
           the first two have different client ids and the number 1, and that \
           the third has the given ones. It answers with the totals 5, -3 and \
           -9223372036854775808, and expects each on stdout, and exit code 0 \
           within 1 s.",
    steps: from(7),
    rule: (7, 7),
    tags: &[Tag::Starts],
    why: "Two clients with the same id would take each other's operations for \
          copies. So an id comes from all numbers of 64 bits, at random; then \
          no two are ever the same. A script that must survive its own crash \
          gives the name itself, because then it can ask again.",
    hint: Hint {
        meaning: "Your client's name is not random, or not the one that \
                  TCP_CLIENT_ID and TCP_SEQ give.",
        look: "where your client takes its id and its first number from",
    },
    proof: Proof::Defects(&["same-id-for-all", "ignores-given-name"]),
    script: c7_04,
};

fn c7_04(lab: &Lab) -> Check {
    let mut before = None;
    for amount in [5, -3] {
        let add = name_of(lab, amount, amount)?;
        if add.seq != 1 || before == Some(add.client) {
            let expected = "a client id of its own, and seq 1";
            let failure = lab.fail(expected, add.said("amount"));
            return Err(failure.into());
        }
        before = Some(add.client);
    }
    lab.set("TCP_CLIENT_ID", u64::MAX);
    lab.set("TCP_SEQ", 9);
    let due = Add { client: u64::MAX, seq: 9, amount: 7 };
    let add = name_of(lab, 7, i64::MIN)?;
    if add == due {
        return Ok(());
    }
    Err(lab.fail(due.said("amount"), add.said("amount")).into())
}

/// Runs a client, and answers it.
fn name_of(lab: &Lab, amount: i64, total: i64) -> Check<Add> {
    let stage = Stage::open(lab)?;
    let (mut client, add) = stage.first_add(amount)?;
    answer(&mut client, add, total);
    prints(lab, total)?;
    Ok(add)
}

const C7_05: Case = Case {
    id: "C7-05",
    title: "takes nothing but a total for a total",
    does: "With TCP_ATTEMPTS=3, the checker starts the client with `--add 5` \
           in place of {text}, and answers with an ECHO's reply that has the \
           24 bytes of the right one; in a second run with kind 83 and 23 \
           bytes. It expects one attempt each, exit code 5 within 1 s, and \
           nothing on stdout.",
    steps: from(7),
    rule: (5, 7),
    tags: &[Tag::Starts, Tag::Hostile, Tag::ExitCodes],
    why: "The server has broken the protocol, so no one knows what it means, \
          or whether it has added anything. A client that prints some number \
          all the same tells its user a total that does not exist.",
    hint: Hint {
        meaning: "Your client did not notice that the frame is no reply to an \
                  ADD.",
        look: "what your client asks of a frame before it takes the total \
               from it: its kind, and its size?",
    },
    proof: Proof::Defects(&["any-kind-is-total", "short-total-is-fine"]),
    script: c7_05,
};

fn c7_05(lab: &Lab) -> Check {
    quick(lab, 3);
    for is_short in [false, true] {
        let stage = Stage::open(lab)?;
        let (mut client, add) = stage.first_add(5)?;
        let payload = &add.reply(12)[5..];
        client.send_anyway(&match is_short {
            true => frame(ADD_REPLY, &payload[..23]),
            false => reply(payload),
        });
        client.fin();
        let ended = stage.finish_alone(AT_ONCE)?;
        ended.code(lab, 5)?;
        ended.silent(lab)?;
    }
    Ok(())
}

/// All of them.
pub const CASES: &[Case] = &[C7_01, C7_02, C7_03, C7_04, C7_05];

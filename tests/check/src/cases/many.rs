//! S3: many clients.

use crate::case::{Case, Check, Hint, Tag};
use crate::cases::echo::{nothing_left, visit};
use crate::cases::flood::write_until_stalled;
use crate::harness::lab::Lab;
use crate::program::proc;

const ONE_BY_ONE: Hint = Hint {
    meaning: "Your server serves one client to the end before it serves the \
              next.",
    look: "what runs between accept and the next accept",
};

pub const CASES: &[Case] = &[
    Case {
        id: "S3-01",
        title: "a silent client delays nobody",
        does: "Client A connects and sends nothing. Client B sends 1 byte. \
               Expects that B gets it back within 3 s.",
        steps: 3..=5,
        rule: (3, 1),
        tags: &[],
        why: "One client that connects and says nothing is enough to stop a \
              server that serves clients one after another. No malice is \
              needed: a laptop that fell asleep does it.",
        hint: ONE_BY_ONE,
        script: s3_01,
    },
    Case {
        id: "S3-02",
        title: "150 clients at once, each gets its own bytes",
        does: "150 clients connect, then each sends 100 letters of its own, \
               then the answers are read, that of the last client first. \
               Expects that each gets its own letters, within 3 s.",
        steps: 3..=5,
        rule: (3, 1),
        tags: &[],
        why: "A pool of four threads, or a buffer that connections share, \
              passes every test with three clients. Here 150 are connected, all \
              have asked, and the last one is read first.",
        hint: Hint {
            meaning: "Some clients are not served while others are connected: \
                      a pool with too few threads?",
            look: "how many clients can be served at the same time, and what \
                   they share",
        },
        script: s3_02,
    },
    Case {
        id: "S3-03",
        title: "200 clients come and go, and nothing stays open",
        does: "200 clients, one after another: each exchanges a short text, \
               then every second one resets (RST), and the others send FIN. \
               Expects at the end at most 5 more open descriptors than before, \
               within 3 s.",
        steps: 3..=5,
        rule: (3, 3),
        tags: &[Tag::Linux, Tag::Starts],
        why: "Half of these clients leave with a reset. The way out after an \
              error is the one on which a close is easily forgotten.",
        hint: Hint {
            meaning: "Descriptors stay open after an error.",
            look: "the way out after an error: does it close, too?",
        },
        script: s3_03,
    },
    Case {
        id: "S3-04",
        title: "a client that never reads delays nobody",
        does: "Client A sends up to 30 MB in messages of 60 000 bytes and \
               never reads, until nothing has moved for 300 ms. Client B sends \
               1 byte, then 20, and expects each back within 3 s. From step 4 \
               on, a server that takes all 30 MB gets a warning.",
        steps: 3..=5,
        rule: (3, 1),
        tags: &[Tag::Hostile],
        why: "When a client does not read, the write to it blocks. If \
              something that others need is held meanwhile, such as a lock or \
              the only thread, one such client stops them all.",
        hint: Hint {
            meaning: "While a write to one client waits, nobody else is \
                      served.",
            look: "what is held while you write: a lock, the only thread?",
        },
        script: s3_04,
    },
];

fn s3_01(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let _silent = lab.connect_as(addr, "A: ")?;
    lab.note("A: connected, says nothing");
    let mut other = lab.connect_as(addr, "B: ")?;
    other.exchange(lab.word(1).as_bytes())
}

/// More than most pools of threads have, fewer than most limits of processes.
const CLIENTS: usize = 150;

fn s3_02(lab: &Lab) -> Check {
    lab.other_means(
        "These are the bytes of another client: connections share a buffer.",
        "which variables belong to one connection, and which to all",
    );
    let addr = lab.server()?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push((lab.connect(addr)?, lab.word(100)));
    }
    for (client, text) in &mut clients {
        client.say(text.as_bytes())?;
    }
    for (client, text) in clients.iter_mut().rev() {
        client.hear(text.as_bytes())?;
    }
    Ok(())
}

fn s3_03(lab: &Lab) -> Check {
    let addr = lab.server()?;
    visit(lab, addr, "warm")?;
    let before = proc::descriptors(&lab.pids());
    for i in 0..100 {
        visit(lab, addr, &format!("client {i}"))?;
        let mut client = lab.connect(addr)?;
        client.exchange(b"and")?;
        client.reset();
    }
    nothing_left(lab, before)
}

fn s3_04(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut greedy = lab.connect_as(addr, "A: ")?;
    let message = lab.request(&[b'x'; 60_000]);
    let data = message.repeat(30_000_000 / message.len());
    let sent = write_until_stalled(&mut greedy.stream, &data);
    lab.note("A: sends up to 30 MB, never reads");
    let mut other = lab.connect_as(addr, "B: ")?;
    other.exchange(lab.word(1).as_bytes())?;
    other.exchange(lab.word(20).as_bytes())?;
    if sent == data.len() && lab.is_framed() {
        let expected = "it stops reading when nobody takes its replies";
        let mut failure = lab.fail(expected, "it took all 30 MB");
        failure.meaning = "It keeps in memory what nobody reads: at most \
                           1 MiB is due to one connection."
            .into();
        failure.look = "what limits the replies that wait to be written".into();
        lab.warn(failure);
    }
    Ok(())
}

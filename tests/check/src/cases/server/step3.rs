//! S3: many clients, and more of them than a server has room for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::case::{Case, Proof};
use crate::harness::lab::{BULK, Lab, PATIENCE};
use crate::harness::resources::{WATCHED, nothing_left, stays_calm};
use crate::harness::visit::{visit, write_until_stalled};
use crate::os;
use crate::program::proc;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure};

const ONE_BY_ONE: Hint = Hint {
    meaning: "Your server serves one client to the end before it serves the \
              next.",
    look: "what runs between accept and the next accept",
};

const S3_01: Case = Case {
    id: "S3-01",
    title: "a silent client delays nobody",
    does: "Client A connects and sends nothing. Client B sends 1 byte. \
           Expects that B gets it back within 3 s.",
    steps: from(3),
    rule: (3, 1),
    tags: &[],
    why: "One client that connects and says nothing is enough to stop a \
          server that serves clients one after another. No malice is \
          needed: a laptop that fell asleep does it.",
    hint: ONE_BY_ONE,
    proof: Proof::Defects(&["one-at-a-time"]),
    script: s3_01,
};

fn s3_01(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let _silent = lab.connect_as(addr, "A: ")?;
    lab.note("A: connected, says nothing");
    let mut other = lab.connect_as(addr, "B: ")?;
    other.exchange(lab.word(1).as_bytes())
}

const S3_02: Case = Case {
    id: "S3-02",
    title: "150 clients at once, each gets its own bytes",
    does: "150 clients connect, then each sends 100 letters of its own, \
           then the answers are read, that of the last client first. \
           Expects that each gets its own letters, within 3 s.",
    steps: from(3),
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
    proof: Proof::Defects(&["pool-of-4", "shared-buffer"]),
    script: s3_02,
};

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

const S3_03: Case = Case {
    id: "S3-03",
    title: "200 clients come and go, and nothing stays open",
    does: "200 clients, one after another: each exchanges a short text, \
           then every second one resets (RST), and the others send FIN. \
           Expects at the end at most 5 more open descriptors than before, \
           within 3 s.",
    steps: from(3),
    rule: (3, 3),
    tags: &[Tag::Linux, Tag::Starts, Tag::PlainStart],
    why: "Half of these clients leave with a reset. The way out after an \
          error is the one on which a close is easily forgotten.",
    hint: Hint {
        meaning: "Descriptors stay open after an error.",
        look: "the way out after an error: does it close, too?",
    },
    proof: Proof::Defects(&["leaks-after-error"]),
    script: s3_03,
};

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

const S3_04: Case = Case {
    id: "S3-04",
    title: "a client that never reads delays nobody",
    does: "Client A sends up to 30 MB in messages of 60 000 bytes and \
           never reads, until nothing has moved for 300 ms. Client B sends \
           1 byte, then 20, and expects each back within 3 s. From step 4 \
           on, a server that takes all 30 MB gets a warning.",
    steps: from(3),
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
    proof: Proof::Defects(&["lock-while-writing"]),
    script: s3_04,
};

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

const S3_05: Case = Case {
    id: "S3-05",
    title: "answers 100 clients that came while it was stopped",
    does: "Stops the server (SIGSTOP), begins 100 connects, and lets it go \
           on (SIGCONT) after 0.2 s; then each client sends 8 letters. \
           Expects all 100 answers within 10 s. If its queue has no room \
           for all 100, that is a warning.",
    steps: from(3),
    rule: (3, 1),
    tags: &[
        Tag::Linux,
        Tag::Starts,
        Tag::Hostile,
        Tag::PlainStart,
        Tag::Ending,
    ],
    why: "A server that is held up for a moment finds many clients \
          waiting. The system keeps them in a queue, whose length the \
          server chose when it called listen. A client that finds the \
          queue full is not refused: it tries again after a second, and \
          then after two more.",
    hint: Hint {
        meaning: "After your server had been stopped for a moment, it did \
                  not answer all clients that had come meanwhile.",
        look: "what your server does when a system call is interrupted \
               (EINTR)",
    },
    proof: Proof::Defects(&["queue-of-5", "dies-when-interrupted"]),
    script: s3_05,
};

const WAITING: usize = 100;

fn s3_05(lab: &Lab) -> Check {
    let addr = lab.server()?;
    lab.connect(addr)?.exchange(b"ready")?;
    lab.signal_all(Signal::STOP);
    let sockets: Vec<Socket> = (0..WAITING).flat_map(|_| knock(addr)).collect();
    thread::sleep(Duration::from_millis(200)); // on loopback this is long
    let is_in = |socket: &&Socket| socket.peer_addr().is_ok();
    let queued = sockets.iter().filter(is_in).count();
    lab.signal_all(Signal::CONT);
    lab.note_instead("stopped it, 100 clients connected, let it go on");
    let until = lab.until(BULK);
    let answered = sockets
        .into_iter()
        .map(|socket| is_answered(lab, socket, until))
        .filter(|is_answered| *is_answered)
        .count();
    if answered < WAITING {
        let actual = match answered {
            0 => "none was answered within 10 s",
            _ => "not all were answered within 10 s",
        };
        let failure = lab.fail("all 100 are answered", actual);
        return Err(Failure { by_time: true, ..failure }.into());
    }
    if queued < WAITING {
        lab.warn(short_queue(lab, queued));
    }
    Ok(())
}

fn short_queue(lab: &Lab, queued: usize) -> Failure {
    // How many exactly differs from run to run.
    let most = [10, 20, 50].into_iter().find(|&most| queued < most);
    let most = most.unwrap_or(WAITING);
    let actual = format!("fewer than {most} found room in its queue");
    let mut failure = lab.fail("room for 100 clients", actual);
    failure.meaning = "The others had to knock again, a second later: the \
                       queue of your listening socket is short."
        .into();
    failure.look = "the backlog, the number that listen is given".into();
    failure
}

/// Waits until the socket is connected, and is answered.
fn is_answered(lab: &Lab, socket: Socket, until: Instant) -> bool {
    while socket.peer_addr().is_err() {
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let text = lab.word(8);
    let want = lab.answer(text.as_bytes());
    let mut stream = TcpStream::from(socket);
    let left = until.saturating_duration_since(Instant::now());
    let left = left.max(Duration::from_millis(1));
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(left));
    let mut got = vec![0; want.len()];
    stream.write_all(&lab.request(text.as_bytes())).is_ok()
        && stream.read_exact(&mut got).is_ok()
        && got == want
}

/// Begins to connect, and does not wait for the answer.
fn knock(addr: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let _ = socket.connect(&addr.into()); // it is under way
    Ok(socket)
}

const S3_06: Case = Case {
    id: "S3-06",
    title: "lives on when no descriptor is left",
    does: "One client is connected; then the server may open only 8 \
           descriptors more, and 24 clients connect. Expects that the \
           server still runs, uses less than 15 % of a core (75 ms in 0.5 \
           s), answers the first client, and, when the 24 have left, a new \
           one, each within 3 s.",
    steps: from(3),
    rule: (3, 4),
    tags: &[
        Tag::Linux,
        Tag::Starts,
        Tag::Hostile,
        Tag::PlainStart,
        Tag::Closing,
        Tag::Ending,
    ],
    why: "Each connection costs a descriptor, and their number is limited. \
          At the limit accept fails, and the client stays in the queue; so \
          the next call fails at once, too. A server that dies of it has \
          thrown out all its clients. One that simply tries again keeps a \
          core busy.",
    hint: Hint {
        meaning: "When accept fails, your server ends, spins, or never \
                  accepts again.",
        look: "what your server does after an error of accept",
    },
    proof: Proof::Defects(&[
        "dies-at-limit",
        "spins-at-limit",
        "stops-at-limit",
    ]),
    script: s3_06,
};

/// How many descriptors it may open from now on: fewer than clients come.
const ROOM: usize = 8;

const TOO_MANY: usize = 24;

fn s3_06(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut first = lab.connect(addr)?;
    first.exchange(b"ready")?;
    for pid in lab.pids() {
        os::limit_descriptors(pid, proc::descriptors(&[pid]) + ROOM);
    }
    let crowd: Vec<Socket> = (0..TOO_MANY).flat_map(|_| knock(addr)).collect();
    lab.note_instead("8 descriptors left, 24 clients connected");
    thread::sleep(WATCHED);
    lab.lives_on()?;
    stays_calm(lab, "at its limit it waits, with less than 15 % of a core")?;
    first.exchange(lab.word(5).as_bytes())?;
    drop(crowd);
    lab.note("these 24 left");
    lab.hint(
        "The clients have left, and still nobody new is served.",
        "what follows an error of accept: is accept called again?",
    );
    // It may see that they left a moment later than we.
    let until = lab.until(PATIENCE);
    let word = lab.word(6);
    loop {
        let next = lab.connect_as(addr, "next: ");
        let served = next.and_then(|mut next| next.exchange(word.as_bytes()));
        if served.is_ok() || Instant::now() > until {
            return served;
        }
        thread::sleep(Duration::from_millis(50));
        lab.note_instead("8 descriptors left, 24 clients came and left");
    }
}

/// All of them.
pub const CASES: &[Case] = &[S3_01, S3_02, S3_03, S3_04, S3_05, S3_06];

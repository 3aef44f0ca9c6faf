//! S3: more at once than a server has room for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::case::{Case, Check, Failure, Hint, Tag};
use crate::cases::echo::{WATCHED, stays_calm};
use crate::harness::lab::{BULK, Lab, PATIENCE};
use crate::program::proc;

const CROWD: &[Tag] = &[Tag::Linux, Tag::Starts, Tag::Hostile];

pub const CASES: &[Case] = &[
    Case {
        id: "S3-05",
        title: "answers 100 clients that came while it was stopped",
        does: "Stops the server (SIGSTOP), begins 100 connects, and lets it go \
               on (SIGCONT) after 0.2 s; then each client sends 8 letters. \
               Expects all 100 answers within 10 s. If its queue has no room \
               for all 100, that is a warning.",
        steps: 3..=5,
        rule: (3, 1),
        tags: CROWD,
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
        script: s3_05,
    },
    Case {
        id: "S3-06",
        title: "lives on when no descriptor is left",
        does: "One client is connected; then the server may open only 8 \
               descriptors more, and 24 clients connect. Expects that the \
               server still runs, uses less than 15 % of a core (75 ms in 0.5 \
               s), answers the first client, and, when the 24 have left, a new \
               one, each within 3 s.",
        steps: 3..=5,
        rule: (3, 4),
        tags: CROWD,
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
        script: s3_06,
    },
];

const CLIENTS: usize = 100;

/// Begins to connect, and does not wait for the answer.
fn knock(addr: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let _ = socket.connect(&addr.into()); // it is under way
    Ok(socket)
}

fn s3_05(lab: &Lab) -> Check {
    let addr = lab.server()?;
    lab.connect(addr)?.exchange(b"ready")?;
    lab.signal_all(Signal::STOP);
    let sockets: Vec<Socket> = (0..CLIENTS).flat_map(|_| knock(addr)).collect();
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
    if answered < CLIENTS {
        let actual = match answered {
            0 => "none was answered within 10 s",
            _ => "not all were answered within 10 s",
        };
        let failure = lab.fail("all 100 are answered", actual);
        return Err(Failure { by_time: true, ..failure }.into());
    }
    if queued < CLIENTS {
        lab.warn(short_queue(lab, queued));
    }
    Ok(())
}

fn short_queue(lab: &Lab, queued: usize) -> Failure {
    // How many exactly differs from run to run.
    let most = [10, 20, 50].into_iter().find(|&most| queued < most);
    let most = most.unwrap_or(CLIENTS);
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

/// How many descriptors it may open from now on: fewer than clients come.
const ROOM: usize = 8;
const TOO_MANY: usize = 24;

fn s3_06(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut first = lab.connect(addr)?;
    first.exchange(b"ready")?;
    for pid in lab.pids() {
        proc::limit_descriptors(pid, ROOM);
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

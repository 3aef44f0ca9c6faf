//! S3: many clients, and more of them than a server has room for.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, SockRef, Socket, Type};

use crate::case::{Case, Proof};
use crate::diagnosis::evidence::End;
use crate::harness::lab::{BULK, Lab, PATIENCE};
use crate::harness::peer::Peer;
use crate::harness::resources::{WATCHED, nothing_left, stays_calm};
use crate::harness::visit::{LITTLE, narrow, visit, write_until_stalled};
use crate::os;
use crate::program::proc;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure, Stop};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const ONE_BY_ONE: Hint = Hint {
    meaning: "Your server serves one client to the end before it serves the \
              next.",
    look: "what runs between `accept` and the next `accept`",
};

const S3_01: Case = Case {
    id: "S3-01",
    title: "a silent client delays nobody",
    does: "Client A connects and sends nothing. Client B sends 1 byte. The \
           checker expects that B gets it back within 3 s.",
    steps: from(3),
    rule: (3, 1),
    tags: &[Tag::Queueing],
    why: "One client that connects and says nothing is enough to stop a server \
          that serves clients one after another. The client need not even be \
          malicious: a laptop that fell asleep does it.",
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
    title: "1000 clients at once, each gets its own bytes",
    does: "1000 clients connect, one after another, and each exchanges a \
           letter. When all are connected, each sends 100 letters of its own; \
           then the checker reads the answers, beginning with that of the last \
           client. Each client expects its own letters within 3 s. If not all \
           clients are connected after 8 s, that is a warning, and the checker \
           does not wait for the others.",
    steps: from(3),
    rule: (3, 1),
    tags: &[Tag::Queueing, Tag::Heavy],
    why: "A pool of four threads, a table with 256 places, or a buffer that \
          connections share passes every test with three clients. Here 1000 \
          clients are connected and all of them have asked before the checker \
          reads the first answer, so such a server gets caught.",
    hint: Hint {
        meaning: "Your server does not serve a client while others are \
                  connected, so it may have a pool or a table with too few \
                  places.",
        look: "how many clients your server can serve at the same time, and \
               what they share",
    },
    proof: Proof::Defects(&["pool-of-4", "table-of-256", "shared-buffer"]),
    script: s3_02,
};

/// What the contract asks for.
const CLIENTS: usize = 1000;

/// Descriptors that are open anyway, here and in the server.
const OTHERS: usize = 100;

/// As many of `wanted` clients as the limits of this machine allow, and why
/// these are not all.
fn as_many_as_fit(lab: &Lab, wanted: usize) -> (usize, Option<String>) {
    // Another case may do the same meanwhile.
    let most = os::allow_descriptors(4 * wanted);
    let count = wanted.min(most.saturating_sub(OTHERS));
    lab.clients.set(count);
    let why = format!(
        "{count} clients are fine; {wanted} need a limit of {} open files \
         (ulimit -n)",
        wanted + OTHERS
    );
    (count, (count < wanted).then_some(why))
}

/// What was tried is right, and more could not be tried.
fn skip_if(why: Option<String>) -> Check {
    why.map_or(Ok(()), |why| Err(Box::new(Stop::Skip(why))))
}

fn s3_02(lab: &Lab) -> Check {
    lab.other_means(
        "Your server sent another client's bytes: connections share a buffer.",
        "which variables belong to one connection, and which to all",
    );
    let (count, why) = as_many_as_fit(lab, CLIENTS);
    let addr = lab.server()?;
    let mut clients = Vec::new();
    let end = lab.until(CONNECTING);
    for n in 0..count {
        if Instant::now() > end {
            accepts_slowly(lab, n)?;
            break;
        }
        let (mut client, text) = (lab.connect(addr)?, lab.word(100));
        if n == 1 {
            lab.hint(S3_02.hint.meaning, S3_02.hint.look);
        }
        os::acknowledge_at_once(&client.stream);
        client.exchange(&text.as_bytes()[..1])?;
        lab.note_instead(&format!("{} clients are connected", n + 1));
        clients.push((client, text));
    }
    for (client, text) in &mut clients {
        client.say(text.as_bytes())?;
    }
    lab.note_instead(&format!("{} clients have asked", clients.len()));
    for (client, text) in clients.iter_mut().rev() {
        client.hear(text.as_bytes())?;
    }
    skip_if(why)
}

/// How long we go on connecting clients, one after another.
const CONNECTING: Duration = Duration::from_secs(8);

/// Not all came in that time: those that did must do.
fn accepts_slowly(lab: &Lab, n: usize) -> Check {
    if lab.lateness() > ms(500) {
        let why = "this machine is too busy for 1000 clients";
        return Err(Box::new(Stop::Unknown(why.to_owned())));
    }
    let actual = format!("{} hundred after 8 s", n / 100);
    let mut failure = lab.fail("1000 clients, connected and served", actual);
    failure.meaning = "Your server takes long for each new client, and the \
                       next one waits in the meantime."
        .into();
    failure.look = "what runs between two calls of `accept`".into();
    lab.warn(failure);
    Ok(())
}

const S3_03: Case = Case {
    id: "S3-03",
    title: "200 clients come and go, and nothing stays open",
    does: "200 clients come, one after another: each exchanges a short text, \
           then every second one resets (RST), and the others send FIN. Within \
           3 s the server may have at most 5 more open descriptors than \
           before.",
    steps: from(3),
    rule: (3, 3),
    tags: &[Tag::Linux, Tag::Starts],
    why: "Half of these clients leave with a reset. Programmers easily forget \
          to close on the way out after an error, so these connections are the \
          ones that stay open.",
    hint: Hint {
        meaning: "Your server keeps descriptors open after an error.",
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
    does: "Client A sends up to 30 MB in messages of 60 000 bytes and never \
           reads, until nothing has moved for 300 ms. Client B sends 1 byte, \
           then 20, and expects each back within 3 s. A server that takes all \
           30 MB gets a warning.",
    steps: from(3),
    rule: (3, 1),
    tags: &[Tag::Hostile, Tag::Queueing],
    why: "When a client does not read, the server's write to it blocks. If the \
          server meanwhile holds something that others need, such as a lock or \
          the only thread, one such client stops them all.",
    hint: Hint {
        meaning: "While your server waits in a write to one client, it serves \
                  no other.",
        look: "what your server holds while it writes: a lock, the only \
               thread?",
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
    if sent == data.len() {
        let expected = "it stops reading when nobody takes its replies";
        let mut failure = lab.fail(expected, "it took all 30 MB");
        failure.meaning = match lab.is_framed() {
            true => {
                "Your server keeps in memory what the client does not read, \
                 but it may spend at most 1 MiB on one connection."
            }
            false => {
                "Your server keeps in memory what the client does not read, so \
                 a few such clients fill its memory."
            }
        }
        .into();
        failure.look = "what limits the replies that wait until your server \
                        can write them"
            .into();
        lab.warn(failure);
    }
    Ok(())
}

const S3_05: Case = Case {
    id: "S3-05",
    title: "answers 1000 clients that came while it was stopped",
    does: "The checker stops the server (SIGSTOP), begins 1000 connects, and \
           lets it run again (SIGCONT) after 0.5 s; then each client that \
           found room in its queue sends 8 letters. The checker expects all \
           these answers within 10 s. If the queue has no room for all 1000, \
           that is a warning.",
    steps: from(3),
    rule: (3, 1),
    tags: &[Tag::Linux, Tag::Starts, Tag::Heavy, Tag::Hostile, Tag::Ending],
    why: "A server that is held up for a moment finds many clients waiting. \
          The kernel keeps them in a queue, whose length the server chose when \
          it called `listen`. When the queue is full, the kernel does not \
          refuse the next client but ignores it, so the client's kernel must \
          repeat its SYN. Linux 6.5 and later repeats it after one second, \
          five times, and only then doubles the wait \
          (`tcp_syn_linear_timeouts`); older versions double it from the \
          start. Every client that finds the queue full therefore loses at \
          least a second.",
    hint: Hint {
        meaning: "After your server had been stopped for a moment, it did not \
                  answer all clients that had come meanwhile.",
        look: "what your server does when a signal interrupts a system call \
               (EINTR)",
    },
    proof: Proof::Defects(&["queue-of-5", "dies-when-interrupted"]),
    script: s3_05,
};

fn s3_05(lab: &Lab) -> Check {
    let wanted = CLIENTS.min(proc::longest_queue());
    let (count, why) = as_many_as_fit(lab, wanted);
    let addr = lab.server()?;
    lab.connect(addr)?.exchange(b"ready")?;
    lab.signal_all(Signal::STOP);
    let sockets: Vec<Socket> = (0..count).flat_map(|_| knock(addr)).collect();
    thread::sleep(ms(500)); // on loopback this is long
    let is_in = |socket: &Socket| socket.peer_addr().is_ok();
    let queued: Vec<Socket> = sockets.into_iter().filter(is_in).collect();
    lab.signal_all(Signal::CONT);
    lab.note_instead("stopped it, 1000 clients connected, let it go on");
    if queued.len() < count {
        lab.warn(short_queue(lab, queued.len()));
    }
    let until = lab.until(BULK);
    let mut answers =
        queued.into_iter().map(|socket| is_answered(lab, socket, until));
    let has_first = answers.next().is_some_and(|is_answered| is_answered);
    if !has_first || !answers.all(|is_answered| is_answered) {
        return Err(not_all(lab, addr, has_first).into());
    }
    skip_if(why)
}

fn not_all(lab: &Lab, addr: SocketAddr, has_first: bool) -> Failure {
    let actual = match has_first {
        false => "the first of them got no answer within 10 s",
        true => "not all of them got an answer within 10 s",
    };
    // What was read last was one of many: so its end says something, too.
    lab.is_open.set(false);
    let mut failure =
        lab.fail("an answer for each client in its queue", actual);
    failure.by_time = true;
    failure.is_silent = !has_first;
    if failure.gone.is_none() {
        let is_queued = !proc::not_accepted(addr.port()).is_empty();
        failure.look = match is_queued {
            true => {
                "how many clients your server accepts when it hears that some \
                 wait: all of them?"
            }
            false => "what your server does when many clients come at once",
        }
        .into();
        if is_queued {
            failure
                .actual
                .push("your server has not accepted some of them yet".into());
        }
    }
    failure
}

fn short_queue(lab: &Lab, queued: usize) -> Failure {
    // How many exactly differs from run to run.
    let most = [10, 20, 50, 100, 200, 600].into_iter();
    let most = most.into_iter().find(|&most| queued < most);
    let most = most.unwrap_or(CLIENTS);
    let actual = format!("fewer than {most} found room in its queue");
    let mut failure = lab.fail("room for 1000 clients", actual);
    failure.meaning = "The queue of your listening socket is short, so the \
                       other clients must repeat their SYN a second later."
        .into();
    failure.look =
        "the backlog, which is the number that you pass to `listen`".into();
    failure
}

/// Asks on a connection, and waits for the answer.
fn is_answered(lab: &Lab, socket: Socket, until: Instant) -> bool {
    let text = lab.word(8);
    let want = lab.answer(text.as_bytes());
    let stream = TcpStream::from(socket);
    let _ = stream.set_nonblocking(false);
    let mut client = Peer::new(lab, stream, "");
    let asked = client.stream.write_all(&lab.request(text.as_bytes()));
    asked.is_ok() && client.read(want.len(), until).bytes == want
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
    does: "One client is connected; then the server may open only 8 more \
           descriptors, and 24 clients connect. The checker expects that the \
           server still runs, uses less than 15 % of a core (75 ms in 0.5 s), \
           and answers the first client. When 23 of the 24 have left, the \
           server must answer the last of them, unless it turned that client \
           away, and then a new one, each within 3 s.",
    steps: from(3),
    rule: (3, 4),
    tags: &[Tag::Linux, Tag::Starts, Tag::Hostile, Tag::Closing, Tag::Ending],
    why: "Each connection costs a descriptor, and the kernel limits their \
          number. At the limit `accept` fails and the client stays in the \
          queue, so the next call fails at once, too. A server that dies of \
          this error throws out all its clients, and one that simply tries \
          again keeps a core busy.",
    hint: Hint {
        meaning: "When `accept` fails, your server ends, spins, or never \
                  accepts again.",
        look: "what your server does after an error of `accept`",
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
    let mut crowd: Vec<Socket> =
        (0..TOO_MANY).flat_map(|_| knock(addr)).collect();
    lab.note_instead("8 descriptors left, 24 clients connected");
    thread::sleep(WATCHED);
    lab.lives_on()?;
    stays_calm(lab, "at its limit it waits, with less than 15 % of a core")?;
    first.exchange(lab.word(5).as_bytes())?;
    let last = crowd.pop();
    drop(crowd);
    lab.note("23 of them left");
    lab.hint(
        "The clients have left, but your server still serves no new client.",
        "what your server does after an error of `accept`: does it call \
         `accept` again?",
    );
    last_in_the_queue(lab, last)?;
    next_client(lab, addr)
}

/// It has waited all the time: there is room for it now. Some systems turn
/// such a client away; that is no failure.
fn last_in_the_queue(lab: &Lab, last: Option<Socket>) -> Check {
    let Some(socket) = last.filter(|socket| socket.peer_addr().is_ok()) else {
        return Ok(()); // it never came in
    };
    let _ = socket.set_nonblocking(false);
    let mut last = Peer::new(lab, socket.into(), "the last: ");
    let word = lab.word(6);
    last.send_anyway(&lab.request(word.as_bytes()));
    match last.peeks(PATIENCE) {
        Some(End::Fin | End::Reset) => Ok(()),
        Some(End::Open) | None => last.hear(word.as_bytes()),
    }
}

/// It may see that the others left a moment later than we.
fn next_client(lab: &Lab, addr: SocketAddr) -> Check {
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

const S3_07: Case = Case {
    id: "S3-07",
    title: "closes a connection when a write to it fails",
    does: "50 clients send what they can and never read, so that the server's \
           writes to them wait; then all reset (RST). Within 3 s the checker \
           expects at most 5 more open descriptors than before, less than 15 % \
           of a core (75 ms in 0.5 s), and an answer for a new client.",
    steps: from(3),
    rule: (3, 3),
    tags: &[Tag::Linux, Tag::Starts, Tag::Hostile],
    why: "A client can vanish while the server writes to it, and then the \
          write fails, not the read. Servers often have one way out after a \
          failed read and another after a failed write, but few tests take the \
          second one. If it forgets to close, each such client leaves an open \
          descriptor behind; if it tries again, each leaves a loop that writes \
          forever.",
    hint: Hint {
        meaning: "Your server's write to a client failed, but your server \
                  keeps the connection open.",
        look: "the way out after a failed `write`: does it close, as the one \
               after a failed `read` does?",
    },
    proof: Proof::Defects(&[
        "leaks-after-write-error",
        "spins-after-write-error",
    ]),
    script: s3_07,
};

fn s3_07(lab: &Lab) -> Check {
    let addr = lab.server()?;
    lab.connect(addr)?.exchange(b"ready")?;
    let before = proc::descriptors(&lab.pids());
    let data = lab.request(&[b'x'; 50_000]).repeat(8);
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = narrow(lab, addr, LITTLE)?;
        let _ = client.set_nonblocking(true);
        let _ = client.write(&data); // what it takes
        clients.push(client);
    }
    thread::sleep(ms(200)); // by now the server's writes wait
    for client in clients {
        let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
    }
    lab.note_instead("50 clients sent, never read, and reset");
    lab.lives_on()?;
    lab.hint(
        "Your server's write to a client failed, and your server tries it \
         again and again.",
        "what your loop does after a failed `write`",
    );
    stays_calm(lab, "less than 15 % of a core when these clients have left")?;
    lab.hint(S3_07.hint.meaning, S3_07.hint.look);
    nothing_left(lab, before)?;
    lab.connect_as(addr, "next: ")?.exchange(lab.word(6).as_bytes())
}

const S3_08: Case = Case {
    id: "S3-08",
    title: "reports the error of a client",
    does: "A client exchanges 5 letters and resets (RST). If the server prints \
           nothing within 3 s after that, on stdout or stderr, that is a \
           warning.",
    steps: from(3),
    rule: (3, 2),
    tags: &[Tag::Starts],
    why: "The error of one client must not harm another one, but it should \
          leave a trace. When users say that their connections break, the \
          server's report is the first place where you look, and often the \
          only one.",
    hint: Hint {
        meaning: "Your server does not report the error, or its line is still \
                  in a buffer, because most languages do not write a line to a \
                  pipe at once.",
        look: "what your server does with an error of `read` or `write`, \
               before it closes",
    },
    proof: Proof::Defects(&["error-is-silent"]),
    script: s3_08,
};

fn s3_08(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.exchange(lab.word(5).as_bytes())?;
    thread::sleep(ms(50)); // what it says of a new client is there by now
    let before = lab.printed_in_all();
    client.reset();
    let until = lab.until(PATIENCE);
    while lab.printed_in_all() == before {
        if Instant::now() > until {
            lab.warn(lab.fail("a line about it", "nothing was printed"));
            break;
        }
        thread::sleep(ms(5));
    }
    lab.connect_as(addr, "next: ")?.exchange(lab.word(5).as_bytes())
}

/// All of them.
pub const CASES: &[Case] =
    &[S3_01, S3_02, S3_03, S3_04, S3_05, S3_06, S3_07, S3_08];

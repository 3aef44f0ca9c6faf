//! Further cases of a server, until they move to the files of their steps.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, SockRef, Socket, Type};

use crate::case::{Case, Check, Failure, Hint, Stop, Tag};
use crate::cases::echo::{nothing_left, stays_calm};
use crate::cases::flood::write_until_stalled;
use crate::cases::greet::greeted;
use crate::cases::hostile::served;
use crate::lab::{Lab, PATIENCE};
use crate::peer::{End, Peer};
use crate::program::describe;
use crate::programs::LIVES;
use crate::wire::{echo, reply};
use crate::{proc, show};

pub const CASES: &[Case] = &[
    S1_06, S1_07, S2_09, S2_10, S3_07, S3_08, S4_20, S4_23, S4_24, S5_07,
    S5_08, S5_09,
];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

// ---- Step 1

// defect: prints-nothing (warns)
const S1_06: Case = Case {
    id: "S1-06",
    title: "prints what a client sent",
    does: "A client sends 12 letters, and is greeted. If they are neither on \
           the server's stdout nor on its stderr within 3 s, that is a \
           warning.",
    steps: 1..=1,
    rule: (1, 1),
    tags: &[Tag::Starts],
    why: "You can only see what a server does if it says something. Printing \
          what came is the simplest way to find out whether it came at all. \
          Into a pipe or a file, many languages hold the lines back until \
          they have a few thousand bytes of them, so a log seems empty while \
          the server runs.",
    hint: Hint {
        meaning: "Your server does not print what came, or the line is still \
                  in a buffer: into a pipe, most languages do not write a \
                  line at once.",
        look: "what you print after your read, and whether you flush it",
    },
    script: s1_06,
};

fn s1_06(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let word = lab.word(12);
    greeted(lab, addr, &word)?;
    if !lab.prints(&word, PATIENCE) {
        let expected = format!("\"{word}\" on its stdout");
        lab.warn(lab.fail(expected, "it did not print that"));
    }
    Ok(())
}

// defect: dies-without-stdout (warns)
const S1_07: Case = Case {
    id: "S1-07",
    title: "serves on when nobody reads what it prints",
    does: "Reads the first line on the server's stdout and one more, and \
           closes the pipe, so that each further write to stdout fails. Eight \
           clients come, one after another. A client that is not served, or \
           a server that ends, is a warning.",
    steps: 1..=5,
    rule: (1, 1),
    tags: &[Tag::Starts],
    why: "`./server | head -1` shows where the server listens, and then the \
          pipe has no reader any more. From then on each line that the server \
          prints is an error, and in some languages a signal that ends it. \
          The clients would pay for a log that nobody reads.",
    hint: Hint {
        meaning: "Your server could not print a line, and stopped serving \
                  because of that.",
        look: "what happens when print fails: an exception, a panic, a signal?",
    },
    script: s1_07,
};

fn s1_07(lab: &Lab) -> Check {
    let addr = lab.server()?;
    lab.with_last(|server| server.out.leave());
    lab.note("closed the other end of its stdout");
    for _ in 0..8 {
        let served = match lab.setup.step {
            1 => greeted(lab, addr, &lab.word(6)),
            _ => lab.connect(addr)?.exchange(lab.word(6).as_bytes()),
        };
        let ended = lab.last_ended(ms(20));
        match served.map_err(|stop| *stop) {
            Ok(()) if ended.is_none() => continue,
            Err(Stop::Fail(_)) | Ok(()) => {}
            Err(other) => return Err(Box::new(other)),
        }
        let actual = match ended.or_else(|| lab.last_ended(ms(300))) {
            Some(status) => format!("it ended: {}", describe(status)),
            None => "a client was not served".to_owned(),
        };
        lab.warn(lab.fail(LIVES, actual));
        lab.end_programs();
        return Ok(());
    }
    Ok(())
}

// ---- Step 2

// defect: serves-all-at-once (warns)
const S2_09: Case = Case {
    id: "S2-09",
    title: "serves one client after the other",
    does: "Client A exchanges a letter. B connects and sends 6 letters; A \
           exchanges 10 more letters and leaves. Expects that B then gets its \
           6 letters within 3 s. If B gets them while A is still there, that \
           is a warning.",
    steps: 2..=2,
    rule: (2, 3),
    tags: &[],
    why: "While the server of this step talks to A, the system completes B's \
          connection and keeps its bytes. When A has left, B must be the next \
          one. A server that answers B earlier is already the server of step \
          3: that is fine there, but it is not this step.",
    hint: Hint {
        meaning: "The client that waited was not served when the one before \
                  it had left.",
        look: "what follows after a client has ended: is accept called again?",
    },
    script: s2_09,
};

fn s2_09(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut first = lab.connect_as(addr, "A: ")?;
    first.exchange(lab.word(1).as_bytes())?;
    let mut second = lab.connect_as(addr, "B: ")?;
    let word = lab.word(6);
    second.say(word.as_bytes())?;
    for _ in 0..10 {
        first.exchange(lab.word(1).as_bytes())?;
    }
    if second.stirs_before(Instant::now() + ms(100)) {
        let expected = "B is served when A has left";
        let mut failure = lab.fail(expected, "it was served before that");
        failure.meaning = "Your server serves two clients at the same time. \
                           That is what step 3 is about."
            .into();
        failure.look = "nothing, if you went ahead on purpose".into();
        lab.warn(failure);
    }
    first.fin();
    first.expect_all(b"")?;
    second.hear(word.as_bytes())
}

// defect: full-buffer-means-more
const S2_10: Case = Case {
    id: "S2-10",
    title: "answers a message that is as long as a buffer",
    does: "On a connection for each: exchanges 5 letters, then sends 1024, \
           4096, 8192, 16 384 and 65 536 bytes, and nothing after them. \
           Expects all of them back within 3 s. From step 4 on it sends \
           frames of these lengths, and all but the last length also as \
           payloads.",
    steps: 2..=5,
    rule: (2, 1),
    tags: &[],
    why: "A read that fills the whole buffer tells you nothing about what \
          comes next. A server that takes it for \"there is more\" reads \
          again before it answers, and waits forever when the message was \
          exactly as long as its buffer. Only one length in a thousand shows \
          that.",
    hint: Hint {
        meaning: "Your read filled its buffer, and your server reads on before \
                  it answers; but nothing more comes.",
        look: "what your loop does after a read that filled the buffer",
    },
    script: s2_10,
};

fn s2_10(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let header = lab.request(b"").len();
    for size in [1024, 4096, 8192, 16_384, 65_536] {
        as_long_as(lab, addr, size - header)?;
        if lab.is_framed() && size < 65_536 {
            as_long_as(lab, addr, size)?;
        }
    }
    Ok(())
}

fn as_long_as(lab: &Lab, addr: SocketAddr, payload: usize) -> Check {
    let mut client = lab.connect(addr)?;
    client.exchange(lab.word(5).as_bytes())?;
    client.exchange(&lab.bytes(payload))?;
    lab.note_instead(&format!("exchanged {}", show::size(payload)));
    Ok(())
}

// ---- Step 3

// defect: leaks-after-write-error
// defect: spins-after-write-error
const S3_07: Case = Case {
    id: "S3-07",
    title: "closes a connection when a write to it fails",
    does: "50 clients send what they can and never read, so that the server's \
           writes to them wait; then all reset (RST). Expects within 3 s at \
           most 5 more open descriptors than before, less than 15 % of a core \
           (75 ms in 0.5 s), and an answer for a new client.",
    steps: 3..=5,
    rule: (3, 3),
    tags: &[Tag::Linux, Tag::Starts, Tag::Hostile],
    why: "A client can vanish while the server writes to it. Then it is the \
          write that fails, and not the read. Servers often have a way out \
          for each, and the one after a write is tried by nobody: each such \
          client leaves an open descriptor behind, or a loop that writes \
          again and again.",
    hint: Hint {
        meaning: "A write to a client failed, and its connection stays open.",
        look: "the way out after a failed write: does it close, as the one \
               after a failed read does?",
    },
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
        "A write to a client failed, and your server tries it again and again.",
        "what your loop does after a failed write",
    );
    stays_calm(lab, "less than 15 % of a core when these clients have left")?;
    lab.hint(S3_07.hint.meaning, S3_07.hint.look);
    nothing_left(lab, before)?;
    lab.connect_as(addr, "next: ")?.exchange(lab.word(6).as_bytes())
}

/// A connection whose buffers hold little, on both sides: the smallest window
/// there is, and segments that hardly fit into it, keep the system from setting
/// megabytes aside for the server.
const LITTLE: (usize, Option<u32>) = (1, Some(1400));

/// A connection that takes little, while the server's system holds much.
const HARDLY_READS: (usize, Option<u32>) = (4096, None);

/// A connection with this receive buffer, and segments of this size.
fn narrow(
    lab: &Lab,
    addr: SocketAddr,
    (buffer, segment): (usize, Option<u32>),
) -> Check<TcpStream> {
    let made = Socket::new(Domain::for_address(addr), Type::STREAM, None)
        .and_then(|socket| {
            socket.set_recv_buffer_size(buffer)?;
            if let Some(segment) = segment {
                socket.set_tcp_mss(segment)?;
            }
            socket.connect_timeout(&addr.into(), PATIENCE)?;
            Ok(TcpStream::from(socket))
        });
    made.map_err(|error| {
        let actual = format!("cannot connect: {error}");
        let failure = lab.fail(LIVES, actual);
        Failure { by_time: true, ..failure }.into()
    })
}

// defect: error-is-silent (warns)
const S3_08: Case = Case {
    id: "S3-08",
    title: "reports the error of a client",
    does: "A client exchanges 5 letters and resets (RST). If the server prints \
           nothing within 3 s after that, on stdout or stderr, that is a \
           warning.",
    steps: 3..=5,
    rule: (3, 2),
    tags: &[Tag::Starts],
    why: "The error of one client must not harm another one, but it should \
          leave a trace. When users say that their connections break, the \
          report of the server is the first place to look, and often the \
          only one.",
    hint: Hint {
        meaning: "Your server says nothing of the error, or its line is still \
                  in a buffer: into a pipe, most languages do not write a \
                  line to stdout at once.",
        look: "what you do with an error of read or write, before you close",
    },
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

// ---- Step 4

// defect: memory-by-length (warns)
const S4_20: Case = Case {
    id: "S4-20",
    title: "a length that is only claimed costs no memory",
    does: "150 clients exchange 5 letters each. Then each sends the length of \
           the largest frame, `00 01 00 00`, and nothing more. Expects that \
           the server's memory then grows by less than 150 MiB; more than 5 \
           MiB is a warning. Another client is answered meanwhile.",
    steps: 4..=5,
    rule: (4, 7),
    tags: &[Tag::Linux, Tag::Starts, Tag::Hostile],
    why: "The four bytes say that 65 536 will follow. A server that sets \
          memory aside as soon as it has read them pays 16 000 times what the \
          client paid, and a thousand clients need not send another byte. If \
          the memory grows with the bytes that really come, the client pays \
          as much as the server.",
    hint: Hint {
        meaning: "Your server sets memory aside for bytes that were only \
                  announced. The contract allows 1 MiB for a connection.",
        look: "how large your buffer is when only the length has come",
    },
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

// defect: timer-drops-bytes
const S4_23: Case = Case {
    id: "S4-23",
    title: "waits for a frame that pauses in the middle",
    does: "On four connections at once: exchanges an ECHO of 5 letters, then \
           sends the first 2, 4, 5 or 9 bytes of an ECHO of 12 letters, and \
           the rest 1.2 s later. Expects each reply within 3 s, and then the \
           reply to another ECHO.",
    steps: 4..=5,
    rule: (4, 1),
    tags: &[],
    why: "Many servers give each read a short limit, so that they can look \
          now and then whether they should stop. A read of exactly n bytes \
          that ends that way has already taken some of them. A server that \
          starts over throws those away, and takes the middle of the frame \
          for its beginning.",
    hint: Hint {
        meaning: "The bytes before the pause are lost: a timer or a poll \
                  interrupted a read, and your server started the frame over.",
        look: "what becomes of the bytes that a read has taken when its time \
               is up",
    },
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

// defect: keeps-unsent (warns)
const S4_24: Case = Case {
    id: "S4-24",
    title: "keeps nothing of a client that it has refused",
    does: "A client with a small receive buffer sends an ECHO of 40 000 bytes \
           and `ff ff ff ff`, reads nothing, and keeps its socket. Expects \
           that 4 s later nothing of the reply waits in the server's system \
           any more, and that a new client is answered. What still waits is a \
           warning.",
    steps: 4..=5,
    rule: (4, 3),
    tags: &[Tag::Linux, Tag::Starts, Tag::Hostile],
    why: "When a program closes a connection, the system goes on trying to \
          deliver what the client has not taken. If the client stays and never \
          reads, that lasts for minutes, although the server believes that the \
          connection is over. Clients that do this one after another fill the \
          memory of the system, and no limit of your program sees them.",
    hint: Hint {
        meaning: "Your server has closed, but its system still holds bytes \
                  for this client and offers them again and again, for \
                  minutes.",
        look: "how you close when the second after the ERROR is over: the \
               system can keep what is unsent, or throw it away",
    },
    script: s4_24,
};

fn s4_24(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = narrow(lab, addr, HARDLY_READS)?;
    let local = client.local_addr().map_or(0, |addr| addr.port());
    let request = [echo(&lab.bytes(40_000)), vec![0xff; 4]].concat();
    let _ = client.set_write_timeout(Some(PATIENCE));
    let _ = client.write_all(&request);
    lab.note("sent an ECHO of 40 000 bytes and ff ff ff ff, never reads");
    let start = Instant::now();
    loop {
        let is_reset = matches!(client.take_error(), Ok(Some(_)));
        let is_unsent = proc::unsent(addr.port(), local) > 0;
        if is_reset || !is_unsent && start.elapsed() > ms(1500) {
            break;
        }
        if start.elapsed() > ms(4000) {
            let expected = "the connection is over 1 s after the ERROR";
            let actual = "its system still keeps what was not read";
            lab.warn(lab.fail(expected, actual));
            break;
        }
        thread::sleep(ms(20));
    }
    served(lab, addr)
}

// ---- Step 5

// defect: write-limit-in-all
const S5_07: Case = Case {
    id: "S5-07",
    title: "does not cut a client that reads slowly, but steadily",
    does: "TCP_WRITE_MS=1000. Sends ECHOs of 60 000 bytes as fast as the \
           server takes them, and reads 16 000 bytes every 25 ms, for 4 s. \
           Expects that bytes come all the time, and that the connection \
           stays.",
    steps: 5..=5,
    rule: (5, 2),
    tags: &[Tag::Timed, Tag::Starts],
    why: "The limit is for a write without progress. A client behind a slow \
          line takes its replies all the time, only not quickly: the buffers \
          stay full, and each write of the server waits a little. A limit for \
          the whole write, or for all replies together, cuts such a client, \
          although nothing is wrong with it.",
    hint: Hint {
        meaning: "Your server cut a client that reads steadily: its limit is \
                  for the whole write, and not for a write without progress.",
        look: "what starts the clock of a write again",
    },
    script: s5_07,
};

fn s5_07(lab: &Lab) -> Check {
    lab.set("TCP_WRITE_MS", 1000);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let _ = SockRef::from(&client.stream).set_recv_buffer_size(64 * 1024);
    let message = echo(&lab.bytes(60_000));
    client.sends(&message);
    let ended = thread::scope(|scope| {
        if let Ok(mut writer) = client.stream.try_clone() {
            let _ = writer.set_write_timeout(Some(PATIENCE));
            scope.spawn(move || {
                while writer.write_all(&message).is_ok() {} // until it is shut
            });
        }
        let ended = read_slowly(&mut client, ms(4000));
        let _ = client.stream.shutdown(Shutdown::Both); // frees the writer
        ended
    });
    lab.note("read 16 000 bytes every 25 ms, for 4 s");
    match ended {
        None => Ok(()),
        Some(end) => {
            let expected = "it goes on as long as the client reads";
            let failure = client.fail(expected, end.text());
            let by_time = end == End::Open; // nothing came
            Err(Failure { by_time, ..failure }.into())
        }
    }
}

/// Reads for this time; returns how it ended, if it did before.
fn read_slowly(client: &mut Peer, time: Duration) -> Option<End> {
    let start = Instant::now();
    let mut buffer = vec![0; 16_000];
    let _ = client.stream.set_read_timeout(Some(PATIENCE));
    while start.elapsed() < time {
        match client.stream.read(&mut buffer) {
            Ok(0) => return Some(End::Fin),
            Ok(_) => thread::sleep(ms(25)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Some(End::Open);
            }
            Err(_) => return Some(End::Reset),
        }
    }
    None
}

// defect: clock-runs-while-writing (warns)
const S5_08: Case = Case {
    id: "S5-08",
    title: "does not count the time in which it does not read",
    does: "TCP_IDLE_MS=600 and TCP_FRAME_MS=600. Sends ECHOs of 60 000 bytes \
           without reading, until nothing moves; waits 0.9 s; then reads, \
           sends the rest of the last frame, and FIN. Expects all replies, in \
           order. A connection that is cut is a warning.",
    steps: 5..=5,
    rule: (5, 3),
    tags: &[Tag::Timed, Tag::Starts],
    why: "A server that waits until a client takes its replies does not read \
          from it meanwhile. The next frame of that client is on its way, and \
          cannot come in. The client has its limit for taking the replies, \
          TCP_WRITE_MS, and keeps it: so the clock of the frame must stand \
          still.",
    hint: Hint {
        meaning: "While your server waited for the client to take replies, it \
                  read nothing; but the clock of the next frame ran.",
        look: "which clock runs while your server writes",
    },
    script: s5_08,
};

fn s5_08(lab: &Lab) -> Check {
    lab.set("TCP_IDLE_MS", 600);
    lab.set("TCP_FRAME_MS", 600);
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let payload = lab.bytes(60_000);
    let (request, answer) = (echo(&payload), reply(&payload));
    let all = request.repeat(300);
    client.sends(&all);
    let sent = write_until_stalled(&mut client.stream, &all);
    let count = sent.div_ceil(request.len());
    thread::sleep(ms(900));
    lab.note("sent until nothing moved, and waited 0.9 s");
    let rest = all[sent..count * request.len()].to_vec();
    let got = thread::scope(|scope| {
        if let Ok(mut writer) = client.stream.try_clone() {
            let _ = writer.set_write_timeout(Some(PATIENCE));
            scope.spawn(move || {
                let _ = writer.write_all(&rest);
                let _ = writer.shutdown(Shutdown::Write);
            });
        }
        client.read_while_moving(count * answer.len() + 64, PATIENCE)
    });
    let want = answer.repeat(count);
    if got.bytes != want || got.end != End::Fin {
        let actual = format!("only a part came, then {}", got.end.text());
        lab.warn(client.fail("all replies, and FIN", &actual));
    }
    Ok(())
}

// defect: timer-before-data (warns)
const S5_09: Case = Case {
    id: "S5-09",
    title: "answers what came in time, even if it looks late",
    does: "TCP_IDLE_MS=1000 and TCP_FRAME_MS=1000. A has sent 7 bytes of an \
           ECHO, and B nothing since its last reply. Stops the server \
           (SIGSTOP); 0.3 s later A sends the rest, and B a whole ECHO; lets \
           the server go on (SIGCONT) after 1.5 s. Expects both replies. A \
           client that is cut is a warning.",
    steps: 5..=5,
    rule: (5, 3),
    tags: &[Tag::Timed, Tag::Linux, Tag::Starts],
    why: "A machine that was paused, a garbage collector, or a long wait for a \
          processor: when the server looks again, the limit has passed, and \
          the frame is there as well. It came in time, and it was the server \
          that was late. Whoever asks the clock first cuts all clients after \
          each pause.",
    hint: Hint {
        meaning: "The frame had arrived before its limit. Your server looked \
                  at the clock first, and cut the client.",
        look: "what wins when a timer has fired and bytes are there, too",
    },
    script: s5_09,
};

fn s5_09(lab: &Lab) -> Check {
    lab.set("TCP_IDLE_MS", 1000);
    lab.set("TCP_FRAME_MS", 1000);
    let addr = lab.server()?;
    let (first, second) = (lab.word(12), lab.word(7));
    let bytes = echo(first.as_bytes());
    let mut a = lab.connect_as(addr, "A: ")?;
    let mut b = lab.connect_as(addr, "B: ")?;
    let start = Instant::now();
    a.exchange(lab.word(5).as_bytes())?;
    b.exchange(lab.word(5).as_bytes())?;
    a.send(&bytes[..7])?;
    thread::sleep(ms(100)); // the server has read these
    lab.signal_all(Signal::STOP);
    thread::sleep(ms(300));
    a.send(&bytes[7..])?;
    b.say(second.as_bytes())?;
    let was_in_time = start.elapsed() < ms(900);
    thread::sleep(ms(1200));
    lab.signal_all(Signal::CONT);
    lab.note("the server was stopped for 1.5 s");
    let answered =
        a.hear(first.as_bytes()).and_then(|()| b.hear(second.as_bytes()));
    match answered.map_err(|stop| *stop) {
        Err(Stop::Fail(failure)) if was_in_time => lab.warn(failure),
        Err(Stop::Fail(_)) => {
            let why = "this machine was too busy to send in time";
            return Err(Box::new(Stop::Unknown(why.into())));
        }
        Err(other) => return Err(Box::new(other)),
        Ok(()) => {}
    }
    Ok(())
}

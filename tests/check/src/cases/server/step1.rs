//! S1: bind and accept.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::harness::lab::LIVES;
use crate::harness::lab::{Lab, PATIENCE, any_port};
use crate::harness::words::trace;
use crate::program::running::{Program, describe};
use crate::steps::{all, from, only};
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure, Stop};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const GREETING: &[u8] = b"Hello, client!";

const S1_01: Case = Case {
    id: "S1-01",
    title: "greets a client and closes",
    does: "The checker connects, waits 30 ms, and sends `Hello, Server!` \
           without ending its direction. It expects no byte before its \
           request, and `Hello, client!` and FIN within 3 s after it.",
    steps: only(1),
    rule: (1, 1),
    tags: &[Tag::Basic, Tag::Closing],
    why: "This is the smallest conversation there is: the client says \
          something, and the server answers and closes. The client does not \
          end its own direction first, so a server that waits for the end of \
          the stream waits forever.",
    hint: Hint {
        meaning: "Your server waits for EOF before it answers, or it does not \
                  answer, or it does not close.",
        look: "what your server waits for before it answers",
    },
    proof: Proof::Defects(&[
        "never-closes",
        "waits-for-eof-first",
        "wrong-greeting",
        "adds-newline-to-greeting",
        "greets-before-asked",
    ]),
    script: s1_01,
};

fn s1_01(lab: &Lab) -> Check {
    lab.other_means(
        "Your server sent something other than `Hello, client!`, which is all \
         that the greeting may be.",
        "the text that your server sends, letter by letter",
    );
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.expect_nothing("before a request")?;
    client.send(b"Hello, Server!")?;
    client.expect_all(GREETING)
}

const S1_02: Case = Case {
    id: "S1-02",
    title: "greets 20 clients, one after another",
    does: "20 clients come, one after another: each sends a short text of its \
           own and does not end its direction. After the first one, another \
           client sends the bytes ff fe 00 80, which are not valid text. Each \
           client expects `Hello, client!` and FIN within 3 s.",
    steps: only(1),
    rule: (1, 1),
    tags: &[Tag::Closing],
    why: "A server is a loop around `accept`. You tried the first client by \
          hand, but only the second one shows whether the loop is there.",
    hint: Hint {
        meaning: "Your server serves a few clients and then stops.",
        look: "the loop around `accept`: what ends it?",
    },
    proof: Proof::Defects(&["serves-once"]),
    script: s1_02,
};

fn s1_02(lab: &Lab) -> Check {
    let addr = lab.server()?;
    for i in 1..=20 {
        greeted(lab, addr, &format!("client {i}, {}", lab.word(8)))?;
        if i == 1 {
            lab.lives_on()?;
            bytes_that_are_no_text(lab, addr)?;
        }
    }
    Ok(())
}

fn bytes_that_are_no_text(lab: &Lab, addr: SocketAddr) -> Check {
    let mut client = lab.connect(addr)?;
    client.send(&[0xff, 0xfe, 0, 0x80])?;
    client.expect_all(GREETING)?;
    lab.lives_on()
}

fn greeted(lab: &Lab, addr: SocketAddr, text: &str) -> Check {
    let mut client = lab.connect(addr)?;
    client.send(text.as_bytes())?;
    client.expect_all(GREETING)
}

const S1_03: Case = Case {
    id: "S1-03",
    title: "lives on when 20 clients reset at once",
    does: "20 clients connect and reset (RST) without sending a byte, and 3 \
           connect and close. The checker expects that the server still runs \
           and serves a normal client within 3 s: with the greeting in step 1, \
           and with the echo of 8 letters in later steps.",
    steps: from(1),
    rule: (1, 2),
    tags: &[Tag::Hostile, Tag::Closing],
    why: "A client that crashes, or a port scanner, sends a reset where the \
          server expects a request. The server's next read or write on that \
          connection then fails. That error belongs to one client, so it must \
          not reach the accept loop.",
    hint: Hint {
        meaning: "An error on one connection ended your server or blocked it.",
        look: "where an error of `read` or `write` goes, and what it ends",
    },
    proof: Proof::Defects(&["dies-on-reset", "dies-on-silent-visit"]),
    script: s1_03,
};

fn s1_03(lab: &Lab) -> Check {
    let addr = lab.server()?;
    for _ in 0..20 {
        if let Ok(client) = lab.connect(addr) {
            client.reset(); // who dies of it is found below
        }
    }
    lab.note_instead("RST (20 times)");
    lab.lives_on()?;
    for _ in 0..3 {
        if let Ok(mut client) = lab.connect(addr) {
            client.fin(); // and closes, without a word
        }
    }
    lab.note_instead("RST (20 times) · FIN (3 times)");
    lab.lives_on()?;
    let word = lab.word(8);
    match lab.setup.step {
        1 => greeted(lab, addr, &word),
        _ => lab.connect(addr)?.exchange(word.as_bytes()),
    }
}

const S1_04: Case = Case {
    id: "S1-04",
    title: "says so when its port is taken",
    does: "The checker starts the server a second time, on the port of the \
           first. It expects that the second server ends within 2 s (plus 1 s, \
           and plus the time that the first one took to start) with an exit \
           code other than 0, and that it prints which port is taken. A \
           message on stdout, or an exit code other than 1, is a warning.",
    steps: from(1),
    rule: (1, 3),
    tags: &[Tag::Starts, Tag::Places],
    why: "Sooner or later somebody starts the server twice. The second server \
          must not hang, and it must not silently share the port with the \
          first. It says which address is taken and ends with an error, so \
          that the person who started it knows what to do.",
    hint: Hint {
        meaning: "Your program ignored the error of `bind`, or its message \
                  does not name the address.",
        look: "what your program does and prints when `bind` fails",
    },
    proof: Proof::Defects(&[
        "hangs-on-taken-port",
        "silent-about-port",
        "taken-port-is-success",
        "shares-port",
    ]),
    script: s1_04,
};

const NAMES_IT: &str =
    "it exits with an error within 2 s, and names the address";

fn s1_04(lab: &Lab) -> Check {
    let begun = Instant::now();
    let addr = lab.server()?;
    let limit = PATIENCE + begun.elapsed(); // some languages start slowly
    let mut second = lab.start(addr, &[], None)?;
    lab.note("started it a second time on the same port");
    let Some(status) = second.wait(limit) else {
        lab.keep(second);
        let failure = lab.fail(NAMES_IT, "the second one still runs");
        return Err(Failure { by_time: true, ..failure }.into());
    };
    second.wait_output();
    judge_second(lab, addr, &second, status)
}

fn judge_second(
    lab: &Lab,
    addr: SocketAddr,
    second: &Program,
    status: ExitStatus,
) -> Check {
    let lines = [second.err.first(), second.out.first()].concat();
    let text = String::from_utf8_lossy(&lines).into_owned();
    if status.success() {
        let actual = "the second one ended with exit code 0: a success";
        return Err(lab.fail(NAMES_IT, actual).into());
    }
    let port = addr.port().to_string();
    if !text.contains(&port) {
        let actual = format!("{}, without the address", describe(status));
        let mut failure = lab.fail(NAMES_IT, actual);
        failure.printed = second.last_words();
        return Err(failure.into());
    }
    trace(lab, &text);
    if status.code() != Some(1) {
        lab.warn(other_code(lab, status));
    }
    if !String::from_utf8_lossy(&second.err.first()).contains(&port) {
        lab.warn(on_stdout(lab));
    }
    Ok(())
}

fn other_code(lab: &Lab, status: ExitStatus) -> Failure {
    let mut failure = lab.fail("exit code 1", describe(status));
    failure.meaning = "The contract says 1, because scripts rely on it.".into();
    failure.look = "how your program ends after an error".into();
    failure
}

fn on_stdout(lab: &Lab) -> Failure {
    let mut failure = lab.fail("the message is on stderr", "it is on stdout");
    failure.meaning = "A program prints its complaints on stderr, because \
                       whoever reads stdout wants only the output they asked \
                       for."
        .into();
    failure.look = "how your program prints an error".into();
    failure
}

const S1_05: Case = Case {
    id: "S1-05",
    title: "starts again on the port it just used",
    does: "The checker sends `hello`, gets the answer, and ends the server \
           (SIGTERM) while the client is still connected. Then it starts the \
           server on the same port at once. It expects that the server listens \
           again and serves a new client.",
    steps: from(1),
    rule: (1, 3),
    tags: &[Tag::Starts, Tag::Places],
    why: "The kernel of the side that closes first keeps the connection on its \
          books for about a minute (TIME_WAIT). During that minute `bind` may \
          say that the address is in use, although no program is using it.",
    hint: Hint {
        meaning: "Your first server closed a connection, and the kernel keeps \
                  that connection on its books for a minute (TIME_WAIT), so it \
                  refuses the port to the second server.",
        look: "the options of your listening socket, before `bind`",
    },
    proof: Proof::Defects(&["no-reuseaddr"]),
    script: s1_05,
};

fn s1_05(lab: &Lab) -> Check {
    let addr = lab.server_at(any_port())?;
    let mut client = lab.connect(addr)?;
    match lab.setup.step {
        1 => {
            client.send(b"hello")?;
            client.expect_all(GREETING)?;
        }
        _ => client.exchange(b"hello")?,
    }
    // The server goes first, so that TIME_WAIT is on its side.
    lab.end_programs();
    drop(client);
    lab.note("ended it and started it again on the same port");
    let start = Instant::now();
    let again = lab.server_at(addr);
    again.map_err(|stop| restart_failed(lab, *stop, start.elapsed()))?;
    match lab.setup.step {
        1 => greeted(lab, addr, "again"),
        _ => lab.connect(addr)?.exchange(b"again"),
    }
}

fn restart_failed(lab: &Lab, stop: Stop, took: Duration) -> Box<Stop> {
    let Stop::Fail(old) = stop else { return Box::new(stop) };
    let mut failure = lab.fail("it listens again", "it did not come up");
    if let Some(status) = failure.gone.take() {
        // No client is to blame for this end: the hint explains it.
        failure.actual = vec![format!("it ended: {}", describe(status))];
        return failure.into();
    }
    failure.by_time = took > PATIENCE && old.by_time;
    failure.into()
}

const S1_06: Case = Case {
    id: "S1-06",
    title: "prints what a client sent",
    does: "A client sends 12 letters and gets the greeting. If the server does \
           not print these letters on stdout or stderr within 3 s, that is a \
           warning.",
    steps: only(1),
    rule: (1, 1),
    tags: &[Tag::Starts],
    why: "You can only see what a server does if the server says something. If \
          it prints what came, you can tell whether anything came at all. Many \
          languages hold the lines back until they have a few thousand bytes, \
          if stdout is a pipe or a file, so a log can look empty while the \
          server is working.",
    hint: Hint {
        meaning: "Your server does not print what came, or the line is still \
                  in a buffer, because most languages do not write a line to a \
                  pipe at once.",
        look: "what your server prints after its `read`, and whether it \
               flushes that line",
    },
    proof: Proof::Defects(&["prints-nothing"]),
    script: s1_06,
};

fn s1_06(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let word = lab.word(12);
    greeted(lab, addr, &word)?;
    if !lab.prints(&word, PATIENCE) {
        let expected = format!("\"{word}\" in what it prints");
        lab.warn(lab.fail(expected, "it did not print that"));
    }
    Ok(())
}

const S1_07: Case = Case {
    id: "S1-07",
    title: "keeps serving when nobody reads what it prints",
    does: "The checker reads the first line on the server's stdout and one \
           more, and then closes the pipe, so that each further write to \
           stdout fails. Eight clients come, one after another. If the server \
           does not serve one of them, or ends, that is a warning.",
    steps: all(),
    rule: (1, 1),
    tags: &[Tag::Starts],
    why: "`./server | head -1` shows you where the server listens, but then \
          `head` ends and nobody reads the pipe any more. From then on each \
          line that the server prints fails, and in some languages the kernel \
          ends the program with a signal. The clients would lose their service \
          because of a log that nobody reads.",
    hint: Hint {
        meaning: "Your server could not print a line, and that ended it.",
        look: "what happens when `print` fails: an exception, a panic, a \
               signal?",
    },
    proof: Proof::Defects(&["dies-without-stdout"]),
    script: s1_07,
};

/// A print that fails is not the only way to lose the next client.
const STUCK: Hint = Hint {
    meaning: "Your server still runs but does not serve this client: it is \
              stuck in a print that failed, it still reads from the client \
              that has left, or it answers only at EOF.",
    look: "what your server does after a print that failed, and after a \
           `read` that returned 0 bytes",
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
            None => {
                lab.hint(STUCK.meaning, STUCK.look);
                "it runs, but did not serve a client".to_owned()
            }
        };
        lab.warn(lab.fail(LIVES, actual));
        lab.end_programs();
        return Ok(());
    }
    Ok(())
}

/// All of them.
pub const CASES: &[Case] = &[S1_01, S1_02, S1_03, S1_04, S1_05, S1_06, S1_07];

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
    does: "Connects, waits 30 ms, and sends `Hello, Server!` without \
           ending its direction. Expects nothing before that, and after it \
           `Hello, client!` and FIN within 3 s.",
    steps: only(1),
    rule: (1, 1),
    tags: &[Tag::Basic, Tag::Closing],
    why: "The smallest conversation there is: the client says something, \
          the server answers and closes. The client does not end its own \
          direction first, so a server that waits for the end of the \
          stream waits for ever.",
    hint: Hint {
        meaning: "Your server reads until EOF, or it does not answer, or \
                  it does not close.",
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
        "The greeting is `Hello, client!`, and nothing else.",
        "the text that you send, letter by letter",
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
    does: "20 clients, one after another: each sends a short text of its \
           own and does not end its direction. After the first one, \
           another sends the bytes ff fe 00 80, which are no text. \
           Expects for each `Hello, client!` and FIN within 3 s.",
    steps: only(1),
    rule: (1, 1),
    tags: &[Tag::Closing],
    why: "A server is a loop around accept. The first client is the one \
          you tried by hand; the second one shows whether the loop is \
          there.",
    hint: Hint {
        meaning: "Your server serves a few clients, and then no more.",
        look: "the loop around accept: what ends it?",
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
    does: "20 clients connect and reset (RST) without sending a byte, and \
           3 connect and close. Expects that the server still runs, and \
           serves a normal client within 3 s: with the greeting in step \
           1, with the echo of 8 letters later.",
    steps: from(1),
    rule: (1, 2),
    tags: &[Tag::Hostile, Tag::Closing],
    why: "A client that crashes, or a port scanner, leaves a reset where a \
          request was due. Reading or writing then fails. That error \
          belongs to one client, and must not reach the accept loop.",
    hint: Hint {
        meaning: "An error on one connection ended the server, or blocked \
                  it.",
        look: "where an error of read or write goes, and what it ends",
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
    does: "Starts the server a second time, on the port of the first. \
           Expects that the second one ends within 2 s (1 s more, and as \
           long as the first one took to start, are granted) with an exit \
           code other than 0, and that it prints which port is taken. A \
           message on stdout, or an exit code other than 1, is a warning.",
    steps: from(1),
    rule: (1, 3),
    tags: &[Tag::Starts, Tag::Places],
    why: "Sooner or later somebody starts the server twice. The second one \
          must not hang, and must not share the port in silence. It says \
          which address is taken, and ends with an error.",
    hint: Hint {
        meaning: "The error of bind was ignored, or the message says too \
                  little.",
        look: "what your program does and prints when bind fails",
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
    failure.meaning =
        "The contract says 1, so that scripts can count on it.".into();
    failure.look = "how your program ends after an error".into();
    failure
}

fn on_stdout(lab: &Lab) -> Failure {
    let mut failure = lab.fail("the message is on stderr", "it is on stdout");
    failure.meaning = "What a program complains of goes to stderr: stdout is \
                       for what was asked."
        .into();
    failure.look = "how you print an error".into();
    failure
}

const S1_05: Case = Case {
    id: "S1-05",
    title: "starts again on the port it just used",
    does: "Sends `hello` and gets the answer, ends the server (SIGTERM) \
           while the client is still there, and starts it on the same port \
           at once. Expects that it listens again and serves a new client.",
    steps: from(1),
    rule: (1, 3),
    tags: &[Tag::Starts, Tag::Places],
    why: "The side that closes first remembers the connection for about a \
          minute (TIME_WAIT). In that time bind may say that the address \
          is in use, though no program is there.",
    hint: Hint {
        meaning: "Your first server closed a connection, which the system \
                  remembers for a minute (TIME_WAIT). Meanwhile it does not \
                  give the port to the second one.",
        look: "the options of your listening socket, before bind",
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
    does: "A client sends 12 letters, and is greeted. If they are neither on \
           the server's stdout nor on its stderr within 3 s, that is a \
           warning.",
    steps: only(1),
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
    title: "serves on when nobody reads what it prints",
    does: "Reads the first line on the server's stdout and one more, and \
           closes the pipe, so that each further write to stdout fails. Eight \
           clients come, one after another. A client that is not served, or \
           a server that ends, is a warning.",
    steps: all(),
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
    proof: Proof::Defects(&["dies-without-stdout"]),
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

/// All of them.
pub const CASES: &[Case] = &[S1_01, S1_02, S1_03, S1_04, S1_05, S1_06, S1_07];

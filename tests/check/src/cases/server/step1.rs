//! S1: bind and accept.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::harness::lab::{Lab, PATIENCE, any_port};
use crate::harness::words::trace;
use crate::program::running::describe;
use crate::steps::{from, only};
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure, Stop};

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
           message on stdout is a warning.",
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
    if !String::from_utf8_lossy(&second.err.first()).contains(&port) {
        lab.warn(on_stdout(lab));
    }
    Ok(())
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

/// All of them.
pub const CASES: &[Case] = &[S1_01, S1_02, S1_03, S1_04, S1_05];

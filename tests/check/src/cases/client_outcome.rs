//! C5: what a client says when the attempts ended in different ways.

use std::net::TcpListener;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::case::{Case, Check, Hint, Tag};
use crate::harness::lab::{Lab, any_port};
use crate::harness::stage::{AT_ONCE, Stage, no_port};
use crate::harness::stage::{quick, reply_to, words};
use crate::wire::{ERROR, frame};

const FAULT: &[Tag] = &[Tag::Timed, Tag::Starts, Tag::Hostile];

pub const CASES: &[Case] = &[
    Case {
        id: "C5-12",
        title: "unknown once, refused since then: exit code 4",
        does: "TCP_ATTEMPTS=3, waits of at most 40 ms. Reads the first request \
               and closes the connection; from then on nobody listens. Expects \
               exit code 4 within 3 s, and nothing on stdout.",
        steps: 5..=5,
        rule: (5, 8),
        tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::Linux],
        why: "The first attempt was sent, and nobody knows what became of it. \
              That later ones were refused does not undo it. A caller that \
              gets a 3 may ask another server, and the request is executed \
              twice.",
        hint: Hint {
            meaning: "Your client judges by its last attempt, and forgets that \
                      an earlier one may have been executed.",
            look: "what you remember of an attempt when the next one begins",
        },
        script: c5_12,
    },
    Case {
        id: "C5-13",
        title: "asks again when the server is too busy",
        does: "TCP_ATTEMPTS=3, waits of at most 40 ms. Answers ERROR 6, then \
               ERROR 8, then the reply, and expects its text on stdout and \
               exit code 0. In a second run it answers ERROR 6, 8 and 8, and \
               expects nothing on stdout and exit code 3. Each attempt, and \
               each end, must come within 1 s.",
        steps: 5..=5,
        rule: (5, 6),
        tags: FAULT,
        why: "ERROR 6 says two things: not executed, and come back later. So \
              the client may ask again, after its wait. If the server stays \
              busy, the outcome is known all the same: exit code 3.",
        hint: Hint {
            meaning: "After ERROR 6 or 8 a client may ask again; they say for \
                      certain that nothing was executed.",
            look: "the table of error codes: which may be retried?",
        },
        script: c5_13,
    },
];

fn c5_12(lab: &Lab) -> Check {
    quick(lab, 3);
    let (_port, listener) = kept_port()?;
    let stage = Stage::on(lab, listener)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let client = stage.first(&text)?;
    drop(stage); // before the client can come again
    drop(client);
    lab.note("dropped it; from now on nobody listens");
    let ended = lab.finish_within(Duration::from_secs(3))?;
    ended.code(lab, 4)?;
    ended.silent(lab)
}

/// A listener, and a second socket that keeps its port when it is gone: then
/// the port refuses, and nobody else can take it. Linux allows two sockets
/// there while one of them does not listen (socket(7), SO_REUSEADDR).
fn kept_port() -> Check<(Socket, TcpListener)> {
    let made = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|s| {
        s.set_reuse_address(true)?;
        s.bind(&any_port().into())?;
        let addr = s.local_addr()?.as_socket();
        let listener = TcpListener::bind(addr.unwrap_or(any_port()))?;
        Ok((s, listener)) // std sets the option, too
    });
    made.map_err(|error| no_port(&error))
}

fn c5_13(lab: &Lab) -> Check {
    quick(lab, 3);
    for busy in [2, 3] {
        let stage = Stage::open(lab)?;
        let [text] = words(lab);
        stage.start(&[&text])?;
        let mut client = stage.first(&text)?;
        for attempt in 1..=3 {
            if attempt > 1 {
                client = stage.next(&text, AT_ONCE)?;
            }
            if attempt > busy {
                client.send_anyway(&reply_to(lab, &text));
                lab.note("answered");
                break;
            }
            let code = if attempt == 1 { 6 } else { 8 };
            client.send_anyway(&frame(ERROR, &[code, b'n', b'o']));
            client.fin();
            lab.note(format!("answered ERROR({code})"));
        }
        let ended = stage.finish_alone(AT_ONCE)?;
        ended.code(lab, if busy < 3 { 0 } else { 3 })?;
        match busy < 3 {
            true => ended.printed_lines(lab, &[&text])?,
            false => ended.silent(lab)?,
        }
    }
    Ok(())
}

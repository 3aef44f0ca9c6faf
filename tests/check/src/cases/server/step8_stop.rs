//! S8: how a server stops.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::case::{Case, Proof};
use crate::diagnosis::evidence::End;
use crate::diagnosis::show;
use crate::harness::lab::{AT_ONCE, Lab, PATIENCE, SLACK};
use crate::harness::peer::Peer;
use crate::harness::visit::{LITTLE, narrow, write_until_stalled};
use crate::program::running::describe;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure};
use crate::wire::{ERROR, WORK_REPLY, count, echo, frame, reply, work};

const STOPS: &[Tag] = &[Tag::Starts, Tag::Stops, Tag::Closing];
const TIMED: &[Tag] = &[Tag::Timed, Tag::Starts, Tag::Stops];
const FAULT: &[Tag] = &[Tag::Timed, Tag::Starts, Tag::Stops, Tag::Hostile];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn done(payload: &[u8]) -> Vec<u8> {
    frame(WORK_REPLY, payload)
}

/// A server that may take so many ms to stop.
fn server(lab: &Lab, drain: u64) -> Check<SocketAddr> {
    lab.set("TCP_DRAIN_MS", drain);
    lab.server()
}

/// Asks the server's own process to stop.
fn stop(lab: &Lab, signal: Signal) -> Instant {
    lab.open_window();
    let asked = Instant::now(); // what follows may take us a while
    lab.with_last(|server| server.signal(signal));
    lab.note(match signal {
        Signal::INT => "SIGINT to the server",
        _ => "SIGTERM to the server",
    });
    asked
}

/// A client that has sent this, and whose server has had time to read it.
fn asking<'a>(
    lab: &'a Lab<'a>,
    addr: SocketAddr,
    bytes: &[u8],
) -> Check<Peer<'a>> {
    let mut client = lab.connect(addr)?;
    client.exchange(lab.word(4).as_bytes())?;
    client.send(bytes)?;
    thread::sleep(ms(100));
    Ok(client)
}

/// It must end by itself, with exit code 0, so many ms after the signal.
fn exits(lab: &Lab, since: Instant, limit: u64) -> Check {
    ends(lab, since, limit)?;
    let Some(status) = lab.last_ended(Duration::ZERO) else { return Ok(()) };
    if status.success() {
        lab.end_programs(); // it is not to live on
        return Ok(());
    }
    let failure = lab.fail("exit code 0", describe(status));
    let Hint { meaning, look } = match status.code() {
        None => KILLED,
        Some(_) => BAD_CODE,
    };
    let (meaning, look, is_sure) = (meaning.into(), look.into(), true);
    Err(Failure { meaning, look, is_sure, ..failure }.into())
}

const KILLED: Hint = Hint {
    meaning: "The signal ended your server, as it ends any program that does \
              not say what is to happen instead.",
    look: "what your server does with SIGTERM, and with SIGINT, which is Ctrl-C",
};

const BAD_CODE: Hint = Hint {
    meaning: "Your server stopped as it was told to, but its exit code says \
              that something went wrong, so whoever runs it will look for a \
              mistake, or start it again.",
    look: "how your program ends after it was asked to stop",
};

/// It must end so many ms after the signal.
fn ends(lab: &Lab, since: Instant, limit: u64) -> Check {
    let until = since + ms(limit) + SLACK;
    let left = until.saturating_duration_since(Instant::now());
    if lab.last_ended(lab.within(left)).is_some() {
        lab.note("it ended");
        return Ok(());
    }
    let expected = format!("it ends within {limit} ms of the signal");
    let failure = lab.fail(expected, "it still runs");
    // One that has no limit is not late, but wrong.
    let is_sure = lab.last_ended(lab.within(PATIENCE)).is_none();
    Err(Failure { by_time: true, is_sure, ..failure }.into())
}

const S8_06: Case = Case {
    id: "S8-06",
    title: "finishes a request before it stops",
    does: "With TCP_DRAIN_MS=2000, a client sends a WORK of 500 ms. 100 ms \
           later the server gets SIGTERM. The checker expects the reply to the \
           WORK, then FIN, within 3 s, and exit code 0 within 2 s of the \
           signal.",
    steps: from(8),
    rule: (8, 4),
    tags: STOPS,
    why: "A server is stopped every time you deploy a new version. A client \
          whose request is cut off in the middle cannot know whether it was \
          executed. If the server finishes what it has begun, nobody notices \
          that it was stopped.",
    hint: Hint {
        meaning: "Your server stopped with a request in its hands, and dropped \
                  it.",
        look: "what happens to a connection that is busy when your server is \
               asked to stop",
    },
    proof: Proof::Defects(&["drops-work-at-stop", "exits-with-1"]),
    script: s8_06,
};

fn s8_06(lab: &Lab) -> Check {
    let addr = server(lab, 2000)?;
    let word = lab.word(6);
    let mut client = asking(lab, addr, &work(500, word.as_bytes()))?;
    let asked = stop(lab, Signal::TERM);
    client.expect_all(&done(word.as_bytes()))?;
    drop(client);
    exits(lab, asked, 2000)
}

const S8_07: Case = Case {
    id: "S8-07",
    title: "answers all that it has received before it stops",
    does: "With TCP_DRAIN_MS=3000, a client sends a WORK of 300 ms and 29 of \
           10 ms in one write. 100 ms later the server gets SIGTERM. The \
           checker expects 30 replies, in order, then FIN, within 3 s, and \
           exit code 0.",
    steps: from(8),
    rule: (8, 4),
    tags: STOPS,
    why: "The requests that wait behind the first one have reached the server, \
          too, and the client cannot know how far the server has come. What \
          the server has received, it answers.",
    hint: Hint {
        meaning: "Your server answered the request that it was working on, and \
                  dropped those that waited behind it.",
        look: "what becomes of the frames that your server has read, or that \
               wait in the kernel, when it is asked to stop",
    },
    proof: Proof::Defects(&["drops-queue-at-stop"]),
    script: s8_07,
};

fn s8_07(lab: &Lab) -> Check {
    let addr = server(lab, 3000)?;
    let words: Vec<String> = (0..30).map(|_| lab.word(5)).collect();
    let works = words.iter().enumerate().flat_map(|(i, word)| {
        work(if i == 0 { 300 } else { 10 }, word.as_bytes())
    });
    let replies: Vec<u8> =
        words.iter().flat_map(|word| done(word.as_bytes())).collect();
    let mut client = asking(lab, addr, &works.collect::<Vec<u8>>())?;
    let asked = stop(lab, Signal::TERM);
    let got = client.read(replies.len() + 64, lab.until(PATIENCE));
    if got.bytes == replies && got.end == End::Fin {
        drop(client);
        return exits(lab, asked, 3000);
    }
    if !replies.starts_with(&got.bytes) {
        return Err(client.mismatch(&replies, &got, PATIENCE).into());
    }
    let actual = format!("{} of them; {}", count(&got.bytes), got.end.text());
    let mut failure = client.fail("30 replies, then FIN", &actual);
    failure.by_time = got.end == End::Open;
    Err(failure.into())
}

const S8_08: Case = Case {
    id: "S8-08",
    title: "says goodbye to idle clients, and stops",
    does: "With TCP_DRAIN_MS=5000, five clients exchange an ECHO each and are \
           idle. The server gets SIGTERM. The checker expects that each gets a \
           GOAWAY with the reason 1, then FIN, within 1 s, and closes; and \
           that the server ends with exit code 0 within 1.5 s of the signal. \
           The same with one client and SIGINT, which is Ctrl-C.",
    steps: from(8),
    rule: (8, 4),
    tags: TIMED,
    why: "An idle client may stay for hours, so a server that waits until all \
          have left never stops. GOAWAY tells a client that the end has \
          nothing to do with it: its last request was answered, and the next \
          one belongs to another server.",
    hint: Hint {
        meaning: "Your server did not take leave of an idle client with \
                  GOAWAY and FIN.",
        look: "how each connection hears that the server is to stop, if it \
               waits in `read`",
    },
    proof: Proof::Defects(&[
        "waits-for-idle-clients",
        "no-goaway",
        "goaway-of-no-reason",
        "dies-of-sigterm",
        "dies-of-ctrl-c",
    ]),
    script: s8_08,
};

fn s8_08(lab: &Lab) -> Check {
    for (count, signal) in [(5, Signal::TERM), (1, Signal::INT)] {
        let addr = server(lab, 5000)?;
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut client = lab.connect(addr)?;
            client.exchange(lab.word(5).as_bytes())?;
            clients.push(client);
        }
        lab.note_instead(match count {
            1 => "a client is idle",
            _ => "5 clients are idle",
        });
        let asked = stop(lab, signal);
        for client in &mut clients {
            client.sends(b"");
            says_goodbye(client, asked)?;
        }
        lab.note("GOAWAY and FIN on each");
        drop(clients);
        exits(lab, asked, 1500)?;
    }
    Ok(())
}

/// GOAWAY must come, and then FIN.
fn says_goodbye(client: &mut Peer, asked: Instant) -> Check {
    let until = asked + AT_ONCE + SLACK;
    let expected = "GOAWAY(1) within 1 s, then FIN";
    let reason = client.goaway(until);
    let got = client.read(64, until);
    if reason == Some(1) && got.bytes.is_empty() && got.end == End::Fin {
        return Ok(());
    }
    let said = match reason {
        None => "no GOAWAY".to_owned(),
        Some(reason) => format!("GOAWAY({reason})"),
    };
    let mut failure =
        client.fail(expected, &format!("{said}; {}", got.end.text()));
    failure.by_time = got.end == End::Open;
    if !got.bytes.is_empty() {
        let shown = show::bytes(&got.bytes, got.bytes.len());
        failure.actual = vec![said, shown];
    } else if got.end != End::Open {
        closed(client, &mut failure);
    }
    Err(failure.into())
}

/// It closed without a word, or its end closed the connection.
fn closed(client: &Peer, failure: &mut Failure) {
    let killed = client.lab.last_ended(ms(200));
    let killed = killed.filter(|status| status.code().is_none());
    let Hint { meaning, look } = match killed {
        None => SILENT,
        Some(status) => {
            failure.actual = vec![format!("it ended: {}", describe(status))];
            KILLED
        }
    };
    (failure.meaning, failure.look) = (meaning.into(), look.into());
    failure.is_sure = true;
}

const SILENT: Hint = Hint {
    meaning: "Your server closed the connection of an idle client, but did not \
              say that this is because it stops: 00 00 00 02 04 01.",
    look: "what your server sends before it closes an idle connection",
};

const S8_09: Case = Case {
    id: "S8-09",
    title: "takes no new client while it stops",
    does: "With TCP_DRAIN_MS=3000, a client sends a WORK of 1.8 s, and the \
           server gets SIGTERM. 300 ms later another client connects and sends \
           an ECHO. The checker expects that the kernel refuses it, or that \
           the server ends its connection within 1 s, with ERROR 8 or without, \
           and no reply; then the reply to the WORK, and exit code 0.",
    steps: from(8),
    rule: (8, 4),
    tags: &[Tag::Starts, Tag::Stops, Tag::Hostile],
    why: "A server that still takes clients never becomes free of them. And \
          one that has stopped calling `accept`, but still listens, is worse: \
          the kernel completes the handshake, and the client waits for an \
          answer that never comes, instead of asking another server.",
    hint: Hint {
        meaning: "Your server still serves new clients after it was asked to \
                  stop.",
        look: "what becomes of the listening socket when your server is asked \
               to stop",
    },
    proof: Proof::Defects(&[
        "accepts-while-stopping",
        "listens-while-stopping",
    ]),
    script: s8_09,
};

fn s8_09(lab: &Lab) -> Check {
    let addr = server(lab, 3000)?;
    let word = lab.word(6);
    let mut client = asking(lab, addr, &work(1800, word.as_bytes()))?;
    let asked = stop(lab, Signal::TERM);
    thread::sleep(ms(300));
    match TcpStream::connect_timeout(&addr, AT_ONCE) {
        Err(_) => lab.note("a new client was refused"),
        Ok(stream) => is_not_served(&mut Peer::new(lab, stream, "new: "))?,
    }
    client.expect_all(&done(word.as_bytes()))?;
    drop(client);
    exits(lab, asked, 3000)
}

fn is_not_served(new: &mut Peer) -> Check {
    let lab = new.lab;
    let word = lab.word(5);
    new.send_anyway(&echo(word.as_bytes()));
    let got = new.read(256, lab.until(AT_ONCE + SLACK));
    let is_no = got.bytes.is_empty() || got.bytes.get(4) == Some(&ERROR);
    if is_no && got.end != End::Open {
        lab.note("a new client was turned away");
        return Ok(());
    }
    let expected = "no service for a new client";
    if got.bytes.starts_with(&reply(word.as_bytes())) {
        return Err(new.fail(expected, "it was served").into());
    }
    let mut failure = new.fail(expected, "it waits, connected, for an answer");
    failure.by_time = true;
    failure.meaning = "Your server no longer accepts clients, but the kernel \
                       still does, so they wait in the queue for nothing."
        .into();
    Err(failure.into())
}

const S8_10: Case = Case {
    id: "S8-10",
    title: "stops at TCP_DRAIN_MS, whatever is not finished",
    does: "With TCP_DRAIN_MS=700, a client sends a WORK of 9 s, and the server \
           gets SIGTERM. The checker expects that the server ends within 700 \
           ms of the signal, and not before 630 ms. An exit code that is not 0 \
           is a warning.",
    steps: from(8),
    rule: (8, 5),
    tags: FAULT,
    why: "Whoever stops a server waits for it, and loses patience: most \
          systems kill a program some seconds after SIGTERM. A server that \
          ends by itself before that can still say what it has left undone.",
    hint: Hint {
        meaning: "Your server waits for a request that takes longer than \
                  TCP_DRAIN_MS.",
        look: "what limits the time between the signal and the end",
    },
    proof: Proof::Defects(&["drains-without-limit", "drains-half-the-time"]),
    script: s8_10,
};

fn s8_10(lab: &Lab) -> Check {
    let addr = server(lab, 700)?;
    let _client = asking(lab, addr, &work(9000, b"too long"))?;
    let asked = stop(lab, Signal::TERM);
    ends(lab, asked, 700)?;
    if asked.elapsed() < ms(630) {
        let expected = "it waits for the request until 700 ms have passed";
        let mut failure = lab.fail(expected, "it ended before 630 ms");
        failure.meaning = "Your server stopped while a client waited for its \
                           reply, and TCP_DRAIN_MS had not passed."
            .into();
        failure.is_sure = true; // we are never early
        return Err(failure.into());
    }
    if let Some(status) = lab.last_ended(Duration::ZERO)
        && !status.success()
    {
        let mut failure = lab.fail("exit code 0", describe(status));
        failure.meaning =
            "Your server stopped in time, as it was told to, and \
                           its exit code says that something went wrong."
                .into();
        lab.warn(failure);
    }
    lab.end_programs();
    Ok(())
}

const S8_11: Case = Case {
    id: "S8-11",
    title: "is not kept from stopping by a client that is stuck",
    does: "With TCP_DRAIN_MS=1000, A sends half an ECHO; B sends ECHOs of 60 \
           000 bytes and never reads, until nothing has moved for 300 ms; C \
           exchanges an ECHO and never closes. The server gets SIGTERM. The \
           checker expects that it ends within 1 s of the signal.",
    steps: from(8),
    rule: (8, 5),
    tags: FAULT,
    why: "A frame that is half there may never become whole, and a reply may \
          never be taken. No signal moves such a client. The limit for the \
          whole stop holds for them, too, even if their own limits are longer.",
    hint: Hint {
        meaning: "Your server waits until a client has finished a frame, has \
                  taken its replies, or has closed.",
        look: "which waits of a connection end when your server is to stop",
    },
    proof: Proof::Defects(&["waits-for-half-frames", "waits-for-readers"]),
    script: s8_11,
};

fn s8_11(lab: &Lab) -> Check {
    let addr = server(lab, 1000)?;
    let mut a = lab.connect_as(addr, "A: ")?;
    a.send(&echo(lab.word(9).as_bytes())[..7])?;
    let mut b = narrow(lab, addr, LITTLE)?;
    write_until_stalled(&mut b, &echo(&lab.bytes(60_000)).repeat(300));
    let mut c = lab.connect_as(addr, "C: ")?;
    c.exchange(lab.word(5).as_bytes())?;
    lab.note_instead("half a frame; a client that does not read; an idle one");
    let asked = stop(lab, Signal::TERM);
    ends(lab, asked, 1000)?;
    lab.end_programs();
    Ok(())
}

const S8_12: Case = Case {
    id: "S8-12",
    title: "stops at once at the second signal",
    does: "With TCP_DRAIN_MS=8000, a client sends a WORK of 5 s, and the \
           server gets SIGTERM. 200 ms later it must still run, and gets \
           SIGTERM again. The checker expects that it ends within 1 s, with an \
           exit code that is not 0, or by the signal.",
    steps: from(8),
    rule: (8, 5),
    tags: FAULT,
    why: "Somebody at a terminal who presses Ctrl-C twice does not want to \
          wait. A program that takes no second signal leaves them SIGKILL, \
          which no program can answer. The exit code says that not all was \
          finished.",
    hint: Hint {
        meaning: "Your server does not stop at once when it is asked to stop a \
                  second time.",
        look: "who waits for a signal while your server waits for its clients",
    },
    proof: Proof::Defects(&["ignores-second-signal", "second-signal-is-fine"]),
    script: s8_12,
};

fn s8_12(lab: &Lab) -> Check {
    let addr = server(lab, 8000)?;
    let _client = asking(lab, addr, &work(5000, b"in vain"))?;
    stop(lab, Signal::TERM);
    if lab.last_ended(ms(200)).is_some() {
        let expected = "it waits for the request after the first signal";
        let failure = lab.fail(expected, "it ended");
        return Err(Failure { is_sure: true, ..failure }.into());
    }
    let again = stop(lab, Signal::TERM);
    ends(lab, again, 1000)?;
    if lab.last_ended(PATIENCE).is_some_and(|status| status.success()) {
        let expected = "an exit code that is not 0";
        let mut failure = lab.fail(expected, "exit code 0");
        failure.meaning =
            "Your server dropped a request at the second signal, \
                           but its exit code says that all went well."
                .into();
        failure.look = "how your program ends at the second signal".into();
        failure.is_sure = true;
        return Err(failure.into());
    }
    lab.end_programs();
    Ok(())
}

/// All of them.
pub const CASES: &[Case] = &[S8_06, S8_07, S8_08, S8_09, S8_10, S8_11, S8_12];

//! Further cases of a client, until they move to the files of their steps.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::case::{Case, Check, Failure, Hint, Stop, Tag};
use crate::cases::client_basic::closed_port;
use crate::cases::ended::Ended;
use crate::cases::stage::{
    AT_ONCE, START, Stage, no_port, quick, reply_to, words,
};
use crate::lab::{Lab, PATIENCE, SLACK, any_port};
use crate::peer::{End, Peer};
use crate::program::{Input, Reader, Streams, describe};
use crate::wire::{ERROR, MAX_LENGTH, frame, reply};

pub const CASES: &[Case] = &[
    C1_04, C1_05, C2_02, C2_03, C4_05, C4_06, C4_07, C4_08, C4_09, C5_14,
    C5_15, C5_16, C5_17, C5_18, C5_19, C5_20, C5_21, C5_22, C5_23, C5_24,
];

const HOSTILE: &[Tag] = &[Tag::Hostile];
const FAULT: &[Tag] = &[Tag::Timed, Tag::Starts, Tag::Hostile];
const TIMED: &[Tag] = &[Tag::Timed, Tag::Starts];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Stage<'_> {
    /// Starts a client with other streams than usual.
    fn start_with(&self, texts: &[&str], streams: Streams) -> Check {
        let texts: Vec<String> = texts.iter().map(|&t| t.into()).collect();
        let client = self.lab.start(self.addr, &texts, streams)?;
        self.lab.keep(client);
        Ok(())
    }
}

// ---- Steps 1 to 3

// defect: ignores-print-errors (warns)
const C1_04: Case = Case {
    id: "C1-04",
    title: "does not exit with 0 when nobody reads its output",
    does: "Answers a client whose stdout is a pipe without a reader; then \
           starts one that is refused, and whose stderr is such a pipe. Exit \
           code 0, or a panic, is a warning; so is a client that still runs 8 \
           s later.",
    steps: 1..=5,
    rule: (1, 4),
    tags: &[],
    why: "`client … | head -1`, or a full disk: what the client prints can get \
          lost, too. A script that only sees the exit code 0 goes on as if it \
          had the whole answer. And a message that cannot be printed must not \
          turn one error into another.",
    hint: Hint {
        meaning: "Your client does not notice that it cannot print, or it \
                  breaks because of that.",
        look: "what print returns, or what it does when it fails",
    },
    script: c1_04,
};

fn c1_04(lab: &Lab) -> Check {
    quick(lab, 2);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    let gone = Streams { stdout: Reader::Gone, ..Streams::default() };
    stage.start_with(&[&text], gone)?;
    let mut client = stage.first(&text)?;
    client.send_anyway(&reply_to(lab, &text));
    client.fin();
    lab.note("answered, but nobody reads its stdout");
    let ended = lab.finish_within(START)?;
    complain_of(lab, &ended, "an exit code that is not 0");
    let (_socket, addr) = closed_port()?;
    let gone = Streams { stderr: Reader::Gone, ..Streams::default() };
    let client = lab.start(addr, &[text], gone)?;
    lab.keep(client);
    lab.note_instead("nobody listens at its {addr}, nor reads its stderr");
    let ended = lab.finish_within(START)?;
    complain_of(lab, &ended, "the same exit code as with a reader");
    Ok(())
}

/// Exit code 0, or a panic, is a warning.
fn complain_of(lab: &Lab, ended: &Ended, expected: &str) {
    if let Some(0 | 101) = ended.status.code() {
        lab.warn(lab.fail(expected, describe(ended.status)));
    }
}

// defect: input-error-is-end (warns)
const C1_05: Case = Case {
    id: "C1-05",
    title: "says that it cannot read its input",
    does: "Starts the client without a TEXT, and with a folder as its stdin, \
           so that each read of it fails. Exit code 0, or nothing on stderr, \
           is a warning; so is a client that still runs 8 s later.",
    steps: 1..=5,
    rule: (1, 4),
    tags: &[],
    why: "`client < file` is one slip away from `client < folder`. A read that \
          fails is not the end of the input. A client that takes it for the \
          end sends nothing, gets nothing, and reports a success.",
    hint: Hint {
        meaning: "Your client took a read of its input that failed for the \
                  end of its input.",
        look: "what you do when a read of stdin fails",
    },
    script: c1_05,
};

fn c1_05(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let folder = Streams { stdin: Input::Folder, ..Streams::default() };
    stage.start_with(&[], folder)?;
    lab.note("its stdin is a folder");
    let until = lab.until(START);
    let mut held = Vec::new();
    while lab.client_ended().is_none() && Instant::now() < until {
        // Our server has nothing to say to it.
        if let Some(stream) = stage.accept_within(ms(20)) {
            let _ = stream.shutdown(Shutdown::Write);
            held.push(stream);
        }
    }
    let ended = lab.finish(Duration::ZERO, START)?;
    complain_of(lab, &ended, "an exit code that is not 0");
    if ended.stderr.trim_ascii().is_empty() {
        lab.warn(lab.fail("a message on stderr", "nothing on stderr"));
    }
    Ok(())
}

// defect: reset-is-end
const C2_02: Case = Case {
    id: "C2-02",
    title: "prints what came, although it could not send all",
    does: "Writes 6 000 000 bytes to the client's stdin, reads 4 of them, \
           answers 20 000 bytes, and resets (RST) 100 ms later, while the \
           client still sends. Expects an exit code that is not 0 within 8 s, \
           and a message on stderr. If not all 20 000 bytes are on stdout, \
           that is a warning.",
    steps: 2..=3,
    rule: (2, 4),
    tags: HOSTILE,
    why: "The server says why it stops, and stops. The client is in the middle \
          of sending, so it is the write that fails first. A client that ends \
          there never shows the answer, which had arrived before.",
    hint: Hint {
        meaning: "The connection broke while your client was still sending, \
                  and it took that for a normal end.",
        look: "what you do when a write fails: is something still to be read?",
    },
    script: c2_02,
};

fn c2_02(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let input = lab.bytes(6_000_000);
    let first = input[..4].to_vec();
    let stdin = Input::Bytes(input);
    stage.start_with(&[], Streams { stdin, ..Streams::default() })?;
    let mut client = stage.accept(START)?;
    lab.open_window();
    client.expect(&first, PATIENCE)?;
    let answer = lab.word(20_000);
    client.send(answer.as_bytes())?;
    // What has come before a reset can be read; what comes with it may not.
    thread::sleep(ms(100));
    client.reset();
    let ended = lab.finish_within(START)?;
    ended.failed(lab)?;
    ended.said_why(lab)?;
    if ended.stdout != answer.as_bytes() {
        let expected = "the 20 000 bytes that came, on stdout";
        let mut failure = lab.fail(expected, "not all of them");
        failure.meaning = "The answer had arrived before the connection \
                           broke, and your client did not print all of it."
            .into();
        lab.warn(failure);
    }
    Ok(())
}

// defect: prints-at-end (warns)
const C2_03: Case = Case {
    id: "C2-03",
    title: "shows an answer while its input is still open",
    does: "Writes a line to the client's stdin, which stays open; answers a \
           line, and ends its direction (FIN). If the answer is not on stdout \
           within 3 s, that is a warning. Then it ends the client's stdin, and \
           expects exit code 0 within 8 s.",
    steps: 2..=3,
    rule: (2, 4),
    tags: &[],
    why: "Somebody sits at the keyboard, types a line, and wants to see the \
          answer before the next one. A client that prints when its input \
          ends, or that leaves the answer in a buffer, looks dead until then.",
    hint: Hint {
        meaning: "The answer came, but your client shows it only when its \
                  input ends; or it is still in a buffer: into a pipe, most \
                  languages do not write a line at once.",
        look: "when you print what you have read, and whether you flush it",
    },
    script: c2_03,
};

fn c2_03(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let [line, answer] = words(lab).map(|word| word + "\n");
    let open = Streams { stdin: Input::Open, ..Streams::default() };
    stage.start_with(&[], open)?;
    lab.with_last(|client| client.feed(line.as_bytes()));
    let mut client = stage.first(&line)?;
    client.send_anyway(answer.as_bytes());
    client.fin();
    lab.note("answered and ended, its stdin is still open");
    if !lab.prints(answer.trim_end(), PATIENCE) {
        let expected = "the answer on stdout, before its stdin ends";
        lab.warn(lab.fail(expected, "nothing after 3 s"));
    }
    lab.with_last(|client| client.end_input());
    let ended = lab.finish_within(START)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&answer])
}

// ---- Step 4

// defect: sends-then-receives
const C4_05: Case = Case {
    id: "C4-05",
    title: "takes replies while it still sends",
    does: "Starts the client with 16 TEXTs of 50 000 letters. Our server has \
           small buffers, and reads the next request when it has written the \
           reply to the one before. Expects that nobody waits for more than 3 \
           s, all texts on stdout, in order, and exit code 0.",
    steps: 4..=4,
    rule: (2, 4),
    tags: &[],
    why: "A client that sends all its requests before it reads a reply works \
          as long as the buffers between the two ends have room for all of \
          it. Then the server waits for the client to take replies, and the \
          client waits for the server to take requests.",
    hint: Hint {
        meaning: "Your client sends everything before it reads: both ends wait \
                  for the other one to read.",
        look: "how you do both at the same time: can it read while a write \
               waits?",
    },
    script: c4_05,
};

fn c4_05(lab: &Lab) -> Check {
    let stage = Stage::on(lab, small_listener()?)?;
    let texts: [String; 16] = std::array::from_fn(|_| lab.word(50_000));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    stage.start(&texts)?;
    let mut client = Some(stage.accept(START)?);
    lab.open_window();
    for (n, text) in texts.iter().enumerate() {
        let (mut peer, _) =
            stage.next_request(client.take(), text, PATIENCE)?;
        if peer.stream.write_all(&reply(text.as_bytes())).is_err() {
            let actual = format!("it takes nothing of reply {}", n + 1);
            let failure = lab.fail("it reads while it sends", actual);
            return Err(Failure { by_time: true, ..failure }.into());
        }
        lab.note_instead(&format!("got and answered {} requests", n + 1));
        client = Some(peer);
    }
    drop(client);
    let ended = lab.finish_within(START)?;
    ended.printed_lines(lab, &texts)?;
    ended.code(lab, 0)
}

/// A listener whose connections hold little, on both sides. The smallest
/// window there is, and segments that hardly fit into it, keep the system from
/// setting megabytes aside.
fn small_listener() -> Check<TcpListener> {
    let made = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|s| {
        s.set_recv_buffer_size(1)?;
        s.set_send_buffer_size(4096)?;
        s.set_tcp_mss(1400)?;
        s.bind(&any_port().into())?;
        s.listen(8)?;
        Ok(s.into())
    });
    made.map_err(|error| no_port(&error))
}

impl<'a> Stage<'a> {
    /// The next request: on this connection, or on a new one. Says which.
    fn next_request(
        &self,
        peer: Option<Peer<'a>>,
        text: &str,
        limit: Duration,
    ) -> Check<(Peer<'a>, bool)> {
        let until = self.lab.until(limit);
        let mut old = peer;
        while let Some(peer) = &mut old {
            match peer.peeks(ms(10)) {
                None if Instant::now() > until => break,
                None => {
                    if let Some(stream) = self.accept_within(ms(1)) {
                        let mut new = Peer::new(self.lab, stream, "");
                        new.request(text)?;
                        return Ok((new, true));
                    }
                }
                Some(End::Open) => {
                    peer.request(text)?;
                    return old.map(|peer| (peer, false)).ok_or_else(gone);
                }
                Some(End::Fin | End::Reset) => old = None,
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        let mut new = self.accept(left.max(ms(1)))?;
        new.request(text)?;
        Ok((new, true))
    }
}

fn gone() -> Box<Stop> {
    Box::new(Stop::Unknown("a connection was lost".into()))
}

impl Peer<'_> {
    /// What is there to be read: `Open` if bytes are, and nothing if neither
    /// bytes nor the end have come within the limit.
    fn peeks(&mut self, limit: Duration) -> Option<End> {
        let _ = self.stream.set_read_timeout(Some(limit));
        match self.stream.peek(&mut [0]) {
            Ok(0) => Some(End::Fin),
            Ok(_) => Some(End::Open),
            Err(error) => {
                use std::io::ErrorKind::{TimedOut, WouldBlock};
                let is_late = [WouldBlock, TimedOut].contains(&error.kind());
                (!is_late).then_some(End::Reset)
            }
        }
    }
}

// defect: prints-at-end
const C4_06: Case = Case {
    id: "C4-06",
    title: "prints what came whole, and then fails",
    does: "Starts the client with two TEXTs, and answers the first one. After \
           that come, in six runs: nothing, the first byte of the second \
           reply, its first 6, a length of `ff ff ff ff`, an ERROR 3, and a \
           frame of kind 55 (hex); then FIN. Expects each time the first TEXT \
           on stdout and nothing else, a message on stderr, and an exit code \
           that is not 0 within 8 s.",
    steps: 4..=4,
    rule: (4, 8),
    tags: HOSTILE,
    why: "The first reply is whole and right: whoever asked should have it. \
          The second one is missing or broken, and the caller must learn \
          that, too. A client that prints all or nothing loses an answer; one \
          that exits with 0 hides a loss.",
    hint: Hint {
        meaning: "One reply came whole, and another one did not. Your client \
                  lost the first, or hid what happened to the second.",
        look: "when you print a reply: when it is whole, or at the end?",
    },
    script: c4_06,
};

fn c4_06(lab: &Lab) -> Check {
    for run in 0..6 {
        let stage = Stage::open(lab)?;
        let [first, second] = words(lab);
        stage.start(&[&first, &second])?;
        let whole = reply(second.as_bytes());
        let (bytes, what) = match run {
            0 => (Vec::new(), "nothing"),
            1 => (whole[..1].to_vec(), "1 byte of a reply"),
            2 => (whole[..6].to_vec(), "6 bytes of a reply"),
            3 => (vec![0xff; 4], "ff ff ff ff"),
            4 => (frame(ERROR, b"\x03no"), "ERROR(3)"),
            _ => (frame(0x55, b"?"), "kind 55"),
        };
        let mut client = stage.first(&first)?;
        // A client that does not wait for replies has sent both by now.
        let has_both = client.peeks(ms(100)) == Some(End::Open);
        if has_both {
            client.request(&second)?;
            client.send_anyway(&[reply(first.as_bytes()), bytes].concat());
        } else {
            client.send_anyway(&reply(first.as_bytes()));
            let next = stage.next_request(Some(client), &second, PATIENCE)?;
            client = next.0;
            client.send_anyway(&bytes);
        }
        client.fin();
        lab.note_instead(&format!("answered one of two, then {what}, FIN"));
        let ended = lab.finish_within(START)?;
        ended.printed_lines(lab, &[&first])?;
        ended.failed(lab)?;
        ended.said_why(lab)?;
    }
    Ok(())
}

// defect: prints-surplus
const C4_07: Case = Case {
    id: "C4-07",
    title: "prints no reply that it did not ask for",
    does: "Starts the client with two TEXTs. With the reply to the last one \
           comes, in the same write, a reply with another text, and then FIN. \
           Expects the two TEXTs on stdout and nothing else, within 8 s. Exit \
           code 0 is a warning.",
    steps: 4..=4,
    rule: (4, 8),
    tags: HOSTILE,
    why: "Replies are counted, not only read: three replies to two requests \
          mean that the two ends disagree about what was asked. The third \
          one is an answer to nothing, and a script that reads the client's \
          stdout must not see it.",
    hint: Hint {
        meaning: "Your client prints whatever comes, also when it has asked \
                  for nothing more.",
        look: "how your client knows how many replies are still due",
    },
    script: c4_07,
};

fn c4_07(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let [first, second, extra] = words(lab);
    stage.start(&[&first, &second])?;
    let mut client = stage.first(&first)?;
    client.send_anyway(&reply(first.as_bytes()));
    let next = stage.next_request(Some(client), &second, PATIENCE)?;
    client = next.0;
    let both = [reply(second.as_bytes()), reply(extra.as_bytes())];
    client.send_anyway(&both.concat());
    client.fin();
    lab.note_instead("answered two requests with three replies");
    let ended = lab.finish_within(START)?;
    ended.printed_lines(lab, &[&first, &second])?;
    if ended.status.success() {
        let expected = "an exit code that is not 0";
        let mut failure = lab.fail(expected, describe(ended.status));
        failure.meaning = "One reply too many came, and your client says that \
                           all went well."
            .into();
        lab.warn(failure);
    }
    Ok(())
}

// defect: sends-too-long
const C4_08: Case = Case {
    id: "C4-08",
    title: "does not send a TEXT that is too long for a frame",
    does: "Starts the client with a TEXT of 65 535 letters, the longest that a \
           frame can carry, and answers it: expects it on stdout, and exit \
           code 0. Then with a TEXT of 65 536 letters: expects an exit code \
           that is not 0 within 8 s, a message on stderr, nothing on stdout, \
           and not one byte on the connection.",
    steps: 4..=5,
    rule: (4, 8),
    tags: &[],
    why: "A client checks what it sends as hard as what it gets. A frame of \
          65 537 bytes is refused by the server, and everything behind it on \
          that connection is lost. And a client that cuts the TEXT, or makes \
          two frames of it, gets a good answer to another question.",
    hint: Hint {
        meaning: "The limit of a frame holds for your client, too.",
        look: "where you check the length of a TEXT before you send it",
    },
    script: c4_08,
};

fn c4_08(lab: &Lab) -> Check {
    let longest = lab.word(MAX_LENGTH as usize - 1);
    let stage = Stage::open(lab)?;
    stage.start(&[&longest])?;
    let mut client = stage.first(&longest)?;
    client.send_anyway(&reply(longest.as_bytes()));
    client.fin();
    let ended = lab.finish_within(START)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&longest])?;
    lab.note_instead("now with a TEXT of 65 536 letters");
    let stage = Stage::open(lab)?;
    stage.start(&[&(longest + "x")])?;
    let until = lab.until(START);
    while lab.client_ended().is_none() && Instant::now() < until {
        let Some(stream) = stage.accept_within(ms(20)) else { continue };
        let mut client = Peer::new(lab, stream, "");
        let got = client.read(1, until.min(Instant::now() + AT_ONCE));
        if !got.bytes.is_empty() {
            let actual = "bytes on the connection";
            return Err(lab.fail("nothing is sent", actual).into());
        }
    }
    let ended = lab.finish(Duration::ZERO, START)?;
    ended.failed(lab)?;
    ended.said_why(lab)?;
    ended.silent(lab)
}

// defect: waits-for-input (warns)
const C4_09: Case = Case {
    id: "C4-09",
    title: "notices the server's end although its input is open",
    does: "Writes a line to the client's stdin, which stays open; reads the \
           request, and ends without a reply (FIN). If the client still runs \
           3 s later, that is a warning. Then it ends the client's stdin, and \
           expects an exit code that is not 0 within 8 s. A client that takes \
           no input from stdin is not tried.",
    steps: 4..=4,
    rule: (4, 8),
    tags: &[],
    why: "The reply can never come any more. Somebody who sits at the keyboard \
          should hear of it now, and not after the next line. A client that \
          only waits for its input does not see what happens on its \
          connection meanwhile.",
    hint: Hint {
        meaning: "The server has ended and owes a reply, and your client \
                  waits for its input all the same.",
        look: "what your client waits for: its input, the connection, or both?",
    },
    script: c4_09,
};

fn c4_09(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let [line] = words(lab);
    let Some(mut client) = from_stdin(&stage, &line)? else {
        let expected = "a request for the line on its stdin";
        lab.warn(lab.fail(expected, "none, as long as its stdin is open"));
        return Ok(());
    };
    client.request(&line)?;
    client.fin();
    lab.note("ended without a reply, its stdin is still open");
    if lab.last_ended(PATIENCE).is_none() {
        let expected = "it ends within 3 s";
        lab.warn(lab.fail(expected, "it waits for its stdin to end"));
    }
    lab.with_last(|client| client.end_input());
    let ended = lab.finish_within(START)?;
    ended.failed(lab)?;
    ended.said_why(lab)?;
    ended.silent(lab)
}

/// Starts a client with a line on its stdin, which stays open, and waits 4 s
/// for its connection. From step 4 on a client may take its messages from the
/// command line only: then the case is skipped.
fn from_stdin<'a>(stage: &Stage<'a>, line: &str) -> Check<Option<Peer<'a>>> {
    let lab = stage.lab;
    let open = Streams { stdin: Input::Open, ..Streams::default() };
    stage.start_with(&[], open)?;
    lab.with_last(|client| client.feed(format!("{line}\n").as_bytes()));
    let until = lab.until(ms(4000));
    while Instant::now() < until {
        if let Some(stream) = stage.accept_within(ms(50)) {
            lab.note("it connected");
            lab.open_window();
            return Ok(Some(Peer::new(lab, stream, "")));
        }
        if lab.client_ended().is_some() {
            let why = "it sends nothing from stdin".to_owned();
            return Err(Box::new(Stop::Skip(why)));
        }
    }
    Ok(None)
}

// ---- Step 5

// defect: uses-ended-connection (warns)
// defect: end-is-broken
const C5_14: Case = Case {
    id: "C5-14",
    title: "replaces a connection that the server has ended",
    does: "Starts the client with three TEXTs, with waits of at most 40 ms. \
           Answers the first one; the server's end (FIN) comes with the \
           reply, in the second run behind an ERROR 5. The other two are \
           answered on the next connection. Expects the three TEXTs on \
           stdout, and exit code 0. A second request on the connection that \
           has ended is a warning.",
    steps: 5..=5,
    rule: (5, 7),
    tags: FAULT,
    why: "A server ends connections on which nothing happens, or because it \
          stops. Between two requests that is no failure: nothing was lost. A \
          client that looks before it sends opens a new connection. One that \
          sends first gets no reply, and cannot know whether its request was \
          executed.",
    hint: Hint {
        meaning: "The server ended the connection between two requests; \
                  nothing was under way. The next request belongs on a new \
                  connection.",
        look: "what you check before you use a connection again",
    },
    script: c5_14,
};

fn c5_14(lab: &Lab) -> Check {
    quick(lab, 5);
    for goodbye in [Vec::new(), frame(ERROR, b"\x05no frame")] {
        let stage = Stage::open(lab)?;
        let texts: [String; 3] = words(lab);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        stage.start(&texts)?;
        let mut client = stage.first(texts[0])?;
        answer_and_end(&mut client, texts[0], &goodbye);
        lab.note_instead("answered the first of three, and ended");
        let (mut next, is_new) =
            stage.next_request(Some(client), texts[1], AT_ONCE)?;
        if !is_new {
            lab.warn(sent_into_the_void(lab));
            drop(next);
            next = stage.next(texts[1], AT_ONCE)?;
        }
        next.send_anyway(&reply(texts[1].as_bytes()));
        next = stage.next_request(Some(next), texts[2], AT_ONCE)?.0;
        answer_and_end(&mut next, texts[2], b"");
        let ended = lab.finish_within(AT_ONCE)?;
        ended.code(lab, 0)?;
        ended.printed_lines(lab, &texts)?;
    }
    Ok(())
}

fn sent_into_the_void(lab: &Lab) -> Failure {
    let expected = "the second request on a new connection";
    let mut failure = lab.fail(expected, "it came on the one that had ended");
    failure.meaning = "Your client sent a request to a server that had said \
                       that it is done, so it cannot know what became of it."
        .into();
    failure
}

/// The reply, what is said with it, and FIN: all in one packet, so that the
/// client cannot see one without the other.
fn answer_and_end(client: &mut Peer, text: &str, goodbye: &[u8]) {
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&client.stream).set_tcp_cork(true);
    client.send_anyway(&[&reply(text.as_bytes()), goodbye].concat());
    client.fin();
}

// defect: takes-old-reply
const C5_15: Case = Case {
    id: "C5-15",
    title: "uses no reply that it did not ask for",
    does: "Starts the client with two TEXTs, with waits of at most 40 ms. With \
           the reply to the first one comes, in the same write, a reply with \
           another text. Expects the two TEXTs on stdout, the second one \
           asked for on a new connection, and exit code 0; exit code 5 after \
           the first one is a warning, and so is a second request on the old \
           connection. In a second run with one TEXT: expects it on stdout, \
           and exit code 0 or 5.",
    steps: 5..=5,
    rule: (5, 7),
    tags: FAULT,
    why: "A reply that nobody asked for lies in the buffer, and looks exactly \
          like the reply to the next request. From then on, each answer on \
          this connection would belong to the question before. A new \
          connection has no such past.",
    hint: Hint {
        meaning: "A reply that belonged to no request was taken for the reply \
                  to the next one.",
        look: "what you do with bytes that are left when a reply is whole",
    },
    script: c5_15,
};

fn c5_15(lab: &Lab) -> Check {
    quick(lab, 5);
    let stage = Stage::open(lab)?;
    let [first, second, extra] = words(lab);
    let extra = reply(extra.as_bytes());
    stage.start(&[&first, &second])?;
    let mut client = stage.first(&first)?;
    client.send_anyway(&[reply(first.as_bytes()), extra.clone()].concat());
    lab.note("answered it with two replies");
    let next = stage.next_request(Some(client), &second, AT_ONCE);
    if next.is_err() && lab.last_ended(ms(100)).is_some() {
        let ended = lab.finish(Duration::ZERO, AT_ONCE)?;
        ended.printed_lines(lab, &[&first])?;
        ended.code(lab, 5)?;
        let expected = "the second request on a new connection";
        lab.warn(lab.fail(expected, "exit code 5"));
        return surplus_at_the_end(lab, &extra);
    }
    let (mut client, is_new) = next?;
    if !is_new {
        let expected = "the second request on a new connection";
        lab.warn(lab.fail(expected, "it came on the old one"));
    }
    client.send_anyway(&reply(second.as_bytes()));
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.printed_lines(lab, &[&first, &second])?;
    ended.code(lab, 0)?;
    surplus_at_the_end(lab, &extra)
}

fn surplus_at_the_end(lab: &Lab, extra: &[u8]) -> Check {
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    client.send_anyway(&[&reply(text.as_bytes()), extra].concat());
    client.fin();
    lab.note_instead("answered the only request with two replies");
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.printed_lines(lab, &[&text])?;
    match ended.status.code() {
        Some(5) => Ok(()), // it looked, and did not like it
        _ => ended.code(lab, 0),
    }
}

// defect: per-read-limit
const C5_16: Case = Case {
    id: "C5-16",
    title: "gives a whole reply one limit, not each byte of it",
    does: "TCP_REQUEST_MS=500, TCP_ATTEMPTS=2. Sends the reply to the first \
           attempt a byte each 100 ms, for 4 s, and answers the second \
           attempt at once. Expects the second attempt within 550 ms of the \
           first request, its text on stdout once, and exit code 0. In a \
           second run, with TCP_DEADLINE_MS=1000 and TCP_REQUEST_MS=20000, \
           expects exit code 4 within 1 s.",
    steps: 5..=5,
    rule: (5, 4),
    tags: FAULT,
    why: "A limit for each read starts again with each byte. A server that \
          sends one now and then keeps such a client waiting for as long as \
          it likes, and the deadline passes unnoticed. The limit is for the \
          whole reply.",
    hint: Hint {
        meaning: "Each byte that comes starts the limit again: it is a limit \
                  for one read, and not for the whole reply.",
        look: "what you compare the clock with before each read",
    },
    script: c5_16,
};

fn c5_16(lab: &Lab) -> Check {
    quick(lab, 2);
    lab.set("TCP_REQUEST_MS", 500);
    let stage = Stage::open(lab)?;
    let text = lab.word(40);
    stage.start(&[&text])?;
    let mut client = stage.accept(START)?;
    let start = Instant::now(); // what follows takes a while
    lab.open_window();
    client.request(&text)?;
    let late = start + ms(550) + SLACK;
    let Some(next) = drip_until(&stage, &mut client, &text, late) else {
        let expected = "a second attempt, 550 ms after the first at the latest";
        let failure = lab.fail(expected, "it waits for more bytes");
        return Err(Failure { by_time: true, ..failure }.into());
    };
    let mut next = Peer::new(lab, next, "");
    next.request(&text)?;
    client.send_anyway(&reply(text.as_bytes())); // too late, and elsewhere
    next.send_anyway(&reply(text.as_bytes()));
    next.fin();
    let ended = stage.finish_alone(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&text])?;
    past_the_deadline(lab)
}

/// Sends the reply byte by byte, until the client comes again or ends.
fn drip_until(
    stage: &Stage,
    client: &mut Peer,
    text: &str,
    until: Instant,
) -> Option<TcpStream> {
    client.lab.note("answers a byte each 100 ms");
    for byte in reply(text.as_bytes()) {
        let _ = client.stream.write_all(&[byte]);
        let next = stage.accept_within(ms(100));
        let is_over = client.lab.client_ended().is_some();
        if next.is_some() || is_over || Instant::now() > until {
            return next;
        }
    }
    None
}

fn past_the_deadline(lab: &Lab) -> Check {
    lab.set("TCP_REQUEST_MS", 20_000);
    lab.set("TCP_DEADLINE_MS", 1000);
    let stage = Stage::open(lab)?;
    let text = lab.word(40);
    stage.start(&[&text])?;
    let mut client = stage.first(&text)?;
    let start = Instant::now();
    lab.note_instead("TCP_DEADLINE_MS=1000");
    let late = start + ms(1000) + SLACK;
    drip_until(&stage, &mut client, &text, late);
    let ended = lab.finish(Duration::ZERO, ms(1000))?;
    ended.code(lab, 4)?;
    ended.silent(lab)
}

// defect: goodbye-is-error
const C5_17: Case = Case {
    id: "C5-17",
    title: "has what it wanted, whatever is said after it",
    does: "With the reply to the only request comes, in the same packet, an \
           ERROR 5, 6 or 8, and FIN; in three more runs the ERROR lacks its \
           last 3 bytes. Expects each time the text on stdout and exit code 0 \
           within 1 s, and no second connection.",
    steps: 5..=5,
    rule: (5, 8),
    tags: FAULT,
    why: "The server answers, and then it closes the connection and says why: \
          it stops, or nothing more was asked. That is news about the \
          connection, and the client does not need it any more. Its answer \
          is there, and a script must not be told that it is not.",
    hint: Hint {
        meaning: "The reply was whole and right. What the server said after \
                  it concerns a connection that your client no longer needs.",
        look: "what you read when the last reply is there",
    },
    script: c5_17,
};

fn c5_17(lab: &Lab) -> Check {
    quick(lab, 5);
    for goodbye in [&b"\x05late"[..], b"\x06busy", b"\x08bye"] {
        for cut in [0, 3] {
            let mut goodbye = frame(ERROR, goodbye);
            goodbye.truncate(goodbye.len() - cut);
            let stage = Stage::open(lab)?;
            let [text] = words(lab);
            stage.start(&[&text])?;
            let mut client = stage.first(&text)?;
            answer_and_end(&mut client, &text, &goodbye);
            lab.note_instead("answered, with an ERROR and FIN behind it");
            let ended = stage.finish_alone(AT_ONCE)?;
            ended.printed_lines(lab, &[&text])?;
            ended.code(lab, 0)?;
        }
    }
    Ok(())
}

// defect: timeout-is-definite
// defect: judges-by-last
const C5_18: Case = Case {
    id: "C5-18",
    title: "unknown stays unknown, whatever the next attempt brings",
    does: "TCP_ATTEMPTS=3, waits of at most 40 ms. In four runs the three \
           attempts get: ERROR 5, then the reply; ERROR 5 three times; no \
           reply but FIN, ERROR 6, ERROR 8; ERROR 5, ERROR 6, ERROR 6. \
           Expects exit code 0 and the text on stdout in the first run, and \
           exit code 4 and nothing on stdout in the others; each attempt, and \
           each end, within 1 s.",
    steps: 5..=5,
    rule: (5, 8),
    tags: FAULT,
    why: "ERROR 5 says that the server gave up waiting, and not what became \
          of the request: the client may ask again, as after a lost \
          connection. And an attempt that may have been executed stays so. \
          The ERROR 6 that comes later is about another attempt.",
    hint: Hint {
        meaning: "ERROR 5 and a lost connection leave the outcome unknown; a \
                  refusal of a later attempt does not change that.",
        look: "the table of error codes, and what you remember of an attempt",
    },
    script: c5_18,
};

fn c5_18(lab: &Lab) -> Check {
    quick(lab, 3);
    // 0 stands for no reply, and 99 for the reply.
    for codes in [&[5, 99][..], &[5, 5, 5], &[0, 6, 8], &[5, 6, 6]] {
        let stage = Stage::open(lab)?;
        let [text] = words(lab);
        stage.start(&[&text])?;
        let mut client = stage.first(&text)?;
        lab.note_instead("sent its request");
        for (i, code) in codes.iter().enumerate() {
            if i > 0 {
                client = stage.next(&text, AT_ONCE)?;
            }
            let (bytes, what) = match code {
                0 => (Vec::new(), "no reply".to_owned()),
                99 => (reply(text.as_bytes()), "the reply".to_owned()),
                _ => (frame(ERROR, &[*code, b'!']), format!("ERROR({code})")),
            };
            client.send_anyway(&bytes);
            client.fin();
            lab.note(format!("answered {what}"));
        }
        let ended = stage.finish_alone(AT_ONCE)?;
        match codes.last() {
            Some(99) => {
                ended.code(lab, 0)?;
                ended.printed_lines(lab, &[&text])?;
            }
            _ => {
                ended.code(lab, 4)?;
                ended.silent(lab)?;
            }
        }
    }
    Ok(())
}

// defect: ceiling-overflows
const C5_19: Case = Case {
    id: "C5-19",
    title: "doubles its wait 69 times, and does not lose count",
    does: "TCP_ATTEMPTS=70, TCP_BACKOFF_BASE_MS=10, TCP_BACKOFF_CAP_MS=20. \
           Closes each connection after its request. Expects 70 attempts, with \
           waits of at most 20 ms (25 % and 250 ms more are granted), the last \
           35 together at least 60 ms; then exit code 4 within 2 s, and \
           nothing on stdout.",
    steps: 5..=5,
    rule: (5, 5),
    tags: FAULT,
    why: "10 ms, doubled 28 times, is more than a signed 32-bit number holds; \
          doubled 60 times, more than 64 bits hold. What comes out then is \
          negative, or zero: a wait that fails, or none at all. A client \
          that runs for days gets there, and a test with five attempts does \
          not.",
    hint: Hint {
        meaning: "The ceiling of the wait is doubled until it no longer fits \
                  into its type.",
        look: "where the ceiling is doubled: before the cap, or after it?",
    },
    script: c5_19,
};

fn c5_19(lab: &Lab) -> Check {
    quick(lab, 70);
    lab.set("TCP_BACKOFF_BASE_MS", 10);
    lab.set("TCP_BACKOFF_CAP_MS", 20);
    let stage = Stage::open(lab)?;
    let [text] = words(lab);
    stage.start(&[&text])?;
    drop(stage.first(&text)?);
    let mut middle = None;
    for n in 1..70 {
        lab.note_instead(&format!("dropped {n} attempts"));
        let dropped = Instant::now();
        if n == 35 {
            middle = Some(dropped);
        }
        let mut next = stage.accept(ms(25) + SLACK)?;
        next.request(&text)?;
    }
    let taken = middle.map_or(Duration::ZERO, |middle| middle.elapsed());
    if taken < ms(60) {
        // 35 waits of 10 ms on average: that they are so short is no luck.
        let expected = "waits of up to 20 ms, after 35 attempts as before";
        return Err(lab.fail(expected, "no wait any more").into());
    }
    let ended = stage.finish_alone(AT_ONCE * 2)?;
    ended.code(lab, 4)?;
    ended.silent(lab)
}

// defect: one-deadline-for-all
const C5_20: Case = Case {
    id: "C5-20",
    title: "gives each request limits of its own",
    does: "Starts the client with four TEXTs. With TCP_DEADLINE_MS=1000 and \
           TCP_REQUEST_MS=1000, answers each request after 400 ms. In a \
           second run, with TCP_ATTEMPTS=2 and waits of at most 40 ms, drops \
           the first attempt of each request and answers the second. Expects \
           each time the four TEXTs on stdout, and exit code 0.",
    steps: 5..=5,
    rule: (5, 4),
    tags: TIMED,
    why: "Four requests take longer than one, and each may fail once. A \
          deadline for all of them together, or a count of attempts that is \
          never set back, makes a client that works well with one request \
          give up in the middle of a long list.",
    hint: Hint {
        meaning: "The deadline, or the count of attempts, runs on from one \
                  request to the next.",
        look: "where the deadline and the count of attempts start",
    },
    script: c5_20,
};

fn c5_20(lab: &Lab) -> Check {
    quick(lab, 2);
    lab.set("TCP_DEADLINE_MS", 1000);
    lab.set("TCP_REQUEST_MS", 1000);
    all_answered(lab, |stage, mut client, text| {
        thread::sleep(ms(400));
        client.send_anyway(&reply(text.as_bytes()));
        stage.lab.note_instead("answered each request after 400 ms");
        Ok(client)
    })?;
    lab.set("TCP_DEADLINE_MS", 30_000);
    all_answered(lab, |stage, client, text| {
        drop(client);
        let mut client = stage.next(text, AT_ONCE)?;
        client.send_anyway(&reply(text.as_bytes()));
        stage.lab.note_instead("answered the second attempt of each request");
        Ok(client)
    })
}

/// Four TEXTs, each answered in this way; the client must get them all.
fn all_answered<'a>(
    lab: &'a Lab<'a>,
    answer: impl Fn(&Stage<'a>, Peer<'a>, &str) -> Check<Peer<'a>>,
) -> Check {
    let stage = Stage::open(lab)?;
    let texts: [String; 4] = words(lab);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    stage.start(&texts)?;
    let mut client = stage.first(texts[0])?;
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            client = stage.next_request(Some(client), text, AT_ONCE)?.0;
        }
        client = answer(&stage, client, text)?;
    }
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &texts)
}

// defect: clock-starts-early
const C5_21: Case = Case {
    id: "C5-21",
    title: "does not count the time until its output is read",
    does: "TCP_REQUEST_MS=400 and TCP_DEADLINE_MS=400. Starts the client with \
           12 TEXTs of 30 000 letters, answers each request at once, and \
           leaves the client's stdout unread for 1.2 s. Expects all TEXTs on \
           stdout, in order, and exit code 0.",
    steps: 5..=5,
    rule: (5, 4),
    tags: TIMED,
    why: "`client … | less` stops when the screen is full, and goes on when \
          somebody presses a key. That time is not the server's. A client \
          whose clock runs meanwhile reports an unknown outcome for a request \
          that it has not even sent.",
    hint: Hint {
        meaning: "The clock of a request ran while your client waited for \
                  whoever reads its output.",
        look: "when the clock of a request starts, and what may still happen \
               before it is sent",
    },
    script: c5_21,
};

fn c5_21(lab: &Lab) -> Check {
    lab.set("TCP_REQUEST_MS", 400);
    lab.set("TCP_DEADLINE_MS", 400);
    let stage = Stage::open(lab)?;
    let texts: [String; 12] = std::array::from_fn(|_| lab.word(30_000));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let held = Streams { stdout: Reader::Later, ..Streams::default() };
    stage.start_with(&texts, held)?;
    let mut client = stage.first(texts[0])?;
    let release = Instant::now() + ms(1200);
    lab.note("its stdout is not read for 1.2 s");
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            while !client.stirs_before(release) && Instant::now() < release {}
            if Instant::now() >= release {
                lab.with_last(|client| client.out.release());
            }
            client = stage.next_request(Some(client), text, AT_ONCE)?.0;
        }
        client.send_anyway(&reply(text.as_bytes()));
    }
    lab.with_last(|client| client.out.release());
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &texts)
}

// defect: clock-starts-early
// defect: waits-for-all-input (warns)
const C5_22: Case = Case {
    id: "C5-22",
    title: "asks for each line of its input as it comes",
    does: "TCP_REQUEST_MS=600 and TCP_DEADLINE_MS=600. Writes a line to the \
           client's stdin and answers the request; 0.9 s later an empty line; \
           then a word without a newline, and the end. Expects a request for \
           each, all three on stdout, and exit code 0. If the first request \
           comes only when the input has ended, that is a warning, and all \
           that is tried. A client that takes no input from stdin is not \
           tried.",
    steps: 5..=5,
    rule: (5, 4),
    tags: TIMED,
    why: "Whoever types at the keyboard takes longer than any limit between \
          two lines, and wants to see each answer before the next line. The \
          time in which the client waits for its input is nobody's fault, so \
          it counts for nothing.",
    hint: Hint {
        meaning: "The clock of a request ran while your client waited for its \
                  input, or an empty line was taken for no request.",
        look: "when the clock of a request starts, and what ends your input",
    },
    script: c5_22,
};

fn c5_22(lab: &Lab) -> Check {
    lab.set("TCP_REQUEST_MS", 600);
    lab.set("TCP_DEADLINE_MS", 600);
    let stage = Stage::open(lab)?;
    let [first, last] = words(lab);
    let Some(mut client) = from_stdin(&stage, &first)? else {
        return waits_for_the_end(&stage, &last);
    };
    client.request(&first)?;
    client.send_anyway(&reply(first.as_bytes()));
    thread::sleep(ms(900));
    lab.with_last(|client| client.feed(b"\n"));
    client = stage.next_request(Some(client), "", PATIENCE)?.0;
    client.send_anyway(&reply(b""));
    lab.with_last(|client| {
        client.feed(last.as_bytes());
        client.end_input();
    });
    client = stage.next_request(Some(client), &last, PATIENCE)?.0;
    client.send_anyway(&reply(last.as_bytes()));
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &[&first, "", &last])
}

/// The client has not come: it may want to read all of its input first.
fn waits_for_the_end(stage: &Stage, last: &str) -> Check {
    let lab = stage.lab;
    lab.with_last(|client| {
        client.feed(b"\n");
        client.feed(last.as_bytes());
        client.end_input();
    });
    stage.accept(PATIENCE)?;
    let expected = "a request as soon as the first line is there";
    let mut failure = lab.fail(expected, "it came when the input had ended");
    failure.meaning = "Your client reads all of its input before it asks for \
                       the first line: nobody can talk to it from a keyboard."
        .into();
    failure.look = "how you read stdin: line by line, or to its end?".into();
    lab.warn(failure);
    Ok(())
}

// defect: sends-ahead
const C5_23: Case = Case {
    id: "C5-23",
    title: "has one request in flight",
    does: "Starts the client with three TEXTs, reads the first request, and \
           answers it 200 ms later; the others likewise. Expects that nothing \
           more comes before the reply, on this connection or on another one; \
           then the three TEXTs on stdout, and exit code 0.",
    steps: 5..=5,
    rule: (5, 4),
    tags: TIMED,
    why: "What was sent and not answered is unknown when the connection \
          breaks. With one request in flight, that is one request, and its \
          limits are easy to name. With a hundred in flight, all of them may \
          have been executed, and the limit of the last one runs while the \
          server still works on the first.",
    hint: Hint {
        meaning: "The next request was sent before the one before it had its \
                  reply.",
        look: "what your client waits for before it sends the next request",
    },
    script: c5_23,
};

fn c5_23(lab: &Lab) -> Check {
    let stage = Stage::open(lab)?;
    let texts: [String; 3] = words(lab);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    stage.start(&texts)?;
    let mut client = stage.first(texts[0])?;
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            client = stage.next_request(Some(client), text, AT_ONCE)?.0;
        }
        let is_early = client.peeks(ms(200)) == Some(End::Open);
        if is_early || stage.accept_within(ms(1)).is_some() {
            let expected = "nothing more before the reply";
            let failure = lab.fail(expected, "the next request came");
            return Err(failure.into());
        }
        client.send_anyway(&reply(text.as_bytes()));
    }
    client.fin();
    let ended = lab.finish_within(AT_ONCE)?;
    ended.code(lab, 0)?;
    ended.printed_lines(lab, &texts)
}

// defect: no-send-limit
const C5_24: Case = Case {
    id: "C5-24",
    title: "keeps its limits when the server does not read",
    does: "Starts the client with two TEXTs of 60 000 letters; our server has \
           a small receive buffer, and never reads. With \
           TCP_DEADLINE_MS=1500 it sends both replies at once, before it has \
           read anything: expects that the client is over within 1.5 s, with \
           exit code 4 or 5, or with the TEXTs on stdout and exit code 0. \
           With TCP_REQUEST_MS=400 and TCP_ATTEMPTS=2 it says nothing: \
           expects exit code 4 within 1 s, and nothing on stdout.",
    steps: 5..=5,
    rule: (5, 4),
    tags: FAULT,
    why: "A write waits when the other end does not read, and most programs \
          limit only their reads. A server that hangs, or one that is \
          hostile, then holds the client forever, whatever its deadline says. \
          The limit of an attempt starts with the first byte that is sent.",
    hint: Hint {
        meaning: "Your client waits in a write that has no limit: the server \
                  does not read, so its buffers are full.",
        look: "the limit of a write, and what the deadline interrupts",
    },
    script: c5_24,
};

fn c5_24(lab: &Lab) -> Check {
    quick(lab, 2);
    lab.set("TCP_REQUEST_MS", 20_000);
    lab.set("TCP_DEADLINE_MS", 1500);
    let texts: [String; 2] = std::array::from_fn(|_| lab.word(60_000));
    let replies = texts.iter().flat_map(|text| reply(text.as_bytes()));
    let ended = never_reads(lab, &texts, &replies.collect::<Vec<_>>(), 1500)?;
    match ended.status.code() {
        Some(4 | 5) => {}
        Some(0) => {
            ended.printed_lines(lab, &texts.each_ref().map(|t| &t[..]))?
        }
        _ => {
            let expected = "exit code 4 (outcome unknown), or 5";
            let failure = lab.fail(expected, describe(ended.status));
            return Err(failure.into());
        }
    }
    lab.set("TCP_REQUEST_MS", 400);
    lab.set("TCP_DEADLINE_MS", 30_000);
    let ended = never_reads(lab, &texts, b"", 1000)?;
    ended.code(lab, 4)?;
    ended.silent(lab)
}

/// A server that never reads, and sends these bytes to each client at once.
fn never_reads(
    lab: &Lab,
    texts: &[String; 2],
    bytes: &[u8],
    limit: u64,
) -> Check<Ended> {
    let stage = Stage::on(lab, small_listener()?)?;
    stage.start(&texts.each_ref().map(|text| &text[..]))?;
    let first = stage.accept(START)?;
    lab.open_window();
    lab.note_instead(match bytes {
        [] => "reads nothing, says nothing",
        _ => "reads nothing, and sends both replies at once",
    });
    let until = Instant::now() + ms(limit) + SLACK;
    let mut clients = vec![(first.stream, 0)];
    while lab.client_ended().is_none() && Instant::now() < until {
        clients.extend(stage.accept_within(ms(10)).map(|stream| (stream, 0)));
        for (stream, sent) in &mut clients {
            let _ = stream.set_nonblocking(true);
            *sent += stream.write(&bytes[*sent..]).unwrap_or(0);
        }
    }
    lab.finish(Duration::ZERO, ms(limit))
}

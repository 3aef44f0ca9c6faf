//! S2: every byte comes back.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Proof};
use crate::diagnosis::evidence::{Cause, End, Evidence, Got};
use crate::diagnosis::mismatch::QUEUED;
use crate::diagnosis::{cause_framed, show};
use crate::harness::lab::{CASE, Lab, PATIENCE};
use crate::harness::peer::Peer;
use crate::harness::resources::{nothing_left, stays_calm};
use crate::harness::visit::{visit, write_until_stalled};
use crate::program::proc;
use crate::steps::{from, only};
use crate::traits::{Hint, Tag};
use crate::verdict::Check;
use crate::wire;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const S2_01: Case = Case {
    id: "S2-01",
    title: "answers without waiting for a newline or the end",
    does: "The checker sends 2 letters, with no newline and no FIN. It expects \
           them back within 3 s, no other byte in the 30 ms before and after, \
           and a connection that stays open.",
    steps: from(2),
    rule: (2, 1),
    tags: &[Tag::Basic],
    why: "TCP knows neither lines nor messages. A server that waits for a \
          newline waits for something that the client never promised to send.",
    hint: Hint {
        meaning: "Your server waits for more than the client sends: for a \
                  newline, for EOF, or for a full buffer.",
        look: "what your `read` waits for before it returns",
    },
    proof: Proof::Defects(&[
        "waits-for-newline",
        "waits-for-eof",
        "adds-newline",
    ]),
    script: s2_01,
};

fn s2_01(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.expect_nothing("before a request")?;
    client.exchange(lab.word(2).as_bytes())?;
    client.expect_nothing("after the answer")
}

const S2_02: Case = Case {
    id: "S2-02",
    title: "returns each byte value unchanged",
    does: "The checker sends all 256 byte values 8 times, then a zero byte, \
           space, tab, CR and LF: 2 053 bytes in all, then FIN. It expects the \
           same bytes, then FIN, within 3 s. On a second connection it sends a \
           zero byte, a space, a newline, and ` x` with a zero byte, each as a \
           message of its own, and expects each back.",
    steps: from(2),
    rule: (2, 1),
    tags: &[Tag::Closing],
    why: "Text survives mistakes that other bytes do not survive: a server may \
          decode the bytes, trim them, or take a zero byte for the end. A \
          picture or a compressed file has all 256 values in it, so such a \
          server destroys it.",
    hint: Hint {
        meaning: "Your server closed before it had sent back everything that \
                  the client is owed.",
        look: "what your server does at EOF: does it still owe bytes?",
    },
    proof: Proof::Defects(&[
        "decodes-utf8",
        "stops-at-zero-byte",
        "strips-space",
        "buffer-of-1024",
        "drops-at-eof",
    ]),
    script: s2_02,
};

fn s2_02(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    let turn = lab.below(256) as u8;
    let mut all: Vec<u8> =
        (0..8 * 256).map(|i| turn.wrapping_add(i as u8)).collect();
    all.extend_from_slice(b"\0 \t\r\n");
    client.say(&all)?;
    client.fin();
    client.expect_all(&lab.answer(&all))?;
    lab.hint(
        "Your server ignored or stripped a message that is only a zero byte or \
         white space, but the client sent these bytes and expects them back.",
        "what your server does between `read` and `write`",
    );
    let mut client = lab.connect(addr)?;
    for piece in [&b"\0"[..], b" ", b"\n", b" x\0"] {
        client.exchange(piece)?;
    }
    Ok(())
}

const S2_03: Case = Case {
    id: "S2-03",
    title: "loses nothing of 16 MB, even with a slow reader",
    does: "The checker sends 16 000 000 random bytes: at first without \
           reading, until nothing has moved for 300 ms; then it reads while it \
           sends the rest and FIN. It expects each byte back, in order, then \
           FIN, and never a pause of more than 3 s in which no byte comes. \
           From step 4 on it sends payloads of 60 000 bytes.",
    steps: from(2),
    rule: (2, 1),
    tags: &[Tag::Heavy],
    why: "A write may take fewer bytes than you gave it, but small tests never \
          show that. Here the client sends without reading until nothing moves \
          any more. By then all buffers are full, so the server's next write \
          waits or takes only a part. After that the client reads, and \
          compares each byte.",
    hint: Hint {
        meaning: "Your server's write took only a part of the bytes, and your \
                  server forgot the rest.",
        look: "what your `write` returns, and what your server does with that \
               number",
    },
    proof: Proof::Defects(&["forgets-partial-write"]),
    script: s2_03,
};

const TOTAL: usize = 16_000_000;

fn s2_03(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let (requests, want) = traffic(lab);
    let mut client = lab.connect(addr)?;
    client.sends(&requests);
    let sent = write_until_stalled(&mut client.stream, &requests);
    lab.note("sent until nothing moved");
    let rest = &requests[sent..];
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        if let Ok(writer) = client.stream.try_clone() {
            let _ = writer.set_write_timeout(Some(CASE));
            let taken = &taken;
            scope.spawn(move || write_counted(writer, rest, taken));
        }
        let got = client.read_while_moving(want.len() + 1, PATIENCE);
        lab.note("sent the rest and read all");
        let progress = Progress::of(lab, &taken, rest.len());
        // Before we close: what the program does then is no cause.
        let has_waited = sent < requests.len();
        let result = compare(&client, &want, &got, (progress, has_waited));
        let _ = client.stream.shutdown(Shutdown::Both); // frees the writer
        result
    })
}

/// Writes all of it and FIN, and counts what was taken; the FIN counts one.
fn write_counted(mut stream: TcpStream, bytes: &[u8], taken: &AtomicUsize) {
    for part in bytes.chunks(64 * 1024) {
        if stream.write_all(part).is_err() {
            return;
        }
        taken.fetch_add(part.len(), Ordering::Relaxed);
    }
    if stream.shutdown(Shutdown::Write).is_ok() {
        taken.fetch_add(1, Ordering::Relaxed);
    }
}

/// What became of our bytes when no more came back.
#[derive(Clone, Copy, PartialEq)]
enum Progress {
    /// All are sent, and FIN.
    All,
    /// The server goes on taking them.
    Taken,
    /// It takes none that we could see, but it works.
    Busy,
    /// It waits.
    Stuck,
}

impl Progress {
    fn of(lab: &Lab, taken: &AtomicUsize, all: usize) -> Progress {
        let (before, pids) = (taken.load(Ordering::Relaxed), lab.pids());
        if before > all {
            return Progress::All;
        }
        let (used, moment) =
            (proc::cpu_time(&pids), Duration::from_millis(300));
        thread::sleep(moment);
        let used = proc::cpu_time(&pids).saturating_sub(used);
        match taken.load(Ordering::Relaxed) {
            now if now > before => Progress::Taken,
            _ if used > moment / 2 => Progress::Busy,
            _ => Progress::Stuck,
        }
    }
}

/// What is sent, and what must come back.
fn traffic(lab: &Lab) -> (Vec<u8>, Vec<u8>) {
    let data = lab.bytes(TOTAL);
    if !lab.is_framed() {
        return (data.clone(), data);
    }
    let messages = data.chunks(60_000);
    let requests = messages.clone().flat_map(wire::echo).collect();
    (requests, messages.flat_map(wire::reply).collect())
}

fn compare(
    client: &Peer,
    want: &[u8],
    got: &Got,
    (progress, has_waited): (Progress, bool),
) -> Check {
    let differs = show::first_difference(want, &got.bytes);
    let Some(at) = differs else {
        return match got.end {
            End::Fin => Ok(()),
            end => Err(client.no_fin(end, true).into()),
        };
    };
    let is_short = at == got.bytes.len();
    let actual = what_came(at, is_short, got.end);
    let mut failure = client.fail("each byte, in order, and FIN", &actual);
    failure.by_time = is_short && got.end == End::Open;
    failure.is_silent = is_short && at == 0;
    let cause = match is_short {
        true if client.is_queued(got.end) => Some(as_cause(QUEUED)),
        true => Some(as_cause(meaning_of_end(got.end, progress, has_waited))),
        false => meaning_of_bytes(client, want, got, at),
    };
    if let Some((meaning, look)) = cause {
        (failure.meaning, failure.look) = (meaning, look.into());
    }
    Err(failure.into())
}

/// Where exactly it goes wrong depends on how full the buffers were.
fn what_came(at: usize, is_short: bool, end: End) -> String {
    let end = end.text();
    match at {
        0 if is_short => format!("nothing came, and {end}"),
        _ if is_short => format!("only a part came, then {end}"),
        0..4096 => format!("byte {} differs", show::number(at)),
        _ => "the beginning is right, then bytes differ".into(),
    }
}

fn as_cause(hint: Hint) -> Cause {
    (hint.meaning.to_owned(), hint.look)
}

/// All that came is right, but there should be more. Did the server wait when
/// we did not read?
fn meaning_of_end(end: End, progress: Progress, has_waited: bool) -> Hint {
    match (end, progress) {
        (End::Open, Progress::All) => FORGOT,
        (End::Open, Progress::Taken | Progress::Busy) => COLLECTS,
        (End::Open, Progress::Stuck) => STOPPED,
        (_, Progress::All) if has_waited => CLOSED_AT_FIN,
        (_, Progress::All) => DROPPED,
        (_, _) => CLOSED_EARLY,
    }
}

const FORGOT: Hint = Hint {
    meaning: "Your server has got everything, and FIN, and still owes bytes, \
              because it is waiting for something that will not come.",
    look: "what ends the loop that reads, and what your server sends after it",
};

const COLLECTS: Hint = Hint {
    meaning: "Your server is using the processor but sends no byte: it \
              collects before it answers, or it is in a loop that does not \
              end.",
    look: "what ends the loop that reads: must a `read` bring fewer bytes than \
           the buffer holds?",
};

const STOPPED: Hint = Hint {
    meaning: "Your server stopped in the middle: it neither reads nor writes, \
              although the client does both.",
    look: "what your server waits for: a lock, a pause, room in a buffer?",
};

const CLOSED_AT_FIN: Hint = Hint {
    meaning: "The client's FIN came, and your server closed, although it had \
              not sent back everything yet.",
    look: "what your server does at EOF: does it still owe bytes?",
};

const DROPPED: Hint = Hint {
    meaning: "Your server took every byte while the client was not reading, \
              but a part never came back: your server dropped it at the \
              client's FIN, or a write took only some of the bytes and your \
              server forgot the rest.",
    look: "what your server still owes at EOF, and what your `write` returns",
};

const CLOSED_EARLY: Hint = Hint {
    meaning: "Your server closed in the middle, after the client had not read \
              for a while; but a write that has to wait (EAGAIN, a time limit) \
              does not mean that the client has gone.",
    look: "what your server does when a `write` fails or takes no byte",
};

/// Does what came go on, a while later, as it should have here? Then a part is
/// missing in the middle. (Random bytes: eight of them are nowhere twice.)
fn is_gap(want: &[u8], got: &[u8]) -> bool {
    got.first_chunk::<8>()
        .is_some_and(|next| want.windows(8).any(|window| window == next))
}

/// A better explanation of wrong bytes than that a write took only a part, if
/// there is one.
fn meaning_of_bytes(
    client: &Peer,
    want: &[u8],
    got: &Got,
    at: usize,
) -> Option<Cause> {
    let rest = &got.bytes[at..];
    if client.lab.is_framed() {
        let found = cause_framed::find(&Evidence {
            is_framed: true,
            expected: want,
            got: &got.bytes,
            previous: b"",
            end: got.end,
        });
        if let Some(found) =
            found.or_else(|| cause_framed::text_as_length(rest))
        {
            return Some(found);
        }
    }
    (!is_gap(&want[at..], rest)).then(|| {
        let meaning = "Your server sent back other bytes than the client sent, \
                       and not only fewer.";
        (meaning.into(), "what your server does between `read` and `write`")
    })
}

const S2_04: Case = Case {
    id: "S2-04",
    title: "ends when the client ends at once",
    does: "The checker connects and sends nothing but FIN. It expects no byte, \
           and FIN within 3 s.",
    steps: from(2),
    rule: (2, 2),
    tags: &[],
    why: "A read that returns 0 bytes tells the server that the client has \
          ended its direction. That is not an error, and it is not an empty \
          message. The server owes this client nothing, so it ends its own \
          direction.",
    hint: Hint {
        meaning: "Your server does not notice EOF, or it does not close after \
                  it.",
        look: "what your server does when `read` returns 0 bytes",
    },
    proof: Proof::Defects(&["never-closes-at-eof"]),
    script: s2_04,
};

fn s2_04(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.fin();
    client.expect_all(b"")
}

const S2_05: Case = Case {
    id: "S2-05",
    title: "answers each piece as it arrives",
    does: "The checker sends s, l, o, w as four messages of 1 byte, each 10 ms \
           after the answer to the one before; then `quit`, `exit`, `bye` and \
           newlines, which mean nothing here; then 6 letters, then FIN. It \
           expects each answer within 3 s, and FIN after the last one.",
    steps: from(2),
    rule: (2, 1),
    tags: &[Tag::Closing],
    why: "People type slowly, and networks deliver in pieces. A server that \
          answers only once, or only when it has enough bytes, passes a test \
          that sends everything in one write, but it fails with real clients.",
    hint: Hint {
        meaning: "Your server answered once and then stopped, or it waits \
                  until it has enough bytes.",
        look: "the loop around `read` and `write`",
    },
    proof: Proof::Defects(&["answers-once", "one-behind"]),
    script: s2_05,
};

fn s2_05(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    for byte in b"slow" {
        client.exchange(&[*byte])?;
        thread::sleep(Duration::from_millis(10));
    }
    for command in ["quit", "exit", "bye\n", "\n"] {
        client.exchange(command.as_bytes())?; // no word is special
    }
    let word = lab.word(6);
    client.exchange(word.as_bytes())?;
    client.fin();
    client.expect_all(b"")
}

const S2_06: Case = Case {
    id: "S2-06",
    title: "does not spin after the client's end",
    does: "The checker exchanges `hi`, sends FIN and keeps its socket open. It \
           expects that the server then uses less than 15 % of a core (75 ms \
           in 0.5 s). It measures up to three times, and one good result is \
           enough.",
    steps: from(2),
    rule: (2, 2),
    tags: &[Tag::Linux, Tag::Starts, Tag::Hostile],
    why: "At EOF a read returns 0 bytes at once, and so does every further \
          read. A loop that goes on reading therefore takes a whole processor \
          core for each client that has left. Your program reports no error, \
          so all you notice is a slow machine.",
    hint: Hint {
        meaning: "Your server reads at the end of the stream again and again.",
        look: "what your server does when `read` returns 0 bytes",
    },
    proof: Proof::Defects(&["spins-at-eof"]),
    script: s2_06,
};

fn s2_06(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.exchange(b"hi")?;
    client.fin();
    stays_calm(lab, "less than 15 % of a core for a client that has ended")
}

const S2_07: Case = Case {
    id: "S2-07",
    title: "lives on when a client resets in the middle",
    does: "Five clients come, one after another: each exchanges 5 letters, \
           sends a message of 50 000 bytes without its last 7, and resets \
           (RST). The checker expects that the server still runs. The next \
           client must get its 9 letters back, and FIN after it has sent FIN, \
           within 3 s each.",
    steps: from(2),
    rule: (2, 3),
    tags: &[Tag::Hostile, Tag::Closing],
    why: "Clients crash, or give up in the middle. When the client is gone, \
          the server's write fails, and the kernel also sends the program \
          a signal (SIGPIPE), which ends it unless the program or its \
          language ignores that signal. The next client must not \
          notice any of this.",
    hint: Hint {
        meaning: "The reset of one client ended your server or blocked it.",
        look: "where an error of `read` or `write` goes",
    },
    proof: Proof::Defects(&["dies-on-reset-in-echo"]),
    script: s2_07,
};

fn s2_07(lab: &Lab) -> Check {
    let addr = lab.server()?;
    for _ in 0..5 {
        let mut client = lab.connect(addr)?;
        client.exchange(lab.word(5).as_bytes())?;
        let half = lab.request(&[b'x'; 50_000]);
        client.send_anyway(&half[..half.len() - 7]);
        client.reset();
        lab.lives_on()?;
    }
    let mut next = lab.connect(addr)?;
    next.exchange(lab.word(9).as_bytes())?;
    lab.hint(S2_04.hint.meaning, S2_04.hint.look); // no reset is to blame now
    next.fin();
    next.expect_all(b"")
}

const S2_08: Case = Case {
    id: "S2-08",
    title: "1000 short connections leave nothing open",
    does: "1000 clients come, one after another: each sends a number of 1 to 3 \
           digits, reads the answer, and sends FIN. Each expects its answer \
           and FIN within 3 s, and at the end the server may have at most 5 \
           more open descriptors than before.",
    steps: from(2),
    rule: (2, 2),
    tags: &[Tag::Linux, Tag::Starts, Tag::Heavy],
    why: "Each connection costs the server a descriptor, and many systems \
          allow a process only 1024. A server that sometimes forgets to close \
          a connection works all day and fails at night.",
    hint: Hint {
        meaning: "Your server keeps descriptors open after their clients have \
                  gone.",
        look: "each way out of the code that serves a connection: does it \
               close?",
    },
    proof: Proof::Defects(&["leaks-descriptors"]),
    script: s2_08,
};

fn s2_08(lab: &Lab) -> Check {
    let addr = lab.server()?;
    visit(lab, addr, "warm")?;
    let before = proc::descriptors(&lab.pids());
    for i in 0..1000 {
        visit(lab, addr, &i.to_string())?;
    }
    nothing_left(lab, before)
}

const S2_09: Case = Case {
    id: "S2-09",
    title: "serves one client after the other",
    does: "Client A exchanges a letter. B connects and sends 6 letters; A \
           exchanges 10 more letters and leaves. The checker expects that B \
           then gets its 6 letters within 3 s. If B gets them while A is still \
           connected, that is a warning.",
    steps: only(2),
    rule: (2, 3),
    tags: &[],
    why: "While the server of this step talks to A, the kernel completes B's \
          connection and keeps its bytes. When A has left, the server must \
          turn to B. A server that answers B earlier is already the server of \
          step 3, which is fine there, but it is not this step.",
    hint: Hint {
        meaning: "Your server did not serve the waiting client after the one \
                  before it had left.",
        look: "what your server does after a client has ended: does it call \
               `accept` again?",
    },
    proof: Proof::Defects(&["serves-all-at-once"]),
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
        let expected = "B gets its answer when A has left";
        let mut failure = lab.fail(expected, "B got it before that");
        failure.meaning = "Your server serves two clients at the same time, \
                           which is the subject of step 3."
            .into();
        failure.look = "nothing, if you went ahead on purpose".into();
        lab.warn(failure);
    }
    first.fin();
    first.expect_all(b"")?;
    second.hear(word.as_bytes())
}

const S2_10: Case = Case {
    id: "S2-10",
    title: "answers a message that is as long as a buffer",
    does: "On a new connection for each length, the checker exchanges 5 \
           letters, then sends 1024, 4096, 8192, 16 384 and 65 536 bytes, and \
           nothing after them. It expects all of them back within 3 s. From \
           step 4 on it sends frames of these lengths, and for all but the \
           last also payloads of these lengths.",
    steps: from(2),
    rule: (2, 1),
    tags: &[],
    why: "A read that fills the whole buffer tells you nothing about what \
          comes next. A server that takes it for \"there is more\" reads again \
          before it answers, and waits forever when the message was exactly as \
          long as its buffer. Only one length in a thousand shows that.",
    hint: Hint {
        meaning: "A `read` filled your server's buffer, so your server reads \
                  on before it answers, but the client sends no more.",
        look: "what your loop does after a `read` that filled the buffer",
    },
    proof: Proof::Defects(&["full-buffer-means-more"]),
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

/// All of them.
pub const CASES: &[Case] =
    &[S2_01, S2_02, S2_03, S2_04, S2_05, S2_06, S2_07, S2_08, S2_09, S2_10];

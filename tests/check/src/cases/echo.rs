//! S2: every byte comes back.

use std::thread;
use std::time::Duration;

use crate::case::{Case, Check, Hint, Tag};
use crate::harness::lab::Lab;
use crate::program::proc;

pub const CASES: &[Case] = &[
    Case {
        id: "S2-01",
        title: "answers without waiting for a newline or the end",
        does: "Sends 2 letters, with no newline and no FIN. Expects them back \
               within 3 s, nothing else in the 30 ms before and after, and a \
               connection that stays open.",
        steps: 2..=5,
        rule: (2, 1),
        tags: &[],
        why: "TCP knows no lines and no messages. A server that waits for a \
              newline waits for something that the other side never promised \
              to send.",
        hint: Hint {
            meaning: "Your server waits for more: for a newline, for EOF, or \
                      for a full buffer.",
            look: "what your read waits for before it returns",
        },
        script: s2_01,
    },
    Case {
        id: "S2-02",
        title: "returns each byte value unchanged",
        does: "Sends all 256 byte values 8 times, then a zero byte, space, \
               tab, CR and LF: 2 053 bytes in all, then FIN. Expects the same \
               bytes, then FIN, within 3 s. On a second connection it sends a \
               zero byte, a space, a newline, and ` x` with a zero byte, each \
               as a message of its own, and expects each back.",
        steps: 2..=5,
        rule: (2, 1),
        tags: &[],
        why: "Text survives many mistakes that other bytes do not: decoding, \
              trimming, a zero byte taken for the end. A picture or a \
              compressed file has all 256 values in it.",
        hint: Hint {
            meaning: "Your server closed before it had sent back what it owed.",
            look: "what happens at EOF: is anything still owed?",
        },
        script: s2_02,
    },
    Case {
        id: "S2-04",
        title: "ends when the client ends at once",
        does: "Connects and sends nothing but FIN. Expects no byte, and FIN \
               within 3 s.",
        steps: 2..=5,
        rule: (2, 2),
        tags: &[],
        why: "A read that returns 0 bytes means that the client has ended its \
              direction. It is not an error, and not an empty message. The \
              server owes nothing, so it ends its own direction.",
        hint: Hint {
            meaning: "Your server does not notice EOF, or does not close after \
                      it.",
            look: "what you do when read returns 0 bytes",
        },
        script: s2_04,
    },
    Case {
        id: "S2-05",
        title: "answers each piece as it arrives",
        does: "Sends s, l, o, w as four messages of 1 byte, each 10 ms after \
               the answer to the one before; then `quit`, `exit`, `bye` and \
               newlines, which mean nothing here; then 6 letters, then FIN. \
               Expects each answer within 3 s, and FIN after the last one.",
        steps: 2..=5,
        rule: (2, 1),
        tags: &[],
        why: "People type slowly, and networks deliver in pieces. A server \
              that answers only once, or only when enough has come, passes a \
              test that sends everything in one write, and fails everywhere \
              else.",
        hint: Hint {
            meaning: "Your server answered once and then no more, or it waits \
                      until enough has come.",
            look: "the loop around read and write",
        },
        script: s2_05,
    },
    Case {
        id: "S2-06",
        title: "does not spin after the client's end",
        does: "Exchanges `hi`, sends FIN and keeps its socket. Expects that \
               the server then uses less than 15 % of a core (75 ms in 0.5 s). \
               It is measured up to three times; one good result is enough.",
        steps: 2..=5,
        rule: (2, 2),
        tags: &[Tag::Linux, Tag::Starts, Tag::Hostile],
        why: "At EOF a read returns at once, and so does the next one, and the \
              next. A loop that goes on reading takes a whole processor core \
              for each client that has left. No error is reported; the machine \
              only gets slow.",
        hint: Hint {
            meaning: "Your server reads at the end of the stream again and \
                      again.",
            look: "what you do when read returns 0 bytes",
        },
        script: s2_06,
    },
    Case {
        id: "S2-07",
        title: "lives on when a client resets in the middle",
        does: "Five clients, one after another: each exchanges 5 letters, \
               sends a message of 50 000 bytes without its last 7, and resets \
               (RST). Expects that the server still runs; the next client must \
               get its 9 letters back, and FIN when it has sent FIN, within 3 \
               s each.",
        steps: 2..=5,
        rule: (2, 3),
        tags: &[Tag::Hostile],
        why: "Clients crash, or give up in the middle. A write to a client \
              that is gone fails; in some languages it sends the program a \
              signal that ends it. The next client must not notice.",
        hint: Hint {
            meaning: "The reset of one client ended the server, or blocked it.",
            look: "where an error of read or write goes",
        },
        script: s2_07,
    },
    Case {
        id: "S2-08",
        title: "1000 short connections leave nothing open",
        does: "1000 clients, one after another: each sends a number of 1 to 3 \
               digits, reads the answer, and sends FIN. Expects each answer \
               and FIN within 3 s, and at the end at most 5 more open \
               descriptors than before.",
        steps: 2..=5,
        rule: (2, 2),
        tags: &[Tag::Linux, Tag::Starts],
        why: "Each connection costs a descriptor, and a process often may have \
              no more than 1024. A server that now and then forgets to close \
              one works all day and fails at night.",
        hint: Hint {
            meaning: "Descriptors stay open after their clients have gone.",
            look: "each way out of the code for a connection: does it close?",
        },
        script: s2_08,
    },
];

fn s2_01(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.expect_nothing("before a request")?;
    client.exchange(lab.word(2).as_bytes())?;
    client.expect_nothing("after the answer")
}

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
        "A message of a zero byte or of white space is a message, too; here \
         it was taken for nothing, or stripped.",
        "what happens between your read and your write",
    );
    let mut client = lab.connect(addr)?;
    for piece in [&b"\0"[..], b" ", b"\n", b" x\0"] {
        client.exchange(piece)?;
    }
    Ok(())
}

fn s2_04(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.fin();
    client.expect_all(b"")
}

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

/// How long a server is watched, and how much of a core it may use.
pub const WATCHED: Duration = Duration::from_millis(500);
const BUSY: Duration = Duration::from_millis(75); // 15 %

fn s2_06(lab: &Lab) -> Check {
    let addr = lab.server()?;
    let mut client = lab.connect(addr)?;
    client.exchange(b"hi")?;
    client.fin();
    stays_calm(lab, "less than 15 % of a core for a client that has ended")
}

/// A program that still compiles itself (Java, JavaScript) calms down; one
/// that spins does not.
pub fn stays_calm(lab: &Lab, expected: &str) -> Check {
    for _ in 0..3 {
        let before = proc::cpu_time(&lab.pids());
        thread::sleep(WATCHED);
        if proc::cpu_time(&lab.pids()).saturating_sub(before) < BUSY {
            return Ok(());
        }
    }
    Err(lab.fail(expected, "it keeps a core busy").into())
}

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
    next.fin();
    next.expect_all(b"")
}

/// One client that comes, gets its echo, and goes.
pub fn visit(lab: &Lab, addr: std::net::SocketAddr, text: &str) -> Check {
    let mut client = lab.connect(addr)?;
    client.exchange(text.as_bytes())?;
    client.fin();
    client.expect_all(b"")
}

/// Waits until no more descriptors are open than before, give or take 5.
pub fn nothing_left(lab: &Lab, before: usize) -> Check {
    let until = lab.until(Duration::from_secs(3));
    while proc::descriptors(&lab.pids()) > before + 5 {
        if std::time::Instant::now() > until {
            let expected = "as many open descriptors as before, or 5 more";
            let failure = lab.fail(expected, "many more are open");
            return Err(failure.into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn s2_08(lab: &Lab) -> Check {
    let addr = lab.server()?;
    visit(lab, addr, "warm")?;
    let before = proc::descriptors(&lab.pids());
    for i in 0..1000 {
        visit(lab, addr, &i.to_string())?;
    }
    nothing_left(lab, before)
}

//! S7: a server that survives a crash.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::case::{Case, Proof};
use crate::harness::adds::Add;
use crate::harness::lab::{Lab, PATIENCE, any_port};
use crate::harness::peer::Peer;
use crate::program::running::{Program, describe};
use crate::program::start;
use crate::steps::from;
use crate::traits::{Hint, Tag};
use crate::verdict::{Check, Failure};

const CRASH: &[Tag] =
    &[Tag::Starts, Tag::Places, Tag::Journal, Tag::Hostile, Tag::Ending];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Amounts that are long in any journal, so that a part of one is another one.
fn amount(i: u64) -> i64 {
    10_000_019 + 1_000_003 * i as i64
}

/// So many ADDs of clients that take turns, each with the total after it.
fn adds(lab: &Lab, clients: u64, count: u64) -> Vec<(Add, i64)> {
    let first = lab.new_client();
    let mut totals = vec![0; clients as usize];
    let add = |i: u64| {
        let n = i % clients;
        let (client, seq) = (first + n, 1 + i / clients);
        let add = Add { client, seq, amount: amount(i) };
        let total = &mut totals[n as usize];
        *total += add.amount;
        (add, *total)
    };
    (0..count).map(add).collect()
}

const S7_14: Case = Case {
    id: "S7-14",
    title: "loses no ADD that it has answered when it is killed",
    does: "With a new file for {journal}, five clients send 200 ADDs on one \
           connection. When 80 replies have come, the checker kills the server \
           (SIGKILL), and starts it again with the same file. It sends those \
           ADDs again whose replies have come, the last one first, and expects \
           the same replies; then the others, in their order, and expects each \
           client's total to be the sum of its ADDs. Then the same once more, \
           after 20 replies to ADDs that come one at a time.",
    steps: from(7),
    rule: (7, 8),
    tags: CRASH,
    why: "When the reply is out, the client throws its copy of the operation \
          away. From then on the server's memory of it is the only one, and it \
          must survive whatever happens next. So the operation goes to the \
          disk first, and then the reply goes to the client. (A kill does not \
          show whether the bytes are on the disk or still with the kernel: \
          only a power cut does.)",
    hint: Hint {
        meaning: "Your server had answered this ADD before it was killed, and \
                  now it does not remember what it answered.",
        look: "what your server does first, write to the journal or send the \
               reply, and what it reads when it starts",
    },
    proof: Proof::Defects(&[
        "no-replay",
        "replays-totals-only",
        "replies-before-writing",
    ]),
    script: s7_14,
};

fn s7_14(lab: &Lab) -> Check {
    lab.keep_journal()?;
    let adds = adds(lab, 5, 200);
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    let all: Vec<u8> = adds.iter().flat_map(|(add, _)| add.frame()).collect();
    peer.send(&all)?;
    for &(add, total) in &adds[..80] {
        peer.totals(add, total)?;
    }
    lab.crash();
    lab.note_instead("sent 200 ADDs, got 80 replies, killed the server");
    let came = 80 + left_over(&mut peer, &adds[80..])?;
    all_there(lab, &adds, came)?;
    lab.crash();
    one_at_a_time(lab)
}

/// How many more replies came before the end.
fn left_over(peer: &mut Peer, adds: &[(Add, i64)]) -> Check<usize> {
    let got = peer.read(1 << 16, peer.lab.until(PATIENCE)).bytes;
    let size = adds[0].0.reply(0).len();
    let came = got.len() / size;
    let want = adds.iter().flat_map(|(add, total)| add.reply(*total));
    let want: Vec<u8> = want.take(came * size).collect();
    match got.starts_with(&want) {
        true => Ok(came),
        false => {
            let failure = peer.fail("replies in their order", "others");
            Err(failure.into())
        }
    }
}

/// Starts it again: it must remember the first `came`, and apply all others
/// once.
fn all_there(lab: &Lab, adds: &[(Add, i64)], came: usize) -> Check {
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    lab.note("started it again");
    for &(add, total) in adds[..came].iter().rev() {
        peer.added(add, total)?;
    }
    lab.note_instead("after the restart: what was answered is there");
    lab.hint(
        "Your server had not answered these ADDs before it was killed, but it \
         had applied some of them, and has now applied them twice, or not at \
         all.",
        "what your server remembers of an ADD that it has applied but not \
         answered",
    );
    for &(add, total) in &adds[came..] {
        peer.added(add, total)?;
    }
    lab.own_hint();
    Ok(())
}

/// A reply that has just come is all that the client waits for.
fn one_at_a_time(lab: &Lab) -> Check {
    let adds = adds(lab, 1, 20);
    let addr = lab.server()?;
    let mut peer = lab.connect(addr)?;
    for &(add, total) in &adds {
        peer.added(add, total)?;
    }
    lab.crash();
    lab.note_instead("20 ADDs, each with its reply; killed the server");
    all_there(lab, &adds, 20)
}

const S7_15: Case = Case {
    id: "S7-15",
    title: "starts with a journal whose last record is torn",
    does: "With a new file for {journal}, a client sends 12 ADDs, and gets \
           their replies. The checker kills the server (SIGKILL), and starts \
           and kills it again; then it cuts 3 bytes off the file, and starts \
           it. It expects the replies to the first 11 ADDs as before, and that \
           the server applies the 12th, and two more. After one more kill and \
           start it expects all 14 replies. If the server prints no more when \
           it starts with the torn journal than it did before, that is a \
           warning.",
    steps: from(7),
    rule: (7, 9),
    tags: CRASH,
    why: "The power can fail in the middle of a write, and then the last \
          record is not whole. No client has its reply, because the reply \
          waits for the disk. So nothing is lost if the server cuts the piece \
          off; but it must say so, and it must cut, because otherwise the next \
          record stands behind a piece of another one.",
    hint: Hint {
        meaning: "Your server did not carry on behind the last whole record of \
                  its journal.",
        look: "what your server does when its journal ends in the middle of a \
               record: how does it notice, and where does it write next?",
    },
    proof: Proof::Defects(&["torn-is-fatal", "torn-stays", "torn-is-silent"]),
    script: s7_15,
};

fn s7_15(lab: &Lab) -> Check {
    let path = lab.keep_journal()?;
    let adds = adds(lab, 1, 14);
    let addr = lab.server()?;
    ask(lab, addr, &adds[..12])?;
    lab.crash();
    lab.server()?;
    let usual = said_at_start(lab);
    lab.crash();
    let bytes = fs::read(&path).unwrap_or_default();
    if bytes.len() < 4 {
        return Err(no_journal(lab).into());
    }
    let _ = fs::write(&path, &bytes[..bytes.len() - 3]);
    lab.note_instead("12 ADDs; killed it; cut 3 bytes off its journal");
    let addr = starts(lab)?;
    let said = said_at_start(lab);
    if said == usual {
        let expected = "a line about the torn record";
        let mut failure = lab.fail(expected, "it printed what it always does");
        failure.meaning = "Your server cut off a record and did not say so, \
                           but whoever runs it should hear of it."
            .into();
        failure.look = "what your server prints when it starts".into();
        lab.warn(failure);
    }
    ask(lab, addr, &adds)?;
    lab.crash();
    lab.note_instead("2 more ADDs; killed it again");
    let addr = starts(lab)?;
    ask(lab, addr, &adds)
}

/// Sends these on a new connection; the replies must come.
fn ask(lab: &Lab, addr: SocketAddr, adds: &[(Add, i64)]) -> Check {
    let mut peer = lab.connect(addr)?;
    for &(add, total) in adds {
        peer.added(add, total)?;
    }
    Ok(())
}

/// The server must start with this journal.
fn starts(lab: &Lab) -> Check<SocketAddr> {
    lab.server().map_err(|stop| {
        let expected = "it starts, and listens";
        match lab.last_ended(ms(0)) {
            None => stop,
            Some(status) => {
                let actual = format!("it ended: {}", describe(status));
                let failure = lab.fail(expected, actual);
                Failure { gone: None, ..failure }.into()
            }
        }
    })
}

/// What it prints when it starts, except where it listens.
fn said_at_start(lab: &Lab) -> Vec<String> {
    std::thread::sleep(ms(150)); // it may say more than the first line
    let (out, err) = lab.so_far();
    let text = [out, err].concat();
    let text = String::from_utf8_lossy(&text);
    let is_other = |line: &&str| !line.starts_with("listening on");
    text.lines().filter(is_other).map(str::to_owned).collect()
}

fn no_journal(lab: &Lab) -> Failure {
    let expected = "12 operations in the file of its command line";
    let mut failure = lab.fail(expected, "the file is missing, or empty");
    failure.meaning = "Your server does not keep its journal in the file that \
                       {journal} stands for."
        .into();
    failure.look = "how your server reads its command line".into();
    failure
}

const S7_18: Case = Case {
    id: "S7-18",
    title: "does not start with a journal that is damaged",
    does: "With a new file for {journal}, a client sends 20 ADDs, and gets \
           their replies. The checker kills the server (SIGKILL), changes one \
           byte in the middle of the file, and starts it again. It expects \
           that the server ends within 3 s with an exit code that is not 0, \
           and that the file is as it was. A message that does not name the \
           place in the file is a warning.",
    steps: from(7),
    rule: (7, 9),
    tags: CRASH,
    why: "A torn end comes from a crash, but a wrong byte in the middle does \
          not: a disk or a person has damaged the file. The operations behind \
          it were answered, so to drop them is to lose them, and to read on is \
          to guess. Only a person can decide, and needs the file as it is.",
    hint: Hint {
        meaning: "Your server starts with a journal in which a record is wrong \
                  that is not the last one, so it has lost operations that it \
                  had answered, or made up others.",
        look: "how your server finds out that a record is whole, and what it \
               does when more records follow a wrong one",
    },
    proof: Proof::Defects(&["ignores-damage", "cuts-at-damage"]),
    script: s7_18,
};

fn s7_18(lab: &Lab) -> Check {
    let path = lab.keep_journal()?;
    let addr = lab.server()?;
    ask(lab, addr, &adds(lab, 1, 20))?;
    lab.crash();
    let mut bytes = fs::read(&path).unwrap_or_default();
    let at = bytes.len() / 2;
    match bytes.get_mut(at) {
        Some(byte) => *byte ^= 1,
        None => return Err(no_journal(lab).into()),
    }
    let _ = fs::write(&path, &bytes);
    lab.note_instead("20 ADDs; killed it; changed a byte of its journal");
    let text = refuses_to_start(lab)?;
    is_untouched(lab, &path, &bytes)?;
    if !names_place(&text, at) {
        let expected = "a message that names the place in the file";
        let mut failure = lab.fail(expected, "a message without it");
        failure.meaning =
            "Whoever has to repair the file must find the record \
                           among thousands."
                .into();
        failure.look = "what your server prints about a wrong record".into();
        lab.warn(failure);
    }
    lab.end_programs(); // none of them is to live on
    Ok(())
}

/// It must end by itself, with an error; returns what it said.
fn refuses_to_start(lab: &Lab) -> Check<String> {
    let mut program = lab.start(any_port(), &[], None)?;
    let ended = program.wait(lab.within(PATIENCE));
    let (expected, by_time) =
        ("an error, and an exit code that is not 0", false);
    let failure = match ended {
        Some(status) if !status.success() => {
            program.wait_output();
            let text = [program.err.first(), program.out.first()].concat();
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        Some(_) => lab.fail(expected, "it ended with exit code 0"),
        None => match says_it_listens(&mut program) {
            true => lab.fail(expected, "it started, and listens"),
            false => lab.fail(expected, "it still runs, 3 s later"),
        },
    };
    // The one before was killed: that is no news.
    Err(Failure { gone: None, by_time, ..failure }.into())
}

fn says_it_listens(program: &mut Program) -> bool {
    start::wait_ready(program).is_ok()
}

fn is_untouched(lab: &Lab, path: &Path, bytes: &[u8]) -> Check {
    if fs::read(path).is_ok_and(|now| now == bytes) {
        return Ok(());
    }
    let mut failure = lab.fail("a file that is as it was", "it has changed");
    failure.gone = None;
    failure.meaning = "Your server refused the damaged journal, but wrote to \
                       it, so whoever wants to repair it finds less than was \
                       there."
        .into();
    failure.look = "what your server does to the file before it has read all \
                    of it"
        .into();
    Err(failure.into())
}

/// Is a number in this text that can be the beginning of the wrong record, or
/// of the line in which it stands?
fn names_place(text: &str, at: usize) -> bool {
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    let mut numbers = numbers.flat_map(str::parse::<usize>);
    let nearby = at.saturating_sub(200)..=at;
    numbers.any(|n| nearby.contains(&n) || (9..=12).contains(&n))
}

const S7_19: Case = Case {
    id: "S7-19",
    title: "does not share its journal with a second server",
    does: "With a new file for {journal}, a client of the first server adds 5. \
           Then the checker starts a second server on another port with the \
           same file. It expects that this one ends within 3 s with an exit \
           code that is not 0 and a message, and that the first server adds 7 \
           to get 12. When the first server has been killed, another one must \
           start.",
    steps: from(7),
    rule: (7, 9),
    tags: CRASH,
    why: "Two servers on one file each write where they believe the end to be, \
          over each other's records. It happens easily, when somebody starts \
          a server again that still runs. The lock must go away with the \
          process, because a file that says `locked` stays when the server is \
          killed.",
    hint: Hint {
        meaning: "A second server uses the journal of one that still runs.",
        look: "what your server does with the file before it reads it, and \
               whether the kernel can keep others away from it",
    },
    proof: Proof::Defects(&["shares-journal", "lock-file-stays"]),
    script: s7_19,
};

fn s7_19(lab: &Lab) -> Check {
    lab.keep_journal()?;
    let adds = adds(lab, 1, 3);
    let addr = lab.server()?;
    ask(lab, addr, &adds[..1])?;
    let said = refuses_to_start(lab)?;
    if said.trim().is_empty() {
        let failure = lab.fail("a message on stderr", "it printed nothing");
        return Err(failure.into());
    }
    lab.note("a second server refused to start");
    ask(lab, addr, &adds[..2])?;
    lab.crash();
    lab.note("killed the first one");
    lab.hint(
        "Your server leaves something behind when it is killed, which keeps \
         the next one from its journal.",
        "what says that the journal is in use, and who takes that away when \
         the process is killed",
    );
    let addr = starts(lab)?;
    ask(lab, addr, &adds)
}

/// All of them.
pub const CASES: &[Case] = &[S7_14, S7_15, S7_18, S7_19];

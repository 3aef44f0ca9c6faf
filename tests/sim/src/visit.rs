//! The clients of a run: what each asks for, and what it knows afterwards.

use std::fmt::Display;

use real::time::Instant;

use crate::run::{self, ATTEMPTS, Ask, DEADLINE, Failure, SLACK, Step, broken};
use crate::world::{WHO, with};

const ASKS: u64 = 6;

/// What a client knows about one of its operations. It only learns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    NotDone,
    Unknown,
    Done,
}

/// A client and its requests so far.
pub struct Visit {
    who: u64,
    adds: Vec<(Known, Option<i64>)>, // and the total that it led to
    not_executed: Vec<Vec<u8>>,      // payloads of ECHOs
}

/// Plays a client: it asks, rests, and asks again.
pub async fn visit<S: Step>(who: u64) -> Visit {
    let mut visit = Visit { who, adds: Vec::new(), not_executed: Vec::new() };
    let mut client = S::client();
    for n in 0..ASKS {
        let rest = with(|world| {
            let most = world.chance.pick(&[500, 1_500, 5_000]);
            world.chance.ms(most)
        });
        S::rest(&mut client, rest).await;
        let adds = S::NUMBER >= 7 && with(|world| world.chance.hits(700));
        let ask = if adds { visit.next_add(1) } else { echo(who, n) };
        visit.ask::<S>(&mut client, &ask).await;
        if adds && with(|world| world.chance.hits(300)) {
            visit.ask::<S>(&mut client, &ask).await; // an impatient user
        }
    }
    visit
}

/// An ECHO that no other client sends; some are larger than the window.
fn echo(who: u64, n: u64) -> Ask {
    let mut text = format!("{who}.{n}").into_bytes();
    with(|world| {
        if world.chance.hits(200) {
            let most = 3 * world.weather.window() as u64;
            text.resize(10 + world.chance.below(most) as usize, b'x');
        }
    });
    Ask::Echo(text)
}

impl Visit {
    // ANCHOR: digits
    /// The next ADD. The amounts are 1, 4, 16, …, so each digit of the
    /// total, to the base of four, says how often one operation was applied.
    fn next_add(&self, factor: i64) -> Ask {
        let n = self.adds.len() as u32;
        Ask::Add(self.who, u64::from(n) + 1, factor * 4i64.pow(n))
    }

    fn check_total(&self, total: i64) {
        for (n, (known, _)) in self.adds.iter().enumerate() {
            let times = total >> (2 * n) & 3;
            let is_fine = match known {
                Known::Done => times == 1,
                Known::NotDone => times == 0,
                Known::Unknown => times <= 1,
            };
            if !is_fine {
                let (who, n) = (self.who, n + 1);
                let how =
                    format!("operation {n} of client {who}, {times} times");
                broken("exactly once", how);
            }
        }
        if total >> (2 * self.adds.len()) != 0 {
            let how = format!("client {}: a total of {total}", self.who);
            broken("exactly once", how);
        }
    }
    // ANCHOR_END: digits

    async fn ask<S: Step>(&mut self, client: &mut S::Client, ask: &Ask) {
        let who = self.who;
        self.log(describe(ask));
        let start = Instant::now();
        let mut attempts = 0;
        let report = |line: String| hear(who, &line, &mut attempts);
        let answer = S::ask(client, ask, report).await;
        with(|world| world.waits.remove(&who));
        let time = start.elapsed();
        if time > DEADLINE + SLACK {
            broken("deadline", format!("client {who} asked for {time:.1?}"));
        }
        // The next wait would have gone beyond the deadline.
        let had_time = time + run::CAP + SLACK < DEADLINE;
        if let Err((3 | 4, text)) = &answer
            && text.contains("gave up")
            && attempts < ATTEMPTS
            && had_time
        {
            broken("persistence", format!("client {who}: {text}"));
        }
        if attempts > ATTEMPTS {
            broken("attempts", format!("client {who} tried {attempts} times"));
        }
        self.learn(ask, answer);
    }

    fn learn(&mut self, ask: &Ask, answer: Result<Vec<u8>, Failure>) {
        let (known, reply) = match answer {
            Ok(reply) => (Known::Done, reply),
            Err((code, text)) => {
                self.log(format!("exit code {code}: {text}"));
                let known = [Known::NotDone, Known::Unknown];
                let Some(known) = known.get((code - 3) as usize) else {
                    let how = format!("client {}: {text}", self.who);
                    return broken("protocol", how);
                };
                (*known, Vec::new())
            }
        };
        match ask {
            Ask::Add(_, seq, _) => self.learn_total(*seq, known, &reply),
            Ask::Echo(text) if known == Known::NotDone => {
                self.not_executed.push(text.clone());
            }
            Ask::Echo(_) if known == Known::Unknown => {}
            Ask::Echo(text) if *text == reply => self.log("gets it back"),
            Ask::Echo(_) => broken("replies", format!("client {}", self.who)),
        }
    }

    fn learn_total(&mut self, seq: u64, known: Known, reply: &[u8]) {
        let n = seq as usize - 1;
        self.adds.resize(self.adds.len().max(n + 1), (Known::NotDone, None));
        self.adds[n].0 = self.adds[n].0.max(known);
        if reply.is_empty() {
            return;
        }
        let total = String::from_utf8_lossy(reply).parse().unwrap_or(-1);
        self.log(format!("the total is {total}"));
        self.check_total(total);
        if *self.adds[n].1.get_or_insert(total) != total {
            let how = format!("client {}: {seq} has two totals", self.who);
            broken("exactly once", how);
        }
    }

    /// What a client calls not executed, no server may have answered.
    pub fn check_refusals(&self) {
        let replied = with(|world| world.replied());
        if self.not_executed.iter().any(|text| replied.contains(text)) {
            let how =
                format!("client {}: \"not executed\", and it was", self.who);
            broken("honesty", how);
        }
    }

    /// Asks when nothing goes wrong any more, so there must be an answer.
    pub async fn ask_at_last<S: Step>(&mut self) {
        let mut client = S::client();
        let ask = match S::NUMBER {
            7.. => self.next_add(0),
            _ => echo(self.who, ASKS),
        };
        let answer = S::ask(&mut client, &ask, drop);
        match (WHO.scope(self.who, answer).await, ask) {
            (Err((_, text)), _) => {
                let how =
                    format!("client {}, when all is calm: {text}", self.who);
                broken("recovery", how);
            }
            (Ok(reply), Ask::Add(_, seq, _)) => {
                // It adds nothing, so its digit stays 0.
                self.learn_total(seq, Known::NotDone, &reply);
            }
            _ => {}
        }
    }

    fn log(&self, what: impl Display) {
        log(self.who, what);
    }
}

fn log(who: u64, what: impl Display) {
    with(|world| world.log(format_args!("client {who}"), what));
}

fn describe(ask: &Ask) -> String {
    match ask {
        Ask::Echo(text) if text.len() > 9 => {
            format!("asks for an ECHO of {} bytes", text.len())
        }
        Ask::Echo(text) => {
            format!("asks for an ECHO of {}", String::from_utf8_lossy(text))
        }
        Ask::Add(_, seq, amount) => {
            format!("asks to add {amount}, as operation {seq}")
        }
    }
}

/// Notes what a client reports. When all is calm, nothing may go wrong but
/// that the server is away for a moment.
fn hear(who: u64, line: &str, attempts: &mut u32) {
    log(who, line);
    with(|world| {
        if line.starts_with("waits ") {
            let most = run::BASE * (1 << (*attempts - 1));
            let most = most.min(run::CAP);
            world.waits.insert(who, (Instant::now(), most));
            return;
        }
        *attempts += 1;
        if world.weather.is_calm && !line.contains(": not executed") {
            world.wrong("calm", format!("client {who}: {line}"));
        }
    });
}

/// Notes that the connection of a client at rest has ended.
pub fn lost(line: &str) {
    let who = WHO.get();
    log(who, line);
    with(|world| {
        if world.is_quiet {
            world.wrong("calm", format!("client {who}: {line}"));
        }
    });
}

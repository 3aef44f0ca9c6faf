//! ADDs: what we ask of a server, and what we read from a client.

use std::net::SocketAddr;
use std::time::Duration;

use crate::diagnosis::cause_framed::error_text;
use crate::diagnosis::evidence::{End, Got};
use crate::diagnosis::show;
use crate::harness::lab::{Lab, PATIENCE, Target};
use crate::harness::peer::Peer;
use crate::harness::random;
use crate::harness::stage::{START, Stage};
use crate::verdict::{Check, Failure, Stop};
use crate::wire::{ADD, ADD_REPLY, ERROR, frame};

/// An operation: whose it is, its number, and what it adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Add {
    pub client: u64,
    pub seq: u64,
    pub amount: i64,
}

/// How long we wait for the rest of what is wrong.
const SHORTLY: Duration = Duration::from_millis(50);

/// The bytes of an ADD, and of its reply.
const SIZE: usize = 4 + 1 + 24;

impl Add {
    pub fn frame(self) -> Vec<u8> {
        frame(ADD, &self.payload())
    }

    /// What answers it, if the total is this one.
    pub fn reply(self, total: i64) -> Vec<u8> {
        frame(ADD_REPLY, &Add { amount: total, ..self }.payload())
    }

    fn payload(self) -> Vec<u8> {
        let Add { client, seq, amount } = self;
        [client, seq, amount as u64].map(u64::to_be_bytes).concat()
    }

    /// What a whole frame of this kind says.
    fn read(kind: u8, bytes: &[u8]) -> Option<Add> {
        let (head, payload) = bytes.split_first_chunk()?;
        let ([client, seq, amount], []) = payload.as_chunks() else {
            return None;
        };
        (*head == [0, 0, 0, 25, kind]).then_some(Add {
            client: u64::from_be_bytes(*client),
            seq: u64::from_be_bytes(*seq),
            amount: i64::from_be_bytes(*amount),
        })
    }

    pub fn said(self, what: &str) -> String {
        let Add { client, seq, amount } = self;
        format!("client {client}, seq {seq}, {what} {amount}")
    }
}

impl Lab<'_> {
    /// A client that the server has not seen: from the seed, or from the clock
    /// if the server runs already, and may have seen that one.
    pub fn new_client(&self) -> u64 {
        let n = match self.setup.target {
            Target::Command(_) => self.below(900_000),
            Target::Address(_) => 1_000_000 + random::any_seed() as usize,
        };
        100_000 + n as u64
    }

    /// A new connection, on which this is added.
    pub fn added(&self, addr: SocketAddr, add: Add, total: i64) -> Check {
        self.connect(addr)?.added(add, total)
    }
}

impl Peer<'_> {
    /// Sends an ADD, and its reply must come.
    pub fn added(&mut self, add: Add, total: i64) -> Check {
        self.adds(add)?;
        self.totals(add, total)
    }

    /// Sends an ADD.
    pub fn adds(&mut self, add: Add) -> Check {
        let Add { seq, amount, .. } = add;
        self.send_as(&add.frame(), &format!("seq {seq} adds {amount}"))
    }

    /// The reply to an ADD must come.
    pub fn totals(&mut self, add: Add, total: i64) -> Check {
        let want = add.reply(total);
        let mut got = self.read(want.len(), self.lab.until(PATIENCE));
        if got.bytes == want {
            self.note(&format!("got {total}"));
            return Ok(());
        }
        if got.end == End::Open && got.bytes.get(4) == Some(&ERROR) {
            let rest = self.read(250, self.lab.until(SHORTLY));
            got.bytes.extend(rest.bytes);
        }
        if let Some(other) = Add::read(ADD_REPLY, &got.bytes) {
            let due = Add { amount: total, ..add };
            let failure = self.fail(due.said("total"), &other.said("total"));
            return Err(failure.into());
        }
        let mut failure = self.mismatch(&want, &got, PATIENCE);
        if let Some(error) = error_text(&got.bytes, b"") {
            let base = self.base();
            (failure.meaning, failure.look) = (base.meaning, base.look);
            failure.actual = vec![error];
        }
        Err(failure.into())
    }

    /// Sends an ADD, and an ERROR that ends nothing must come.
    pub fn refuses(&mut self, add: Add, code: u8) -> Check {
        self.adds(add)?;
        self.expect_error(code).map_err(|stop| match *stop {
            Stop::Fail(mut failure) => {
                if failure.actual[0].starts_with("00 00 00 19 83") {
                    failure.actual = vec!["a total, as for a good ADD".into()];
                }
                failure.into()
            }
            other => Box::new(other),
        })
    }

    /// Reads an ADD of a client.
    pub fn add_request(&mut self) -> Check<Add> {
        self.sends(b"");
        let mut got = self.read(SIZE, self.lab.until(Duration::from_secs(3)));
        if let Some(add) = Add::read(ADD, &got.bytes) {
            self.note(&format!("got an ADD: {}", add.said("amount")));
            return Ok(add);
        }
        let rest = self.read(64, self.lab.until(SHORTLY));
        got.bytes.extend(rest.bytes);
        Err(self.no_add(&got).into())
    }

    fn no_add(&self, got: &Got) -> Failure {
        let is_empty = got.bytes.is_empty();
        let actual = match is_empty {
            true => got.end.text().to_owned(),
            false => show::bytes(&got.bytes, got.bytes.len()),
        };
        let expected = "an ADD: 00 00 00 19 03, client, seq, amount";
        let mut failure = self.fail(expected, &actual);
        failure.by_time = is_empty && got.end == End::Open;
        failure.is_silent = is_empty;
        if got.bytes.windows(5).any(|part| part == b"--add") {
            failure.meaning = "Your client sent the words `--add` and the \
                               amount as a text, but they ask it to send an \
                               ADD."
                .into();
            failure.look = "how your client reads its command line".into();
        }
        failure
    }
}

/// A client that never came may not know what it was asked to do.
fn no_option(stop: Stop, is_usage: bool) -> Box<Stop> {
    let Stop::Fail(mut failure) = stop else { return Box::new(stop) };
    if is_usage {
        failure.meaning = "Your client did not take the words `--add` and an \
                           amount, which the checker gives it where a text \
                           would be."
            .into();
        failure.look = "how your client reads its command line".into();
    }
    failure.into()
}

impl<'a> Stage<'a> {
    /// Starts a client that is to add this.
    pub fn start_adding(&self, amount: i64) -> Check {
        self.start(&["--add", &amount.to_string()])
    }

    /// The first connection, and the ADD that came on it.
    pub fn first_add(&self, amount: i64) -> Check<(Peer<'a>, Add)> {
        self.start_adding(amount)?;
        let mut client = self.accept(START).map_err(|stop| {
            let code = self.lab.client_ended().and_then(|s| s.code());
            no_option(*stop, code == Some(2))
        })?;
        self.lab.open_window();
        let add = client.add_request()?;
        if add.amount == amount {
            return Ok((client, add));
        }
        let due = Add { amount, ..add };
        let failure = client.fail(due.said("amount"), &add.said("amount"));
        Err(failure.into())
    }
}

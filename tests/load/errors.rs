//! What went wrong, by kind.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Refused,
    Reset,
    Ended,
    WrongReply,
    Timeout,
    Other,
}

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub kind: Kind,
    pub text: String,
}

impl Failure {
    pub fn new(kind: Kind, text: String) -> Failure {
        Failure { kind, text }
    }

    /// Puts an error of the system into a kind.
    pub fn from_io(what: &str, error: &io::Error) -> Failure {
        let kind = match error.kind() {
            ErrorKind::ConnectionRefused => Kind::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Kind::Reset,
            ErrorKind::TimedOut => Kind::Timeout,
            _ => Kind::Other,
        };
        let help = match error.kind() {
            ErrorKind::ConnectionRefused => " (is the server running?)",
            ErrorKind::AddrNotAvailable => {
                " (no local port is free; try fewer connections, or set \
                 net.ipv4.ip_local_port_range)"
            }
            _ => "",
        };
        Failure::new(kind, format!("cannot {what}{help}: {error}"))
    }
}

pub fn wrong(text: String) -> Failure {
    Failure::new(Kind::WrongReply, text)
}

/// How many errors of each kind there were.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Errors {
    /// The server's side refused a connection.
    pub refused: u64,
    /// The server's side reset a connection.
    pub reset: u64,
    /// The server closed a connection that was still in use.
    pub ended: u64,
    /// A byte came back that was not the one that was sent.
    pub wrong_reply: u64,
    /// A connection made no progress although it had to.
    pub timeout: u64,
    /// All others, such as an ERROR of the server.
    pub other: u64,
}

/// At most this many different texts are kept.
const TEXTS: usize = 8;

/// The errors of a run, and how often each text of one came.
#[derive(Default)]
pub struct Tally {
    pub errors: Errors,
    pub texts: BTreeMap<String, u64>,
}

impl Tally {
    pub fn add(&mut self, failure: Failure) {
        let errors = &mut self.errors;
        *match failure.kind {
            Kind::Refused => &mut errors.refused,
            Kind::Reset => &mut errors.reset,
            Kind::Ended => &mut errors.ended,
            Kind::WrongReply => &mut errors.wrong_reply,
            Kind::Timeout => &mut errors.timeout,
            Kind::Other => &mut errors.other,
        } += 1;
        if let Some(times) = self.texts.get_mut(&failure.text) {
            *times += 1;
        } else if self.texts.len() < TEXTS {
            self.texts.insert(failure.text, 1);
        }
    }

    pub fn count(&self) -> u64 {
        self.errors.count()
    }
}

impl Errors {
    pub fn count(&self) -> u64 {
        self.refused
            + self.reset
            + self.ended
            + self.wrong_reply
            + self.timeout
            + self.other
    }
}

//! One connection of ours, and what comes back on it.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::diagnosis::evidence::{End, Got};
use crate::diagnosis::{said, show};
use crate::harness::lab::{LIVES, Lab, PATIENCE};
use crate::harness::pings::Inbox;
use crate::program::proc;
use crate::traits::{Hint, Side};
use crate::verdict::{Check, Failure, Stop};

/// How long after the end of a connection its cause may be printed.
const MOMENT: Duration = Duration::from_millis(200);

/// How much must come for us to say that bytes move.
const MOVE: usize = 64 * 1024;

/// One connection. Its writes leave at once (TCP_NODELAY).
pub struct Peer<'a> {
    pub lab: &'a Lab<'a>,
    pub stream: TcpStream,
    /// A letter, where a case has more than one: `A: `.
    name: &'static str,
    /// The last that was sent: its first bytes, and how many there were.
    last: (Vec<u8>, usize),
    /// The answer before, which a confused server may send again.
    pub previous: Vec<u8>,
    /// How much the program had printed when we connected.
    before: u64,
    /// What has come and is not taken.
    pub(super) inbox: Inbox,
    /// Does it answer a PING as soon as it sees one?
    pub answers_pings: bool,
}

impl<'a> Lab<'a> {
    pub fn connect(&'a self, addr: SocketAddr) -> Check<Peer<'a>> {
        self.connect_as(addr, "")
    }

    pub fn connect_as(
        &'a self,
        addr: SocketAddr,
        name: &'static str,
    ) -> Check<Peer<'a>> {
        let start = Instant::now();
        let limit = self.within(PATIENCE).max(Duration::from_millis(1));
        let connected = TcpStream::connect_timeout(&addr, limit);
        // The kernel answers for the server at once if there is room in the
        // queue. If there is none, our SYN goes out again a second later.
        let took = start.elapsed().saturating_sub(self.late_since(start));
        self.had_to_knock.set(self.had_to_knock.get() || took > KNOCK);
        match connected {
            Ok(stream) => Ok(Peer::new(self, stream, name)),
            Err(error) if is_our_limit(&error) => {
                let why = "the checker may not open more files (ulimit -n)";
                Err(Box::new(Stop::Unknown(why.to_owned())))
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let actual = "no answer, because the queue of its socket is \
                              full";
                let mut failure = self.fail("a connection", actual);
                failure.meaning = FULL.meaning.into();
                failure.look = FULL.look.into();
                failure.by_time = true;
                Err(failure.into())
            }
            Err(error) => {
                let actual = format!("cannot connect: {}", plain(&error));
                let mut failure = self.fail(LIVES, actual);
                failure.meaning =
                    "Your server no longer listens at this address.".into();
                failure.look = "what ends your accept loop".into();
                Err(failure.into())
            }
        }
    }
}

/// Have we no descriptor left ourselves?
fn is_our_limit(error: &std::io::Error) -> bool {
    let code = rustix::io::Errno::from_io_error(error);
    code == Some(rustix::io::Errno::MFILE)
}
/// A connect that takes longer was not answered at first.
const KNOCK: Duration = Duration::from_millis(900);

/// The queue of a listening socket was full.
pub const FULL: Hint = Hint {
    meaning: "The queue of your listening socket is full, because clients come \
              faster than your server accepts them, so they must repeat their \
              SYN a second later.",
    look: "what runs between two calls of `accept`, and the backlog, which is \
           the number that you pass to `listen`",
};

/// Returns an error of the kernel without its number.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

impl<'a> Peer<'a> {
    pub fn new(lab: &'a Lab<'a>, s: TcpStream, name: &'static str) -> Self {
        let _ = s.set_nodelay(true);
        let _ = s.set_write_timeout(Some(PATIENCE));
        let (last, previous) = ((Vec::new(), 0), Vec::new());
        let before = lab.last_complained();
        let inbox = Inbox::new(lab.setup.step);
        let answers_pings = true;
        let stream = s;
        Peer { lab, stream, name, last, previous, before, inbox, answers_pings }
    }

    pub fn note(&self, what: &str) {
        self.lab.note(format!("{}{what}", self.name));
    }

    /// The first bytes of what was sent last.
    pub fn sent_bytes(&self) -> &[u8] {
        &self.last.0
    }

    pub fn sent(&self) -> String {
        show::bytes(&self.last.0, self.last.1)
    }

    /// Does the connection still wait for the server to accept it?
    pub fn is_queued(&self, end: End) -> bool {
        let is_server = self.lab.traits.side == Side::Server;
        let Ok(own) = self.stream.local_addr() else { return false };
        let Ok(other) = self.stream.peer_addr() else { return false };
        end == End::Open
            && is_server
            && proc::not_accepted(other.port()).contains(&own.port())
    }

    /// Did code of the program die since we connected? It says so a moment
    /// after the connection has ended.
    pub fn has_killed(&self) -> bool {
        let end = Instant::now() + MOMENT;
        loop {
            let text = self.lab.complaints_since(self.before);
            if said::tells_of_death(&text) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Remembers what is sent for the report.
    pub fn sends(&mut self, bytes: &[u8]) {
        self.last = (bytes[..bytes.len().min(64)].to_vec(), bytes.len());
    }

    /// The same for what is too large to be kept.
    pub fn sends_many(&mut self, first: &[u8], size: usize) {
        self.last = (first[..first.len().min(64)].to_vec(), size);
    }

    /// Sends all of it; a server that has closed already is a failure.
    pub fn send(&mut self, bytes: &[u8]) -> Check {
        self.send_as(bytes, &format!("sent {}", show::size(bytes.len())))
    }

    /// The same with a note of its own.
    pub fn send_as(&mut self, bytes: &[u8], note: &str) -> Check {
        self.sends(bytes);
        if let Err(error) = self.stream.write_all(bytes) {
            self.lab.is_open.set(error.kind() == ErrorKind::WouldBlock);
            let actual = format!(
                "the connection broke while the checker sent: {}",
                plain(&error)
            );
            let mut failure = self.fail("it reads what is sent", &actual);
            failure.by_time = error.kind() == ErrorKind::WouldBlock;
            return Err(failure.into());
        }
        self.note(note);
        Ok(())
    }

    /// Sends what may be refused in the middle: no error is one.
    pub fn send_anyway(&mut self, bytes: &[u8]) {
        self.sends(bytes);
        let _ = self.stream.write_all(bytes);
        self.note(&format!("sent {}", show::size(bytes.len())));
    }

    /// Ends our direction.
    pub fn fin(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.note("FIN");
    }

    /// Closes with RST instead of FIN.
    pub fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        self.note("RST");
    }

    /// Reads at most `most` bytes until then. From step 6 on, a PING is not
    /// among them.
    pub fn read(&mut self, most: usize, until: Instant) -> Got {
        let mut end = End::Open;
        while self.inbox.ready() < most {
            let room = most - self.inbox.ready();
            if let Some(over) = self.read_more(room, until) {
                end = over;
                break;
            }
        }
        self.lab.is_open.set(end == End::Open);
        Got { bytes: self.inbox.take(most, end), end }
    }

    /// Reads at most `most` bytes, as long as some come within `stall`, and
    /// the case has time.
    pub fn read_while_moving(&mut self, most: usize, stall: Duration) -> Got {
        let mut all = Vec::new();
        loop {
            let part =
                self.read(MOVE.min(most - all.len()), self.lab.until(stall));
            let has_moved = !part.bytes.is_empty();
            all.extend(part.bytes);
            let is_over = part.end != End::Open || all.len() == most;
            if is_over || !has_moved || self.lab.left().is_zero() {
                return Got { bytes: all, end: part.end };
            }
            self.lab.note_progress();
        }
    }

    /// Does anything come, or does the connection end, before that moment?
    /// What comes stays unread. We may be late to look: then it was in time.
    pub fn stirs_before(&mut self, moment: Instant) -> bool {
        let left = moment.saturating_duration_since(Instant::now());
        let stirs = self.peeks(left.max(Duration::from_millis(1))).is_some();
        stirs && Instant::now() < moment
    }

    pub fn fail(&self, expected: impl Into<String>, actual: &str) -> Failure {
        self.lab.witness(self.base().of(expected, actual))
    }

    /// A failure without what was expected and seen: see [`Lab::base`].
    pub fn base(&self) -> Failure {
        let failure = self.lab.base();
        let is_client = self.lab.traits.side == Side::Client;
        match self.last.1 {
            0 if is_client => failure, // it is its turn
            _ => Failure { sent: self.sent(), ..failure },
        }
    }
}

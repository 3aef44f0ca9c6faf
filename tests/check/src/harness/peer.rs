//! One connection of ours, and what comes back on it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::diagnosis::evidence::{End, Got};
use crate::diagnosis::show;
use crate::harness::lab::{Lab, PATIENCE};
use crate::harness::programs::LIVES;
use crate::traits::Side;
use crate::verdict::{Check, Failure, Stop};

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
        match TcpStream::connect_timeout(&addr, PATIENCE) {
            Ok(stream) => Ok(Peer::new(self, stream, name)),
            Err(error) if is_our_limit(&error) => {
                let why = "we may not open so many files (ulimit -n)";
                Err(Box::new(Stop::Unknown(why.to_owned())))
            }
            Err(error) => {
                let actual = format!("cannot connect: {}", plain(&error));
                let mut failure = self.fail(LIVES, actual);
                failure.meaning =
                    "Nobody accepts connections there any more.".into();
                failure.look = "what ends your accept loop".into();
                failure.by_time = error.kind() == ErrorKind::TimedOut;
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

/// An error of the system without its number.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

impl<'a> Peer<'a> {
    pub fn new(lab: &'a Lab<'a>, s: TcpStream, name: &'static str) -> Self {
        let _ = s.set_nodelay(true);
        let _ = s.set_write_timeout(Some(PATIENCE));
        let (last, previous) = ((Vec::new(), 0), Vec::new());
        Peer { lab, stream: s, name, last, previous }
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
        self.sends(bytes);
        if let Err(error) = self.stream.write_all(bytes) {
            let actual = format!(
                "the connection broke while we sent: {}",
                plain(&error)
            );
            let mut failure = self.fail("it reads what is sent", &actual);
            failure.by_time = error.kind() == ErrorKind::WouldBlock;
            return Err(failure.into());
        }
        self.note(&format!("sent {}", show::size(bytes.len())));
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

    /// Reads at most `most` bytes until then.
    pub fn read(&mut self, most: usize, until: Instant) -> Got {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; most.min(64 * 1024)];
        while bytes.len() < most {
            let left = until.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            let _ = self.stream.set_read_timeout(Some(left));
            let room = buffer.len().min(most - bytes.len());
            match self.stream.read(&mut buffer[..room]) {
                Ok(0) => return Got { bytes, end: End::Fin },
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let is_late = [ErrorKind::WouldBlock, ErrorKind::TimedOut]
                        .contains(&error.kind());
                    let end = if is_late { End::Open } else { End::Reset };
                    return Got { bytes, end };
                }
            }
        }
        Got { bytes, end: End::Open }
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
        }
    }

    /// Does anything come, or does the connection end, before that moment?
    /// What comes stays unread. We may be late to look: then it was in time.
    pub fn stirs_before(&mut self, moment: Instant) -> bool {
        let left = moment.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        let _ = self.stream.set_read_timeout(Some(left));
        let is_silent = self.stream.peek(&mut [0]).is_err_and(|error| {
            [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind())
        });
        !is_silent && Instant::now() < moment
    }

    pub fn fail(&self, expected: impl Into<String>, actual: &str) -> Failure {
        let failure = self.lab.fail(expected, actual);
        let is_client = self.lab.traits.side == Side::Client;
        match self.last.1 {
            0 if is_client => failure, // it is its turn
            _ => Failure { sent: self.sent(), ..failure },
        }
    }
}

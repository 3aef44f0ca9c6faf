//! Where a client is tried: we are the server.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::case::{Check, Stop};
use crate::lab::{Lab, SLACK, any_port, time};
use crate::peer::{End, Peer};
use crate::program::describe;
use crate::{show, wire};

/// How long a client may take from its start to its first connect: some
/// languages need a second, on a busy machine several.
pub const START: Duration = Duration::from_secs(8);

/// What is meant by "at once".
pub const AT_ONCE: Duration = Duration::from_secs(1);

/// A listening socket of ours.
pub struct Stage<'a> {
    pub lab: &'a Lab<'a>,
    pub listener: TcpListener,
    pub addr: SocketAddr,
}

pub fn no_port(error: &std::io::Error) -> Box<Stop> {
    Box::new(Stop::Unknown(format!("no port for our server: {error}")))
}

/// How a client ended, and what it said.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl<'a> Stage<'a> {
    pub fn open(lab: &'a Lab<'a>) -> Check<Stage<'a>> {
        let opened = TcpListener::bind(any_port());
        opened.map_or_else(|error| Err(no_port(&error)), |l| Self::on(lab, l))
    }

    /// With a listener that is there already.
    pub fn on(lab: &'a Lab<'a>, listener: TcpListener) -> Check<Stage<'a>> {
        let addr = listener.local_addr().map_err(|error| no_port(&error))?;
        Ok(Stage { lab, listener, addr })
    }

    /// Starts a client that is to send this.
    pub fn start(&self, texts: &[&str]) -> Check {
        let texts: Vec<String> = texts.iter().map(|&t| t.into()).collect();
        let client = self.lab.start(self.addr, &texts, None)?;
        self.lab.keep(client);
        Ok(())
    }

    /// The next connection, if one comes in time.
    pub fn accept_within(&self, limit: Duration) -> Option<TcpStream> {
        let limit = limit.max(Duration::from_millis(1));
        let socket = SockRef::from(&self.listener);
        let _ = socket.set_read_timeout(Some(limit)); // also of accept
        self.listener.accept().ok().map(|(stream, _)| stream)
    }

    /// The next connection must come.
    pub fn accept(&self, limit: Duration) -> Check<Peer<'a>> {
        let until = self.lab.until(limit);
        loop {
            let slice = Duration::from_millis(50);
            if let Some(stream) = self.accept_within(slice) {
                self.lab.note("it connected");
                return Ok(Peer::new(self.lab, stream, ""));
            }
            let ended = self.lab.client_ended();
            if ended.is_none() && Instant::now() < until {
                continue;
            }
            let actual = match ended {
                Some(status) => format!("it ended: {}", describe(status)),
                None => format!("no connection within {}", time(limit)),
            };
            let mut failure = self.lab.fail("it connects", actual);
            failure.by_time = ended.is_none();
            if limit == START {
                failure.meaning = "Your client never came: does it take the \
                                   address that {addr} stands for?"
                    .into();
                failure.look = "what the client does first, and --cmd".into();
            }
            return Err(failure.into());
        }
    }

    /// The first connection, with its request read.
    pub fn first(&self, text: &str) -> Check<Peer<'a>> {
        let mut peer = self.accept(START)?;
        self.lab.open_window();
        peer.request(text)?;
        Ok(peer)
    }

    /// A further attempt, with its request read.
    pub fn next(&self, text: &str, limit: Duration) -> Check<Peer<'a>> {
        let mut peer = self.accept(limit)?;
        peer.request(text)?;
        Ok(peer)
    }

    /// The client must end within the limit, and must not connect again.
    pub fn finish_alone(&self, limit: Duration) -> Check<Ended> {
        let until = self.lab.until(limit + SLACK);
        while self.lab.client_ended().is_none() && Instant::now() < until {
            if self.accept_within(Duration::from_millis(10)).is_some() {
                let expected = "one attempt, and no other";
                let failure = self.lab.fail(expected, "it connected again");
                return Err(failure.into());
            }
        }
        self.lab.finish(Duration::ZERO, limit)
    }
}

impl<'a> Lab<'a> {
    /// How the client ended, if it has.
    pub fn client_ended(&self) -> Option<ExitStatus> {
        self.last_ended(Duration::ZERO)
    }

    /// Waits for the client's end; `said` is the limit for the report.
    pub fn finish(&self, limit: Duration, said: Duration) -> Check<Ended> {
        let limit = self.within(limit);
        let Some(status) = self.last_ended(limit) else {
            let expected = format!("it ends within {}", time(said));
            let mut failure = self.fail(expected, "it still runs");
            failure.by_time = true;
            return Err(failure.into());
        };
        let (stdout, stderr) = self.last_output();
        Ok(Ended { status, stdout, stderr })
    }

    pub fn finish_within(&self, limit: Duration) -> Check<Ended> {
        self.finish(limit + SLACK, limit)
    }
}

impl Peer<'_> {
    /// Reads the request: the text as it is, or in a frame.
    pub fn request(&mut self, text: &str) -> Check {
        let want = self.lab.request(text.as_bytes());
        self.sends(b"");
        self.expect(&want, Duration::from_secs(3))
    }

    /// Waits until the client closes: `Ok(true)` if it did in time.
    pub fn is_closed(&mut self, until: Instant) -> Check<bool> {
        let got = self.read(64, until);
        if got.bytes.is_empty() {
            return Ok(got.end != End::Open);
        }
        let shown = show::bytes(&got.bytes, got.bytes.len());
        let mut failure = self.fail("nothing more on this connection", &shown);
        failure.meaning = "A connection that timed out was used again: the \
                           late reply to the old request would be taken for \
                           the new one's."
            .into();
        failure.look = "what you do with a connection after a timeout".into();
        Err(failure.into())
    }
}

impl Ended {
    /// The exit code must be this one.
    pub fn code(&self, lab: &Lab, code: i32) -> Check {
        if self.status.code() == Some(code) {
            return Ok(());
        }
        let expected = format!("exit code {code} ({})", meaning_of(code));
        let actual = describe(self.status);
        let mut failure = lab.fail(expected, actual);
        if self.status.code() == Some(101) {
            failure.meaning = "Your client panicked.".into();
        }
        Err(failure.into())
    }

    /// It must have failed, by an exit code and not by a signal.
    pub fn failed(&self, lab: &Lab) -> Check {
        match self.status.code() {
            Some(1..=100) => Ok(()),
            _ => {
                let actual = describe(self.status);
                Err(lab.fail("an exit code that is not 0", actual).into())
            }
        }
    }

    pub fn said_why(&self, lab: &Lab) -> Check {
        if !self.stderr.trim_ascii().is_empty() {
            let text = String::from_utf8_lossy(&self.stderr);
            crate::cases::greet::trace(lab, &text);
            return Ok(());
        }
        let actual = match self.stdout.is_empty() {
            true => "nothing on stderr",
            false => "the message is on stdout, where answers belong",
        };
        Err(lab.fail("a message on stderr", actual).into())
    }

    pub fn silent(&self, lab: &Lab) -> Check {
        self.printed(lab, b"")
    }

    /// stdout must be these lines: from step 4 on a newline follows each.
    pub fn printed_lines(&self, lab: &Lab, texts: &[&str]) -> Check {
        let mut want = texts.join("\n").into_bytes();
        if lab.is_framed() {
            want.push(b'\n');
        }
        self.printed(lab, &want)
    }

    fn printed(&self, lab: &Lab, want: &[u8]) -> Check {
        let got = &self.stdout[..];
        if got == want {
            return Ok(());
        }
        let mut failure = lab.fail(on_stdout(want), on_stdout(got));
        if want.is_empty() || letters(got) != letters(want) || got.is_empty() {
            return Err(failure.into());
        }
        failure.look = "how you print: print, puts, println".into();
        if got.trim_ascii_end() == want.trim_ascii_end() {
            failure.meaning = "Only the newline at the end differs: steps 1 \
                               to 3 print what came and nothing else, step 4 \
                               a newline after each reply."
                .into();
            lab.warn(failure);
            return Ok(());
        }
        failure.meaning = "All replies are there, but not the newline after \
                           each of them."
            .into();
        Err(failure.into())
    }
}

fn on_stdout(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing on stdout".to_owned();
    }
    let part = &bytes[..bytes.len().min(60)];
    let part = show::shorten(&part.escape_ascii().to_string(), 56);
    format!("stdout \"{part}\"")
}

fn letters(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| *byte != b'\n').collect()
}

fn meaning_of(code: i32) -> &'static str {
    match code {
        0 => "answered",
        3 => "certainly not executed",
        4 => "outcome unknown",
        5 => "the server broke the protocol",
        6 => "the server answered with an error",
        _ => "failed",
    }
}

/// Words of its own for each client: the reply to one is no reply to another.
pub fn words<const N: usize>(lab: &Lab) -> [String; N] {
    std::array::from_fn(|_| lab.word(6))
}

/// The settings that most cases of step 5 share: short waits.
pub fn quick(lab: &Lab, attempts: u64) {
    lab.set("TCP_ATTEMPTS", attempts);
    lab.set("TCP_BACKOFF_BASE_MS", 20);
    lab.set("TCP_BACKOFF_CAP_MS", 40);
}

/// A reply to this request, as the step sends it.
pub fn reply_to(lab: &Lab, text: &str) -> Vec<u8> {
    match lab.is_framed() {
        true => wire::reply(text.as_bytes()),
        false => text.as_bytes().to_vec(),
    }
}

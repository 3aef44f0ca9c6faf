//! Where we try a client: we are its server.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::diagnosis::evidence::End;
use crate::diagnosis::show::{self, time};
use crate::harness::ended::Ended;
use crate::harness::lab::{AT_ONCE, Lab, SLACK, any_port};
use crate::harness::peer::Peer;
use crate::os;
use crate::program::running::describe;
use crate::verdict::{Check, Failure, Stop};
use crate::wire;

/// How long a client may take from its start to its first connect: some
/// languages need a second, on a busy machine several.
pub const START: Duration = Duration::from_secs(8);

/// The same for a client that has once not come at all.
const SHORT: Duration = Duration::from_secs(3);

/// A limit that is far longer than what it limits, so that only a program
/// that is stuck meets it.
const COARSE: Duration = Duration::from_secs(3);

/// A listening socket of ours.
pub struct Stage<'a> {
    pub lab: &'a Lab<'a>,
    pub listener: TcpListener,
    pub addr: SocketAddr,
}

pub fn no_port(error: &std::io::Error) -> Box<Stop> {
    Box::new(Stop::Unknown(format!(
        "the checker cannot bind a port for its server: {error}"
    )))
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
        os::accept_within(&self.listener, limit)
    }

    /// The next connection must come.
    pub fn accept(&self, limit: Duration) -> Check<Peer<'a>> {
        let is_first = limit == START;
        let never_came = &self.lab.habits()?.never_came;
        let has_failed = is_first && never_came.load(Ordering::Relaxed);
        let limit = if has_failed { SHORT } else { limit };
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
            let mut failure = self.nobody_came(limit, ended);
            if is_first {
                never_came.store(ended.is_none(), Ordering::Relaxed);
                failure.is_sure = true;
                failure.meaning = "Your client never connected, so it may not \
                                   use the address that {addr} stands for."
                    .into();
                failure.look = "what your client does first, and --cmd".into();
            }
            return Err(failure.into());
        }
    }

    fn nobody_came(
        &self,
        limit: Duration,
        ended: Option<ExitStatus>,
    ) -> Failure {
        let actual = match ended {
            Some(status) => format!("it ended: {}", describe(status)),
            None => format!("no connection within {}", time(limit)),
        };
        let by_time = ended.is_none();
        Failure { by_time, ..self.lab.fail("it connects", actual) }
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
            // Held until the report is made: the client must not see its end.
            if let Some(_again) = self.accept_within(Duration::from_millis(10))
            {
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
            failure.is_sure = said >= COARSE;
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

    /// Waits until the client closes; it must not send any more.
    pub fn how_it_ended(&mut self, until: Instant) -> Check<End> {
        let got = self.read(64, until);
        if got.bytes.is_empty() {
            return Ok(got.end);
        }
        let shown = show::bytes(&got.bytes, got.bytes.len());
        let mut failure = self.fail("nothing more on this connection", &shown);
        failure.meaning = "Your client used a connection again after a \
                           timeout, so it would take the late reply to the old \
                           request for the reply to the new one."
            .into();
        failure.look = "what your client does with a connection after a \
                        timeout"
            .into();
        Err(failure.into())
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

/// The client ends its direction when it has sent all.
pub fn expect_fin(lab: &Lab, client: &mut Peer) -> Check {
    let got = client.read(64, lab.until(AT_ONCE));
    if got.bytes.is_empty() && got.end == End::Fin {
        lab.note("and ended its direction");
        return Ok(());
    }
    let actual = match got.bytes.is_empty() {
        true => got.end.text().to_owned(),
        false => show::bytes(&got.bytes, got.bytes.len()),
    };
    let mut failure = lab.fail("FIN after the request", actual);
    failure.meaning =
        "Your client did not end its direction, so a server that reads to the \
         end of the request waits forever."
            .into();
    failure.look =
        "what your client does after its last `write`: does it end that \
         direction?"
            .into();
    if got.bytes.is_empty() {
        return Err(failure.into());
    }
    failure.meaning = "Your client sends more than you gave it, such as a \
                       newline at the end."
        .into();
    lab.warn(failure);
    Ok(())
}

/// Binds a port without listening on it: the kernel refuses every client there,
/// and no other program can take it.
pub fn closed_port() -> Check<(Socket, SocketAddr)> {
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|s| {
        s.bind(&any_port().into())?;
        let addr = s.local_addr()?.as_socket();
        Ok(addr.map(|addr| (s, addr)))
    });
    bound.ok().flatten().ok_or_else(|| {
        Box::new(Stop::Unknown("the checker could not bind a port".into()))
    })
}

// ANCHOR: client
//! The client: step 8's, with a handshake after `connect`. It sends ECHO only.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::connection::Connection;
use crate::frame::{ECHO, ECHO_REPLY, ERROR, GOAWAY, LengthError, encode};
use crate::limits::{ClientLimits, PeerLimits};
use crate::retry::Outcome::{self, NotExecuted, Protocol, Unknown};
use crate::retry::{ceiling, full_jitter};
use crate::stream::Stream;
use crate::tls;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(300);

type Server = Connection<Stream<TcpStream>>;

/// Whom to ask, and how to know that it is the right one.
#[derive(Clone)]
pub struct Target {
    pub addr: SocketAddr,
    /// What the server's certificate has to be for.
    pub name: ServerName<'static>,
    pub tls: TlsConnector,
}

/// A client with one request in flight.
pub struct Client {
    target: Target,
    limits: ClientLimits,
    peer: PeerLimits,
    kept: Option<Server>, // a connection on which no reply is missing
}
// ANCHOR_END: client

// ANCHOR: ask
impl Client {
    pub fn new(
        target: Target,
        limits: ClientLimits,
        peer: PeerLimits,
    ) -> Client {
        Client { target, limits, peer, kept: None }
    }

    /// Sends `message` and returns the reply, by the rules of step 5.
    ///
    /// # Errors
    /// There is no reply. The error has an [`Outcome`], unless the message is
    /// too large.
    pub async fn ask(
        &mut self,
        message: &[u8],
        mut report: impl FnMut(String),
    ) -> Result<Vec<u8>> {
        let deadline = Instant::now() + self.limits.deadline;
        let most = self.limits.attempts;
        let (mut outcome, mut n) = (NotExecuted, 1); // of all attempts, so far
        loop {
            let error = match self.attempt(message, deadline).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            match Outcome::of(&error) {
                Some(NotExecuted) => {}
                Some(Unknown) => outcome = Unknown,
                // A wrong certificate will be wrong the next time, too.
                _ if outcome == Unknown => return Err(error.context(Unknown)),
                _ => return Err(error),
            }
            let wait = full_jitter(ceiling(&self.limits, n));
            report(format!("attempt {n}: {error:#}"));
            if n == most || Instant::now() + wait >= deadline {
                let error = anyhow!("gave up after {n} of {most} attempts");
                return Err(error.context(outcome));
            }
            report(format!("waits {wait:.0?}"));
            sleep(wait).await;
            n += 1;
        }
    }
    // ANCHOR_END: ask

    // ANCHOR: attempt
    /// Asks once. Keeps the connection only if the reply came.
    async fn attempt(
        &mut self,
        message: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>> {
        let mut server = match self.silent().await {
            Some(server) => server,
            None => self.connect(deadline).await?,
        };
        let limit = self.limits.request.min(deadline - Instant::now());
        let reply = timeout(limit, exchange(&mut server, message)).await;
        let late = |_| anyhow!("no whole reply within {limit:.0?}");
        let (reply, stays) = reply.map_err(late).context(Unknown)??;
        self.kept = stays.then_some(server);
        Ok(reply)
    }

    /// Takes the connection that was kept, unless the server has closed it or
    /// spoken on it.
    async fn silent(&mut self) -> Option<Server> {
        let mut server = self.kept.take()?;
        let look = timeout(Duration::from_millis(1), server.receive()).await;
        (look.is_err() && !server.has_input()).then_some(server)
    }

    /// Connects and shakes hands; one limit for both.
    async fn connect(&self, deadline: Instant) -> Result<Server> {
        let addr = self.target.addr;
        let limit = self.limits.connect.min(deadline - Instant::now());
        let stream = timeout(limit, self.secure()).await.unwrap_or_else(|_| {
            let late = anyhow!("cannot connect to {addr} within {limit:.0?}");
            Err(late.context(NotExecuted))
        });
        Ok(Connection::new(stream?, self.peer))
    }

    async fn secure(&self) -> Result<Stream<TcpStream>> {
        let Target { addr, name, tls } = &self.target;
        let stream = TcpStream::connect(addr).await.with_context(|| {
            format!("cannot connect to {addr} (is the server running?)")
        });
        let stream = stream.context(NotExecuted)?;
        let _ = stream.set_nodelay(true);
        match tls.connect(name.clone(), stream).await {
            Ok(stream) => Ok(Stream::new(stream)),
            Err(error) => {
                let outcome = tls::outcome(&error);
                let what = match outcome {
                    Outcome::Rejected => format!("cannot trust {addr}"),
                    _ => format!("no handshake with {addr}"),
                };
                Err(tls::explain(error).context(what).context(outcome))
            }
        }
    }
    // ANCHOR_END: attempt

    // ANCHOR: close
    /// Says goodbye with `close_notify`, so that the server can tell this end
    /// from one that somebody on the road has made up.
    pub async fn close(&mut self) {
        if let Some(mut server) = self.kept.take() {
            let _ = timeout(GOODBYE, server.stream.shutdown()).await;
        }
    }
    // ANCHOR_END: close
}

// ANCHOR: exchange
/// Sends `message` in a frame and returns the reply, and whether the server
/// will take another request on this connection.
async fn exchange(
    server: &mut Server,
    message: &[u8],
) -> Result<(Vec<u8>, bool)> {
    encode(ECHO, message, server.replies.queue())?;
    let mut stays = true;
    loop {
        let kind = match server.receive().await {
            Ok(Some(kind)) => kind,
            Ok(None) => {
                let error = anyhow!("the server ended before the whole reply");
                return Err(error.context(Unknown));
            }
            Err(error) if error.is::<LengthError>() => {
                return Err(error.context(Protocol));
            }
            Err(error) => return Err(error.context(Unknown)),
        };
        if kind != GOAWAY {
            let reply = answer(kind, server.frame().0, message)?;
            return Ok((reply, stays));
        }
        stays = false; // but the reply may still come
    }
}

/// Returns what the reply to `message` says.
fn answer(kind: u8, payload: &[u8], message: &[u8]) -> Result<Vec<u8>> {
    let (error, outcome) = match (kind, payload) {
        (ECHO_REPLY, reply) if reply == message => return Ok(reply.to_vec()),
        (ERROR, [code, text @ ..]) => {
            let text = String::from_utf8_lossy(text);
            let error = format!("answered with error {code}: {text:?}");
            (error, Outcome::of_code(*code))
        }
        _ => (format!("sent another reply (kind {kind:02x})"), Protocol),
    };
    Err(anyhow!("the server {error}").context(outcome))
}
// ANCHOR_END: exchange

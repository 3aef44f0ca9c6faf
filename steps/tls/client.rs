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
        let reply = reply.map_err(late).context(Unknown).flatten();
        self.kept = Some(server);
        if !matches!(reply, Ok((_, true))) {
            self.close().await;
        }
        Ok(reply?.0)
    }

    /// Takes the connection that was kept, unless the server has closed it or
    /// spoken on it.
    async fn silent(&mut self) -> Option<Server> {
        let server = self.kept.as_mut()?;
        let look = timeout(Duration::from_millis(1), server.receive()).await;
        if look.is_ok() || server.has_input() {
            self.close().await;
        }
        self.kept.take()
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
                let what = match tls::is_distrust(&error) {
                    true => format!("cannot trust {addr}"),
                    false => format!("no handshake with {addr}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    use std::io;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use crate::certificates;

    /// Far more than a busy machine needs.
    const LATE: Duration = Duration::from_secs(60);

    const GONE: &[u8] = b"\0\0\0\x02\x04\x01\0\0\0\x03\x81hi";
    const STRANGE: &[u8] = b"\0\0\0\x01\x42";
    const TOO_LARGE: &[u8] = b"\0\0\0\x02\x7f\x01";

    async fn ends() -> (Client, TcpListener, TlsAcceptor) {
        let (from, to) = certificates::validity(1);
        let names = ["localhost".to_owned()];
        let made = certificates::make(&names, from, to).unwrap();
        let tls = tls::connector(made.ca.as_bytes()).unwrap();
        let acceptor =
            tls::acceptor(made.server.as_bytes(), made.key.as_bytes());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let limits = ClientLimits {
            connect: LATE,
            request: LATE,
            deadline: 2 * LATE,
            attempts: 2,
            base: Duration::from_millis(1),
            cap: Duration::from_millis(1),
        };
        let peer = PeerLimits { heartbeat: LATE, frame: LATE, write: LATE };
        let target = Target { addr, name, tls };
        (Client::new(target, limits, peer), listener, acceptor.unwrap())
    }

    /// Answers one request with `reply`, then waits for the client's end.
    async fn answer_once(
        listener: &TcpListener,
        tls: &TlsAcceptor,
        reply: &[u8],
    ) -> io::Result<usize> {
        let (stream, _) = listener.accept().await?;
        let mut stream = tls.accept(stream).await?;
        stream.read_exact(&mut [0; 7]).await?;
        if reply.is_empty() {
            stream.shutdown().await?;
        } else {
            stream.write_all(reply).await?;
            stream.flush().await?;
        }
        stream.read_to_end(&mut Vec::new()).await
    }

    /// After a GOAWAY the next request takes a new connection; and wherever
    /// the client leaves one, it says so: no end here is without
    /// `close_notify`.
    #[tokio::test]
    async fn it_leaves_no_connection_without_a_goodbye() {
        let (mut client, listener, tls) = ends().await;
        let serves = async {
            for reply in [GONE, GONE, STRANGE] {
                let end = answer_once(&listener, &tls, reply).await;
                assert_eq!(end.expect("close_notify"), 0);
            }
        };
        let asks = async {
            client.ask(b"hi", drop).await.unwrap();
            client.ask(b"hi", drop).await.unwrap();
            let error = client.ask(b"hi", drop).await.unwrap_err();
            assert_eq!(Outcome::of(&error), Some(Protocol));
        };
        timeout(LATE, async { tokio::join!(serves, asks) }).await.unwrap();
    }

    /// The first attempt may have been executed, whatever the second one says.
    #[tokio::test]
    async fn unknown_stays_unknown() {
        let (mut client, listener, tls) = ends().await;
        let serves = async {
            for reply in [&[], TOO_LARGE] {
                let _ = answer_once(&listener, &tls, reply).await;
            }
        };
        let asks = async {
            let error = client.ask(b"hi", drop).await.unwrap_err();
            assert_eq!(Outcome::of(&error), Some(Unknown), "{error:#}");
            assert!(format!("{error:#}").contains("error 1"), "{error:#}");
        };
        timeout(LATE, async { tokio::join!(serves, asks) }).await.unwrap();
    }
}

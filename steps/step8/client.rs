// ANCHOR: client
//! The client: it asks until it is answered, or until a limit is reached.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::{Instant, sleep, timeout};

use crate::connection::Connection;
use crate::frame::{ADD, ADD_REPLY, ECHO, ECHO_REPLY, ERROR, encode};
use crate::frame::{GOAWAY, LengthError, MAX_TEXT};
use crate::ledger::Operation;
use crate::limits::{ClientLimits, PeerLimits};
use crate::retry::Outcome::{self, NotExecuted, Protocol, Unknown};
use crate::retry::{ceiling, full_jitter};

type Server = Connection<TcpStream>;

/// What the client asks for.
#[derive(Clone, Copy)]
pub enum Request<'a> {
    Echo(&'a [u8]),
    Add(Operation),
}

/// A client of the server at `addr`, with one request in flight.
pub struct Client {
    addr: SocketAddr,
    limits: ClientLimits,
    peer: PeerLimits,
    kept: Option<Server>, // a connection on which no reply is missing
}

impl Client {
    pub fn new(
        addr: SocketAddr,
        limits: ClientLimits,
        peer: PeerLimits,
    ) -> Client {
        Client { addr, limits, peer, kept: None }
    }
    // ANCHOR_END: client

    // ANCHOR: ask
    /// Sends `request` and returns the reply. If that fails and another attempt
    /// may help, tells `report`, waits, and tries again, until the attempts are
    /// used up or the deadline is near.
    ///
    /// # Errors
    /// There is no reply. The error has an [`Outcome`], unless the request is too
    /// large.
    pub async fn ask(
        &mut self,
        request: Request<'_>,
        mut report: impl FnMut(String),
    ) -> Result<Vec<u8>> {
        let mut deadline = Instant::now() + self.limits.deadline;
        let most = self.limits.attempts;
        let (mut outcome, mut n) = (NotExecuted, 1); // of all attempts, so far
        loop {
            let error = match self.attempt(request, deadline).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            match Outcome::of(&error) {
                Some(NotExecuted) => {}
                // Ask again, only because a second ECHO does no harm, and a
                // second ADD has the identity of the first.
                Some(Unknown) => outcome = Unknown,
                // No later failure undoes what an earlier attempt may have done.
                _ if outcome == Unknown => return Err(error.context(Unknown)),
                _ => return Err(error),
            }
            let ceiling = ceiling(&self.limits, n);
            let wait = full_jitter(ceiling);
            let now = Instant::now();
            let is_last = n == most || now + wait >= deadline;
            report(format!("attempt {n}: {error:#}"));
            if is_last {
                let error = anyhow!("gave up after {n} of {most} attempts");
                return Err(error.context(outcome));
            }
            report(format!("waits {wait:.0?} (at most {ceiling:?})"));
            deadline += now.elapsed(); // a slow terminal is our own fault
            sleep(wait).await;
            n += 1;
        }
    }
    // ANCHOR_END: ask

    // ANCHOR: attempt
    /// Asks once. Keeps the connection only if the reply came. Otherwise the
    /// next request could take a leftover for its own reply.
    async fn attempt(
        &mut self,
        request: Request<'_>,
        deadline: Instant,
    ) -> Result<Vec<u8>> {
        let mut server = match self.silent().await {
            Some(server) => server,
            None => self.connect(deadline).await.context(NotExecuted)?,
        };
        let limit = self.limits.request.min(deadline - Instant::now());
        // When the limit has passed, `timeout` drops this halfway, and `?` drops
        // the connection.
        let reply = timeout(limit, exchange(&mut server, request)).await;
        let late = |_| anyhow!("no whole reply within {limit:.0?}");
        let (reply, stays) = reply.map_err(late).context(Unknown)??;
        self.kept = stays.then_some(server);
        Ok(reply)
    }

    /// Takes the connection that was kept, if the server has neither closed it
    /// nor spoken since its last reply, whole PINGs and PONGs aside. A
    /// millisecond is enough to learn what the kernel knows already.
    async fn silent(&mut self) -> Option<Server> {
        let mut server = self.kept.take()?;
        let look = timeout(Duration::from_millis(1), server.receive()).await;
        (look.is_err() && !server.has_input()).then_some(server)
    }

    async fn connect(&self, deadline: Instant) -> Result<Server> {
        let limit = self.limits.connect.min(deadline - Instant::now());
        let attempt = timeout(limit, TcpStream::connect(self.addr)).await;
        let late = |_| anyhow!("no answer within {limit:.0?}");
        let stream = attempt.map_err(late).and_then(|stream| Ok(stream?));
        let stream = stream.with_context(|| {
            format!("cannot connect to {} (is the server running?)", self.addr)
        })?;
        // The kernel may choose the very port that we ask for as our own. If no
        // server listens there, TCP connects us to ourselves.
        let is_ours = stream.local_addr()? == stream.peer_addr()?;
        ensure!(!is_ours, "connected to itself (is the server running?)");
        let _ = stream.set_nodelay(true); // as in the server
        Ok(Connection::new(stream, self.peer))
    }
    // ANCHOR_END: attempt

    // ANCHOR: meanwhile
    /// Waits for `other`. Meanwhile it answers the server's PINGs and sends its
    /// own, so that the connection can still be used afterwards.
    pub async fn meanwhile<T>(
        &mut self,
        other: impl Future<Output = T>,
        report: impl FnOnce(String),
    ) -> T {
        let mut other = pin!(other);
        if let Some(server) = &mut self.kept {
            let end = select! {
                biased;
                done = &mut other => return done,
                end = server.receive() => end,
            };
            self.kept = None; // the next request gets a new one
            if let Err(error) = end {
                report(format!("lost the connection: {error:#}"));
            }
        }
        other.await
    }
}
// ANCHOR_END: meanwhile

// ANCHOR: exchange
/// Sends `request` in a frame and returns the reply to it, and whether the
/// server will take another request on this connection.
async fn exchange(
    server: &mut Server,
    request: Request<'_>,
) -> Result<(Vec<u8>, bool)> {
    let mut stays = true;
    let replies = &mut server.replies;
    match request {
        Request::Echo(message) => encode(ECHO, message, replies.queue())?,
        Request::Add(add) => encode(ADD, &add.to_bytes(), replies.queue())?,
    }
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
        if kind == GOAWAY {
            stays = false; // but the reply may still come
        } else if let Some(reply) = answer(kind, server.frame().0, request)? {
            return Ok((reply, stays));
        }
    }
}

/// Returns what the reply to `request` says, or `None` if this is the reply to
/// another ADD, perhaps of an earlier attempt. Any other frame is an error.
fn answer(
    kind: u8,
    payload: &[u8],
    request: Request,
) -> Result<Option<Vec<u8>>> {
    if let (ADD_REPLY, Request::Add(add)) = (kind, request)
        && let Some(reply) = Operation::from_bytes(payload)
    {
        let is_ours = (reply.client, reply.seq) == (add.client, add.seq);
        let total = reply.amount.to_string().into_bytes();
        return Ok(is_ours.then_some(total));
    }
    let (error, outcome) = match (kind, payload, request) {
        (ECHO_REPLY, reply, Request::Echo(message)) if reply == message => {
            return Ok(Some(reply.to_vec()));
        }
        (ERROR, [code, text @ ..], _) => {
            // {:?} escapes what a terminal would obey.
            let text = &text[..text.len().min(MAX_TEXT)];
            let text = String::from_utf8_lossy(text);
            let error =
                anyhow!("the server answered with error {code}: {text:?}");
            (error, Outcome::of_code(*code))
        }
        _ => {
            let error =
                anyhow!("the server sent another reply (kind {kind:02x})");
            (error, Protocol)
        }
    };
    Err(error.context(outcome))
}
// ANCHOR_END: exchange

// ANCHOR: client
//! The client: it asks until it is answered, or until a limit is reached.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::frame::{self, ECHO, ECHO_REPLY, ERROR, Frame, MAX_TEXT};
use crate::limits::ClientLimits;
use crate::retry::Outcome::{self, NotExecuted, Protocol, Unknown};
use crate::retry::{ceiling, full_jitter};

/// Room for a reply, in bytes; it grows for one that is larger.
const BUFFER: usize = 4 * 1024;

/// A client of the server at `addr`, with one request in flight.
pub struct Client {
    addr: SocketAddr,
    limits: ClientLimits,
    kept: Option<TcpStream>, // a connection on which no reply is missing
}

impl Client {
    pub fn new(addr: SocketAddr, limits: ClientLimits) -> Client {
        Client { addr, limits, kept: None }
    }
    // ANCHOR_END: client

    // ANCHOR: ask
    /// Sends `message` and returns the reply. If that fails and another attempt
    /// may help, tells `report`, waits, and tries again, until the attempts are
    /// used up or the deadline is near.
    ///
    /// # Errors
    /// There is no reply. The error has an [`Outcome`], unless `message` is too
    /// large.
    pub async fn ask(
        &mut self,
        message: &[u8],
        mut report: impl FnMut(String),
    ) -> Result<Vec<u8>> {
        let mut deadline = Instant::now() + self.limits.deadline;
        let most = self.limits.attempts;
        let (mut outcome, mut n) = (NotExecuted, 1); // of all attempts, so far
        loop {
            let error = match self.attempt(message, deadline).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            match Outcome::of(&error) {
                Some(NotExecuted) => {}
                // Ask again, only because a second ECHO does no harm.
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
    /// Asks once. Keeps the connection only if exactly the reply came. Otherwise
    /// the next request could take a leftover for its own reply.
    async fn attempt(
        &mut self,
        message: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>> {
        let mut stream = match self.kept.take() {
            Some(stream) if is_silent(&stream).await => stream,
            _ => self.connect(deadline).await.context(NotExecuted)?,
        };
        let limit = self.limits.request.min(deadline - Instant::now());
        // When the limit has passed, `timeout` drops this halfway, and `?` drops
        // the stream.
        let reply = timeout(limit, exchange(&mut stream, message)).await;
        let late = |_| anyhow!("no whole reply within {limit:.0?}");
        let (reply, is_all) = reply.map_err(late).context(Unknown)??;
        self.kept = is_all.then_some(stream);
        Ok(reply)
    }

    async fn connect(&self, deadline: Instant) -> Result<TcpStream> {
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
        Ok(stream)
    }
}
// ANCHOR_END: attempt

// ANCHOR: exchange
/// Has the server neither spoken nor closed since its last reply? A millisecond
/// is enough for the runtime to learn what the kernel knows already.
async fn is_silent(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let look = stream.peek(&mut byte); // any byte, the end, or an error
    timeout(Duration::from_millis(1), look).await.is_err()
}

/// Sends `message` in a frame and receives the reply to it. Returns the reply,
/// and whether that was all that came.
async fn exchange(
    stream: &mut TcpStream,
    message: &[u8],
) -> Result<(Vec<u8>, bool)> {
    let mut request = Vec::new();
    frame::encode(ECHO, message, &mut request)?;
    // If this fails, the server may have said why before it closed.
    let _ = stream.write_all(&request).await;
    let mut input = Vec::with_capacity(BUFFER);
    loop {
        let mut rest = &input[..];
        if let Some(frame) = frame::decode(&mut rest).context(Protocol)? {
            return Ok((answer(frame, message)?, rest.is_empty()));
        }
        let read = stream.read_buf(&mut input).await.context("cannot receive");
        if read.context(Unknown)? == 0 {
            let error = anyhow!("the server ended before the whole reply");
            return Err(error.context(Unknown));
        }
    }
}

/// Returns the payload of the reply to `message`. Any other frame is an error.
fn answer(frame: Frame, message: &[u8]) -> Result<Vec<u8>> {
    let (error, outcome) = match frame {
        Frame { kind: ECHO_REPLY, payload } if payload == message => {
            return Ok(payload.to_vec());
        }
        Frame { kind: ERROR, payload: [code, text @ ..] } => {
            // {:?} escapes what a terminal would obey.
            let text = &text[..text.len().min(MAX_TEXT)];
            let text = String::from_utf8_lossy(text);
            let error =
                anyhow!("the server answered with error {code}: {text:?}");
            (error, Outcome::of_code(*code))
        }
        Frame { kind, .. } => {
            let error =
                anyhow!("the server sent another reply (kind {kind:02x})");
            (error, Protocol)
        }
    };
    Err(error.context(outcome))
}
// ANCHOR_END: exchange

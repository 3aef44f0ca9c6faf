// ANCHOR: client
//! The client: it asks until it is answered, or until a limit is reached.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::frame::ECHO;
use crate::limits::ClientLimits;
use crate::replies::{is_silent, receive};
use crate::retry::{Backoff, Failure};

/// A client of the server at `addr`, over as many connections as it needs.
pub struct Client {
    addr: SocketAddr,
    limits: ClientLimits,
    deadline: Instant, // when everything must be over
    backoff: Backoff,
    kept: Option<TcpStream>, // a connection on which no reply is missing
}

impl Client {
    pub fn new(addr: SocketAddr, limits: ClientLimits) -> Client {
        let deadline = Instant::now() + limits.deadline;
        let backoff = Backoff::new(&limits);
        Client { addr, limits, deadline, backoff, kept: None }
    }

    /// From now on there is as much time as the deadline gives.
    pub fn restart(&mut self) {
        self.deadline = Instant::now() + self.limits.deadline;
    }
    // ANCHOR_END: client

    // ANCHOR: ask
    /// Sends all of `requests`, which are frames, and prints the replies to
    /// `output`. When that fails and may be tried again, it tells `report`,
    /// waits, and asks anew for what has no reply yet.
    pub async fn ask(
        &mut self,
        mut requests: &[u8],
        mut output: impl AsyncWrite + Unpin,
        mut report: impl FnMut(String),
    ) -> Result<(), Failure> {
        let mut is_unknown = false; // may an attempt have been executed?
        let mut n = 0;
        loop {
            let unanswered = requests.len();
            let failure = match self.attempt(&mut requests, &mut output).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if !failure.may_retry(ECHO) {
                return Err(failure);
            }
            // After a reply, which shows that the server works, from 1 again.
            n = if requests.len() < unanswered { 1 } else { n + 1 };
            report(format!("attempt {n}: {failure}"));
            is_unknown |= matches!(failure, Failure::Unknown(_));
            let wait = self.backoff.wait(n);
            let is_late = Instant::now() + wait >= self.deadline;
            if n == self.limits.attempts || is_late {
                let most = self.limits.attempts;
                return Err(Failure::of_all(n, most, is_unknown));
            }
            let ceiling = self.backoff.ceiling(n);
            report(format!("waits {wait:.0?} (at most {ceiling:?})"));
            sleep(wait).await;
        }
    }
    // ANCHOR_END: ask

    // ANCHOR: attempt
    /// Asks once. The connection is kept only if all went well: on one that
    /// failed, the reply to the old request may come when we ask a new one.
    async fn attempt(
        &mut self,
        requests: &mut &[u8],
        output: impl AsyncWrite + Unpin,
    ) -> Result<(), Failure> {
        let mut stream = self.connection().await?;
        let (reader, mut writer) = stream.split();
        let all = *requests;
        let send = async {
            // If it fails, the receiving side sees why, or runs out of time.
            let _ = writer.write_all(all).await;
            Ok(())
        };
        let limit = self.limits.request;
        let receive =
            receive(reader, requests, output, limit, &mut self.deadline);
        // When one of them fails, the other one is dropped.
        let ((), is_usable) = tokio::try_join!(send, receive)?;
        if is_usable {
            self.kept = Some(stream);
        }
        Ok(())
    }

    /// The connection that was kept, if it is not over; or a new one.
    async fn connection(&mut self) -> Result<TcpStream, Failure> {
        if let Some(stream) = self.kept.take()
            && is_silent(&stream)?
        {
            return Ok(stream);
        }
        let time_left = self.deadline - Instant::now();
        let limit = self.limits.connect.min(time_left);
        let stream = connect(self.addr, limit).await.with_context(|| {
            format!("cannot connect to {} (is the server running?)", self.addr)
        });
        stream.map_err(Failure::NotExecuted)
    }
}

async fn connect(addr: SocketAddr, limit: Duration) -> Result<TcpStream> {
    let late = |_| anyhow!("no answer within {limit:.0?}");
    let attempt = timeout(limit, TcpStream::connect(addr)).await;
    let stream = attempt.map_err(late)??; // too late; or refused, say
    stream.set_nodelay(true)?; // as in the server
    Ok(stream)
}
// ANCHOR_END: attempt

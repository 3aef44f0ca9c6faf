//! One connection of the client, one to the server, and two directions between
//! them.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncWriteExt, Interest, copy, sink};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio::{join, select};

use crate::direction::Direction;
use crate::faults::{Stop, Way};
use crate::plan::{Place, Rules};
use crate::say;

/// How long the server may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the ends may take to close after a cut, or to read what is still
/// on its way to them after a write has failed.
const LINGER: Duration = Duration::from_secs(60);

/// What all connections have in common.
pub struct Shared {
    pub to: SocketAddr, // the server
    pub seed: u64,
    pub rules: watch::Receiver<Rules>,
}

/// Why a connection ends before both streams have.
pub enum Broken {
    /// By a fault.
    Planned(Stop),
    /// By the end that a direction reads from. All that this end had sent has
    /// been written.
    Read(io::Error),
    /// By the end that a direction writes to. What this end had sent may still
    /// be on its way in the other direction.
    Write(io::Error),
}

/// Relays connection `number`. Its errors are reported and end here.
pub async fn run(number: u64, client: TcpStream, shared: Arc<Shared>) {
    if shared.rules.borrow().refuses(number) {
        say(format!("{number}: refuse"));
        return reset([client]);
    }
    let server = match connect(shared.to).await {
        Ok(server) => server,
        Err(error) => {
            say(format!("{number}: {error:#}"));
            return reset([client]);
        }
    };
    let mut ends = [client, server];
    for end in &ends {
        let _ = end.set_nodelay(true); // a slice must not wait for the next
    }
    match both(number, &mut ends, &shared).await {
        Ok(()) => say(format!("{number}: both streams ended")),
        Err(Broken::Planned(Stop::Cut)) => cut(ends).await,
        Err(Broken::Planned(_)) => reset(ends),
        Err(Broken::Read(error) | Broken::Write(error)) => {
            say(format!("{number}: {error}; resets the other end, too"));
            reset(ends);
        }
    }
}

async fn connect(to: SocketAddr) -> Result<TcpStream> {
    let attempt = timeout(CONNECT, TcpStream::connect(to)).await;
    let stream =
        attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    stream.with_context(|| {
        format!("cannot connect to {to} (is the server running?)")
    })
}

/// Closes so that the other end gets RST: with no time to linger, the kernel
/// drops what it still has and sends no FIN.
fn reset(ends: impl IntoIterator<Item = TcpStream>) {
    for end in ends {
        let _ = end.set_zero_linger();
    }
}

/// Sends FIN to both, and reads on until they close, too: to close with bytes
/// unread would send RST.
async fn cut(ends: [TcpStream; 2]) {
    let [client, server] = ends.map(|mut end| async move {
        let _ = end.shutdown().await;
        let _ = timeout(LINGER, copy(&mut end, &mut sink())).await;
    });
    join!(client, server);
}

// ANCHOR: both
/// Runs the two directions until both have ended, or one breaks.
async fn both(
    number: u64,
    [client, server]: &mut [TcpStream; 2],
    shared: &Shared,
) -> Result<(), Broken> {
    let started = Instant::now();
    let direction = |way| {
        Direction::new(Place { connection: number, way, started }, shared)
    };
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut up = pin!(direction(Way::Up).run(from_client, to_server));
    let mut down = pin!(direction(Way::Down).run(from_server, to_client));
    let (ended, other) = select! {
        biased;
        ended = &mut up => (ended, down),
        ended = &mut down => (ended, up),
    };
    match finish(ended).await {
        Ok(from) => half_closed(from, other).await,
        Err(Broken::Write(error)) => {
            let last_words = timeout(LINGER, other).await;
            let broken = last_words.ok().and_then(Result::err);
            Err(broken.unwrap_or(Broken::Write(error)))
        }
        Err(broken) => Err(broken),
    }
}

/// Passes on the end of a stream.
async fn finish<'a>(
    ended: Result<(ReadHalf<'a>, WriteHalf<'_>), Broken>,
) -> Result<ReadHalf<'a>, Broken> {
    let (from, mut to) = ended?;
    to.shutdown().await.map_err(Broken::Write)?;
    Ok(from)
}

/// Runs the other direction after the stream `from` has ended. Nothing reads
/// from there any more, so only this would notice a reset.
async fn half_closed<T>(
    from: ReadHalf<'_>,
    other: impl Future<Output = Result<T, Broken>>,
) -> Result<(), Broken> {
    select! {
        biased;
        ended = other => ended.map(drop),
        error = broken(&from) => Err(Broken::Read(error)),
    }
}
// ANCHOR_END: both

/// Waits until the connection has an error, without reading.
pub async fn broken(from: &ReadHalf<'_>) -> io::Error {
    if let Err(error) = from.ready(Interest::ERROR).await {
        return error;
    }
    let error = from.as_ref().take_error().ok().flatten();
    error.unwrap_or(io::ErrorKind::ConnectionReset.into())
}

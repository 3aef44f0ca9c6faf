// ANCHOR: drain
//! Slots for connections, and how the server takes leave of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::net::TcpListener;
use tokio::select;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::limits::{PeerLimits, ServerLimits};
use crate::say;
use crate::server::{self, Requests};

/// How many clients at once may hear that they are one too many. That takes up
/// to a second and a descriptor each, so it needs a limit of its own.
const REFUSALS: usize = 256;

/// A fixed number of slots, and a sign for the connections that have one.
pub struct Drain {
    limits: ServerLimits,
    slots: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    sign: watch::Sender<bool>,
}

/// A place for one connection. It comes back when this is dropped, whatever
/// ends the connection's task: the client, an error, even a panic.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    sign: watch::Receiver<bool>,
}

impl Drain {
    pub fn new(limits: ServerLimits) -> Drain {
        Drain {
            limits,
            slots: Arc::new(Semaphore::new(limits.connections as usize)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            sign: watch::Sender::new(false),
        }
    }

    /// Takes a slot, if one is free.
    pub fn slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit, sign: self.sign.subscribe() })
    }

    /// Takes a place to refuse a client, if one is free.
    pub fn refusal(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.refusals).try_acquire_owned().ok()
    }

    /// Gives the sign to leave, and waits until all slots are back, or until
    /// the limit has passed. Returns how many are missing then.
    pub async fn drain(&self) -> usize {
        self.sign.send_replace(true);
        let all = self.slots.acquire_many(self.limits.connections);
        let _ = timeout(self.limits.drain, all).await;
        self.limits.connections as usize - self.slots.available_permits()
    }
}

impl Slot {
    /// Waits for the sign to leave.
    pub async fn sign(&mut self) {
        let _ = self.sign.wait_for(|sign| *sign).await;
    }
}
// ANCHOR_END: drain

// ANCHOR: stop
/// How long a server that stops goes on accepting those that wait already.
const QUEUE: Duration = Duration::from_millis(100);

/// Serves until a request to stop comes, and then lets the clients leave. A
/// second request does not wait for them.
pub async fn serve(
    listener: TcpListener,
    limits: PeerLimits,
    requests: Requests,
    own: ServerLimits,
    mut stops: Stops,
) -> Result<()> {
    let drain = Drain::new(own);
    select! {
        () = server::run(&listener, limits, &requests, &drain) => {}
        _ = stops.next() => {}
    }
    say("server: stopping; a second signal stops it at once");
    // The kernel may have let clients in that we have not accepted yet. When
    // the listener closes, it resets them; later ones are refused.
    let queue = server::run(&listener, limits, &requests, &drain);
    let _ = timeout(QUEUE, queue).await;
    drop(listener);
    select! {
        left = drain.drain() => {
            say(format!("server: stopped, {left} clients cut off"));
        }
        _ = stops.next() => bail!("stopped at once"),
    }
    Ok(())
}
// ANCHOR_END: stop

// ANCHOR: stops
/// The requests to stop: Ctrl-C, and on Unix SIGTERM, too, which `kill` sends.
/// From now on neither ends the process by itself.
#[cfg(unix)]
pub struct Stops(Signal, Signal);

#[cfg(unix)]
impl Stops {
    pub fn new() -> Result<Stops> {
        let ctrl_c = signal(SignalKind::interrupt())?;
        Ok(Stops(ctrl_c, signal(SignalKind::terminate())?))
    }

    /// Waits for the next request.
    pub async fn next(&mut self) {
        select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

#[cfg(windows)]
pub struct Stops(CtrlC);

#[cfg(windows)]
impl Stops {
    pub fn new() -> Result<Stops> {
        Ok(Stops(ctrl_c()?))
    }

    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}
// ANCHOR_END: stops

#[cfg(test)]
mod tests {
    use super::*;

    use std::future::pending;
    use tokio::time::Instant;

    const SECOND: Duration = Duration::from_secs(1);

    fn two_slots() -> Drain {
        Drain::new(ServerLimits { connections: 2, drain: SECOND })
    }

    #[tokio::test]
    async fn a_slot_comes_back_on_every_way_out() {
        let drain = two_slots();
        let _stays = drain.slot().unwrap();
        let slot = drain.slot().unwrap();
        assert!(drain.slot().is_none());
        tokio::spawn(async move { drop(slot) }).await.unwrap();
        let slot = drain.slot().unwrap();
        let panics = tokio::spawn(async move {
            let _slot = slot;
            panic!("as a bug would");
        });
        assert!(panics.await.unwrap_err().is_panic());
        let slot = drain.slot().unwrap();
        let task = tokio::spawn(async move {
            let _slot = slot;
            pending::<()>().await;
        });
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(drain.slot().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_slots_and_not_longer_than_its_limit() {
        let drain = two_slots();
        assert_eq!(drain.drain().await, 0);
        let mut leaves = drain.slot().unwrap();
        tokio::spawn(async move { leaves.sign().await });
        assert_eq!(drain.drain().await, 0);
        let _stays = drain.slot().unwrap();
        let start = Instant::now();
        assert_eq!(drain.drain().await, 1);
        assert_eq!(start.elapsed(), SECOND);
    }

    /// The sign may have been given before anybody waits for it.
    #[tokio::test(start_paused = true)]
    async fn a_sign_is_not_missed() {
        let drain = two_slots();
        let mut slot = drain.slot().unwrap();
        drain.drain().await;
        slot.sign().await;
        drain.slot().unwrap().sign().await;
    }
}

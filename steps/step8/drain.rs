// ANCHOR: drain
//! Slots for connections, and how the server takes leave of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::limits::ServerLimits;

/// A fixed number of slots, and a sign for those who hold one.
pub struct Drain {
    slots: Arc<Semaphore>,
    connections: u32,
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
        let connections = limits.connections;
        let slots = Arc::new(Semaphore::new(connections as usize));
        Drain { slots, connections, sign: watch::Sender::new(false) }
    }

    /// Takes a slot, if one is free.
    pub fn slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit, sign: self.sign.subscribe() })
    }

    /// Gives the sign to leave, and waits until all slots are back, for at most
    /// `limit`. Returns how many are missing then.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.sign.send_replace(true);
        let all = self.slots.acquire_many(self.connections);
        let _ = timeout(limit, all).await;
        self.connections as usize - self.slots.available_permits()
    }
}

impl Slot {
    /// Waits for the sign to leave.
    pub async fn sign(&mut self) {
        let _ = self.sign.wait_for(|sign| *sign).await;
    }
}
// ANCHOR_END: drain

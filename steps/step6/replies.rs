// ANCHOR: replies
//! The replies of one connection that have not left yet, in order.

use std::collections::VecDeque;
use std::future::pending;

use tokio::time::{Instant, sleep_until};

/// We stop reading while more than this waits to leave, in bytes.
const MAX_WAITING: usize = 256 * 1024;

/// A reply that is not ready counts as so many more bytes, for its place here.
const COST: usize = 256;

#[derive(Default)]
pub struct Replies {
    /// What the kernel has not taken yet.
    pub output: Vec<u8>,
    /// Each is a reply that is not ready, with those behind it.
    pub later: VecDeque<(Instant, Vec<u8>)>,
}

impl Replies {
    /// Returns where to append a reply: behind all others.
    pub fn queue(&mut self) -> &mut Vec<u8> {
        let last = self.later.back_mut().map(|(_, bytes)| bytes);
        last.unwrap_or(&mut self.output)
    }

    /// The same for a reply that is not ready before the moment `ready`.
    pub fn queue_at(&mut self, ready: Instant) -> &mut Vec<u8> {
        self.later.push_back((ready, Vec::new()));
        self.queue()
    }

    pub fn is_empty(&self) -> bool {
        self.output.is_empty() && self.later.is_empty()
    }

    pub fn are_full(&self) -> bool {
        let later = self.later.iter().map(|(_, bytes)| COST + bytes.len());
        self.output.len() + later.sum::<usize>() > MAX_WAITING
    }
}

/// Waits until the first of the replies is ready. Returns it, with those that
/// were ready before and had to wait for it.
pub async fn finished(later: &mut VecDeque<(Instant, Vec<u8>)>) -> Vec<u8> {
    match later.front() {
        Some((ready, _)) => sleep_until(*ready).await,
        None => pending().await,
    }
    later.pop_front().map(|(_, bytes)| bytes).unwrap_or_default()
}
// ANCHOR_END: replies

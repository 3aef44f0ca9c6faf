// ANCHOR: replies
//! The replies of one connection that have not left yet, in order.

use std::collections::VecDeque;
use std::future::pending;

use anyhow::{Context, Result};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::ledger::{Answer, Full, Operation};

/// We stop reading while more than this waits to leave, in bytes.
const MAX_WAITING: usize = 256 * 1024;

/// A reply that is not ready counts as so many more bytes, for its place here.
const COST: usize = 256;

/// What a reply waits for.
pub enum Slow {
    Until(Instant),
    Answer(Operation, oneshot::Receiver<Result<Answer, Full>>),
}

#[derive(Default)]
pub struct Replies {
    /// What the kernel has not taken yet.
    pub output: Vec<u8>,
    /// Each is a reply that is not ready, with those behind it.
    pub later: VecDeque<(Slow, Vec<u8>)>,
}

impl Replies {
    /// Returns where to append a reply: behind all others.
    pub fn queue(&mut self) -> &mut Vec<u8> {
        let last = self.later.back_mut().map(|(_, bytes)| bytes);
        last.unwrap_or(&mut self.output)
    }

    /// The same for a reply that is not ready yet.
    pub fn queue_after(&mut self, slow: Slow) -> &mut Vec<u8> {
        self.later.push_back((slow, Vec::new()));
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
pub async fn finished(
    later: &mut VecDeque<(Slow, Vec<u8>)>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match later.front_mut() {
        Some((Slow::Until(ready), _)) => sleep_until(*ready).await,
        Some((Slow::Answer(operation, answer), _)) => {
            let operation = *operation;
            let done = answer.await.context("the ledger has stopped");
            if !matches!(done, Ok(Ok(_))) {
                later.clear(); // nothing comes behind its ERROR
            }
            done??.encode(operation, &mut bytes)?;
        }
        None => pending().await,
    }
    bytes.extend(later.pop_front().map(|(_, b)| b).unwrap_or_default());
    Ok(bytes)
}
// ANCHOR_END: replies

//! Two ways for tasks to count together: a shared number, and a channel.
//!
//!     cargo run --bin shared

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::Result;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::yield_now;

// ANCHOR: arc
async fn count(served: Arc<AtomicUsize>) {
    yield_now().await; // a server would read and write here
    served.fetch_add(1, Relaxed);
}

async fn with_arc() -> Result<usize> {
    let served = Arc::new(AtomicUsize::new(0));
    let start = |_| tokio::spawn(count(Arc::clone(&served)));
    let tasks: Vec<_> = (0..1000).map(start).collect();
    for task in tasks {
        task.await?;
    }
    Ok(served.load(Relaxed))
}
// ANCHOR_END: arc

// ANCHOR: channel
async fn report(served: Sender<()>) {
    yield_now().await; // a server would read and write here
    let _ = served.send(()).await; // fails if nobody listens any more
}

async fn with_channel() -> usize {
    let (sender, mut receiver) = mpsc::channel(16);
    for _ in 0..1000 {
        tokio::spawn(report(sender.clone()));
    }
    drop(sender); // `recv` ends when the last sender is gone
    let mut served = 0;
    while receiver.recv().await.is_some() {
        served += 1;
    }
    served
}
// ANCHOR_END: channel

#[tokio::main]
async fn main() -> Result<()> {
    println!("Arc: served {} clients", with_arc().await?);
    println!("channel: served {} clients", with_channel().await);
    Ok(())
}

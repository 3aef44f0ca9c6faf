//! Two tasks share one thread. What happens to B while A sleeps?
//!
//!     cargo run --bin one-thread

use std::thread;
use std::time::Duration;

use anyhow::Result;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

const NAP: Duration = Duration::from_millis(200);

// ANCHOR: sleeps
async fn sleeps() {
    say("A: goes to sleep");
    sleep(NAP).await;
    say("A: is awake");
}

async fn answers() {
    say("B: answers its client");
}

fn say(line: &str) {
    let thread = thread::current();
    println!("  {line} (on thread {})", thread.name().unwrap_or("?"));
}
// ANCHOR_END: sleeps

// ANCHOR: blocks
async fn blocks() {
    say("A: goes to sleep");
    thread::sleep(NAP);
    say("A: is awake");
}

async fn blocks_elsewhere() {
    say("A: goes to sleep");
    let _ = spawn_blocking(|| thread::sleep(NAP)).await;
    say("A: is awake");
}
// ANCHOR_END: blocks

// ANCHOR: main
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    println!("tokio::time::sleep:");
    run(sleeps()).await?;
    println!("std::thread::sleep:");
    run(blocks()).await?;
    println!("std::thread::sleep in spawn_blocking:");
    run(blocks_elsewhere()).await
}

/// Runs A and B, each in a task of its own.
async fn run(a: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let (a, b) = (tokio::spawn(a), tokio::spawn(answers()));
    a.await?;
    Ok(b.await?)
}
// ANCHOR_END: main

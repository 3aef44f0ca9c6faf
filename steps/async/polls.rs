//! How often does the runtime ask a future that waits?
//!
//!     cargo run --bin polls

use std::future::poll_fn;
use std::time::Duration;

use tokio::time::sleep;

// ANCHOR: polls
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut nap = Box::pin(sleep(Duration::from_millis(500)));
    let mut polls = 0;
    let future = poll_fn(|context| {
        polls += 1;
        let answer = nap.as_mut().poll(context);
        println!("poll {polls}: {answer:?}");
        answer
    });
    future.await;
}
// ANCHOR_END: polls

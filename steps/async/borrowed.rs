//! Does not compile: a task borrows what `main` owns.
//!
//!     cargo build --bin borrowed --features broken

// ANCHOR: borrowed
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

async fn serve(served: &AtomicUsize) {
    served.fetch_add(1, Relaxed);
}

#[tokio::main]
async fn main() {
    let served = AtomicUsize::new(0);
    let task = tokio::spawn(serve(&served));
    let _ = task.await;
    println!("served {} clients", served.load(Relaxed));
}
// ANCHOR_END: borrowed

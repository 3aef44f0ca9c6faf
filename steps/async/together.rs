//! Four ways to run more than one future, and what they do with a future that
//! has not ended when they are done.
//!
//!     cargo run --bin together

use std::future::pending;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;

// ANCHOR: job
/// A value that each future owns while it runs. It says when it is dropped.
struct Job(&'static str);

impl Drop for Job {
    fn drop(&mut self) {
        println!("  {}: dropped", self.0);
    }
}

/// Lets the others run once, then ends.
async fn works(name: &'static str) -> Result<u8, String> {
    let _job = Job(name);
    println!("  {name}: starts");
    yield_now().await;
    println!("  {name}: ends");
    Ok(1)
}

/// Fails at once.
async fn fails(name: &'static str) -> Result<u8, String> {
    println!("  {name}: fails");
    Err(format!("{name} failed"))
}

/// Waits for something that never comes.
async fn waits(name: &'static str) -> Result<u8, String> {
    let _job = Job(name);
    println!("  {name}: waits");
    pending().await
}
// ANCHOR_END: job

// ANCHOR: main
#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("spawn:");
    let task = tokio::spawn(works("a"));
    println!("  main: carries on");
    println!("  main: {:?}", task.await);

    println!("join!:");
    let both = tokio::join!(works("b"), works("c"));
    println!("  main: {both:?}");

    println!("try_join!:");
    let both = tokio::try_join!(waits("d"), fails("e"));
    println!("  main: {both:?}");

    println!("select!:");
    tokio::select! {
        _ = waits("f") => println!("  main: f has ended"),
        () = sleep(Duration::from_millis(200)) => println!("  main: too late"),
    }
}
// ANCHOR_END: main

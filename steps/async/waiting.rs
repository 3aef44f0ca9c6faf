//! How busy is a server? This one, without async, waits for a client that
//! sends a byte every 110 ms. Linux tells how long it has worked.
//!
//!     cargo run --bin waiting

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

// ANCHOR: serve
fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let client = thread::spawn(move || send_slowly(addr));
    let (mut stream, _) = listener.accept()?;

    let (start, worked) = (Instant::now(), on_the_processor()?);
    let mut bytes = 0;
    while stream.read(&mut [0])? > 0 {
        bytes += 1;
    }
    let worked = on_the_processor()? - worked;
    let percent = 100.0 * worked.as_secs_f64() / start.elapsed().as_secs_f64();

    println!("waited for {bytes} bytes, one after another");
    println!("worked for less than {} % of the time", percent.ceil());
    client.join().expect("the client does not panic")
}
// ANCHOR_END: serve

fn send_slowly(server: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(server)?;
    for byte in 0..10 {
        thread::sleep(Duration::from_millis(110));
        stream.write_all(&[byte])?;
    }
    Ok(())
}

/// How long this thread has run on a processor so far; see "schedstat" in
/// <https://docs.kernel.org/scheduler/sched-stats.html>.
fn on_the_processor() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let (nanoseconds, _) = text.split_once(' ').unwrap_or_default();
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

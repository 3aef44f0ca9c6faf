//! A client that writes, flushes, closes and ends. It never reads, so it
//! cannot know what became of its bytes.
//!
//!     cargo run --bin write-and-leave                1000 bytes to 127.0.0.1:8888
//!     cargo run --bin write-and-leave -- IP:PORT BYTES

use std::env;
use std::io::Write;
use std::net::TcpStream;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:8888".to_owned());
    let size = args.next().unwrap_or("1000".to_owned());
    let size: usize = size.parse().context("BYTES is not a number")?;
    let message = vec![b'x'; size];

    let mut stream = TcpStream::connect(&addr)
        .with_context(|| format!("cannot connect to {addr}"))?;
    // Otherwise Nagle's algorithm might hold back the last packet.
    stream.set_nodelay(true)?;
    // ANCHOR: leave
    stream.write_all(&message).context("cannot send")?;
    println!("write_all returned");
    stream.flush().context("cannot flush")?;
    println!("flush returned");
    drop(stream);
    println!("close returned");
    // ANCHOR_END: leave
    Ok(())
}

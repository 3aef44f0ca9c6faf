//! A client that sends three messages with three writes, and nothing that
//! says where one ends.
//!
//!     cargo run --bin three-writes                   to 127.0.0.1:8888
//!     cargo run --bin three-writes -- IP:PORT

use std::env;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let mut stream = TcpStream::connect(&addr)
        .with_context(|| format!("cannot connect to {addr}"))?;
    // Otherwise Nagle's algorithm might put two of them into one packet.
    stream.set_nodelay(true)?;
    // ANCHOR: writes
    stream.write_all(b"one")?;
    stream.write_all(b"two")?;
    stream.write_all(b"three")?;
    // ANCHOR_END: writes
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream, &mut io::stdout()).context("cannot receive")?;
    println!();
    Ok(())
}

//! A client with a mistake: it sends each message in two writes, first the
//! header of the frame and then the text, and waits for the reply.
//!
//!     cargo run --bin two-writes             a server of step 4 is at
//!     cargo run --bin two-writes -- IP:PORT  127.0.0.1:8888

use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let mut stream = TcpStream::connect(&addr)
        .with_context(|| format!("cannot connect to {addr}"))?;
    for text in [b"one", b"two"] {
        // ANCHOR: mistake
        stream.write_all(&[0, 0, 0, 4, 1])?; // 4 bytes follow: kind 1, text
        stream.write_all(text)?;
        stream.read_exact(&mut [0; 8])?;
        // ANCHOR_END: mistake
        println!("answered");
    }
    Ok(())
}

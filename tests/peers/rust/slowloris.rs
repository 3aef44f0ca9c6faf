//! A client that is alive and never finishes: it sends a byte of a frame every
//! tenth of a second. An attack of this kind on web servers was named
//! "slowloris".
//!
//!     cargo run --bin slowloris                      to 127.0.0.1:8888
//!     cargo run --bin slowloris -- IP:PORT
//!
//! So that you need not stop it by hand, it gives up after three seconds. The
//! whole frame would take 1 hour and 49 minutes.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let mut stream = TcpStream::connect(&addr)
        .with_context(|| format!("cannot connect to {addr}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    stream.write_all(&65_536u32.to_be_bytes())?;
    println!("a frame of length 65536 has begun");
    for sent in 4..34 {
        // A byte; then a tenth of a second for the server to complain.
        stream.write_all(&[1]).context("cannot send")?;
        let mut answer = [0; 300];
        match stream.read(&mut answer) {
            Err(error) if is_timeout(error.kind()) => continue,
            Ok(n) if n > 6 => {
                let text = String::from_utf8_lossy(&answer[6..n]);
                let code = answer[5];
                println!("after {} bytes: error {code}, {text:?}", sent + 1);
            }
            other => println!("after {} bytes: {other:?}", sent + 1),
        }
        return Ok(());
    }
    println!("after 34 bytes the server still waits for the other 65506");
    Ok(())
}

/// Unix says the first, Windows the second.
fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

//! A client that resets: it sends a text, and instead of the orderly end
//! (FIN) it tears the connection down (RST).
//!
//!     cargo run --bin reset                  the server is at 127.0.0.1:8888
//!     cargo run --bin reset -- IP:PORT

use std::env;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let mut stream = TcpStream::connect(&addr)
        .await
        .with_context(|| format!("cannot connect to {addr}"))?;
    stream.write_all(b"Goodb").await.context("cannot send")?;
    stream.read_exact(&mut [0; 5]).await.context("cannot receive")?;
    // SO_LINGER with a time of 0: close() sends RST and drops what is unsent.
    stream.set_zero_linger().context("cannot set SO_LINGER")?;
    println!("echoed, now resetting");
    Ok(())
}

//! Echo the way that most programs on tokio start: 4 KiB for each client, and
//! every option left as it is. `tests/bench/peers.rs` sets it beside step 3.
//!
//!     cargo run -p load --example echo-tcp                on 127.0.0.1:8888
//!     cargo run -p load --example echo-tcp -- IP:PORT

use std::env;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<()> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let listener = TcpListener::bind(&addr)
        .await
        .with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(async move {
                    if let Err(error) = echo(stream).await {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
            Err(error) => {
                eprintln!("cannot accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// It does not set TCP_NODELAY: that is the trap, when a message is larger
/// than the buffer, so that its echo takes more than one write.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 4 * 1024];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

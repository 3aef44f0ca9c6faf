//! Two clients that have the same port, on two addresses of this machine, and
//! are connected to the same port of the same server, which must echo (as
//! step 3 does). Linux gives you all addresses from 127.0.0.1 to
//! 127.255.255.254.
//!
//!     cargo run --bin same-port                      to 127.0.0.1:8888
//!     cargo run --bin same-port -- IP:PORT
//!
//! They stay until you press Ctrl-D.

use std::env;
use std::io::{self, Read};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

#[tokio::main]
async fn main() -> Result<()> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let addr: SocketAddr = addr.parse().context("IP:PORT is not an address")?;
    let first = client("127.0.0.2:50001", addr).await?;
    let second = client("127.0.0.3:50001", addr).await?;
    for stream in [&first, &second] {
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        println!("{peer} answers {local}");
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Connects from an address that we choose, not the kernel, and waits for an
/// echo, so that the server has accepted it.
async fn client(from: &str, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?; // so that it can run again at once
    socket
        .bind(from.parse()?)
        .with_context(|| format!("cannot bind to {from}"))?;
    let stream = socket.connect(to).await;
    let mut stream = stream
        .with_context(|| format!("cannot connect from {from} to {to}"))?;
    stream.write_all(b"hello").await.context("cannot send")?;
    let echo = stream.read_exact(&mut [0; 5]).await;
    echo.context("cannot receive an echo")?;
    Ok(stream)
}

//! A black hole: on Linux, a client that connects to it gets no answer at all.
//!
//!     cargo run --bin black-hole                     on 127.0.0.1:8888
//!     cargo run --bin black-hole -- IP:PORT
//!
//! It listens with the shortest queue there is, fills the queue with a
//! connection of its own, and never calls `accept`. Linux ignores each SYN for
//! which there is no room, as a firewall does that drops packets in silence.

use std::env;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpSocket;

#[tokio::main]
async fn main() -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "only Linux ignores a SYN like this");
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let addr: SocketAddr = addr.parse().context("not an IP:PORT")?;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr).with_context(|| format!("cannot bind {addr}"))?;
    let listener = socket.listen(0)?; // room for one
    let _first = TcpStream::connect(listener.local_addr()?)?;
    println!("listening on {}, and nobody gets in", listener.local_addr()?);
    loop {
        thread::park();
    }
}

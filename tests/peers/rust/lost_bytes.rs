//! A mistake: a limit of time around `read_exact`.
//!
//!     cargo run --bin lost-bytes
//!
//! Both ends are in this process. The peer sends a frame in two pieces, the
//! second one after the limit. First a reader with the mistake tries to
//! receive the length, then one without.

use std::io;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_millis(100);

/// ECHO "hello": the length 6, the kind 01, five letters.
const FRAME: &[u8] = b"\x00\x00\x00\x06\x01hello";

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let peer = TcpStream::connect(addr).await?;
    with_read_exact(peer, listener.accept().await?.0).await?;
    println!();
    let peer = TcpStream::connect(addr).await?;
    with_read_buf(peer, listener.accept().await?.0).await
}

// ANCHOR: readers
async fn with_read_exact(
    mut peer: TcpStream,
    mut stream: TcpStream,
) -> Result<()> {
    begin(&mut peer).await?;
    let mut head = [0; 4];
    let read = timeout(LIMIT, stream.read_exact(&mut head)).await;
    ensure!(read.is_err(), "it came in time");
    finish(&mut peer).await?;
    stream.read_exact(&mut head).await?;
    println!("read_exact has read {head:02x?}");
    println!("the length is {}", u32::from_be_bytes(head));
    Ok(())
}

async fn with_read_buf(
    mut peer: TcpStream,
    mut stream: TcpStream,
) -> Result<()> {
    begin(&mut peer).await?;
    let mut input = Vec::with_capacity(1024); // it outlives each read
    let read = timeout(LIMIT, four_bytes(&mut stream, &mut input)).await;
    ensure!(read.is_err(), "it came in time");
    finish(&mut peer).await?;
    let head = four_bytes(&mut stream, &mut input).await?;
    println!("read_buf has read {head:02x?}");
    println!("the length is {}", u32::from_be_bytes(head));
    Ok(())
}

/// The first four bytes of `input`, as soon as they are there.
async fn four_bytes(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
) -> io::Result<[u8; 4]> {
    loop {
        if let Some(head) = input.first_chunk() {
            return Ok(*head);
        }
        if stream.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
// ANCHOR_END: readers

async fn begin(peer: &mut TcpStream) -> Result<()> {
    println!("the peer sends {:02x?}, then nothing", &FRAME[..2]);
    Ok(peer.write_all(&FRAME[..2]).await?)
}

async fn finish(peer: &mut TcpStream) -> Result<()> {
    println!("the limit has passed");
    println!("the peer sends {:02x?}", &FRAME[2..]);
    Ok(peer.write_all(&FRAME[2..]).await?)
}

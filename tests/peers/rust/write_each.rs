//! A server like that of step 4, without its errors, that makes a write for
//! each reply.
//!
//!     cargo run --bin write-each                     on 127.0.0.1:8888
//!     cargo run --bin write-each -- IP:PORT
//!
//! `cargo bench --bench figures` measures what that costs.

#[allow(dead_code)]
#[path = "../../../steps/step4/frame.rs"]
mod frame;

use std::env;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use frame::{ECHO_REPLY, decode, encode};

#[tokio::main]
async fn main() -> Result<()> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let listener = TcpListener::bind(&addr)
        .await
        .with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async {
            if let Err(error) = answer(stream).await {
                println!("server: {error}");
            }
        });
    }
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::with_capacity(4 * 1024);
    let mut output = Vec::new();
    while stream.read_buf(&mut input).await? > 0 {
        let mut rest = &input[..];
        while let Some(frame) = decode(&mut rest)? {
            encode(ECHO_REPLY, frame.payload, &mut output)?;
            stream.write_all(&output).await?; // here, and not below
            output.clear();
        }
        let used = input.len() - rest.len();
        input.drain(..used);
    }
    Ok(())
}

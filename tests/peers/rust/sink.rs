//! A server that reads all that its clients send, one client after another,
//! and says how much that was. It answers nothing.
//!
//!     cargo run --bin sink                           on 127.0.0.1:8888
//!     cargo run --bin sink -- IP:PORT

use std::env;
use std::io;
use std::net::TcpListener;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let listener = TcpListener::bind(&addr)
        .with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (mut stream, peer) = listener.accept()?;
        match io::copy(&mut stream, &mut io::sink()) {
            Ok(n) => println!("{peer}: read {n} bytes, then the end"),
            Err(error) => println!("{peer}: cannot read: {error}"),
        }
    }
}

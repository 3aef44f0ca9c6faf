//! A server with a mistake: when a client has ended, it does not close its own
//! end.
//!
//!     cargo run --bin never-closes                   on 127.0.0.1:8888
//!     cargo run --bin never-closes -- IP:PORT

use std::env;
use std::io;
use std::net::TcpListener;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let listener = TcpListener::bind(&addr)
        .with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    // ANCHOR: mistake
    let mut clients = Vec::new();
    loop {
        let (mut stream, peer) = listener.accept().context("cannot accept")?;
        io::copy(&mut stream, &mut io::sink()).context("cannot receive")?;
        println!("server: {peer} has ended");
        clients.push(stream); // the stream lives on in here
    }
    // ANCHOR_END: mistake
}

//! Echo with a thread for each client, on std alone: what step 3 does with
//! tasks, done the older way, to compare the two.
//!
//!     cargo run --bin threads                  listens on 127.0.0.1:8888
//!     cargo run --bin threads -- IP:PORT

use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

// ANCHOR: threads
fn main() -> Result<()> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:8888".to_owned());
    let listener = TcpListener::bind(&addr)
        .with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                // Not thread::spawn: that panics when there are no threads left.
                let thread = thread::Builder::new().spawn(move || {
                    if let Err(error) = echo(stream) {
                        eprintln!("{peer}: {error}");
                    }
                });
                if let Err(error) = thread {
                    eprintln!("no thread for {peer}: {error}");
                }
            }
            Err(error) => {
                eprintln!("cannot accept: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n])?;
    }
}
// ANCHOR_END: threads

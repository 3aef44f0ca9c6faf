//! A client that tries again after 100, 200, 400 and 800 ms: exponential
//! back-off without chance, so that all such clients do the same.
//!
//!     cargo run --bin no-jitter                      to 127.0.0.1:8888
//!     cargo run --bin no-jitter -- IP:PORT TEXT

use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

fn main() {
    let mut args = env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:8888".to_owned());
    let text = args.next().unwrap_or("hi".to_owned());
    for attempt in 1..=5 {
        match ask(&addr, &text) {
            Ok(()) => return println!("answered"),
            Err(error) => eprintln!("attempt {attempt}: {error:#}"),
        }
        if attempt < 5 {
            sleep(Duration::from_millis(100 << (attempt - 1)));
        }
    }
    exit(4);
}

fn ask(addr: &str, text: &str) -> Result<()> {
    let mut stream = TcpStream::connect(addr).context("cannot connect")?;
    let mut frame = (1 + text.len() as u32).to_be_bytes().to_vec();
    frame.push(1); // ECHO
    frame.extend_from_slice(text.as_bytes());
    stream.write_all(&frame)?;
    stream.read_exact(&mut frame).context("no reply")
}

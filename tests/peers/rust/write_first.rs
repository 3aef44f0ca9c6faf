//! A client with a mistake: it writes its whole message before it reads the
//! first byte of the answer.
//!
//!     cargo run --bin write-first                    100 MB to 127.0.0.1:8888
//!     cargo run --bin write-first -- IP:PORT BYTES
//!
//! A real client with this mistake hangs forever. This one gives up when a
//! write has made no progress for a second, so that you need not press Ctrl-C.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    // Returning the error from main would add a backtrace to it, if the
    // reader has set RUST_BACKTRACE.
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut args = env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:8888".to_owned());
    let size = args.next().unwrap_or("100000000".to_owned());
    let size: usize = size.parse().context("cannot read BYTES")?;

    let mut stream = TcpStream::connect(&addr).with_context(|| {
        format!("cannot connect to {addr} (is the server running?)")
    })?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;

    let message = vec![b'x'; size];
    let mut sent = 0;
    println!("writing {size} bytes");
    while sent < size {
        match stream.write(&message[sent..]) {
            Ok(n) => sent += n,
            Err(error) if is_timeout(error.kind()) => {
                bail!("stuck after writing {sent} bytes and reading 0 bytes")
            }
            Err(error) => return Err(error).context("cannot send"),
        }
    }
    println!("wrote all, now reading");
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("cannot receive")?;
    println!("read {} bytes", answer.len());
    Ok(())
}

/// Tells a write that made no progress: Unix reports the first of these two
/// kinds, and Windows the second.
fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

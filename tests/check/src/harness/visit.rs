//! What clients do in more than one case.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::lab::Lab;
use crate::verdict::Check;

/// One client that comes, gets its echo, and goes.
pub fn visit(lab: &Lab, addr: SocketAddr, text: &str) -> Check {
    let mut client = lab.connect(addr)?;
    client.exchange(text.as_bytes())?;
    client.fin();
    client.expect_all(b"")
}

/// The server lives, and serves others.
pub fn served(lab: &Lab, addr: SocketAddr) -> Check {
    lab.hint(
        "After a client that broke the rules, nobody else is served.",
        "where the error of one connection goes",
    );
    lab.connect_as(addr, "next: ")?.exchange(lab.word(6).as_bytes())
}

/// When nothing has moved for this time, all buffers are full.
const STALL: Duration = Duration::from_millis(300);

/// A server that takes little at a time is not waited for longer.
const LONG: Duration = Duration::from_secs(4);

/// Writes until nothing moves, or all is written; returns how much that was.
pub fn write_until_stalled(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let _ = stream.set_write_timeout(Some(STALL));
    let end = Instant::now() + LONG;
    let mut sent = 0;
    while sent < bytes.len() && Instant::now() < end {
        match stream.write(&bytes[sent..]) {
            Ok(0) => break,
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    sent
}

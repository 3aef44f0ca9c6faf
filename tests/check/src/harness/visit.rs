//! What clients do in more than one case.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::lab::LIVES;
use crate::harness::lab::{Lab, PATIENCE};
use crate::verdict::{Check, Failure};

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
        "Your server serves no other client after one that broke the rules.",
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

/// A connection whose buffers hold little, on both sides: the smallest window
/// there is, and segments that hardly fit into it, keep the kernel from setting
/// megabytes aside for the server.
pub const LITTLE: (usize, Option<u32>) = (1, Some(1400));

/// A connection that takes little, while the server's kernel holds much.
pub const HARDLY_READS: (usize, Option<u32>) = (4096, None);

/// A connection with this receive buffer, and segments of this size.
pub fn narrow(
    lab: &Lab,
    addr: SocketAddr,
    (buffer, segment): (usize, Option<u32>),
) -> Check<TcpStream> {
    let made = Socket::new(Domain::for_address(addr), Type::STREAM, None)
        .and_then(|socket| {
            socket.set_recv_buffer_size(buffer)?;
            if let Some(segment) = segment {
                socket.set_tcp_mss(segment)?;
            }
            socket.connect_timeout(&addr.into(), PATIENCE)?;
            Ok(TcpStream::from(socket))
        });
    made.map_err(|error| {
        let actual = format!("cannot connect: {error}");
        let failure = lab.fail(LIVES, actual);
        Failure { by_time: true, ..failure }.into()
    })
}

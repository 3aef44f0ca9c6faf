// ANCHOR: bind
//! The listening socket: how a server gets a port, and clients.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::say;

/// How many connections may wait for `accept`. If more clients come, Linux
/// ignores their SYN, and they try again after a second. Linux takes the lower
/// of this number and `net.core.somaxconn` (listen(2)).
const BACKLOG: u32 = 1024;

/// How many bytes the kernel may keep for a client that does not take them, for
/// each connection; Linux doubles the number (socket(7)). Left alone, Linux
/// keeps up to megabytes, and takes more only when a good part is gone: for a
/// slow client, that is longer than a write may stand still. The price: over a
/// long distance, no more than this is on its way.
const SEND_BUFFER: u32 = 64 * 1024;

/// Binds a socket to `addr` and listens. Port 0 means any free port.
///
/// # Errors
/// The address is in use, is not an address of this machine, or is reserved.
pub fn bind(addr: SocketAddr) -> Result<TcpListener> {
    listen(addr).with_context(|| {
        format!("cannot listen on {addr} (try another with --addr)")
    })
}

/// The calls that every server makes: socket(2), bind(2), listen(2). They are
/// the subject of step 1; `TcpListener::bind` makes the same calls in one.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // The side that closes first keeps the connection on its books for a
    // while (TIME_WAIT). Without this option, a server that starts again in
    // that time is refused its port. On Windows the option means something
    // else: it would let a second server take over the port.
    if cfg!(not(windows)) {
        socket.set_reuseaddr(true)?;
    }
    socket.set_send_buffer_size(SEND_BUFFER)?; // accepted sockets inherit it
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}
// ANCHOR_END: bind

// ANCHOR: accept
/// How long the server pauses after `accept` has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits for the next client, however often `accept` fails before one comes.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(connection) => return connection,
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                // Such as too many open files: that may last, and without a
                // pause this loop would spin.
                say(format!("server: cannot accept: {error}"));
                sleep(PAUSE).await;
            }
        }
    }
}

/// Did only this client fail, before we could accept it? The next one may be
/// waiting already.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
// ANCHOR_END: accept

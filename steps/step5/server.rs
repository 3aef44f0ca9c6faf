//! The server: it answers frames, each client in its own task.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::answer::answer;
use crate::frame::{self, LengthError, TIMEOUT};
use crate::limits::ServerLimits;
use crate::say;
use crate::timer::TooSlow;

/// How many connections may wait for `accept`. When more come, Linux ignores
/// them; and it takes `net.core.somaxconn` if that is less (listen(2)).
const BACKLOG: u32 = 1024;

/// How much the system may keep for a client that has not taken it yet, in
/// bytes; Linux doubles the number (socket(7)). Left alone, Linux keeps up to
/// megabytes, and takes more only when a good part of them is gone: for a slow
/// client that is longer than a write may wait. The price is that over a long
/// distance no more than this is on its way.
const SEND_BUFFER: u32 = 64 * 1024;

/// How long the server pauses when `accept` fails.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take to read why the server gives it up.
const LINGER: Duration = Duration::from_secs(1);

/// Makes a socket, binds it to `addr` and listens. Port 0 means any free port.
///
/// # Errors
/// The address is in use, is not an address of this machine, or is reserved.
pub fn bind(addr: SocketAddr) -> Result<TcpListener> {
    listen(addr).with_context(|| {
        format!("cannot listen on {addr} (try another with --addr)")
    })
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Who closes first remembers the connection for a while (TIME_WAIT, on
    // Linux a minute), and its port would be refused to a server that starts
    // again. On Windows the option would let two servers share one port.
    if cfg!(not(windows)) {
        socket.set_reuseaddr(true)?;
    }
    socket.set_send_buffer_size(SEND_BUFFER)?; // for what is accepted, too
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

// ANCHOR: accept
/// Serves the clients of `listener`. It never returns.
pub async fn run(listener: TcpListener, limits: ServerLimits) {
    loop {
        let (stream, peer) = accept(&listener).await;
        tokio::spawn(serve(stream, peer, limits));
    }
}

/// Waits for the next client, however often `accept` fails before it comes.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.accept().await {
            Ok(connection) => return connection,
            Err(error) => error,
        };
        say(format!("server: cannot accept: {error}"));
        // A client gave up: that costs nobody time. All else may last, such
        // as the limit on open sockets; without a pause the loop would spin.
        if error.kind() != io::ErrorKind::ConnectionAborted {
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

// ANCHOR: serve
/// Serves one client. What goes wrong with it is reported and ends here.
pub async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    limits: ServerLimits,
) {
    say(format!("server: {peer} connected"));
    // Else a small answer waits until the client has acknowledged the one
    // before (Nagle's algorithm, RFC 9293 section 3.7.4).
    // (On some systems it fails if the client has gone; the read will see.)
    let _ = stream.set_nodelay(true);
    match answer(&mut stream, &limits).await {
        Ok(total) => say(format!("server: {peer} ended after {total} frames")),
        Err(error) => {
            say(format!("server: {peer}: {error:#}"));
            let _ = give_up(&mut stream, &error, limits.write).await;
        }
    }
}

/// Tells the client why, if it is to know: it broke a rule, or was too slow.
async fn give_up(
    stream: &mut TcpStream,
    error: &Error,
    limit: Duration,
) -> Result<()> {
    let why = error.root_cause().to_string();
    if let Some(error) = error.downcast_ref::<LengthError>() {
        return refuse(stream, error.code(), &why, limit).await;
    }
    match error.downcast_ref::<TooSlow>() {
        // It does not read. The close will be a reset, so that the system
        // throws away what it has kept for it.
        Some(TooSlow::Write(_)) => Ok(stream.set_zero_linger()?),
        Some(_) => refuse(stream, TIMEOUT, &why, limit).await,
        None => Ok(()), // the connection is over, or broken
    }
}
// ANCHOR_END: serve
// ANCHOR_END: accept

// ANCHOR: refuse
/// Tells the client what is wrong, and closes so that it can read that: a
/// close with bytes unread sends RST, and the client may lose the ERROR.
async fn refuse(
    stream: &mut TcpStream,
    code: u8,
    why: &str,
    limit: Duration,
) -> Result<()> {
    let mut output = Vec::new();
    frame::encode_error(code, why, &mut output);
    // It may have to wait until the replies before it are taken.
    timeout(limit, stream.write_all(&output)).await??;
    stream.shutdown().await?;
    // None of what still comes is a frame any more.
    timeout(LINGER, copy(stream, &mut sink())).await??;
    Ok(())
}
// ANCHOR_END: refuse

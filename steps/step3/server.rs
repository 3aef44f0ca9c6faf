//! The server: it echoes what its clients send, each client in its own task.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::say;

/// How many connections may wait for `accept`. When more come, Linux ignores
/// them; and it takes `net.core.somaxconn` if that is less (listen(2)).
const BACKLOG: u32 = 1024;

/// How long the server pauses when `accept` fails.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most that one `read` takes, in bytes.
const BUFFER: usize = 16 * 1024;

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
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

// ANCHOR: accept
/// Serves the clients of `listener`. It never returns.
pub async fn run(listener: TcpListener) {
    loop {
        let (stream, peer) = accept(&listener).await;
        tokio::spawn(serve(stream, peer));
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

/// Serves one client. What goes wrong with it is reported and ends here.
async fn serve(mut stream: TcpStream, peer: SocketAddr) {
    say(format!("server: {peer} connected"));
    match echo(&mut stream).await {
        Ok(total) => say(format!("server: {peer} ended after {total} bytes")),
        Err(error) => say(format!("server: {peer}: {error:#}")),
    }
    // Here `stream` is dropped, and that closes it: after the line is printed.
}
// ANCHOR_END: accept

// ANCHOR: echo
/// Sends every byte back as soon as it arrives, until the client's stream
/// ends. Returns how many bytes that were.
async fn echo(stream: &mut TcpStream) -> Result<usize> {
    // Else a small answer waits until the client has acknowledged the one
    // before (Nagle's algorithm, RFC 9293 section 3.7.4).
    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let n = stream.read(&mut buffer).await.context("cannot read")?;
        if n == 0 {
            return Ok(total); // the client has sent its FIN
        }
        let answer = &buffer[..n];
        stream.write_all(answer).await.context("cannot write")?;
        total += n;
    }
}
// ANCHOR_END: echo

// ANCHOR: header
//! The server: it greets its clients, one after another.

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

/// The most that the one `read` of this step takes, in bytes.
const MAX_REQUEST: usize = 1024;

const GREETING: &str = "Hello, client!";
// ANCHOR_END: header

// ANCHOR: bind
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
// ANCHOR_END: bind

// ANCHOR: accept
/// Serves the clients of `listener`. It never returns.
pub async fn run(listener: TcpListener) {
    loop {
        let (stream, peer) = accept(&listener).await;
        serve(stream, peer).await;
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
async fn serve(stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = greet(stream, peer).await {
        say(format!("server: {peer}: {error:#}"));
    }
}
// ANCHOR_END: accept

// ANCHOR: greet
/// Reads once, prints what came, answers, and closes.
async fn greet(mut stream: TcpStream, peer: SocketAddr) -> Result<()> {
    let mut buffer = [0; MAX_REQUEST];
    let n = stream.read(&mut buffer).await.context("cannot read")?;
    // {:?} escapes what a terminal would obey: a client chose these bytes.
    let text = String::from_utf8_lossy(&buffer[..n]);
    say(format!("server: {peer} sent {n} bytes: {text:?}"));
    say(format!("server: answers {GREETING:?} and closes"));
    let answer = GREETING.as_bytes();
    stream.write_all(answer).await.context("cannot write")?;
    Ok(()) // `stream` is dropped here, and that closes the connection
}
// ANCHOR_END: greet

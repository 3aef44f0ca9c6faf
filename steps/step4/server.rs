//! The server: it answers frames, each client in its own task.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::frame::{self, ECHO, ECHO_REPLY, Frame, LengthError, UNKNOWN_KIND};
use crate::say;

/// How many connections may wait for `accept`. When more come, Linux ignores
/// them; and it takes `net.core.somaxconn` if that is less (listen(2)).
const BACKLOG: u32 = 1024;

/// How long the server pauses when `accept` fails.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Room for received bytes, in bytes. For large frames it grows, to at most
/// twice the largest one, and stays so.
const BUFFER: usize = 16 * 1024;

/// How long a client that broke the rules may take to read why.
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

// ANCHOR: serve
/// Serves one client. What goes wrong with it is reported and ends here.
async fn serve(mut stream: TcpStream, peer: SocketAddr) {
    say(format!("server: {peer} connected"));
    match answer(&mut stream).await {
        Ok(total) => say(format!("server: {peer} ended after {total} frames")),
        Err(error) => {
            say(format!("server: {peer}: {error:#}"));
            if let Some(error) = error.downcast_ref::<LengthError>() {
                let _ = timeout(LINGER, refuse(&mut stream, error)).await;
            }
        }
    }
}
// ANCHOR_END: serve
// ANCHOR_END: accept

// ANCHOR: answer
/// Answers each frame, until the client's stream ends. Returns how many.
async fn answer(stream: &mut TcpStream) -> Result<usize> {
    // Else a small answer waits until the client has acknowledged the one
    // before (Nagle's algorithm, RFC 9293 section 3.7.4).
    stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
    let mut input = Vec::with_capacity(BUFFER); // what no frame has used yet
    let mut output = Vec::new();
    let mut total = 0;
    loop {
        let replied = reply(&mut input, &mut output);
        stream.write_all(&output).await.context("cannot write")?;
        output.clear();
        total += replied?;
        if stream.read_buf(&mut input).await.context("cannot read")? == 0 {
            ensure!(input.is_empty(), "ended in the middle of a frame");
            return Ok(total);
        }
    }
}

/// Takes all whole frames out of `input` and appends the replies to `output`,
/// so that many replies need one write. Returns how many.
fn reply(
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<usize, LengthError> {
    let mut rest = &input[..];
    let mut total = 0;
    while let Some(Frame { kind, payload }) = frame::decode(&mut rest)? {
        match kind {
            ECHO => frame::encode(ECHO_REPLY, payload, output)?,
            _ => frame::encode_error(UNKNOWN_KIND, "unknown kind", output),
        }
        total += 1;
    }
    let used = input.len() - rest.len();
    input.drain(..used);
    Ok(total)
}
// ANCHOR_END: answer

// ANCHOR: refuse
/// Tells the client what is wrong, and closes so that it can read that: a
/// close with bytes unread sends RST, and the client may lose the ERROR.
async fn refuse(stream: &mut TcpStream, error: &LengthError) -> io::Result<()> {
    let mut output = Vec::new();
    frame::encode_error(error.code(), &error.to_string(), &mut output);
    stream.write_all(&output).await?;
    stream.shutdown().await?;
    copy(stream, &mut sink()).await?; // none of it is a frame any more
    Ok(())
}
// ANCHOR_END: refuse

// ANCHOR: run
//! The server: HTTP until a client asks for a WebSocket, then a conversation.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::SockRef;
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::time::{error::Elapsed, timeout};

use super::connection::Connection;
use super::drain::{Drain, Slot};
use super::http::{self, Refused};
use super::limits::{PeerLimits, TooSlow};
use super::site::{Answer, answer, refusal};
use super::talk::{End, Guest, Hub, POLICY, TRY_AGAIN_LATER, talk};
use super::ws::Wrong;
use super::{listener, say};

/// What each connection needs of the others; step 8's `drain.rs` hands it on.
pub type Requests = Hub;

/// How many bytes the kernel may keep for a client that does not take them;
/// Linux doubles the number. Step 8's 64 KiB would hold thousands of dots that
/// are old and can no longer be overwritten. The price: over a road of 100 ms,
/// a client gets at most some 100 kB/s.
const SEND_BUFFER: usize = 8 * 1024;

/// How long a client may take to close when all is said, and one that does
/// not read to take the reason.
const LINGER: Duration = Duration::from_secs(1);

const FULL: Refused = Refused("503 Service Unavailable", "too many clients");
const TOO_LATE: Refused =
    Refused("408 Request Timeout", "no whole request in time");

/// Serves the clients of `listener`. It never returns.
pub async fn run(
    listener: &TcpListener,
    limits: PeerLimits,
    hub: &Hub,
    drain: &Drain,
) {
    loop {
        let (stream, peer) = listener::accept(listener).await;
        if let Some(slot) = drain.slot() {
            let hub = hub.clone();
            tokio::spawn(serve(stream, peer, limits, hub, slot));
        } else if let Some(place) = drain.refusal() {
            say(format!("server: {peer} is one too many"));
            tokio::spawn(async move {
                let _place = place;
                refuse(stream, FULL, limits).await;
            });
        } // otherwise there is no time even for that: the stream is dropped
    }
}

/// Serves one client. An error of its connection is reported and ends here.
async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    limits: PeerLimits,
    hub: Hub,
    mut slot: Slot,
) {
    let _ = stream.set_nodelay(true); // as in step 8
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
    let (mut sign, mut input) = (pin!(slot.sign()), Vec::new());
    let opened =
        open(&mut stream, &mut input, peer, limits, &hub, sign.as_mut()).await;
    match opened {
        Ok(true) => {
            let client = Connection::new(stream, limits, input);
            converse(client, peer, &hub, sign).await;
        }
        Ok(false) => drop(timeout(LINGER, end(&mut stream)).await),
        Err(error) => match error.downcast::<Refused>() {
            Ok(refused) => refuse(stream, refused, limits).await,
            Err(error) => say(format!("server: {peer}: {error:#}")),
        },
    }
}
// ANCHOR_END: run

// ANCHOR: open
/// Answers requests until one opens a WebSocket (true), or there are no more.
/// What came behind the last one stays in `input`.
async fn open(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    peer: SocketAddr,
    limits: PeerLimits,
    hub: &Hub,
    mut sign: Pin<&mut impl Future<Output = ()>>,
) -> Result<bool> {
    loop {
        let head = timeout(limits.frame, http::read_head(stream, input));
        let head = select! {
            () = sign.as_mut() => return Ok(false),
            head = head => head,
        };
        let head = match head {
            Ok(head) => head?,
            // An open connection that asks for nothing is no mistake.
            Err(_) if input.is_empty() => None,
            Err(_) => return Err(TOO_LATE.into()),
        };
        let Some(head) = head else { return Ok(false) };
        let (bytes, is_open) = match answer(&head, &hub.hosts)? {
            Answer::Page(bytes) => (bytes, false),
            Answer::Socket(bytes) => {
                say(format!("server: {peer} opens a WebSocket"));
                (bytes, true)
            }
        };
        let sent = timeout(limits.write, stream.write_all(&bytes)).await;
        sent.map_err(|_: Elapsed| TooSlow::Write)?.context("cannot write")?;
        if is_open || !head.may_stay() {
            return Ok(is_open);
        }
    }
}

/// Says no, and closes so that the client can read it.
async fn refuse(mut stream: TcpStream, refused: Refused, limits: PeerLimits) {
    let bytes = refusal(refused);
    let said = async {
        stream.write_all(&bytes).await?;
        end(&mut stream).await
    };
    let _ = timeout(LINGER.min(limits.write), said).await;
}
// ANCHOR_END: open

// ANCHOR: converse
async fn converse(
    mut client: Connection<TcpStream>,
    peer: SocketAddr,
    hub: &Hub,
    sign: Pin<&mut impl Future<Output = ()>>,
) {
    let mut guest = Guest::default();
    match talk(&mut client, &mut guest, hub, sign).await {
        Ok(code) => {
            say(format!("server: {peer} said goodbye"));
            client.close(code.unwrap_or(1000), ""); // the same code back
        }
        Err(error) => {
            say(format!("server: {peer}: {error:#}"));
            if let Some(End(code, why)) = error.downcast_ref() {
                client.close(*code, why);
            } else if let Some(wrong) = error.downcast_ref::<Wrong>() {
                client.close(wrong.code(), &wrong.to_string());
            } else if let Some(TooSlow::Silent) = error.downcast_ref() {
                client.close(TRY_AGAIN_LATER, &error.to_string());
            } else if let Some(TooSlow::Frame) = error.downcast_ref() {
                client.close(POLICY, &error.to_string());
            } // otherwise the connection is broken, or it stands still
        }
    }
    drop(guest); // the others see it go, while it reads our last words
    let goodbye = async {
        client.flush().await?;
        end(&mut client.stream).await.context("cannot end")
    };
    // To close with bytes that never left would keep them in the kernel.
    if !matches!(timeout(LINGER, goodbye).await, Ok(Ok(()))) {
        let _ = client.stream.set_zero_linger();
    }
}

/// Sends FIN, then reads on until the client closes, too: to close with bytes
/// unread would send RST, and the client might lose our last words.
async fn end(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    copy(stream, &mut sink()).await?;
    Ok(())
}
// ANCHOR_END: converse

// ANCHOR: run
//! The server: step 8's, with a handshake before its first frame and a
//! `close_notify` after its last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::connection::Connection;
use crate::drain::{Drain, Slot};
use crate::frame::{LengthError, OVERLOADED, TIMEOUT, encode_error};
use crate::ledger::Full;
use crate::limits::{PeerLimits, TooSlow};
use crate::stream::Stream;
use crate::{listener, plain, say, tls};

/// How long a client that is refused may take to read why, and before that
/// for its handshake.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client may take to close when all is said.
const GOODBYE: Duration = Duration::from_millis(300);

/// What all connections share. In step 8 that was the way to the ledger, and
/// `drain.rs`, which passes it on, knows it by the name of that.
pub type Requests = Arc<Shared>;

pub struct Shared {
    pub ledger: plain::Requests,
    pub tls: TlsAcceptor,
    /// How long a handshake may take, from the first byte to the last.
    pub handshake: Duration,
}

/// Serves the clients of `listener`. It never returns.
pub async fn run(
    listener: &TcpListener,
    limits: PeerLimits,
    shared: &Requests,
    drain: &Drain,
) {
    loop {
        let (stream, peer) = listener::accept(listener).await;
        let shared = Arc::clone(shared);
        // A slot before the handshake: until a client has proved that it can
        // finish one, it costs us a descriptor and memory already.
        if let Some(slot) = drain.slot() {
            tokio::spawn(serve(stream, peer, limits, shared, slot));
        } else if let Some(place) = drain.refusal() {
            say(format!("server: {peer} is one too many"));
            tokio::spawn(async move {
                let _place = place;
                // To say no takes a handshake, too, but not all our patience.
                let limit = shared.handshake.min(LINGER);
                let shaken = shake_hands(stream, &shared.tls, limit).await;
                if let Ok(stream) = shaken {
                    let mut client = Connection::new(stream, limits);
                    let text = "too many connections";
                    refuse(&mut client, OVERLOADED, text).await;
                }
            });
        }
    }
}
// ANCHOR_END: run

// ANCHOR: handshake
/// Turns a TCP stream into a TLS stream, within the limit for that.
///
/// # Errors
/// The client is too slow, does not speak TLS 1.3, or does not like what our
/// certificate says. It has been told, unless it was too slow.
pub async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    tls: &TlsAcceptor,
    limit: Duration,
) -> Result<Stream<S>> {
    let accept = tls.accept(stream).into_fallible();
    match timeout(limit, accept).await {
        Ok(Ok(stream)) => Ok(Stream::new(stream)),
        Ok(Err((error, mut stream))) => {
            // TLS has sent an alert. See `end` for why we do not just close.
            let _ = timeout(GOODBYE, end(&mut stream)).await;
            Err(tls::explain(error).context("no handshake"))
        }
        Err(_) => Err(anyhow!("no whole handshake within {limit:?}")),
    }
}
// ANCHOR_END: handshake

// ANCHOR: serve
/// Serves one client. An error of its connection is reported and ends here.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    limits: PeerLimits,
    shared: Requests,
    mut slot: Slot,
) {
    say(format!("server: {peer} connected"));
    let _ = stream.set_nodelay(true); // as in step 8
    let limit = shared.handshake;
    let stream = match shake_hands(stream, &shared.tls, limit).await {
        Ok(stream) => stream,
        Err(error) => return say(format!("server: {peer}: {error:#}")),
    };
    say(format!("server: {peer} {}", agreed(&stream)));
    let mut client = Connection::new(stream, limits);
    match plain::answer(&mut client, &shared.ledger, &mut slot).await {
        Ok(total) => {
            say(format!("server: {peer} ended after {total} frames"));
            let _ = timeout(GOODBYE, end(&mut client.stream)).await;
        }
        Err(error) => {
            say(format!("server: {peer}: {error:#}"));
            give_up(&mut client, &error).await;
        }
    }
}

/// Says what both ends have agreed on.
fn agreed<S>(stream: &Stream<S>) -> String {
    let (_, session) = stream.tls.get_ref();
    let suite = session.negotiated_cipher_suite().map(|s| s.suite());
    let group = session.negotiated_key_exchange_group().map(|g| g.name());
    match (session.protocol_version(), suite, group) {
        (Some(version), Some(suite), Some(group)) => {
            format!("speaks {version:?}, {suite:?}, {group:?}")
        }
        _ => "has agreed on nothing".to_owned(),
    }
}
// ANCHOR_END: serve

// ANCHOR: give-up
type Client = Connection<Stream<TcpStream>>;

/// Ends a connection after `error`, as step 8 does. The text of an ERROR is
/// encrypted like any other frame.
async fn give_up(client: &mut Client, error: &Error) {
    let text = error.root_cause().to_string();
    if let Some(wrong) = error.downcast_ref::<LengthError>() {
        return refuse(client, wrong.code(), &text).await;
    }
    if error.is::<Full>() {
        return refuse(client, OVERLOADED, &text).await;
    }
    match error.downcast_ref() {
        Some(TooSlow::Write) => reset(client),
        Some(TooSlow::Frame) => refuse(client, TIMEOUT, &text).await,
        // Step 8 drops the stream, and the kernel sends a FIN. That alone
        // would look as if somebody had cut us off.
        Some(TooSlow::Silent) | None => {
            let _ = timeout(GOODBYE, end(&mut client.stream)).await;
        }
    }
}

async fn refuse(client: &mut Client, code: u8, text: &str) {
    encode_error(code, text, client.replies.queue());
    let told = client.flush().await.is_ok()
        && matches!(timeout(LINGER, end(&mut client.stream)).await, Ok(Ok(())));
    if !told {
        reset(client);
    }
}

fn reset(client: &mut Client) {
    let (tcp, _) = client.stream.tls.get_ref();
    let _ = tcp.set_zero_linger();
}
// ANCHOR_END: give-up

// ANCHOR: end
/// Ends our direction, with `close_notify` if this is TLS, and reads on until
/// the other end closes. To close with bytes unread would send RST at once.
async fn end(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    stream.shutdown().await?;
    copy(stream, &mut sink()).await?;
    Ok(())
}
// ANCHOR_END: end

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;

    use crate::certificates;

    const LIMIT: Duration = Duration::from_secs(5);

    fn both() -> (TlsAcceptor, TlsConnector) {
        let (from, to) = certificates::validity(1);
        let made =
            certificates::make(&["localhost".to_owned()], from, to).unwrap();
        let server = tls::acceptor(made.server.as_bytes(), made.key.as_bytes());
        (server.unwrap(), tls::connector(made.ca.as_bytes()).unwrap())
    }

    /// What the server says to a client that sends `bytes`, one every second,
    /// and after how long.
    async fn says(bytes: &[u8]) -> (String, Duration) {
        let (mut client, server) = duplex(100_000);
        let (tls, _) = both();
        let start = Instant::now();
        let drips = async {
            for byte in bytes {
                client.write_all(&[*byte]).await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            end = timeout(9 * LIMIT, shake_hands(server, &tls, LIMIT)) => {
                let end = end.expect("a limit");
                let error = end.err().expect("no handshake");
                (format!("{error:#}"), start.elapsed())
            }
            () = drips => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_has_one_limit_for_all_its_bytes() {
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        for bytes in [&hello[..0], &hello[..1], &hello] {
            let (error, time) = says(bytes).await;
            assert!(error.contains("no whole handshake"), "{error}");
            assert_eq!(time, LIMIT);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_tls_is_told_so_at_once() {
        let (mut client, server): (DuplexStream, _) = duplex(1000);
        client.write_all(b"\0\0\0\x03\x01hi").await.unwrap();
        let (tls, _) = both();
        let shakes = shake_hands(server, &tls, LIMIT);
        let start = Instant::now();
        let hears = async {
            let mut alert = Vec::new();
            client.read_to_end(&mut alert).await.unwrap();
            drop(client);
            alert
        };
        let (end, alert) = tokio::join!(shakes, hears);
        let error = end.err().expect("no handshake");
        assert!(format!("{error:#}").contains("plain TCP"), "{error:#}");
        // An alert (15), of the version 03 03, of 2 bytes: fatal (2), ...
        assert_eq!(alert[..6], [0x15, 3, 3, 0, 2, 2]);
        assert!(start.elapsed() < GOODBYE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_reads_until_the_other_one() {
        let (mut client, mut server) = duplex(10);
        let writes = timeout(LIMIT, client.write_all(&[0; 100]));
        let ends = timeout(LIMIT, end(&mut server));
        let (written, ended) = tokio::join!(writes, ends);
        written.expect("it reads").unwrap();
        assert!(ended.is_err(), "it waits: {ended:?}");
        drop(client);
        end(&mut server).await.unwrap();
    }

    /// It would not read a goodbye, and its bytes would stay with our kernel.
    #[tokio::test]
    async fn who_does_not_read_is_reset() {
        let (tls, connector) = both();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let client = client.await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let shakes = shake_hands(server, &tls, 12 * LIMIT);
        let (client, server) =
            tokio::join!(connector.connect(name, client), shakes);
        let limits =
            PeerLimits { heartbeat: LIMIT, frame: LIMIT, write: LIMIT };
        let mut server = Connection::new(server.unwrap(), limits);
        give_up(&mut server, &TooSlow::Write.into()).await;
        drop(server);
        let error = client.unwrap().read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

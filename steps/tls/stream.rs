// ANCHOR: stream
//! A TLS stream that keeps a promise which step 8 relies on.

use std::io;
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

/// The most that goes into one record, in bytes (RFC 9846 section 5.1).
const RECORD: usize = 16 * 1024;

/// A TLS stream whose `write` has handed over what it reports, as that of a
/// `TcpStream` has. TLS alone may keep encrypted bytes until somebody calls
/// `flush`, and our connection never does.
pub struct Stream<S> {
    pub tls: TlsStream<S>,
    encrypted: usize, // of the bytes that the caller offers; not reported yet
}

impl<S> Stream<S> {
    pub fn new(tls: impl Into<TlsStream<S>>) -> Stream<S> {
        Stream { tls: tls.into(), encrypted: 0 }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    /// Encrypts a record, and is done when all of it has left. A caller may
    /// drop the future before that: it then has to offer the same bytes once
    /// more, with or without others behind them, as our connection does.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.encrypted == 0 {
            let record = &bytes[..bytes.len().min(RECORD)];
            let n = Pin::new(&mut self.tls).poll_write(cx, record);
            self.encrypted = ready!(n)?;
        }
        ready!(Pin::new(&mut self.tls).poll_flush(cx))?;
        Poll::Ready(Ok(take(&mut self.encrypted)))
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    /// Sends `close_notify`, then FIN.
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    /// A FIN without `close_notify` is an error, and anybody may have sent it.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.tls).poll_read(cx, buffer));
        Poll::Ready(read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "an end without close_notify (cut off on the way?)",
            ),
            _ => error,
        }))
    }
}
// ANCHOR_END: stream

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, timeout};
    use tokio_rustls::rustls::pki_types::ServerName;

    use crate::connection::Connection;
    use crate::frame::{ECHO, encode};
    use crate::limits::PeerLimits;
    use crate::{certificates, tls};

    const H: Duration = Duration::from_secs(5);

    const LIMITS: PeerLimits =
        PeerLimits { heartbeat: H, frame: H, write: Duration::from_secs(99) };

    /// Both ends of a TLS connection over a pipe that holds `size` bytes.
    async fn pair(size: usize) -> [TlsStream<DuplexStream>; 2] {
        let (from, to) = certificates::validity(1);
        let made =
            certificates::make(&["localhost".to_owned()], from, to).unwrap();
        let tls = tls::connector(made.ca.as_bytes()).unwrap();
        let acceptor =
            tls::acceptor(made.server.as_bytes(), made.key.as_bytes());
        let (client, server) = duplex(size);
        let name = ServerName::try_from("localhost").unwrap();
        let (client, server) = tokio::join!(
            tls.connect(name, client),
            acceptor.unwrap().accept(server)
        );
        [client.unwrap().into(), server.unwrap().into()]
    }

    /// The client takes nothing until the pipe is full, and then everything.
    /// The reply has to come without a new reason to write, such as a PING.
    #[tokio::test(start_paused = true)]
    async fn the_last_bytes_do_not_wait_for_the_next_write() {
        let [mut client, server] = pair(4096).await;
        let message = vec![7; 60_000];
        let mut frame = Vec::new();
        encode(ECHO, &message, &mut frame).unwrap();
        let mut connection = Connection::new(Stream::new(server), LIMITS);
        connection.replies.queue().extend(&frame);
        let start = Instant::now();
        let reads = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut heard = vec![0; frame.len()];
            client.read_exact(&mut heard).await.unwrap();
            assert!(heard == frame);
            start.elapsed()
        };
        tokio::select! {
            time = reads => assert_eq!(time.as_millis(), 100),
            end = connection.receive() => panic!("ended: {end:?}"),
        }
    }

    /// Whoever drops the future offers the same bytes again; they leave once.
    #[tokio::test(start_paused = true)]
    async fn a_dropped_write_is_not_sent_twice() {
        let [mut client, server] = pair(1000).await;
        let mut server = Stream::new(server);
        let bytes: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let writes = async {
            let (mut sent, mut dropped) = (0, 0);
            while sent < bytes.len() {
                let write = server.write(&bytes[sent..]);
                match timeout(Duration::from_millis(3), write).await {
                    Ok(n) => sent += n.unwrap(),
                    Err(_) => dropped += 1,
                }
            }
            dropped
        };
        let reads = async {
            let mut heard = vec![0; bytes.len()];
            for piece in heard.chunks_mut(500) {
                tokio::time::sleep(Duration::from_millis(2)).await;
                client.read_exact(piece).await.unwrap();
            }
            heard
        };
        let both = async { tokio::join!(writes, reads) };
        let (dropped, heard) = timeout(100 * H, both).await.unwrap();
        assert!(heard == bytes && dropped > 10, "{dropped} dropped");
    }

    /// What TLS adds: this is why a FIN alone is not an end.
    #[tokio::test(start_paused = true)]
    async fn an_end_without_close_notify_is_an_error() {
        for says_goodbye in [true, false] {
            let [mut client, server] = pair(1000).await;
            let mut connection = Connection::new(Stream::new(server), LIMITS);
            if says_goodbye {
                client.shutdown().await.unwrap();
            }
            drop(client);
            let end = connection.receive().await;
            let ended = matches!(end, Ok(None));
            assert_eq!(ended, says_goodbye, "{end:?}");
        }
    }

    /// Half a record is no sign of life: nobody has proved anything yet.
    #[tokio::test(start_paused = true)]
    async fn a_record_byte_by_byte_is_silence() {
        let [client, server] = pair(1000).await;
        let mut connection = Connection::new(Stream::new(server), LIMITS);
        let start = Instant::now();
        let TlsStream::Client(client) = client else { unreachable!() };
        let (mut pipe, _) = client.into_inner();
        let drips = async {
            pipe.write_all(&[0x17, 3, 3, 0x40, 0]).await.unwrap();
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                pipe.write_all(b"x").await.unwrap();
            }
        };
        tokio::select! {
            () = drips => {}
            end = connection.receive() => {
                let error = end.unwrap_err();
                assert!(format!("{error:#}").contains("sign of life"));
            }
        }
        assert_eq!(start.elapsed().as_secs(), 3 * H.as_secs());
    }
}

//! The server: it answers frames within limits, each client in its own task.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::io::{copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use crate::frame::{self, ECHO, ECHO_REPLY, Frame, LengthError};
use crate::frame::{MAX_LENGTH, TIMEOUT, UNKNOWN_KIND};
use crate::limits::{Limit, ServerLimits, TooSlow, within};
use crate::{listener, say};

/// Room for received bytes, in bytes; it grows when it is full.
const BUFFER: usize = 4 * 1024;

/// After this pause of a client, its buffer gets small again.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a client that broke the rules may take to read why.
const LINGER: Duration = Duration::from_secs(1);

// ANCHOR: run
/// Serves the clients of `listener`. It never returns.
pub async fn run(listener: TcpListener, limits: ServerLimits) {
    loop {
        let (stream, peer) = listener::accept(&listener).await;
        tokio::spawn(serve(stream, peer, limits));
    }
}

/// Serves one client. An error of its connection is reported and ends here.
pub async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    limits: ServerLimits,
) {
    say(format!("server: {peer} connected"));
    // Otherwise Nagle's algorithm (RFC 9293 section 3.7.4) would hold a small
    // answer until the client has acknowledged the one before. If the option
    // cannot be set, the connection is already broken; `read` will say how.
    let _ = stream.set_nodelay(true);
    match answer(&mut stream, &limits).await {
        Ok(total) => say(format!("server: {peer} ended after {total} frames")),
        Err(error) => {
            say(format!("server: {peer}: {error:#}"));
            give_up(&mut stream, &error).await;
        }
    }
}
// ANCHOR_END: run

// ANCHOR: answer
/// Answers each frame, until the client's stream ends. Returns how many.
pub async fn answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    limits: &ServerLimits,
) -> Result<usize> {
    let mut input = Vec::with_capacity(BUFFER); // what no frame has used yet
    let mut total = 0;
    let mut limit = (Instant::now() + limits.idle, TooSlow::Idle);
    while receive(stream, &mut input, limit).await? > 0 {
        // An echo is as long as its request: one allocation for all of them.
        let mut output = Vec::with_capacity(input.len());
        let replied = reply(&mut input, &mut output);
        // Send the replies even if the frame behind them is wrong.
        write(stream, &output, limits).await?;
        let replies = replied?;
        total += replies;
        if input.is_empty() {
            limit = (Instant::now() + limits.idle, TooSlow::Idle);
        } else if replies > 0 || limit.1 == TooSlow::Idle {
            // A frame has started. No later piece of it buys more time.
            limit = (Instant::now() + limits.frame, TooSlow::Frame);
        }
        if limit.0 < Instant::now() {
            // We may have looked late. Then a read with room takes the rest.
            // No client stays because it always has one more byte.
            ensure!(input.capacity() == BUFFER, limit.1);
            input.reserve(MAX_LENGTH);
        }
    }
    ensure!(input.is_empty(), "ended in the middle of a frame");
    Ok(total)
}

/// Appends what has come to `input`. Returns how many bytes; 0 is the end.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut Vec<u8>,
    limit: Limit,
) -> Result<usize> {
    if input.is_empty() && input.capacity() > BUFFER {
        let pause = limit.0.min(Instant::now() + PAUSE);
        if let Ok(read) = timeout_at(pause, stream.read_buf(input)).await {
            return read.context("cannot read");
        }
        // Without this, one large frame would cost its room for as long as
        // the client stays.
        *input = Vec::with_capacity(BUFFER);
    }
    let read = within(limit, stream.read_buf(input)).await?;
    if input.len() == BUFFER {
        input.reserve(MAX_LENGTH); // there is more: take it in fewer calls
    }
    read.context("cannot read")
}

/// Writes all of `output`. Each part that the kernel takes buys new time.
async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    mut output: &[u8],
    limits: &ServerLimits,
) -> Result<()> {
    while !output.is_empty() {
        let limit = (Instant::now() + limits.write, TooSlow::Write);
        let taken = within(limit, stream.write(output)).await?;
        output = &output[taken.context("cannot write")?..];
    }
    Ok(())
}
// ANCHOR_END: answer

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

// ANCHOR: give-up
/// Ends a connection after `error`, and tells a client that broke a rule or
/// sent too slowly. One that does not read gets a reset.
async fn give_up(stream: &mut TcpStream, error: &Error) {
    let text = error.root_cause().to_string();
    if let Some(wrong) = error.downcast_ref::<LengthError>() {
        refuse(stream, wrong.code(), &text).await;
    }
    match error.downcast_ref() {
        // It does not read, so an ERROR would not reach it either.
        Some(TooSlow::Write) => drop(stream.set_zero_linger()),
        Some(_) => refuse(stream, TIMEOUT, &text).await,
        None => {} // `refuse` has told it, or the stream has ended, or is broken
    }
}
// ANCHOR_END: give-up

// ANCHOR: refuse
/// Tells the client what it did wrong, and closes. If the client has not closed
/// in time, too, the close becomes a reset (RST), so that the kernel does not
/// keep bytes that the client may never read.
async fn refuse(stream: &mut TcpStream, code: u8, text: &str) {
    let told = timeout(LINGER, tell(stream, code, text)).await;
    if !matches!(told, Ok(Ok(()))) {
        let _ = stream.set_zero_linger();
    }
}

/// Sends ERROR and FIN, then reads on until the client closes. To close with
/// bytes unread would send RST at once, and the client might lose the ERROR.
async fn tell(stream: &mut TcpStream, code: u8, text: &str) -> io::Result<()> {
    let mut output = Vec::new();
    frame::encode_error(code, text, &mut output);
    stream.write_all(&output).await?;
    stream.shutdown().await?;
    copy(stream, &mut sink()).await?; // these bytes are no frames any more
    Ok(())
}
// ANCHOR_END: refuse

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    const LIMITS: ServerLimits = ServerLimits {
        idle: Duration::from_secs(60),
        frame: Duration::from_secs(10),
        write: Duration::from_secs(5),
    };
    const HI: &[u8] = b"\0\0\0\x03\x01hi";
    const REPLY: &[u8] = b"\0\0\0\x03\x81hi";

    /// How a conversation ended, and when. In these tests time stands still,
    /// and jumps when every task waits for it.
    type Server = JoinHandle<(Result<usize>, Duration)>;

    /// A server at the other end of a pipe that holds `size` bytes.
    fn server(size: usize) -> (DuplexStream, Server) {
        let (client, mut end) = duplex(size);
        let start = Instant::now();
        let server = tokio::spawn(async move {
            let outcome = answer(&mut end, &LIMITS).await;
            (outcome, start.elapsed())
        });
        (client, server)
    }

    /// Asserts that the server found the client too slow after `after` ms.
    async fn assert_too_slow(server: Server, what: TooSlow, after: u64) {
        let (outcome, time) = server.await.unwrap();
        let error = outcome.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&what), "{error:#}");
        // A timer may fire a millisecond late, and never early.
        let late = time - Duration::from_millis(after);
        assert!(late <= Duration::from_millis(1), "{time:?}");
    }

    async fn hear(client: &mut DuplexStream, bytes: &[u8]) {
        let mut reply = vec![0; bytes.len()];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply, bytes);
    }

    async fn ms(n: u64) {
        sleep(Duration::from_millis(n)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_from_the_start() {
        let (_client, server) = server(1000);
        assert_too_slow(server, TooSlow::Idle, 60_000).await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_a_frame() {
        let (mut client, server) = server(1000);
        ms(59_999).await;
        client.write_all(HI).await.unwrap();
        hear(&mut client, REPLY).await;
        assert_too_slow(server, TooSlow::Idle, 119_999).await;
    }

    /// The time of a frame runs from its first byte, and no byte moves it.
    #[tokio::test(start_paused = true)]
    async fn a_byte_each_second() {
        let (mut client, server) = server(1000);
        ms(30_000).await;
        tokio::spawn(async move {
            client.write_all(&[0, 0, 0, 99, 1]).await.unwrap();
            for _ in 0..98 {
                ms(1_000).await;
                let _ = client.write_all(b"x").await; // until it is cut
            }
        });
        assert_too_slow(server, TooSlow::Frame, 40_000).await;
    }

    /// The second look finds a byte, too, and each look after that.
    #[tokio::test(start_paused = true)]
    async fn a_byte_that_is_always_there() {
        let (mut client, server) = server(1000);
        tokio::spawn(async move {
            client.write_all(&[0, 0, 0xff, 0, 1]).await.unwrap();
            while client.write_all(b"x").await.is_ok() {
                ms(1).await;
            }
        });
        assert_too_slow(server, TooSlow::Frame, 10_001).await;
    }

    /// A frame in two pieces, before and after the moment when the idle limit
    /// would have ended: wherever it is cut, no byte is lost.
    #[tokio::test(start_paused = true)]
    async fn pieces_on_both_sides_of_a_tick() {
        for cut in 1..HI.len() {
            let (mut client, server) = server(1000);
            ms(59_999).await;
            client.write_all(&HI[..cut]).await.unwrap();
            ms(9_999).await;
            client.write_all(&HI[cut..]).await.unwrap();
            hear(&mut client, REPLY).await;
            drop(client);
            assert_eq!(server.await.unwrap().0.unwrap(), 1);
        }
    }

    /// The next frame starts in the same read: it has its own time.
    #[tokio::test(start_paused = true)]
    async fn a_frame_and_the_start_of_the_next() {
        let (mut client, server) = server(1000);
        client.write_all(&HI[..3]).await.unwrap();
        ms(9_000).await;
        client.write_all(&[&HI[3..], &HI[..3]].concat()).await.unwrap();
        hear(&mut client, REPLY).await;
        assert_too_slow(server, TooSlow::Frame, 19_000).await;
    }

    /// After a large frame, too, where the server waits in two parts.
    #[tokio::test(start_paused = true)]
    async fn silence_after_a_large_frame() {
        let (mut client, server) = server(200_000);
        let mut bytes = Vec::new();
        frame::encode(ECHO, &[b'x'; 60_000], &mut bytes).unwrap();
        client.write_all(&bytes).await.unwrap();
        assert_too_slow(server, TooSlow::Idle, 60_000).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing() {
        let (mut client, server) = server(10);
        client.write_all(HI).await.unwrap();
        ms(4_000).await; // in the pipe: the reply, and three bytes of room
        client.write_all(HI).await.unwrap();
        assert_too_slow(server, TooSlow::Write, 9_000).await;
    }

    /// A byte now and then is progress: ten bytes in 40 s, with 5 s for each.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then() {
        let (client, server) = server(4);
        let (mut reader, mut writer) = tokio::io::split(client);
        let send = async {
            writer.write_all(HI).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let receive = async {
            let mut reply = Vec::new();
            while reply.len() < REPLY.len() {
                ms(4_000).await;
                reply.push(reader.read_u8().await.unwrap());
            }
            assert_eq!(reply, REPLY);
        };
        tokio::join!(send, receive);
        assert_eq!(server.await.unwrap().0.unwrap(), 1);
    }
}

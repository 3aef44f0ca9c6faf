//! The server: it answers frames within limits, each client in its own task.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::{Context, Error, Result};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::io::{copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::connection::Connection;
use crate::drain::{Drain, Slot};
use crate::frame::{
    ADD, ECHO, ECHO_REPLY, LengthError, PING, WORK, WORK_REPLY,
};
use crate::frame::{
    BAD_PAYLOAD, OVERLOADED, TIMEOUT, UNKNOWN_KIND, encode, encode_error,
};
use crate::journal::Request;
use crate::ledger::{Full, Operation};
use crate::limits::{PeerLimits, TooSlow};
use crate::replies::Slow;
use crate::{listener, say};

/// How long a client that broke the rules may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client may take to close when all is said.
const GOODBYE: Duration = Duration::from_millis(300);

/// The longest that a client may have us work, in ms.
const MAX_WORK: u32 = 10_000;

// ANCHOR: run
/// Where the ledger's task takes its requests from.
pub type Requests = mpsc::Sender<Request>;

/// Serves the clients of `listener`. It never returns.
pub async fn run(
    listener: &TcpListener,
    limits: PeerLimits,
    ledger: &Requests,
    drain: &Drain,
) {
    loop {
        let (stream, peer) = listener::accept(listener).await;
        if let Some(slot) = drain.slot() {
            let ledger = ledger.clone();
            tokio::spawn(serve(stream, peer, limits, ledger, slot));
        } else if let Some(place) = drain.refusal() {
            say(format!("server: {peer} is one too many"));
            let mut client = Connection::new(stream, limits);
            tokio::spawn(async move {
                let _place = place;
                refuse(&mut client, OVERLOADED, "too many connections").await;
            });
        } // otherwise there is no time even for that: the stream is dropped
    }
}

/// Serves one client. An error of its connection is reported and ends here.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    limits: PeerLimits,
    ledger: Requests,
    mut slot: Slot,
) {
    say(format!("server: {peer} connected"));
    // Otherwise Nagle's algorithm (RFC 9293 section 3.7.4) would hold a small
    // answer until the client has acknowledged the one before. If the option
    // cannot be set, the connection is already broken; `read` will say how.
    let _ = stream.set_nodelay(true);
    let mut client = Connection::new(stream, limits);
    match answer(&mut client, &ledger, &mut slot).await {
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
// ANCHOR_END: run

// ANCHOR: answer
/// Answers each frame, until the client's stream ends. Returns how many.
pub async fn answer(
    client: &mut Connection<impl AsyncRead + AsyncWrite + Unpin>,
    ledger: &Requests,
    slot: &mut Slot,
) -> Result<usize> {
    let mut sign = pin!(slot.sign());
    let mut total = 0;
    while let Some(kind) = next(client, sign.as_mut()).await? {
        let (payload, replies) = client.frame();
        match kind {
            ECHO => encode(ECHO_REPLY, payload, replies.queue())?,
            WORK => match work(payload) {
                Some((ready, rest)) => {
                    let ready = Slow::Until(ready);
                    encode(WORK_REPLY, rest, replies.queue_after(ready))?;
                }
                None => encode_error(BAD_PAYLOAD, "bad WORK", replies.queue()),
            },
            ADD => match Operation::from_bytes(payload) {
                Some(operation) => {
                    let (reply, answer) = oneshot::channel();
                    let sent = ledger.send(Request { operation, reply }).await;
                    sent.context("the ledger has stopped")?;
                    replies.queue_after(Slow::Answer(operation, answer));
                }
                None => encode_error(BAD_PAYLOAD, "bad ADD", replies.queue()),
            },
            PING => encode_error(BAD_PAYLOAD, "bad PING", replies.queue()),
            _ => encode_error(UNKNOWN_KIND, "unknown kind", replies.queue()),
        }
        total += 1;
    }
    Ok(total)
}

// ANCHOR: next
/// Returns the kind of the next frame. If the sign to leave comes first, says
/// goodbye.
async fn next(
    client: &mut Connection<impl AsyncRead + AsyncWrite + Unpin>,
    sign: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<u8>> {
    if let Some(kind) = client.received()? {
        return Ok(Some(kind)); // it came with the last read: no need to wait
    }
    if !client.is_leaving {
        select! {
            biased; // a client that never pauses must hear it, too
            () = sign => client.leave()?,
            kind = client.receive() => return kind,
        }
    }
    client.receive().await
}
// ANCHOR_END: next

/// Takes a WORK's payload apart: when it is done, and what to return. This
/// server only waits; think of a slow query.
fn work(payload: &[u8]) -> Option<(Instant, &[u8])> {
    let (delay, rest) = payload.split_first_chunk::<4>()?;
    let delay = u32::from_be_bytes(*delay);
    let ready = Instant::now() + Duration::from_millis(delay.into());
    (delay <= MAX_WORK).then_some((ready, rest))
}
// ANCHOR_END: answer

// ANCHOR: give-up
type Client = Connection<TcpStream>;

/// Ends a connection after `error`, and tells a client that broke a rule or
/// sent too slowly. One that does not read gets a reset.
async fn give_up(client: &mut Client, error: &Error) {
    let text = error.root_cause().to_string();
    if let Some(wrong) = error.downcast_ref::<LengthError>() {
        refuse(client, wrong.code(), &text).await;
    }
    if error.is::<Full>() {
        refuse(client, OVERLOADED, &text).await;
    }
    match error.downcast_ref() {
        // It does not read, so an ERROR would not reach it either.
        Some(TooSlow::Write) => drop(client.stream.set_zero_linger()),
        Some(TooSlow::Frame) => refuse(client, TIMEOUT, &text).await,
        // No one is there, or `refuse` has told it, or the stream is broken.
        Some(TooSlow::Silent) | None => {}
    }
}
// ANCHOR_END: give-up

// ANCHOR: refuse
/// Tells the client what it did wrong, behind all replies that it is owed, and
/// closes. If the client has not closed in time, too, the close becomes a reset
/// (RST), so that the kernel does not keep bytes that the client may never read.
async fn refuse(client: &mut Client, code: u8, text: &str) {
    encode_error(code, text, client.replies.queue());
    let told = client.flush().await.is_ok()
        && matches!(timeout(LINGER, end(&mut client.stream)).await, Ok(Ok(())));
    if !told {
        let _ = client.stream.set_zero_linger();
    }
}

/// Sends FIN, then reads on until the client closes. To close with bytes unread
/// would send RST at once, and the client might lose the ERROR.
async fn end(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    copy(stream, &mut sink()).await?; // these bytes are no frames any more
    Ok(())
}
// ANCHOR_END: refuse

#[cfg(test)]
mod tests {
    use super::*;

    use crate::frame;
    use crate::limits::ServerLimits;
    use std::future::pending;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex, split};
    use tokio::net::TcpSocket;
    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    const LIMITS: PeerLimits = PeerLimits {
        heartbeat: Duration::from_secs(5),
        frame: Duration::from_secs(10),
        write: Duration::from_secs(7),
    };
    const HI: &[u8] = b"\0\0\0\x03\x01hi";
    const REPLY: &[u8] = b"\0\0\0\x03\x81hi";
    const PING_0: &[u8] = b"\0\0\0\x09\x02\0\0\0\0\0\0\0\0";
    const PONG_0: &[u8] = b"\0\0\0\x09\x82\0\0\0\0\0\0\0\0";

    /// How a conversation ended, and when. In these tests time stands still,
    /// and jumps when every task waits for it.
    type Server = JoinHandle<(Result<usize>, Duration)>;

    /// A server at the other end of a pipe that holds `size` bytes.
    fn server(size: usize) -> (DuplexStream, Server) {
        server_until(size, pending())
    }

    /// The same, and it is told to stop when `stop` is done.
    fn server_until(
        size: usize,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> (DuplexStream, Server) {
        let (client, end) = duplex(size);
        let start = Instant::now();
        let server = tokio::spawn(async move {
            let mut connection = Connection::new(end, LIMITS);
            let (requests, _) = mpsc::channel(1);
            let one = ServerLimits { connections: 1, drain: LIMITS.write };
            let drain = Drain::new(one);
            let mut slot = drain.slot().unwrap();
            let stops = async {
                stop.await;
                drain.drain().await;
                pending().await
            };
            select! {
                end = answer(&mut connection, &requests, &mut slot) => {
                    (end, start.elapsed())
                }
                () = stops => unreachable!(),
            }
        });
        (client, server)
    }

    /// Asserts that the server found the client too slow after `after` ms.
    async fn assert_too_slow(server: Server, what: TooSlow, after: u64) {
        let (outcome, time) = server.await.unwrap();
        let error = outcome.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&what), "{error:#}");
        // Each look of the clock may be two milliseconds late, and none early.
        let late = time.checked_sub(Duration::from_millis(after));
        assert!(late.unwrap() <= Duration::from_millis(5), "{time:?}");
    }

    async fn hear(client: &mut DuplexStream, bytes: &[u8]) {
        let mut heard = vec![0; bytes.len()];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, bytes);
    }

    /// A WORK of `delay` ms that returns `text`.
    fn work(delay: u32, text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let payload = [&delay.to_be_bytes(), text.as_bytes()].concat();
        frame::encode(WORK, &payload, &mut bytes).unwrap();
        bytes
    }

    async fn ms(n: u64) {
        sleep(Duration::from_millis(n)).await;
    }

    /// After the error, what is left to say must still leave.
    #[tokio::test]
    async fn an_answer_that_never_comes_is_not_awaited_twice() {
        let (_client, end) = duplex(1000);
        let mut connection = Connection::new(end, LIMITS);
        let operation = Operation { client: 1, seq: 1, amount: 5 };
        let (_, never) = oneshot::channel();
        connection.replies.queue_after(Slow::Answer(operation, never));
        assert!(
            connection
                .flush()
                .await
                .unwrap_err()
                .is::<tokio::sync::oneshot::error::RecvError>()
        );
        connection.flush().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_asked_once_and_dead_after_three_intervals() {
        let (mut client, server) = server(1000);
        hear(&mut client, PING_0).await;
        assert_too_slow(server, TooSlow::Silent, 15_000).await;
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_may_stay_silent_for_a_day() {
        let (mut client, server) = server(1000);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(86_400) {
            hear(&mut client, PING_0).await;
            client.write_all(PONG_0).await.unwrap();
        }
        drop(client);
        assert_eq!(server.await.unwrap().0.unwrap(), 0);
    }

    /// A sign of life, but the time of a frame runs from its first byte.
    #[tokio::test(start_paused = true)]
    async fn a_byte_each_second_is_no_silence_and_too_slow() {
        let (mut client, server) = server(1000);
        ms(3_000).await;
        client.write_all(&[0, 0, 0, 99, 1]).await.unwrap();
        for _ in 0..9 {
            ms(1_000).await;
            client.write_all(b"x").await.unwrap();
        }
        assert_too_slow(server, TooSlow::Frame, 13_000).await;
    }

    /// There is always a byte before the timer has had its second look.
    #[tokio::test(start_paused = true)]
    async fn a_byte_each_millisecond_is_too_slow() {
        let (mut client, server) = server(1000);
        client.write_all(&[0, 0, 255, 255, 1]).await.unwrap();
        for _ in 0..10_100 {
            ms(1).await;
            let _ = client.write_all(b"x").await; // until it is cut
        }
        assert_too_slow(server, TooSlow::Frame, 10_000).await;
    }

    /// A frame in two pieces, before and after the moment of a PING: wherever
    /// it is cut, no byte is lost, and the next frame is found.
    #[tokio::test(start_paused = true)]
    async fn pieces_on_both_sides_of_a_tick() {
        for cut in 1..HI.len() {
            let (mut client, server) = server(1000);
            client.write_all(&HI[..cut]).await.unwrap();
            hear(&mut client, PING_0).await;
            client.write_all(&[&HI[cut..], HI].concat()).await.unwrap();
            hear(&mut client, REPLY).await;
            hear(&mut client, REPLY).await;
            drop(client);
            assert_eq!(server.await.unwrap().0.unwrap(), 2);
        }
    }

    /// The next frame starts in the same read: it has its own time.
    #[tokio::test(start_paused = true)]
    async fn a_frame_and_the_start_of_the_next() {
        let (mut client, server) = server(1000);
        client.write_all(&HI[..3]).await.unwrap();
        ms(4_000).await;
        client.write_all(&[&HI[3..], &HI[..3]].concat()).await.unwrap();
        hear(&mut client, REPLY).await;
        assert_too_slow(server, TooSlow::Frame, 14_000).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_pong_overtakes_the_work_and_no_reply_does() {
        let (mut client, server) = server(1000);
        let requests = [&work(4_000, "a"), HI, &work(1_000, "b"), PING_0];
        client.write_all(&requests.concat()).await.unwrap();
        hear(&mut client, PONG_0).await;
        let replies = [b"\0\0\0\x02\x85a", REPLY, b"\0\0\0\x02\x85b"];
        hear(&mut client, &replies.concat()).await;
        drop(client);
        let (outcome, time) = server.await.unwrap();
        assert_eq!(outcome.unwrap(), 3);
        assert_eq!(time.as_secs(), 4);
    }

    /// The client has sent its FIN, so it could not answer a PING either.
    #[tokio::test(start_paused = true)]
    async fn work_is_answered_after_the_clients_end_and_without_a_ping() {
        let (mut client, server) = server(1000);
        client.write_all(&work(10_000, "a")).await.unwrap();
        client.shutdown().await.unwrap();
        hear(&mut client, b"\0\0\0\x02\x85a").await;
        assert_eq!(server.await.unwrap().0.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_work_and_no_ping_is_refused_in_order() {
        let (mut client, server) = server(1000);
        let long = work(10_001, "");
        let requests = [&long[..], b"\0\0\0\x04\x02abc", HI].concat();
        client.write_all(&requests).await.unwrap();
        hear(&mut client, b"\0\0\0\x0a\x7f\x04bad WORK").await;
        hear(&mut client, b"\0\0\0\x0a\x7f\x04bad PING").await;
        hear(&mut client, REPLY).await;
        drop(client);
        assert_eq!(server.await.unwrap().0.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing() {
        let (mut client, server) = server(10);
        client.write_all(HI).await.unwrap();
        ms(4_000).await; // in the pipe: the reply, and three bytes of room
        client.write_all(HI).await.unwrap();
        assert_too_slow(server, TooSlow::Write, 11_000).await;
    }

    /// It sends without a pause, too, so bytes are always there before a timer.
    /// (With real sockets: a pipe in memory leaves pauses.)
    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_takes_nothing_and_never_stops_sending() {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listener::bind(local).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut client = socket.connect(addr).await.unwrap();
        let flood = tokio::spawn(async move {
            let mut echo = Vec::new();
            encode(ECHO, &[0; 60_000], &mut echo).unwrap();
            client.write_all(&echo.repeat(4)).await?;
            loop {
                client.write_all(&PONG_0.repeat(200)).await?;
            }
        });
        let (stream, _) = listener::accept(&listener).await;
        let write = Duration::from_millis(100);
        let mut end = Connection::new(stream, PeerLimits { write, ..LIMITS });
        let (requests, _) = mpsc::channel(1);
        let one = ServerLimits { connections: 1, drain: write };
        let drain = Drain::new(one);
        let mut slot = drain.slot().unwrap();
        let end = timeout(LINGER * 5, answer(&mut end, &requests, &mut slot));
        let error = end.await.expect("the limit holds").unwrap_err();
        flood.abort();
        let _: Result<io::Result<()>, _> = flood.await;
        assert_eq!(error.downcast_ref(), Some(&TooSlow::Write), "{error:#}");
    }

    /// A byte now and then is progress: ten bytes in 40 s, with 7 s for each.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then() {
        let (client, server) = server(4);
        let (mut reader, mut writer) = split(client);
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

    /// A thousand replies wait for 9 s, so the server does not read. It is the
    /// one that is silent: it must neither ask nor count that time for a frame
    /// that has started.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_not_read_is_neither_asked_nor_too_slow() {
        let (mut client, server) = server(100_000);
        for _ in 0..1004 {
            client.write_all(&work(9_000, "")).await.unwrap();
            ms(1).await;
        }
        let last = [&work(9_000, ""), &HI[..3]].concat();
        client.write_all(&last).await.unwrap();
        for _ in 0..1005 {
            hear(&mut client, b"\0\0\0\x01\x85").await;
        }
        ms(3_000).await;
        client.write_all(&HI[3..]).await.unwrap();
        hear(&mut client, REPLY).await;
        drop(client);
        assert_eq!(server.await.unwrap().0.unwrap(), 1006);
    }

    const GOAWAY: &[u8] = b"\0\0\0\x02\x04\x01";

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_hears_goodbye_and_has_a_moment() {
        let (mut client, server) = server_until(1000, ms(100));
        hear(&mut client, GOAWAY).await;
        let (outcome, time) = server.await.unwrap();
        assert_eq!(outcome.unwrap(), 0);
        assert_eq!(time.as_millis(), 401); // with the second look
    }

    /// It is answered, and so is a PING while it waits.
    #[tokio::test(start_paused = true)]
    async fn a_request_that_crossed_the_goodbye() {
        let (mut client, server) = server_until(1000, ms(100));
        hear(&mut client, GOAWAY).await;
        ms(200).await;
        client.write_all(&work(3_000, "a")).await.unwrap();
        ms(1_000).await;
        client.write_all(PING_0).await.unwrap();
        hear(&mut client, PONG_0).await;
        hear(&mut client, b"\0\0\0\x02\x85a").await;
        let (outcome, time) = server.await.unwrap();
        assert_eq!(outcome.unwrap(), 1);
        assert_eq!(time.as_millis(), 3_301);
    }

    /// The goodbye is stuck behind a reply that the client takes late.
    #[tokio::test(start_paused = true)]
    async fn the_moment_begins_when_the_goodbye_has_left() {
        let (mut client, server) = server_until(10, ms(100));
        client.write_all(HI).await.unwrap();
        ms(1_000).await; // in the pipe: the reply, and a piece of the goodbye
        hear(&mut client, REPLY).await;
        hear(&mut client, GOAWAY).await;
        ms(200).await;
        client.write_all(HI).await.unwrap();
        hear(&mut client, REPLY).await;
        let (outcome, time) = server.await.unwrap();
        assert_eq!(outcome.unwrap(), 2);
        assert_eq!(time.as_millis(), 1_301);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_arrived_is_answered_after_a_goodbye() {
        let (mut client, server) = server_until(1000, ms(1_000));
        let requests = [&work(4_000, "a"), HI, &HI[..3]].concat();
        client.write_all(&requests).await.unwrap();
        hear(&mut client, GOAWAY).await;
        hear(&mut client, b"\0\0\0\x02\x85a").await;
        hear(&mut client, REPLY).await;
        let (outcome, time) = server.await.unwrap();
        assert_eq!(outcome.unwrap(), 2); // and half a frame that is let go
        assert_eq!(time.as_secs(), 4);
    }
}

// ANCHOR: connection
//! One WebSocket: messages in and out, within limits, and a heartbeat. The
//! same loop as in step 8; only the frame is another one.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::heartbeat::Heartbeat;
use super::limits::{PeerLimits, TooSlow};
use super::ws::{self, Decoder, Message, PING, PONG, TEXT};

/// While this many bytes wait to leave, we neither read nor take news out of
/// the mailbox. Here a dot can no longer be overwritten, so that is little.
const MAX_OUTPUT: usize = 2 * 1024;

pub struct Connection<S> {
    pub stream: S,
    limits: PeerLimits,
    decoder: Decoder,
    input: Vec<u8>,
    output: Vec<u8>,
    heartbeat: Heartbeat,
    message_end: Option<Instant>,
    write_end: Option<Instant>,
    /// Since when we have read nothing.
    unread_since: Option<Instant>,
    /// Reads nothing for now: an earlier message is still being worked on.
    pub is_paused: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// `input` holds what came behind the handshake.
    pub fn new(stream: S, limits: PeerLimits, input: Vec<u8>) -> Self {
        Connection {
            stream,
            decoder: Decoder::new(true),
            input,
            output: Vec::new(),
            heartbeat: Heartbeat::new(limits.heartbeat),
            limits,
            message_end: None,
            write_end: None,
            unread_since: None,
            is_paused: false,
        }
    }

    /// Queues a line. It leaves while [`receive`](Connection::receive) or
    /// [`flush`](Connection::flush) waits.
    pub fn send(&mut self, line: &str) {
        ws::encode(TEXT, line.as_bytes(), None, &mut self.output);
    }

    /// Queues a goodbye, the last frame.
    pub fn close(&mut self, code: u16, reason: &str) {
        ws::encode_close(code, reason, &mut self.output);
    }

    /// Is there room for more output?
    pub fn has_room(&self) -> bool {
        self.output.len() < MAX_OUTPUT
    }
    // ANCHOR_END: connection

    // ANCHOR: receive
    /// Returns the next message, or `None` as soon as there is room for output
    /// again. It has answered a PING already, and writes what waits. You may
    /// drop this future at any `.await` and call it again: what has arrived, or
    /// has not left yet, stays in `self`.
    ///
    /// # Errors
    /// The peer broke the protocol ([`ws::Wrong`]), a limit ([`TooSlow`]), or
    /// the connection.
    pub async fn receive(&mut self) -> Result<Option<Message>> {
        loop {
            let had_room = self.has_room();
            if let Some(message) = self.decode()? {
                if let Message::Ping(payload) = &message {
                    ws::encode(PONG, payload, None, &mut self.output);
                }
                return Ok(Some(message));
            }
            self.step().await?;
            if !had_room && self.has_room() {
                return Ok(None);
            }
        }
    }

    fn reads(&self) -> bool {
        !self.is_paused && self.has_room()
    }

    fn decode(&mut self) -> Result<Option<Message>> {
        if !self.reads() {
            return Ok(None);
        }
        let mut rest = &self.input[..];
        let message = self.decoder.decode(&mut rest)?;
        let used = self.input.len() - rest.len();
        self.input.drain(..used);
        // One limit for a whole message, however many fragments it comes in,
        // and whatever comes between them.
        if message.is_some() && !self.decoder.is_inside() {
            self.message_end = None;
        }
        Ok(message)
    }

    /// Writes what waits, and reads nothing more.
    pub async fn flush(&mut self) -> Result<()> {
        self.is_paused = true;
        while !self.output.is_empty() {
            self.step().await?;
        }
        Ok(())
    }
    // ANCHOR_END: receive

    // ANCHOR: step
    /// Waits for one of three: the kernel takes bytes, bytes arrive, or a timer
    /// fires.
    async fn step(&mut self) -> Result<()> {
        let reads = self.reads();
        let wake = self.wake(Instant::now(), reads)?;
        let writes = !self.output.is_empty();
        let (mut reader, mut writer) = split(&mut self.stream);
        select! {
            biased; // writing first: a peer that never pauses must be answered
            n = writer.write(&self.output), if writes => {
                let n = n.context("cannot write")?;
                self.output.drain(..n);
                self.write_end = None; // progress buys new time
            }
            n = reader.read_buf(&mut self.input), if reads => {
                let n = n.context("cannot read")?;
                ensure!(n > 0, "ended without a goodbye");
                self.heartbeat.heard();
            }
            () = sleep_until(wake) => {} // the next step does what is due
        }
        Ok(())
    }

    /// Does what is due, and returns when to call this again. A peer cannot
    /// help it if we do not read: its clocks stand still meanwhile.
    fn wake(&mut self, now: Instant, reads: bool) -> Result<Instant> {
        let has_passed = self.write_end.is_some_and(|end| end <= now);
        ensure!(!has_passed, TooSlow::Write);
        if !reads {
            self.heartbeat.heard();
            self.unread_since.get_or_insert(now);
        } else {
            if let Some(since) = self.unread_since.take() {
                self.message_end = self.message_end.map(|e| e + (now - since));
            }
            let has_passed = self.message_end.is_some_and(|end| end <= now);
            ensure!(!has_passed, TooSlow::Frame);
            if self.heartbeat.beat(now)? {
                ws::encode(PING, b"", None, &mut self.output);
            }
        }
        if !self.output.is_empty() {
            self.write_end.get_or_insert(now + self.limits.write);
        }
        let is_inside = !self.input.is_empty() || self.decoder.is_inside();
        if reads && is_inside {
            self.message_end.get_or_insert(now + self.limits.frame);
        }
        let beat = reads.then(|| self.heartbeat.next(now));
        let message_end = self.message_end.filter(|_| reads);
        let ends = [self.write_end, message_end, beat];
        let end = ends.into_iter().flatten().min();
        Ok(end.unwrap_or(now + self.limits.heartbeat))
    }
}
// ANCHOR_END: step

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::{sleep, timeout};

    const LIMITS: PeerLimits = PeerLimits {
        heartbeat: Duration::from_secs(5),
        frame: Duration::from_secs(10),
        write: Duration::from_secs(7),
    };
    const SECOND: Duration = Duration::from_secs(1);
    const HI: &[u8] = b"\x81\x82\0\0\0\0hi";

    /// A connection over a pipe that holds `size` bytes, and its other end.
    fn pair(size: usize) -> (Connection<DuplexStream>, DuplexStream) {
        let (end, other) = duplex(size);
        (Connection::new(end, LIMITS, Vec::new()), other)
    }

    fn limit(error: anyhow::Error) -> TooSlow {
        *error.downcast_ref().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_asked_and_given_up() {
        let (mut connection, mut peer) = pair(64);
        let start = Instant::now();
        let error = connection.receive().await.unwrap_err();
        assert_eq!(limit(error), TooSlow::Silent);
        assert_eq!(start.elapsed().as_secs(), 15);
        let mut ping = [0; 2];
        peer.read_exact(&mut ping).await.unwrap();
        assert_eq!(ping, [0x89, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_has_one_limit_however_it_comes() {
        for drip in [&b"\x00\x80\0\0\0\0"[..], b"\x89\x80\0\0\0\0"] {
            let (mut connection, mut peer) = pair(1 << 16);
            tokio::spawn(async move {
                peer.write_all(b"\x01\x80\0\0\0\0").await.unwrap();
                while peer.write_all(drip).await.is_ok() {
                    sleep(SECOND).await;
                }
            });
            let start = Instant::now();
            assert_eq!(limit(error(&mut connection).await), TooSlow::Frame);
            assert_eq!(start.elapsed().as_secs(), 10);
        }
    }

    /// However much it sends before.
    async fn error(connection: &mut Connection<DuplexStream>) -> anyhow::Error {
        loop {
            if let Err(error) = connection.receive().await {
                return error;
            }
        }
    }

    /// While we do not read, neither of the two clocks runs, and neither
    /// starts anew.
    #[tokio::test(start_paused = true)]
    async fn a_pause_shifts_the_limits() {
        let read = async |connection: &mut Connection<DuplexStream>, secs| {
            let _ = timeout(secs * SECOND, connection.receive()).await;
        };
        let (mut connection, mut peer) = pair(64);
        peer.write_all(b"\x01\x80\0\0\0\0").await.unwrap();
        read(&mut connection, 4).await;
        connection.is_paused = true;
        read(&mut connection, 60).await;
        connection.is_paused = false;
        let start = Instant::now();
        assert_eq!(limit(error(&mut connection).await), TooSlow::Frame);
        assert_eq!(start.elapsed().as_secs(), 6);

        let (mut connection, _peer) = pair(64);
        read(&mut connection, 4).await;
        connection.is_paused = true;
        read(&mut connection, 60).await;
        connection.is_paused = false;
        let start = Instant::now();
        assert_eq!(limit(error(&mut connection).await), TooSlow::Silent);
        assert_eq!(start.elapsed().as_secs(), 15);
    }

    /// Between two messages the clock starts anew.
    #[tokio::test(start_paused = true)]
    async fn many_messages_are_no_long_one() {
        let (mut connection, mut peer) = pair(64);
        tokio::spawn(async move {
            // Each write ends one message and begins the next.
            peer.write_all(&HI[..3]).await.unwrap();
            loop {
                sleep(6 * SECOND).await;
                peer.write_all(&HI[3..]).await.unwrap();
                peer.write_all(&HI[..3]).await.unwrap();
            }
        });
        for _ in 0..5 {
            let message = connection.receive().await.unwrap();
            assert_eq!(message, Some(Message::Text("hi".to_owned())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_may_not_stand_still_and_may_be_slow() {
        let (mut connection, _peer) = pair(64);
        connection.send(&"x".repeat(1000));
        let start = Instant::now();
        let error = connection.flush().await.unwrap_err();
        assert_eq!(limit(error), TooSlow::Write);
        assert_eq!(start.elapsed().as_secs(), 7);

        let (mut connection, mut peer) = pair(64);
        connection.send(&"x".repeat(1000));
        tokio::spawn(async move {
            loop {
                sleep(5 * SECOND).await;
                peer.read_exact(&mut [0; 64]).await.unwrap();
            }
        });
        let start = Instant::now();
        connection.flush().await.unwrap();
        assert!(start.elapsed() > 10 * LIMITS.write);
    }

    /// Otherwise whoever waits for room would wait until the peer speaks.
    #[tokio::test(start_paused = true)]
    async fn it_says_when_there_is_room_again() {
        let (mut connection, mut peer) = pair(64);
        while connection.has_room() {
            connection.send("some line");
        }
        tokio::spawn(async move {
            while peer.read_exact(&mut [0; 64]).await.is_ok() {}
            sleep(SECOND).await;
        });
        assert_eq!(connection.receive().await.unwrap(), None);
        assert!(connection.has_room());
    }

    /// A peer that sends PINGs and does not read must not fill our memory.
    #[tokio::test(start_paused = true)]
    async fn pongs_that_nobody_reads_are_bounded() {
        let (mut connection, mut peer) = pair(64);
        tokio::spawn(async move {
            let ping = [&b"\x89\xfd\0\0\0\0"[..], &[b'p'; 125]].concat();
            while peer.write_all(&ping).await.is_ok() {}
        });
        assert_eq!(limit(error(&mut connection).await), TooSlow::Write);
        assert!(connection.output.len() < MAX_OUTPUT + 200);
        assert!(connection.input.len() < 16 * 1024);
    }
}

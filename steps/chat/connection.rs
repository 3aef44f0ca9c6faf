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
/// the mailbox.
const MAX_OUTPUT: usize = 16 * 1024;

pub struct Connection<S> {
    pub stream: S,
    limits: PeerLimits,
    decoder: Decoder,
    input: Vec<u8>,
    output: Vec<u8>,
    heartbeat: Heartbeat,
    message_end: Option<Instant>,
    write_end: Option<Instant>,
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
    /// Returns the next text, or a CLOSE, or `None` as soon as there is room for
    /// output again. It answers each PING itself, and writes what waits. You may
    /// drop this future at any `.await` and call it again: what has arrived, or
    /// has not left yet, stays in `self`.
    ///
    /// # Errors
    /// The peer broke the protocol ([`ws::Wrong`]), a limit ([`TooSlow`]), or
    /// the connection.
    pub async fn receive(&mut self) -> Result<Option<Message>> {
        loop {
            let had_room = self.has_room();
            match self.take()? {
                Some(Message::Ping(payload)) => {
                    ws::encode(PONG, &payload, None, &mut self.output);
                }
                Some(Message::Pong) => {} // a sign of life, as any byte is
                Some(message) => return Ok(Some(message)),
                None => self.step().await?,
            }
            if !had_room && self.has_room() {
                return Ok(None);
            }
        }
    }

    fn reads(&self) -> bool {
        !self.is_paused && self.has_room()
    }

    fn take(&mut self) -> Result<Option<Message>> {
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
    /// help it if we do not read, so its clocks start anew after that.
    fn wake(&mut self, now: Instant, reads: bool) -> Result<Instant> {
        let has_passed = |end: Option<Instant>| end.is_some_and(|e| e <= now);
        ensure!(!has_passed(self.write_end), TooSlow::Write);
        if !reads {
            self.heartbeat.heard();
            self.message_end = None;
        }
        ensure!(!has_passed(self.message_end), TooSlow::Frame);
        if reads && self.heartbeat.beat(now)? {
            ws::encode(PING, b"", None, &mut self.output);
        }
        if !self.output.is_empty() {
            self.write_end.get_or_insert(now + self.limits.write);
        }
        let is_inside = !self.input.is_empty() || self.decoder.is_inside();
        if reads && is_inside {
            self.message_end.get_or_insert(now + self.limits.frame);
        }
        let mut ends = vec![self.write_end, self.message_end];
        ends.push(reads.then(|| self.heartbeat.next(now)));
        let end = ends.into_iter().flatten().min();
        Ok(end.unwrap_or(now + self.limits.heartbeat))
    }
}
// ANCHOR_END: step

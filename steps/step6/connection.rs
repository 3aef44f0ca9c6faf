// ANCHOR: connection
//! One end of a connection: frames in and out, within limits, and a heartbeat.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::select;
use tokio::time::{Instant, sleep, sleep_until};

use crate::frame::{self, Frame, LengthError, PING, PONG};
use crate::heartbeat::{Beat, Heartbeat};
use crate::limits::{PeerLimits, TooSlow};

/// Room for received bytes, in bytes; it grows for a frame that is larger.
const BUFFER: usize = 4 * 1024;

/// We stop reading while this many bytes wait to leave, or this many replies
/// wait to be ready.
const MAX_BYTES: usize = 256 * 1024;
const MAX_REPLIES: usize = 1000;

/// How many bytes a PING carries, and the PONG that answers it.
const PING_SIZE: usize = 8;

pub struct Connection<R, W> {
    pub reader: R,
    pub writer: W,
    limits: PeerLimits,
    input: Vec<u8>,
    used: usize,     // how much of `input` has become frames
    output: Vec<u8>, // what the kernel has not taken yet
    later: VecDeque<(Instant, Vec<u8>)>, // replies, and when they are ready
    heartbeat: Heartbeat,
    pings: u64,
    frame_end: Option<Instant>,
    write_end: Option<Instant>,
    write_error: Option<io::Error>,
    has_ended: bool, // nothing more is read
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    pub fn new(reader: R, writer: W, limits: PeerLimits) -> Self {
        Connection {
            reader,
            writer,
            input: Vec::with_capacity(BUFFER),
            used: 0,
            output: Vec::new(),
            later: VecDeque::new(),
            heartbeat: Heartbeat::new(limits.heartbeat),
            pings: 0,
            limits,
            frame_end: None,
            write_end: None,
            write_error: None,
            has_ended: false,
        }
    }
    // ANCHOR_END: connection

    // ANCHOR: receive
    /// Returns the kind and the payload of the next frame, or `None` if the
    /// stream has ended and all replies have left. It deals with PING and PONG
    /// itself, and writes what waits.
    ///
    /// You may drop this future at any `.await` and call it again: whatever has
    /// arrived, or has not left yet, stays in `self`.
    ///
    /// # Errors
    /// The peer broke the protocol, a limit, or the connection.
    pub async fn receive(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        loop {
            match self.take()? {
                // Before the replies that wait: it tells that we live.
                Some((PING, payload)) if payload.len() == PING_SIZE => {
                    frame::encode(PONG, &payload, &mut self.output)?;
                }
                Some((PONG, _)) => {} // a sign of life, as any byte is
                Some(frame) => return Ok(Some(frame)),
                None if self.has_ended && !self.is_full() => break,
                None => self.step().await?,
            }
        }
        self.flush().await?;
        ensure!(!self.has_input(), "ended in the middle of a frame");
        Ok(None)
    }

    /// Takes the first frame off what has arrived, if we have room for a reply.
    fn take(&mut self) -> Result<Option<(u8, Vec<u8>)>, LengthError> {
        let mut rest = &self.input[self.used..];
        if self.is_full() {
            return Ok(None);
        }
        let Some(Frame { kind, payload }) = frame::decode(&mut rest)? else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.used = self.input.len() - rest.len();
        self.frame_end = None; // the next frame has its own time
        Ok(Some((kind, payload)))
    }

    fn is_full(&self) -> bool {
        let waiting = self.later.iter().map(|(_, bytes)| bytes.len());
        self.output.len() + waiting.sum::<usize>() > MAX_BYTES
            || self.later.len() > MAX_REPLIES
    }

    /// Is there a piece of a frame?
    pub fn has_input(&self) -> bool {
        self.used < self.input.len()
    }
    // ANCHOR_END: receive

    // ANCHOR: send
    /// Queues a frame. It leaves in [`receive`](Connection::receive) or
    /// [`flush`](Connection::flush), behind all earlier replies.
    ///
    /// # Errors
    /// The payload is too large for a frame.
    pub fn send(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        Ok(frame::encode(kind, payload, self.queue(None))?)
    }

    /// The same, but not before the moment `ready`.
    pub fn send_at(
        &mut self,
        ready: Instant,
        kind: u8,
        payload: &[u8],
    ) -> Result<()> {
        Ok(frame::encode(kind, payload, self.queue(Some(ready)))?)
    }

    pub fn send_error(&mut self, code: u8, text: &str) {
        frame::encode_error(code, text, self.queue(None));
    }

    /// Replies leave in the order of their requests: one that is ready sooner
    /// than the one before it is appended to that.
    fn queue(&mut self, ready: Option<Instant>) -> &mut Vec<u8> {
        let last = self.later.back().map(|(ready, _)| *ready);
        if let Some(ready) = ready.filter(|ready| Some(*ready) > last) {
            self.later.push_back((ready, Vec::new()));
        }
        match self.later.back_mut() {
            Some((_, bytes)) => bytes,
            None => &mut self.output,
        }
    }

    /// Waits until all replies are ready and the kernel has taken them.
    pub async fn flush(&mut self) -> Result<()> {
        self.has_ended = true;
        while !self.output.is_empty() || !self.later.is_empty() {
            self.step().await?;
        }
        match self.write_error.take() {
            Some(error) => Err(error).context("cannot write"),
            None => Ok(()),
        }
    }
    // ANCHOR_END: send

    // ANCHOR: step
    /// Waits for one of three: the kernel takes bytes, bytes arrive, or a timer
    /// fires. What loses is dropped halfway, so each of them must lose nothing
    /// then: `write` and `read_buf`, not `write_all` and `read_exact`.
    async fn step(&mut self) -> Result<()> {
        let now = Instant::now();
        while self.later.front().is_some_and(|(ready, _)| *ready <= now) {
            let bytes = self.later.pop_front().map(|(_, bytes)| bytes);
            self.output.extend(bytes.unwrap_or_default());
        }
        self.input.drain(..self.used);
        self.used = 0;
        let reads = !self.has_ended && !self.is_full();
        let writes = !self.output.is_empty();
        let end = self.next_end(now, reads);
        select! {
            // In this order: a peer that sends without a pause must not keep
            // us from writing, and what has arrived counts before a timer.
            biased;
            n = self.writer.write(&self.output), if writes => {
                self.wrote(n);
            }
            n = self.reader.read_buf(&mut self.input), if reads => {
                self.has_ended = n.context("cannot read")? == 0;
                self.heartbeat.heard();
            }
            () = clock(end) => self.tick(Instant::now())?,
        }
        Ok(())
    }

    fn wrote(&mut self, n: io::Result<usize>) {
        match n {
            Ok(n) => drop(self.output.drain(..n)),
            // The peer may have said why before it closed, so read on.
            Err(error) => {
                self.output.clear();
                self.write_error = Some(error);
            }
        }
        self.write_end = None; // each part that the kernel takes buys new time
    }

    /// Returns when the first timer fires. A peer cannot help it if we do not
    /// read, so its clocks stand still then.
    fn next_end(&mut self, now: Instant, reads: bool) -> Instant {
        let mut beat = None;
        if reads {
            beat = Some(self.heartbeat.next(now));
        } else {
            self.heartbeat.heard();
            self.frame_end = None;
        }
        if reads && self.has_input() {
            self.frame_end.get_or_insert(now + self.limits.frame);
        }
        if !self.output.is_empty() {
            self.write_end.get_or_insert(now + self.limits.write);
        }
        let ready = self.later.front().map(|(ready, _)| *ready);
        let ends = [self.frame_end, self.write_end, ready, beat];
        ends.into_iter().flatten().min().unwrap_or(now)
    }

    /// Does what is due.
    fn tick(&mut self, now: Instant) -> Result<()> {
        let has_passed = |end: Option<Instant>| end.is_some_and(|e| e <= now);
        ensure!(!has_passed(self.write_end), TooSlow::Write);
        ensure!(!has_passed(self.frame_end), TooSlow::Frame);
        match self.heartbeat.beat(now) {
            None => {}
            Some(Beat::Ask) => {
                self.pings += 1;
                let payload = self.pings.to_be_bytes();
                frame::encode(PING, &payload, &mut self.output)?;
                // The room of large frames, for as long as a peer is silent.
                self.input.shrink_to(BUFFER);
                self.output.shrink_to(BUFFER);
            }
            Some(Beat::GiveUp) => bail!(TooSlow::Silent),
        }
        Ok(())
    }
}

const SECOND_LOOK: Duration = Duration::from_millis(1);

/// Waits until `end`, and a moment longer.
async fn clock(end: Instant) {
    sleep_until(end).await;
    // If this process was stopped for a while (Ctrl-Z), its epoll_wait(2) ended
    // without events (signal(7)), and the timer fired before the runtime had
    // seen what arrived meanwhile. When a second timer fires, it has looked.
    sleep(SECOND_LOOK).await;
}
// ANCHOR_END: step

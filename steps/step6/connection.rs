// ANCHOR: connection
//! One end of a connection: frames in and out, within limits, and a heartbeat.

use std::io;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use crate::frame::{self, LengthError, MAX_LENGTH, PING, PONG};
use crate::heartbeat::Heartbeat;
use crate::limits::{PeerLimits, TooSlow};
use crate::replies::{Replies, finished};

/// Room for received bytes, in bytes; it grows when it is full.
const BUFFER: usize = 4 * 1024;

/// How many bytes a PING carries, and the PONG that answers it.
const PING_SIZE: usize = 8;

/// We act on a timer this long after we saw that it has fired. If this process
/// was stopped for a while (Ctrl-Z), its epoll_wait(2) ended without events
/// (signal(7)), and the runtime has not seen yet what arrived meanwhile.
const SECOND_LOOK: Duration = Duration::from_millis(1);

pub struct Connection<S> {
    pub stream: S,
    limits: PeerLimits,
    input: Vec<u8>,
    used: usize,           // how much of `input` has become frames
    payload: Range<usize>, // where in `input` that of the last frame is
    pub replies: Replies,
    heartbeat: Heartbeat,
    frame_end: Option<Instant>,
    write_end: Option<Instant>,
    second_look: Option<Instant>,
    write_error: Option<io::ErrorKind>,
    has_ended: bool, // nothing more is read
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(stream: S, limits: PeerLimits) -> Self {
        Connection {
            stream,
            input: Vec::with_capacity(BUFFER),
            used: 0,
            payload: 0..0,
            replies: Replies::default(),
            heartbeat: Heartbeat::new(limits.heartbeat),
            limits,
            frame_end: None,
            write_end: None,
            second_look: None,
            write_error: None,
            has_ended: false,
        }
    }
    // ANCHOR_END: connection

    // ANCHOR: receive
    /// Returns the kind of the next frame, or `None` if the stream has ended and
    /// all replies have left. It deals with PING and PONG itself, and writes
    /// what waits.
    ///
    /// You may drop this future at any `.await` and call it again: whatever has
    /// arrived, or has not left yet, stays in `self`.
    ///
    /// # Errors
    /// The peer broke the protocol, a limit, or the connection.
    pub async fn receive(&mut self) -> Result<Option<u8>> {
        loop {
            match self.take()? {
                // Before the replies that wait: it tells that we live.
                Some(PING) if self.payload.len() == PING_SIZE => {
                    let payload = &self.input[self.payload.clone()];
                    frame::encode(PONG, payload, &mut self.replies.output)?;
                }
                Some(PONG) => {} // a sign of life, as any byte is
                Some(kind) => return Ok(Some(kind)),
                None if self.has_ended && !self.replies.are_full() => break,
                None => self.step().await?,
            }
        }
        self.flush().await?;
        ensure!(!self.has_input(), "ended in the middle of a frame");
        Ok(None)
    }

    /// Takes the first frame off what has arrived, if we have room for a reply.
    fn take(&mut self) -> Result<Option<u8>, LengthError> {
        if self.replies.are_full() {
            return Ok(None);
        }
        let mut rest = &self.input[self.used..];
        let Some(frame) = frame::decode(&mut rest)? else { return Ok(None) };
        self.used = self.input.len() - rest.len();
        self.payload = self.used - frame.payload.len()..self.used;
        self.frame_end = None; // the next frame has its own time
        Ok(Some(frame.kind))
    }

    /// The payload of the frame that [`receive`](Connection::receive) has
    /// announced, and where its reply goes.
    pub fn frame(&mut self) -> (&[u8], &mut Replies) {
        (&self.input[self.payload.clone()], &mut self.replies)
    }

    /// Is there a piece of a frame?
    pub fn has_input(&self) -> bool {
        self.used < self.input.len()
    }
    // ANCHOR_END: receive

    // ANCHOR: flush
    /// Waits until all replies are ready and the kernel has taken them. From
    /// now on nothing is read.
    pub async fn flush(&mut self) -> Result<()> {
        self.has_ended = true;
        while !self.replies.is_empty() {
            self.step().await?;
        }
        self.write_error
            .map_or(Ok(()), |e| Err(io::Error::from(e)))
            .context("cannot write")
    }
    // ANCHOR_END: flush

    // ANCHOR: step
    /// Waits for one of four: a reply is ready, the kernel takes bytes, bytes
    /// arrive, or a timer fires. The other three are dropped halfway, and must
    /// lose nothing then: `write` and `read_buf`, not `write_all` and
    /// `read_exact`.
    async fn step(&mut self) -> Result<()> {
        self.input.drain(..self.used);
        self.used = 0;
        self.payload = 0..0; // these bytes have moved
        give_back(&mut self.input, BUFFER);
        let reads = !self.has_ended && !self.replies.are_full();
        let wake = self.wake(Instant::now(), reads)?;
        let Replies { output, later } = &mut self.replies;
        let writes = !output.is_empty();
        let (mut reader, mut writer) = split(&mut self.stream);
        select! {
            // In this order: a peer that sends without a pause must not keep
            // us from answering, and what has arrived counts before a timer.
            biased;
            bytes = finished(later) => output.extend(bytes),
            n = writer.write(output), if writes => self.wrote(n),
            n = reader.read_buf(&mut self.input), if reads => {
                self.has_ended = n.context("cannot read")? == 0;
                self.heartbeat.heard();
                if self.input.len() == BUFFER {
                    self.input.reserve(MAX_LENGTH); // there is more
                }
            }
            () = sleep_until(wake) => {} // the next step does what is due
        }
        Ok(())
    }

    /// Notes what `write` says. What the kernel takes buys new time.
    fn wrote(&mut self, n: io::Result<usize>) {
        // After an error no byte will leave, but read on: the peer may have said
        // why before it closed.
        let error = n.as_ref().err().map(|e| e.kind());
        self.write_error = self.write_error.or(error);
        self.write_end = None;
        let output = &mut self.replies.output;
        output.drain(..n.unwrap_or(output.len()));
        give_back(output, 0);
    }

    /// Does what is due, and returns when to call this again.
    fn wake(&mut self, now: Instant, reads: bool) -> Result<Instant> {
        let end = self.next_end(now, reads);
        if now < end {
            self.second_look = None;
            return Ok(end);
        }
        let look = *self.second_look.get_or_insert(now + SECOND_LOOK);
        if look <= now {
            self.tick(now)?;
        }
        Ok(look)
    }

    /// Returns when the first timer fires. A peer cannot help it if we do not
    /// read, so its clocks start anew after that.
    fn next_end(&mut self, now: Instant, reads: bool) -> Instant {
        let mut beat = now + self.limits.heartbeat;
        if reads {
            beat = self.heartbeat.next(now);
        } else {
            self.heartbeat.heard();
            self.frame_end = None;
        }
        if reads && self.has_input() {
            self.frame_end.get_or_insert(now + self.limits.frame);
        }
        if !self.replies.output.is_empty() {
            self.write_end.get_or_insert(now + self.limits.write);
        }
        let ends = [self.frame_end, self.write_end].into_iter().flatten();
        ends.fold(beat, Instant::min)
    }

    /// Does what is due.
    fn tick(&mut self, now: Instant) -> Result<()> {
        let has_passed = |end: Option<Instant>| end.is_some_and(|e| e <= now);
        ensure!(!has_passed(self.write_end), TooSlow::Write);
        ensure!(!has_passed(self.frame_end), TooSlow::Frame);
        if self.heartbeat.beat(now)? {
            let output = &mut self.replies.output;
            frame::encode(PING, &[0; PING_SIZE], output)?;
            // A silent peer does not need the places of slow replies.
            self.replies.later.shrink_to_fit();
        }
        Ok(())
    }
}

/// Gives the room of a large frame back, all but `rest` bytes, once it is empty.
/// Otherwise it would cost us for as long as the peer stays.
fn give_back(bytes: &mut Vec<u8>, rest: usize) {
    if bytes.is_empty() && bytes.capacity() > BUFFER {
        *bytes = Vec::with_capacity(rest);
    }
}
// ANCHOR_END: step

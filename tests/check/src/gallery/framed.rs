//! Steps 4 and 5: frames, and the limits of a server.

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::kinds::{answer, desyncs};
use crate::limits::Limits;
use crate::wire::{ECHO, ERROR, MAX, Parsed, REPLY, error, frame, parse};
use crate::{echo, on, stop};

/// Why a connection is over.
pub enum Over {
    /// The client ended.
    End,
    /// It is refused with this code.
    Refused(u8),
}

static ALL: Mutex<Vec<TcpStream>> = Mutex::new(Vec::new());

pub fn serve(step: u8, stream: &mut TcpStream) -> io::Result<()> {
    if on("one-error-ends-all")
        && let (Ok(mut all), Ok(copy)) = (ALL.lock(), stream.try_clone())
    {
        all.push(copy);
    }
    let limits = Limits::of(step);
    stream.set_write_timeout(limits.write)?;
    let mut talk = Talk::new(stream, limits);
    match talk.all()? {
        Over::End => Ok(()),
        Over::Refused(code) => refuse(stream, code),
    }
}

/// Sends ERROR and FIN, and then throws away all that still comes.
pub fn refuse(stream: &mut TcpStream, code: u8) -> io::Result<()> {
    let code = match code {
        5 if on("wrong-timeout-code") => 4,
        code => code,
    };
    if on("one-error-ends-all") {
        for other in ALL.lock().iter().flat_map(|all| all.iter()) {
            let _ = other.shutdown(Shutdown::Both);
        }
    }
    if on("slot-lost-at-refusal") && code != 6 {
        stop::lose_slot();
    }
    if on("dies-on-bad-frame") {
        std::process::exit(1);
    }
    if on("closes-silently") || code == 5 && on("timeout-is-silent") {
        return stream.shutdown(Shutdown::Both);
    }
    echo::write(stream, &error(code, "refused"))?;
    if on("stays-open-after-error") {
        loop {
            thread::park();
        }
    }
    if on("resets-after-error") {
        return Ok(()); // closed with bytes unread
    }
    linger(stream)
}

fn linger(stream: &mut TcpStream) -> io::Result<()> {
    if !on("ends-late") {
        stream.shutdown(Shutdown::Write)?;
    }
    let end = Instant::now() + Duration::from_secs(1);
    let mut trash = [0; 65_536];
    while let Some(left) = match on("drains-for-ever") {
        true => Some(Duration::from_secs(1)), // for each read
        false => end.checked_duration_since(Instant::now()),
    } {
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut trash) {
            Ok(0) => return Ok(()), // the client has ended, too
            Err(_) if on("drains-for-ever") => break,
            Ok(_) | Err(_) => {}
        }
    }
    // The client may never read what we sent. After a close the kernel would
    // keep those bytes for minutes; a reset throws them away.
    if !on("keeps-unsent") && !on("ends-late") {
        SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// A queue without a limit, and a thread that writes what is in it.
pub fn write_later(stream: &TcpStream) -> mpsc::Sender<Vec<u8>> {
    let (sender, receiver) = mpsc::channel::<Vec<u8>>();
    if let Ok(mut copy) = stream.try_clone() {
        thread::spawn(move || {
            while let Ok(bytes) = receiver.recv() {
                let _ = echo::write(&mut copy, &bytes);
            }
        });
    }
    sender
}

/// One conversation.
struct Talk<'a> {
    stream: &'a mut TcpStream,
    limits: Limits,
    input: Vec<u8>,
    /// Since when we wait for a frame, and for its rest.
    idle_since: Instant,
    frame_since: Option<Instant>,
    born: Instant,
    has_answered: bool,
    is_late: bool,
    reserved: Vec<u8>,
    later: Option<mpsc::Sender<Vec<u8>>>,
}

impl<'a> Talk<'a> {
    fn new(stream: &'a mut TcpStream, limits: Limits) -> Talk<'a> {
        let later = on("unbounded-replies").then(|| write_later(stream));
        Talk {
            stream,
            limits,
            input: Vec::new(),
            idle_since: Instant::now(),
            frame_since: None,
            born: Instant::now(),
            has_answered: false,
            is_late: false,
            reserved: Vec::new(),
            later,
        }
    }

    fn all(&mut self) -> io::Result<Over> {
        let mut buffer = vec![0; 65_536];
        loop {
            let n = match self.read(&mut buffer) {
                Ok(n) => n,
                Err(error) if is_timeout(&error) => {
                    return Ok(Over::Refused(5));
                }
                Err(error) => return Err(error),
            };
            if n == 0 {
                return self.at_end();
            }
            if on("read-is-message") {
                self.input.clear();
            }
            self.input.extend_from_slice(&buffer[..n]);
            if let Some(over) = self.answer_all()? {
                return Ok(over);
            }
        }
    }

    /// Reads, until the limit that counts now is over.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let end = self.deadline();
            let left = self.time_left(end)?;
            let tick = Duration::from_millis(100);
            let left = match on("timer-drops-bytes") {
                true => Some(left.map_or(tick, |left| left.min(tick))),
                false => left,
            };
            self.stream.set_read_timeout(left)?;
            self.ask_the_clock_first(end)?;
            match self.stream.read(buffer) {
                Ok(n) => {
                    self.note(n);
                    return Ok(n);
                }
                // A stop and a go on interrupt a read with a limit (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    self.drop_bytes();
                    if end.is_some_and(|end| Instant::now() >= end) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How long a read may take. At the limit there is one more look, for what
    /// came in time, and no other.
    fn time_left(
        &mut self,
        end: Option<Instant>,
    ) -> io::Result<Option<Duration>> {
        let Some(end) = end else { return Ok(None) };
        let left = end.saturating_duration_since(Instant::now());
        let had_its_look = self.is_late;
        self.is_late = left.is_zero();
        if on("grace-at-each-byte") {
            return Ok(Some(left.max(Duration::from_millis(20))));
        }
        if self.is_late && had_its_look {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(Some(left.max(Duration::from_millis(1))))
    }

    fn drop_bytes(&mut self) {
        if on("timer-drops-bytes") {
            self.input.clear();
            self.frame_since = None;
        }
    }

    /// Two defects ask the clock before they look at the socket.
    fn ask_the_clock_first(&self, end: Option<Instant>) -> io::Result<()> {
        let waits = on("timer-before-data");
        if !waits && !on("clock-runs-while-writing") {
            return Ok(());
        }
        loop {
            if waits {
                thread::sleep(Duration::from_millis(50));
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Err(ErrorKind::TimedOut.into());
            }
            if !waits {
                return Ok(());
            }
            self.stream.set_nonblocking(true)?;
            let seen = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            if !seen.is_err_and(|error| is_timeout(&error)) {
                return Ok(());
            }
        }
    }

    /// A frame's time starts with its first byte.
    fn note(&mut self, n: usize) {
        let now = Instant::now();
        let is_late = on("no-limit-in-header") && self.input.len() + n < 4;
        let is_later = self.has_answered && on("first-frame-only");
        if self.frame_since.is_none() && !is_late && !is_later
            || on("per-read-timer")
        {
            self.frame_since = Some(now);
        }
        if is_late || is_later {
            self.idle_since = now + Duration::from_secs(60);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let idle = self.limits.idle.map(|limit| self.idle_since + limit);
        match self.frame_since {
            None => idle,
            Some(_) if on("idle-inside-frame") => {
                self.limits.idle.map(|limit| Instant::now() + limit)
            }
            Some(since) => self.limits.frame.map(|limit| since + limit),
        }
    }

    fn answer_all(&mut self) -> io::Result<Option<Over>> {
        let mut output = Vec::new();
        let (at, over) = self.take_all(&mut output);
        self.input.drain(..at);
        if on("drops-tail") && at > 0 {
            self.input.clear();
        }
        self.start_clocks(at > 0);
        let start = Instant::now();
        self.send(output)?;
        self.add_to_clocks(start.elapsed());
        if on("memory-by-length") && self.input.len() >= 4 {
            self.reserved = vec![1; MAX];
        }
        Ok(over)
    }

    /// Appends the replies to all whole frames. Returns how many bytes these
    /// take, and whether the conversation is over.
    fn take_all(&self, output: &mut Vec<Vec<u8>>) -> (usize, Option<Over>) {
        let mut at = 0;
        loop {
            match parse(&self.input[at..]) {
                Parsed::NotYet => return (at, None),
                Parsed::Refuse(1) if on("parses-after-fatal") => {
                    output.push(error(1, "refused"));
                    at += 4;
                }
                Parsed::Refuse(code) => {
                    if on("drops-before-bad-length") {
                        output.clear();
                    }
                    return (at, Some(Over::Refused(code)));
                }
                Parsed::Frame(kind, payload, size) => {
                    output.extend(answer(kind, &payload));
                    at += if desyncs(kind) { 4 } else { size };
                    if kind != ECHO && on("unknown-kind-ends") {
                        return (at, Some(Over::End));
                    }
                    if on("first-frame-only") {
                        at = self.input.len();
                    }
                }
            }
        }
    }

    fn start_clocks(&mut self, is_answered: bool) {
        self.has_answered |= is_answered;
        if is_answered && !on("timer-from-connect") {
            self.idle_since = Instant::now();
        }
        if self.input.is_empty() {
            self.frame_since = None;
        } else if is_answered {
            self.frame_since = Some(Instant::now());
        }
    }

    /// While we wrote, we did not read: that is not the client's time.
    fn add_to_clocks(&mut self, time: Duration) {
        if !on("clock-runs-while-writing") {
            self.idle_since += time;
            self.frame_since = self.frame_since.map(|since| since + time);
        }
    }

    fn send(&mut self, mut output: Vec<Vec<u8>>) -> io::Result<()> {
        if on("reorders") {
            output.reverse();
        } else if on("errors-first") {
            output.sort_by_key(|bytes| bytes.get(4) != Some(&ERROR));
        }
        let output = output.concat();
        if output.is_empty() {
            return Ok(());
        }
        if on("drops-at-half-close") && echo::has_ended(self.stream) {
            return Ok(());
        }
        if let Some(later) = &self.later {
            let _ = later.send(output);
            return Ok(());
        }
        if on("write-limit-in-all")
            && self.limits.write.is_some_and(|most| self.born.elapsed() > most)
        {
            return Err(ErrorKind::TimedOut.into());
        }
        // In parts: the limit is for a write without progress.
        for part in output.chunks(MAX / 4) {
            echo::write(self.stream, part)?;
        }
        Ok(())
    }

    fn at_end(&mut self) -> io::Result<Over> {
        if on("answers-cut-frame") && self.input.len() >= 5 {
            let reply = frame(REPLY, &self.input[5..]);
            echo::write(self.stream, &reply)?;
        }
        Ok(Over::End)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind())
}

//! Step 6: a server that asks a silent client whether it is still there, and
//! requests that take a while.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::framed::{Over, refuse, write_later};
use crate::kinds::answer;
use crate::ledger::{self, Ledger};
use crate::limits::{Limits, heartbeat};
use crate::stop::{STUCK, stops};
use crate::wire::{
    ADD, GOAWAY, MAX, Name, PING, PONG, Parsed, WORK, error, frame, parse,
};
use crate::{echo, has_goodbye, has_ledger, on};

/// The longest delay of a WORK, in ms.
const LONGEST: u32 = 10_000;

/// The kind of a WORK's reply.
const DONE: u8 = 0x85;

/// How much may wait behind a WORK until we read no more.
const MOST: usize = 4 * MAX;

pub fn serve(stream: &mut TcpStream) -> io::Result<()> {
    let limits = Limits::of(6);
    stream.set_write_timeout(limits.write)?;
    let mut talk = Talk::new(stream, limits);
    let over = talk.all();
    if over.is_err() && on("forgets-after-reset") {
        ledger::forget(talk.client);
    }
    match over? {
        Over::End => Ok(()),
        Over::Refused(code) => refuse(stream, code),
    }
}

/// One conversation.
struct Talk<'a> {
    stream: &'a mut TcpStream,
    limits: Limits,
    input: Vec<u8>,
    frame_since: Option<Instant>,
    is_late: bool,
    /// The replies that wait, each until its time, and how large they are.
    replies: VecDeque<(Instant, Vec<u8>)>,
    size: usize,
    pongs: Vec<u8>,
    later: Option<mpsc::Sender<Vec<u8>>>,
    /// When the client was last heard, and asked since then.
    heard: Instant,
    asked: Option<Instant>,
    has_asked: bool,
    /// No more is read, for this reason.
    over: Option<Over>,
    born: Instant,
    /// Of an ADD: what a defect keeps for itself, and who has sent the last.
    own: Ledger,
    client: Option<u64>,
    is_leaving: bool,
}

impl<'a> Talk<'a> {
    fn new(stream: &'a mut TcpStream, limits: Limits) -> Talk<'a> {
        let is_unlimited = on("pongs-without-limit") || on("keeps-all-replies");
        let later = is_unlimited.then(|| write_later(stream));
        let now = Instant::now();
        Talk {
            stream,
            limits,
            input: Vec::new(),
            frame_since: None,
            is_late: false,
            replies: VecDeque::new(),
            size: 0,
            pongs: Vec::new(),
            later,
            heard: now,
            asked: None,
            has_asked: false,
            over: None,
            born: now,
            own: Ledger::default(),
            client: None,
            is_leaving: false,
        }
    }

    fn all(&mut self) -> io::Result<Over> {
        let mut buffer = vec![0; MAX];
        loop {
            if stops() && !self.is_leaving {
                self.is_leaving = true;
                self.leave(&mut buffer)?;
            }
            self.send_what_is_due()?;
            if self.replies.is_empty()
                && let Some(over) = self.over.take()
            {
                return Ok(over);
            }
            if self.over.is_some() || self.is_full() {
                self.wait_for_a_reply()?;
                continue;
            }
            match self.read(&mut buffer)? {
                Some(0) => {
                    if on("adds-lost-at-fin") {
                        self.replies.retain(|(_, reply)| reply[4] != 0x83);
                    }
                    self.over = Some(Over::End);
                }
                Some(n) => self.take(&buffer[..n])?,
                None if self.look_at_the_clock()? => return Ok(Over::End),
                None => {}
            }
        }
    }

    /// Says goodbye, and takes what has arrived.
    fn leave(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match () {
            () if on("no-goaway") => {}
            () if on("goaway-of-no-reason") => {
                self.write(&frame(GOAWAY, &[]))?;
            }
            () => self.write(&frame(GOAWAY, &[1]))?,
        }
        let moment = Duration::from_millis(5);
        self.stream.set_read_timeout(Some(moment))?;
        while self.over.is_none()
            && let Ok(n @ 1..) = self.stream.read(buffer)
        {
            self.take(&buffer[..n])?;
        }
        match () {
            () if on("drops-work-at-stop") => self.replies.clear(),
            () if on("drops-queue-at-stop") => self.replies.truncate(1),
            () => {}
        }
        if on("waits-for-half-frames") && !self.input.is_empty() {
            std::mem::forget(Stuck::new());
        } else if !on("waits-for-idle-clients") {
            self.over.get_or_insert(Over::End);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.size > MOST && !on("works-without-limit")
    }

    /// Nothing is read until the next reply is due, so no clock runs.
    fn wait_for_a_reply(&mut self) -> io::Result<()> {
        let Some((due, _)) = self.replies.front() else { return Ok(()) };
        let (start, mut due) = (Instant::now(), *due);
        let has_ended = matches!(self.over, Some(Over::End));
        if has_ended && on("pings-after-fin") && self.asked.is_none() {
            thread::sleep(heartbeat());
            self.ask()?;
        }
        if on("dead-after-fin") {
            due = due.min(self.heard + 3 * heartbeat());
        }
        thread::sleep(due.saturating_duration_since(start));
        if on("dead-after-fin") && self.heard.elapsed() >= 3 * heartbeat() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stop_clocks(start.elapsed());
        Ok(())
    }

    /// Reads, until something else is to be done.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let moment = Duration::from_millis(1);
        let mut has_waited = false;
        loop {
            let left = match self.wake() {
                Some(_) if has_waited => Some(moment),
                at => at.map(|at| {
                    at.saturating_duration_since(Instant::now()).max(moment)
                }),
            };
            self.stream.set_read_timeout(left)?;
            match self.stream.read(buffer) {
                Ok(n) => return Ok(Some(n)),
                // What came while we were stopped comes first, even if that was
                // at the very end of the wait.
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        if has_waited {
                            return Ok(None);
                        }
                        has_waited = true;
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// When something is to be done, even if nothing comes.
    fn wake(&self) -> Option<Instant> {
        let reply = self.replies.front().map(|(due, _)| *due);
        let look = has_goodbye() && !self.is_leaving;
        let look = look.then(|| Instant::now() + Duration::from_millis(170));
        [reply, self.frame_end(), self.idle_end(), self.beat(), look]
            .into_iter()
            .flatten()
            .min()
    }

    fn frame_end(&self) -> Option<Instant> {
        let limit = self.limits.frame.filter(|_| !on("no-frame-limit"))?;
        Some(self.frame_since? + limit)
    }

    fn idle_end(&self) -> Option<Instant> {
        let limit = self.limits.idle.filter(|_| on("idle-limit-too"))?;
        Some(self.born + limit)
    }

    /// When the next PING is due, or the client is dead.
    fn beat(&self) -> Option<Instant> {
        let h = heartbeat();
        let is_busy = on("work-stops-heartbeat") && !self.replies.is_empty();
        if on("no-ping") || is_busy {
            return None;
        }
        match self.asked {
            None if on("pings-once") && self.has_asked => None,
            None if on("pings-too-early") => Some(self.heard + h / 2),
            None => Some(self.heard + h),
            Some(_) if on("never-gives-up") => None,
            Some(at) if on("gives-up-too-early") => Some(at + h),
            Some(at) => Some(at + 2 * h),
        }
    }

    /// Is the client dead?
    fn look_at_the_clock(&mut self) -> io::Result<bool> {
        let now = Instant::now();
        let is_over = |end: Option<Instant>| end.is_some_and(|at| now >= at);
        if is_over(self.frame_end()) || is_over(self.idle_end()) {
            self.over = Some(Over::Refused(5));
        } else if is_over(self.beat()) {
            if self.asked.is_some() {
                return Ok(true);
            }
            self.ask()?;
        }
        Ok(false)
    }

    /// One read at the limit takes what came in time, and there is no other.
    fn look_at_the_frame(&mut self) {
        let had_its_look = self.is_late;
        self.is_late = self.frame_end().is_some_and(|at| Instant::now() >= at);
        if self.is_late && had_its_look {
            self.over = Some(Over::Refused(5));
        }
    }

    fn ask(&mut self) -> io::Result<()> {
        self.asked = Some(Instant::now());
        self.has_asked = true;
        if on("tick-loses-bytes") {
            self.input.clear();
            self.frame_since = None;
        }
        let size = if on("ping-of-no-bytes") { 0 } else { 8 };
        self.write(&frame(PING, &[b'?'; 8][..size]))
    }

    fn is_heard(&mut self) {
        (self.heard, self.asked) = (Instant::now(), None);
    }

    /// Takes what came: whole frames, and perhaps a part of one.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _held = on("work-blocks-all").then(|| WORKS.lock());
        let is_pong = bytes.get(4) == Some(&PONG);
        match () {
            () if on("frames-are-life") => {}
            () if on("pong-is-no-life") && is_pong => {}
            () if on("only-pong-is-life") && !is_pong => {}
            () => self.is_heard(),
        }
        self.input.extend_from_slice(bytes);
        self.frame_since.get_or_insert_with(Instant::now);
        let at = self.answer_all();
        self.input.drain(..at);
        if at > 0 {
            let is_part = !self.input.is_empty();
            self.frame_since = is_part.then(Instant::now);
            if on("frames-are-life") {
                self.is_heard();
            }
        }
        self.look_at_the_frame();
        if on("pings-by-the-clock") && self.born.elapsed() > heartbeat() {
            self.born = Instant::now();
            self.ask()?;
        }
        self.send_pongs()
    }

    /// Takes all whole frames, and returns how many bytes these are.
    fn answer_all(&mut self) -> usize {
        let mut at = 0;
        while self.over.is_none() {
            if self.later.is_some()
                && let Some(ping) = self.input[at..].get(..13)
                && ping.starts_with(&[0, 0, 0, 9, PING])
            {
                // Many of them must be taken fast.
                self.pongs.extend([&[0, 0, 0, 9, PONG], &ping[5..]].concat());
                at += 13;
                continue;
            }
            match parse(&self.input[at..]) {
                Parsed::NotYet => break,
                Parsed::Refuse(code) => self.refuse_later(code),
                Parsed::Frame(kind, payload, size) => {
                    at += size;
                    self.answer(kind, &payload);
                }
            }
        }
        at
    }

    fn refuse_later(&mut self, code: u8) {
        if on("refusal-drops-work") {
            self.replies.clear();
        }
        self.over = Some(Over::Refused(code));
    }

    fn answer(&mut self, kind: u8, payload: &[u8]) {
        match kind {
            PING if on("ping-is-unknown") => {}
            PING => return self.answer_ping(payload),
            PONG if on("pong-is-unknown") => {}
            PONG => return,
            WORK => return self.work(payload),
            ADD if has_ledger() => return self.add(payload),
            _ => {}
        }
        if let Some(reply) = answer(kind, payload) {
            self.owe(reply, 0);
        }
    }

    fn answer_ping(&mut self, payload: &[u8]) {
        let is_good = payload.len() == 8 || on("any-ping-is-good");
        if !is_good && on("short-ping-ends") {
            self.over = Some(Over::End);
        } else if !is_good {
            self.owe(error(4, "a PING has 8 bytes"), 0);
        } else if on("pong-after-work") {
            self.owe(frame(PONG, payload), 0);
        } else {
            let pong = match on("pong-of-zeros") {
                true => frame(PONG, &[0; 8]),
                false => frame(PONG, payload),
            };
            self.pongs.extend(pong);
        }
    }

    fn add(&mut self, payload: &[u8]) {
        if payload.len() < 24 && on("short-add-ends") {
            self.over = Some(Over::End);
            return;
        }
        self.client = Name::read(payload).map(|(name, _)| name.client);
        let Some(reply) = ledger::answer(payload, &mut self.own) else {
            self.over = Some(Over::Refused(6));
            return;
        };
        match () {
            () if on("add-is-unknown") => self.owe(error(3, "unknown"), 0),
            () if on("add-overtakes") => self.pongs.extend(reply),
            () if on("answers-add-twice") => {
                self.owe([&reply[..], &reply].concat(), 0);
            }
            () => self.owe(reply, 0),
        }
    }

    fn work(&mut self, payload: &[u8]) {
        let Some((delay, rest)) = payload.split_first_chunk() else {
            if on("short-work-ends") {
                self.over = Some(Over::End);
            }
            return self.owe(error(4, "a WORK has 4 bytes and more"), 0);
        };
        let delay = u32::from_be_bytes(*delay);
        if delay > LONGEST && !on("any-delay-is-good") {
            return self.owe(error(4, "a WORK takes 10 s at most"), 0);
        }
        if on("work-blocks-all") {
            thread::sleep(Duration::from_millis(delay.into()));
        }
        let is_at_once = on("work-takes-no-time") || on("work-blocks-all");
        self.owe(frame(DONE, rest), if is_at_once { 0 } else { delay });
    }

    /// Sends this in its turn, and not before its delay has passed.
    fn owe(&mut self, reply: Vec<u8>, delay: u32) {
        let due = Instant::now() + Duration::from_millis(delay.into());
        if delay == 0 && on("work-is-overtaken") {
            return self.pongs.extend(reply);
        }
        self.size += reply.len();
        self.replies.push_back((due, reply));
    }

    fn send_what_is_due(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let mut output = Vec::new();
        while self.replies.front().is_some_and(|(due, _)| *due <= now) {
            let (_, reply) = self.replies.pop_front().unwrap_or((now, vec![]));
            self.size -= reply.len();
            output.extend(reply);
        }
        self.write(&output)
    }

    fn send_pongs(&mut self) -> io::Result<()> {
        let pongs = std::mem::take(&mut self.pongs);
        match &self.later {
            Some(later) => later.send(pongs).map_err(|_| broken()),
            None => self.write(&pongs),
        }
    }

    /// In parts: the limit is for a write without progress.
    fn write(&mut self, output: &[u8]) -> io::Result<()> {
        if let Some(later) = &self.later
            && on("keeps-all-replies")
        {
            return later.send(output.to_vec()).map_err(|_| broken());
        }
        let _stuck = on("waits-for-readers").then(Stuck::new);
        let start = Instant::now();
        for part in output.chunks(MAX / 4) {
            echo::write(self.stream, part)?;
        }
        self.stop_clocks(start.elapsed());
        if on("heartbeat-while-writing")
            && self.heard.elapsed() > 3 * heartbeat()
        {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// We did not read for this time, so it is not the client's.
    fn stop_clocks(&mut self, time: Duration) {
        if !on("heartbeat-while-writing") {
            self.heard += time;
        }
        self.asked = self.asked.map(|since| since + time);
        self.frame_since = self.frame_since.map(|since| since + time);
    }
}

/// Keeps a defect from ending.
struct Stuck;

impl Stuck {
    fn new() -> Stuck {
        STUCK.fetch_add(1, SeqCst);
        Stuck
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        STUCK.fetch_sub(1, SeqCst);
    }
}

/// Held by whoever works, where one works for all.
static WORKS: Mutex<()> = Mutex::new(());

fn broken() -> io::Error {
    ErrorKind::BrokenPipe.into()
}

//! What a program prints. We always read it, so that the program never waits
//! for us, and keep a part of it, so that a flood does not fill our memory.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much of the end is kept: a stack and the error above it.
const TAIL: usize = 16 * 1024;

/// What came through one pipe so far.
#[derive(Default)]
struct State {
    first: Vec<u8>,
    last: Vec<u8>,
    total: u64,
    ended: bool,
    /// Is the pipe left unread for now?
    is_held: bool,
    /// Is the pipe to be closed as soon as something has come?
    is_leaving: bool,
}

/// One pipe of a program.
pub struct Output {
    keep: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Output {
    /// Reads `pipe` to its end, in a thread, and keeps the first `keep` bytes
    /// and the last few thousand.
    pub fn collect(
        mut pipe: impl Read + Send + 'static,
        keep: usize,
    ) -> Arc<Output> {
        let output =
            Output { keep, state: Mutex::default(), changed: Condvar::new() };
        let output = Arc::new(output);
        let writer = Arc::clone(&output);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                writer.wait_while_held();
                let n = pipe.read(&mut buffer).unwrap_or(0);
                writer.add(&buffer[..n]);
                if n == 0 || writer.state().is_leaving {
                    return;
                }
            }
        });
        output
    }

    /// Leaves the pipe unread, until `release`.
    pub fn hold(&self) {
        self.state().is_held = true;
    }

    /// Reads what has piled up.
    pub fn release(&self) {
        self.state().is_held = false;
        self.changed.notify_all();
    }

    /// Reads once more, and closes the pipe: whoever writes then gets an error.
    pub fn leave(&self) {
        self.state().is_leaving = true;
    }

    fn wait_while_held(&self) {
        let held = self.changed.wait_while(self.state(), |state| state.is_held);
        drop(held);
    }

    fn add(&self, bytes: &[u8]) {
        let mut state = self.state();
        let room = self.keep - state.first.len().min(self.keep);
        state.first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        state.last.extend_from_slice(bytes);
        let surplus = state.last.len().saturating_sub(TAIL);
        state.last.drain(..surplus);
        state.total += bytes.len() as u64;
        state.ended = bytes.is_empty();
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was kept of the beginning.
    pub fn first(&self) -> Vec<u8> {
        self.state().first.clone()
    }

    /// How many bytes came in all.
    pub fn total(&self) -> u64 {
        self.state().total
    }

    /// What came after the first `before` bytes, as far as it was kept.
    pub fn since(&self, before: u64) -> Vec<u8> {
        let state = self.state();
        let new = state.total.saturating_sub(before) as usize;
        state.last[state.last.len() - new.min(state.last.len())..].to_vec()
    }

    /// Waits for the first line. `None`: the pipe ended, or the time was up.
    pub fn first_line(&self, limit: Duration) -> Option<Vec<u8>> {
        let is_line =
            |state: &State| state.first.contains(&b'\n') || state.ended;
        let state = self.wait(limit, is_line);
        let end = state.first.iter().position(|&byte| byte == b'\n')?;
        Some(state.first[..end].trim_ascii_end().to_vec())
    }

    /// Waits for the end of the pipe.
    pub fn wait_end(&self, limit: Duration) {
        drop(self.wait(limit, |state| state.ended));
    }

    fn wait(
        &self,
        limit: Duration,
        is_there: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let end = Instant::now() + limit;
        let mut state = self.state();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if is_there(&state) || left.is_zero() {
                return state;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

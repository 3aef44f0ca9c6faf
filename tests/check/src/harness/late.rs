//! How late this machine runs: a checker that is late itself must not
//! accuse a program of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(5);

/// Lateness below this is what an idle machine has anyway.
const NOTED: Duration = Duration::from_millis(10);

/// How many late ticks are remembered: more than a case can have.
const KEPT: usize = 4096;

/// When the ticker was late, and by how much.
type Ticks = Arc<Mutex<VecDeque<(Instant, Duration)>>>;

/// A thread that wants to wake every 5 ms, and notes when it cannot.
#[derive(Clone, Default)]
pub struct Ticker(Ticks);

impl Ticker {
    pub fn start() -> Ticker {
        let ticker = Ticker::default();
        let ticks = Arc::downgrade(&ticker.0);
        thread::spawn(move || {
            let mut last = Instant::now();
            while let Some(ticks) = ticks.upgrade() {
                thread::sleep(TICK);
                let now = Instant::now();
                note(&ticks, now, (now - last).saturating_sub(TICK));
                last = now;
            }
        });
        ticker
    }

    /// The longest that the ticker overslept since then.
    pub fn late_since(&self, start: Instant) -> Duration {
        let Ok(ticks) = self.0.lock() else { return Duration::ZERO };
        let recent = ticks.iter().filter(|(when, _)| *when >= start);
        recent.map(|(_, late)| *late).max().unwrap_or_default()
    }

    /// How much time it overslept since then, all in all.
    pub fn overslept_since(&self, start: Instant) -> Duration {
        let Ok(ticks) = self.0.lock() else { return Duration::ZERO };
        let recent = ticks.iter().filter(|(when, _)| *when >= start);
        recent.map(|(_, late)| *late).sum()
    }
}

fn note(ticks: &Ticks, now: Instant, late: Duration) {
    if late < NOTED {
        return;
    }
    if let Ok(mut ticks) = ticks.lock() {
        ticks.push_back((now, late));
        if ticks.len() > KEPT {
            ticks.pop_front();
        }
    }
}

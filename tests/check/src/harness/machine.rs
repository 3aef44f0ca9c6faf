//! What sessions share when they try their programs at the same time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::harness::late::Ticker;
use crate::program::ending::Processes;

/// The machine on which several sessions run: how late it is, whose turn it
/// is, and which programs run. All copies of this value are about the same
/// one.
#[derive(Clone)]
pub struct Machine {
    pub(crate) ticker: Ticker,
    pub(crate) turn: Turn,
    pub(crate) processes: Processes,
}

impl Machine {
    /// For a process that may have other children, too.
    pub fn new() -> Machine {
        Machine::of(Processes::new())
    }

    /// For a process that starts nothing else.
    pub(crate) fn adopting() -> Machine {
        Machine::of(Processes::adopting())
    }

    fn of(processes: Processes) -> Machine {
        let (ticker, turn) = (Ticker::start(), Turn::default());
        Machine { ticker, turn, processes }
    }

    /// From now on, Ctrl-C ends the programs of all sessions, and then this
    /// process: they are not in its group, and would live on. `finally` runs
    /// in between.
    pub fn end_with_us(&self, finally: impl FnOnce() + Send + 'static) {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let signals = [SIGINT, SIGTERM, SIGHUP];
        let processes = self.processes.clone();
        if let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) {
            std::thread::spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    processes.end_all();
                    finally();
                    std::process::exit(128 + signal);
                }
            });
        }
    }
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new()
    }
}

/// How many cases may run at once.
const PLACES: usize = 16;

/// The room that a case has to itself.
#[derive(Clone, Copy)]
pub enum Room {
    /// It runs in a crowd.
    Little = 1,
    /// At most three others run.
    Much = PLACES as isize / 4,
    /// No other runs.
    All = PLACES as isize,
}

/// Gives each case its place, in the order in which they ask: one that wants
/// much room is not kept waiting by those that want little.
#[derive(Clone, Default)]
pub struct Turn(Arc<(Mutex<Queue>, Condvar)>);

#[derive(Default)]
struct Queue {
    /// How many have asked, and how many of these were let in.
    asked: u64,
    let_in: u64,
    /// The places that are taken.
    taken: usize,
}

impl Turn {
    /// Does this as soon as there is room. Says, too, whether others had
    /// places when it began or when it was over.
    pub fn with<T>(&self, room: Room, act: impl FnOnce() -> T) -> (T, bool) {
        let place = self.enter(room as usize);
        let is_crowded = || self.queue().taken > place.places;
        let was_crowded = is_crowded();
        let done = act();
        (done, was_crowded || is_crowded())
    }

    fn enter(&self, places: usize) -> Place<'_> {
        let mut queue = self.queue();
        let ticket = queue.asked;
        queue.asked += 1;
        while queue.let_in < ticket || queue.taken + places > PLACES {
            queue =
                self.0.1.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.let_in += 1;
        queue.taken += places;
        self.0.1.notify_all();
        Place { turn: self, places }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places that are taken, until this value goes away.
struct Place<'a> {
    turn: &'a Turn,
    places: usize,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turn.queue().taken -= self.places;
        self.turn.0.1.notify_all();
    }
}

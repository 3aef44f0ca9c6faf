//! What sessions share that try their programs at the same time.

use std::sync::{Arc, PoisonError, RwLock};

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

/// Cases run beside each other, until one wants the machine for itself.
#[derive(Clone, Default)]
pub struct Turn(Arc<RwLock<()>>);

impl Turn {
    /// Does this beside others.
    pub fn beside<T>(&self, act: impl FnOnce() -> T) -> T {
        let _shared = self.0.read().unwrap_or_else(PoisonError::into_inner);
        act()
    }

    /// Does this when nothing else is done, and keeps the others waiting.
    pub fn alone<T>(&self, act: impl FnOnce() -> T) -> T {
        let _sole = self.0.write().unwrap_or_else(PoisonError::into_inner);
        act()
    }
}

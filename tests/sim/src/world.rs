//! The world of one run: one for each thread, made anew from each seed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use real::task::AbortHandle;
use real::time::Instant;

use crate::disk::Disk;
use crate::net::Net;
use crate::sync::watch;
use crate::weather::{Chance, Weather};

/// Everything that is shared in a run.
pub struct World {
    /// What the seed decides comes from here.
    pub chance: Chance,
    /// How bad the network is.
    pub weather: Weather,
    /// Connections and listeners.
    pub net: Net,
    /// Does nothing go wrong from the start to the end?
    pub is_quiet: bool,
    /// The server's disk.
    pub disk: Disk,
    /// The tasks of the server's process.
    pub tasks: Vec<AbortHandle>,
    /// Tells the server's process to stop.
    pub stop: watch::Sender<u32>,
    /// How often it was told.
    pub stops: u32,
    /// Since when each client waits before its next attempt, and how long it
    /// may.
    pub waits: HashMap<u64, (Instant, Duration)>,
    /// The first rule that was broken, and how.
    pub broken: Option<(&'static str, String)>,
    /// What happened, and when.
    pub log: Vec<String>,
    /// When the run began.
    pub zero: Instant,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

real::task_local! {
    /// Which client the task belongs to.
    pub static WHO: u64;
}

/// Looks at the world, or changes it.
///
/// # Panics
/// There is none: no run has begun on this thread.
pub fn with<T>(f: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| f(world.as_mut().expect("a run has begun")))
}

/// Begins a world. A clock that can stand still must run on this thread.
pub fn begin(seed: u64) {
    let mut chance = Chance(seed);
    let world = World {
        weather: Weather::draw(&mut chance),
        chance,
        net: Net::default(),
        is_quiet: false,
        disk: Disk::default(),
        tasks: Vec::new(),
        stop: watch::Sender::new(0),
        stops: 0,
        waits: HashMap::new(),
        broken: None,
        log: Vec::new(),
        zero: Instant::now(),
    };
    WORLD.set(Some(world));
}

/// Ends the world, and returns what is left of it.
pub fn end() -> Option<World> {
    WORLD.take()
}

impl World {
    /// Notes that `who` did, saw or said something.
    pub fn log(&mut self, who: impl Display, what: impl Display) {
        let time = self.zero.elapsed().as_secs_f64();
        self.log.push(format!("{time:7.3}  {who}: {what}"));
    }

    /// Notes that a rule is broken. Only the first time counts.
    pub fn wrong(&mut self, rule: &'static str, how: impl Display) {
        if self.broken.is_none() {
            self.log("BROKEN", format_args!("{rule}: {how}"));
            self.broken = Some((rule, how.to_string()));
        }
    }
}

/// Notes what the server prints: this is the steps' `say`.
pub fn say(line: impl Display) {
    with(|world| {
        let line = line.to_string();
        let line = line.strip_prefix("server: ").unwrap_or(&line);
        world.log("server", line);
    });
}

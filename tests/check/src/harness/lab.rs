//! What a case works with: programs, connections, and notes for the report.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::machine::Machine;
use crate::harness::random::Random;
use crate::program::proc;
use crate::program::running::{Program, Seen, Template};
use crate::steps::FRAMES;
use crate::traits::{Hint, Side, Tag, Traits};
use crate::verdict::Failure;
use crate::wire;

/// How long we wait for what must come "soon".
pub const PATIENCE: Duration = Duration::from_secs(3);

/// What is meant by "at once".
pub const AT_ONCE: Duration = Duration::from_secs(1);

/// What a time limit may be missed by.
pub const SLACK: Duration = Duration::from_millis(250);

/// No case takes longer.
pub const CASE: Duration = Duration::from_secs(15);

/// How long we wait for what is large.
pub const BULK: Duration = Duration::from_secs(10);

/// What each case expects of a server, whatever its clients do.
pub const LIVES: &str = "the server lives on, and takes connections";

/// A connection ends a moment before its program has; and a port closes when
/// its program is about to end.
const MOMENT: Duration = Duration::from_millis(300);
const ALL_MOMENTS: Duration = Duration::from_secs(2);

/// How many steps are remembered for the report.
const NOTES: usize = 100;

/// What is tried.
#[derive(Clone)]
pub enum Target {
    Command(Template),
    Address(SocketAddr),
}

/// What all cases of a run share.
#[derive(Clone)]
pub struct Setup {
    pub step: u8,
    /// The case about the plainest exchange of the step.
    pub basic: Option<&'static str>,
    /// Does it get no answer at all? Known when it has been tried.
    pub is_mute: OnceLock<bool>,
    pub seed: u64,
    pub target: Target,
    pub machine: Machine,
}

/// One case that runs.
pub struct Lab<'a> {
    pub setup: &'a Setup,
    pub traits: Traits,
    random: RefCell<Random>,
    pub(crate) env: RefCell<Vec<(&'static str, String)>>,
    pub(crate) programs: RefCell<Vec<Program>>,
    /// Where they keep their journal, if the case has chosen a place.
    pub(crate) journal: RefCell<Option<TempDir>>,
    notes: RefCell<Vec<String>>,
    /// What a failure means from here on, if it is not the case's own hint.
    hint: Cell<Option<Hint>>,
    other: Cell<Hint>,
    warning: RefCell<Option<Failure>>,
    /// Since when lateness counts.
    window: RefCell<Window>,
    since_progress: RefCell<Option<Window>>,
    /// How much time there is: less than [`CASE`] if it is tried again.
    pub limit: Duration,
    end: Instant,
    is_cut: Cell<bool>,
    /// How many clients come at once, if they are many: a server may have a
    /// process for each.
    pub clients: Cell<usize>,
    /// Did a connect find the queue of the server full?
    pub had_to_knock: Cell<bool>,
    /// Was the connection open when it was last read from?
    pub is_open: Cell<bool>,
    /// How long we may still wait for the end of the program.
    pub(crate) moments: Cell<Duration>,
}

/// Other bytes than those due, and no better explanation.
const OTHER: Hint = Hint {
    meaning: "Your server sent other bytes than those that were due; the caret \
              stands under the first of them.",
    look: "what your program writes, and from which buffer",
};

pub fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

impl<'a> Lab<'a> {
    /// A case that must be over after `limit`.
    pub fn new(setup: &'a Setup, traits: Traits, limit: Duration) -> Lab<'a> {
        Lab {
            setup,
            traits,
            random: RefCell::new(Random::new(setup.seed, traits.id)),
            env: RefCell::default(),
            programs: RefCell::default(),
            journal: RefCell::default(),
            notes: RefCell::default(),
            hint: Cell::new(None),
            other: Cell::new(OTHER),
            warning: RefCell::default(),
            window: RefCell::new(Window {
                start: Instant::now(),
                waits: proc::Waits::new(),
                own: proc::own_waits(),
                used: Duration::ZERO,
            }),
            since_progress: RefCell::default(),
            limit,
            end: Instant::now() + limit,
            is_cut: Cell::new(false),
            clients: Cell::new(0),
            had_to_knock: Cell::new(false),
            is_open: Cell::new(false),
            moments: Cell::new(ALL_MOMENTS),
        }
    }

    pub fn is_framed(&self) -> bool {
        self.setup.step >= FRAMES
    }

    // ---- What the report says

    /// Notes what was done.
    pub fn note(&self, what: impl Into<String>) {
        let mut notes = self.notes.borrow_mut();
        notes.push(what.into());
        if notes.len() > NOTES {
            notes.remove(0);
        }
    }

    /// Notes what was done in all, instead of its parts.
    pub fn note_instead(&self, what: &str) {
        *self.notes.borrow_mut() = vec![what.to_owned()];
    }

    /// From here on a failure usually means this.
    pub fn hint(&self, meaning: &'static str, look: &'static str) {
        self.hint.set(Some(Hint { meaning, look }));
    }

    /// From here on a failure means what the case itself says.
    pub fn own_hint(&self) {
        self.hint.set(None);
    }

    pub fn has_own_hint(&self) -> bool {
        self.hint.get().is_none()
    }

    /// What it means when other bytes come than those that are due.
    pub fn other_means(&self, meaning: &'static str, look: &'static str) {
        self.other.set(Hint { meaning, look });
    }

    pub fn other(&self) -> Hint {
        self.other.get()
    }

    pub fn fail(
        &self,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Failure {
        self.witness(self.base().of(expected, actual))
    }

    /// A failure with the hint of this moment, and without anything that was
    /// expected or seen.
    pub fn base(&self) -> Failure {
        let hint = self.hint.get().unwrap_or(self.traits.hint);
        Failure {
            so_far: self.notes.borrow().clone(),
            meaning: hint.meaning.into(),
            look: hint.look.into(),
            ..Failure::default()
        }
    }

    /// Adds to a failure what can be seen of the program now. What it does
    /// later is its answer to our own end of the case, such as a reset.
    pub fn witness(&self, failure: Failure) -> Failure {
        let Seen { gone, printed } = self.look(&failure.expected);
        let gone = gone.filter(|_| !self.traits.has(Tag::Stops));
        Failure { gone, printed, ..failure }
    }

    /// Looks at the program now. All failures of a case together wait for its
    /// end no longer than two seconds.
    pub fn look(&self, expected: &str) -> Seen {
        let mut programs = self.programs.borrow_mut();
        let Some(program) = programs.last_mut() else {
            return Seen::default();
        };
        if self.traits.side == Side::Client {
            // That it has ended is what a case asks itself.
            return Seen { gone: None, ..program.seen(Duration::ZERO) };
        }
        let left = self.moments.get();
        let limit = match expected {
            LIVES => left,
            _ if self.is_open.get() => Duration::ZERO, // it did not end then
            _ => left.min(MOMENT),
        };
        let start = Instant::now();
        let seen = program.seen(limit);
        self.moments.set(left.saturating_sub(start.elapsed()));
        seen
    }

    /// Says it, and goes on; the first one is kept.
    pub fn warn(&self, failure: Failure) {
        self.warning.borrow_mut().get_or_insert(failure);
    }

    pub fn warning(&self) -> Option<Failure> {
        self.warning.borrow().clone()
    }

    // ---- Random

    pub fn bytes(&self, size: usize) -> Vec<u8> {
        self.random.borrow_mut().bytes(size)
    }

    pub fn word(&self, size: usize) -> String {
        self.random.borrow_mut().word(size)
    }

    pub fn below(&self, n: usize) -> usize {
        self.random.borrow_mut().below(n)
    }

    // ---- What is sent, and what must come back

    /// A message as the step sends it: as it is, or in a frame.
    pub fn request(&self, payload: &[u8]) -> Vec<u8> {
        match self.is_framed() {
            true => wire::echo(payload),
            false => payload.to_vec(),
        }
    }

    pub fn answer(&self, payload: &[u8]) -> Vec<u8> {
        match self.is_framed() {
            true => wire::reply(payload),
            false => payload.to_vec(),
        }
    }

    // ---- Time

    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// The moment until which we wait: `limit` from now, within the case.
    pub fn until(&self, limit: Duration) -> Instant {
        Instant::now() + self.within(limit)
    }

    /// A limit, within the case.
    pub fn within(&self, limit: Duration) -> Duration {
        let left = self.left();
        if limit > left {
            self.is_cut.set(true);
        }
        limit.min(left)
    }

    /// Was a wait shorter than it should be, because the case took too long?
    pub fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// From here on lateness counts.
    pub fn open_window(&self) {
        *self.window.borrow_mut() = self.window_from_now();
        *self.since_progress.borrow_mut() = None;
    }

    fn window_from_now(&self) -> Window {
        let used = proc::cpu_time(&self.pids());
        let waits = proc::waits(&self.pids());
        let (start, own) = (Instant::now(), proc::own_waits());
        Window { start, waits, own, used }
    }

    /// Something came in a long exchange: it is not late for what follows
    /// because it was late before. To look costs a moment, so not each time.
    pub fn note_progress(&self) {
        let mut last = self.since_progress.borrow_mut();
        let is_old = |window: &Window| window.start.elapsed() > OFTEN;
        if last.as_ref().is_none_or(is_old) {
            *last = Some(self.window_from_now());
        }
    }

    /// How late the checker was since then.
    pub fn late_since(&self, start: Instant) -> Duration {
        self.setup.machine.ticker.late_since(start)
    }

    /// Was the machine to blame for much of the time that the program took? A
    /// program of many short threads waits a little in each of them, so what
    /// we waited and overslept ourselves counts, too.
    pub fn was_held_up(&self) -> bool {
        let window = self.window.borrow();
        let took = window.start.elapsed();
        let late = self.lateness_in(&window);
        let own = proc::waited(&window.own, &proc::own_waits());
        let overslept = self.setup.machine.ticker.overslept_since(window.start);
        let is_late = late.max(own) > took / 4 || overslept > took / 8;
        is_late && !self.is_own_fault()
    }

    /// How late the checker or the program was in the window.
    pub fn lateness(&self) -> Duration {
        match &*self.since_progress.borrow() {
            Some(window) => self.lateness_in(window),
            None => self.lateness_in(&self.window.borrow()),
        }
    }

    /// How long the threads of the program have waited for a processor; in a
    /// timed case our own, too, because a thread that looks late sees too much.
    fn lateness_in(&self, window: &Window) -> Duration {
        let theirs = proc::waited(&window.waits, &proc::waits(&self.pids()));
        let own = proc::waited(&window.own, &proc::own_waits());
        let is_timed = self.traits.has(Tag::Timed);
        let waited = if is_timed { theirs.max(own) } else { theirs };
        self.late_since(window.start).max(waited)
    }

    /// Is the machine late because the program itself keeps it busy?
    pub fn is_own_fault(&self) -> bool {
        let window = self.window.borrow();
        let used = proc::cpu_time(&self.pids()).saturating_sub(window.used);
        let all = thread::available_parallelism().map_or(1, |n| n.get());
        used > window.start.elapsed().mul_f64(MUCH * all as f64)
    }
}

/// How often a long exchange looks how late the machine is.
const OFTEN: Duration = Duration::from_millis(300);

/// The part of all processors that a program takes when it is itself to blame
/// for the lateness. One that only starts, or one of many, takes less.
const MUCH: f64 = 0.35;

/// From some moment on: how long the program had waited for a processor then,
/// and how much it had used.
struct Window {
    start: Instant,
    waits: proc::Waits,
    /// The same of the thread in which the script runs.
    own: proc::Waits,
    used: Duration,
}

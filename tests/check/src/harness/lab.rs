//! What a case works with: programs, connections, and notes for the report.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::machine::Machine;
use crate::harness::random::Random;
use crate::program::proc;
use crate::program::running::{Program, Template};
use crate::program::words::last_words;
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
    notes: RefCell<Vec<String>>,
    /// What a failure means from here on, if it is not the case's own hint.
    hint: Cell<Option<Hint>>,
    other: Cell<Hint>,
    warning: RefCell<Option<Failure>>,
    /// Since when lateness counts.
    window: RefCell<Window>,
    end: Instant,
    is_cut: Cell<bool>,
    /// Did anything come back that was due?
    pub has_heard: Cell<bool>,
    /// How many clients come at once, if they are many: a server may have a
    /// process for each.
    pub clients: Cell<usize>,
}

/// Other bytes than those due, and no better explanation.
const OTHER: Hint = Hint {
    meaning: "Other bytes came than those that were due; the caret stands \
              under the first.",
    look: "what you write, and from which buffer",
};

pub fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

impl<'a> Lab<'a> {
    pub fn new(setup: &'a Setup, traits: Traits) -> Lab<'a> {
        Lab {
            setup,
            traits,
            random: RefCell::new(Random::new(setup.seed, traits.id)),
            env: RefCell::default(),
            programs: RefCell::default(),
            notes: RefCell::default(),
            hint: Cell::new(None),
            other: Cell::new(OTHER),
            warning: RefCell::default(),
            window: RefCell::new(Window {
                start: Instant::now(),
                waits: proc::Waits::new(),
                used: Duration::ZERO,
            }),
            end: Instant::now() + CASE,
            is_cut: Cell::new(false),
            has_heard: Cell::new(false),
            clients: Cell::new(0),
        }
    }

    pub fn is_framed(&self) -> bool {
        self.setup.step >= FRAMES
    }

    // ---- What is said in a report

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
        let hint = self.hint.get().unwrap_or(self.traits.hint);
        Failure {
            expected: expected.into(),
            actual: vec![actual.into()],
            so_far: self.notes.borrow().clone(),
            printed: self.words_of_client(),
            meaning: hint.meaning.into(),
            look: hint.look.into(),
            ..Failure::default()
        }
    }

    /// What a client has printed so far: soon our side closes, and what it
    /// says then is no more than an echo of that.
    fn words_of_client(&self) -> Vec<String> {
        let mut programs = self.programs.borrow_mut();
        let is_client = self.traits.side == Side::Client;
        match programs.last_mut().filter(|_| is_client) {
            None => Vec::new(),
            Some(program) => {
                if program.ended().is_some() {
                    program.wait_output();
                }
                last_words(program)
            }
        }
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
        let used = proc::cpu_time(&self.pids());
        let (start, waits) = (Instant::now(), self.waits());
        *self.window.borrow_mut() = Window { start, waits, used };
    }

    /// How long the threads of the program have waited for a processor; in a
    /// timed case our own, too: who looks too late sees too much.
    fn waits(&self) -> proc::Waits {
        let mut pids = self.pids();
        if self.traits.has(Tag::Timed) {
            pids.push(std::process::id() as i32);
        }
        proc::waits(&pids)
    }

    /// How late the checker or the program was in the window.
    pub fn lateness(&self) -> Duration {
        let window = self.window.borrow();
        let waited = proc::waited(&window.waits, &self.waits());
        self.setup.machine.ticker.late_since(window.start).max(waited)
    }

    /// Is the machine late because the program itself keeps it busy?
    pub fn is_own_fault(&self) -> bool {
        let window = self.window.borrow();
        let used = proc::cpu_time(&self.pids()).saturating_sub(window.used);
        let all = thread::available_parallelism().map_or(1, |n| n.get());
        used > window.start.elapsed().mul_f64(MUCH * all as f64)
    }
}

/// The part of all processors that a program takes when it is itself to blame
/// for the lateness. One that only starts, or one of many, takes less.
const MUCH: f64 = 0.35;

/// From some moment on: how long the program had waited for a processor then,
/// and how much it had used.
struct Window {
    start: Instant,
    waits: proc::Waits,
    used: Duration,
}

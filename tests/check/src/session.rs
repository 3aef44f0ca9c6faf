//! One program under test. A session holds everything that the checker knows
//! about it, so two sessions in one process share nothing.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::case::Case;
use crate::cases;
use crate::harness::lab::{Setup, Target};
use crate::harness::machine::Machine;
use crate::harness::random;
use crate::program::file;
use crate::program::running::Template;
use crate::program::start::Trouble;
use crate::report::{Obstacle, Report, Style};
use crate::run::{self, Plan};
use crate::traits::Side;
use crate::verdict::Verdict;

/// What a program may use of memory, unless it is told otherwise: 2 GB.
const MEMORY: u64 = 2048;

/// How often a patient caller has a case judged.
const PATIENCE: usize = 5;

/// A program under test, and how to try it.
///
/// A session starts the program afresh for each case, and ends it, with all
/// that it started. It looks at no other child of this process.
pub struct Session {
    side: Side,
    setup: Setup,
    command: String,
    jobs: usize,
}

impl Session {
    /// A program of this side and step. The command is split as a shell would
    /// do it, without a shell; `{addr}`, `{host}`, `{port}`, `{text}` and
    /// `{journal}` in it are replaced.
    ///
    /// # Errors
    /// The command is empty, or lacks what this side needs.
    pub fn new(side: Side, step: u8, command: &str) -> Result<Session> {
        let (bytes, machine) = (MEMORY << 20, Machine::new());
        let processes = &machine.processes;
        let template = Template::parse(command, None, bytes, processes)?;
        ensure_complete(side, &template, command, "--cmd")?;
        let target = Target::Command(template);
        Ok(Session::of(side, step, target, command, machine))
    }

    /// A server that runs already. Cases that start it, or measure it, are
    /// skipped.
    pub fn attached(step: u8, addr: SocketAddr) -> Session {
        let target = Target::Address(addr);
        Session::of(Side::Server, step, target, "", Machine::new())
    }

    fn of(
        side: Side,
        step: u8,
        target: Target,
        command: &str,
        machine: Machine,
    ) -> Session {
        let (seed, basic) = (random::any_seed(), cases::basic(side, step));
        let is_mute = OnceLock::new();
        let setup = Setup { step, basic, is_mute, seed, target, machine };
        Session { side, setup, command: command.to_owned(), jobs: jobs() }
    }

    // ---- How to try it

    /// The number from which all random bytes come.
    pub fn seed(mut self, seed: u64) -> Session {
        self.setup.seed = seed;
        self
    }

    /// How many cases may run beside each other; at first, as many as there
    /// are processors, and at most 8.
    pub fn jobs(mut self, jobs: usize) -> Session {
        self.jobs = jobs;
        self
    }

    /// The folder in which the program starts.
    pub fn folder(self, folder: PathBuf) -> Session {
        self.with(|template| template.dir = Some(folder))
    }

    /// How many MB of memory it may use before it is ended; at first, 2048.
    pub fn memory(self, megabytes: u64) -> Session {
        self.with(|template| template.most_memory = megabytes << 20)
    }

    /// The machine that it shares with other sessions; at first, it has one
    /// of its own.
    pub fn on(mut self, machine: &Machine) -> Session {
        self.setup.machine = machine.clone();
        self.with(|template| template.processes = machine.processes.clone())
    }

    fn with(mut self, set: impl FnOnce(&mut Template)) -> Session {
        if let Target::Command(template) = &mut self.setup.target {
            set(template);
        }
        self
    }

    // ---- Trying it

    /// Starts the program before any case. Returns whether it listens where it
    /// is told; if it does not, cases run one after another.
    ///
    /// # Errors
    /// It did not come up, so each case would say the same.
    pub fn probe(&mut self) -> std::result::Result<bool, Obstacle> {
        let template = match &self.setup.target {
            Target::Command(template) => template,
            Target::Address(addr) => return knock(*addr).map(|()| true),
        };
        let tried = match self.side {
            Side::Client => run::probe_client(template).map(|()| true),
            Side::Server => run::probe(template),
        };
        let heeds = tried.map_err(|why| self.not_started(template, why))?;
        if !heeds {
            self.jobs = 1;
        }
        Ok(heeds)
    }

    fn not_started(&self, template: &Template, mut why: Trouble) -> Obstacle {
        let command = self.command.clone();
        why.extend(file::flaw(&command, template.dir.as_deref()));
        let what = format!("the {} did not start", self.side.name());
        Obstacle { what, command, why }
    }

    /// Why this case cannot be tried here, if it cannot.
    pub fn skips(&self, case: &Case) -> Option<String> {
        run::cannot_run(&self.setup, case)
    }

    /// Runs one case; again if the machine was late, and then with few other
    /// cases on the same [`Machine`], or none.
    pub fn judge(&self, case: &'static Case) -> Verdict {
        run::judge(&self.setup, case)
    }

    /// The same, a few times more while the machine is too busy to tell.
    pub fn judge_patiently(&self, case: &'static Case) -> Verdict {
        let mut verdict = self.judge(case);
        for _ in 1..PATIENCE {
            if let Verdict::Unknown(_) = verdict {
                verdict = self.judge(case);
            }
        }
        verdict
    }

    /// Runs these cases, as many beside each other as there are jobs, and a few
    /// more of those that a clock judges, because they mostly wait.
    pub fn judge_all(
        &self,
        cases: &[&'static Case],
    ) -> Vec<(&'static Case, Verdict)> {
        let results = self.run(cases, true, |_| {});
        results.into_iter().map(|r| (r.case, r.verdict)).collect()
    }

    /// Runs these cases, and says each result.
    pub(crate) fn run(
        &self,
        cases: &[&'static Case],
        keep_going: bool,
        say: impl FnMut(&run::Result),
    ) -> Vec<run::Result> {
        let (jobs, cases) = (self.most_jobs(), cases.to_vec());
        run::run(&self.setup, &Plan { cases, jobs, keep_going }, say)
    }

    /// How many cases run beside each other: one, if the program always takes
    /// the same port.
    fn most_jobs(&self) -> usize {
        match &self.setup.target {
            Target::Address(_) => 1,
            Target::Command(template) if !template.has_addr() => 1,
            Target::Command(_) => self.jobs.max(1),
        }
    }

    /// Returns the report on a case as text: a line, and up to a dozen more if
    /// there is something to explain.
    pub fn report(&self, case: &'static Case, verdict: &Verdict) -> String {
        let verdict = verdict.clone();
        let result = run::Result { case, verdict };
        self.new_report(false).line(&result, Style::default())
    }

    /// A report in which nothing has been tried yet.
    pub(crate) fn new_report(&self, is_strict: bool) -> Report {
        let Setup { step, seed, .. } = self.setup;
        Report::new(self.side, step, seed, is_strict)
    }
}

/// How many programs we try at the same time: they mostly wait.
pub(crate) fn jobs() -> usize {
    let all = thread::available_parallelism().map_or(1, |n| n.get());
    (3 * all).clamp(4, 12)
}

/// A client must be told where to connect and what to send.
pub(crate) fn ensure_complete(
    side: Side,
    template: &Template,
    command: &str,
    option: &str,
) -> Result<()> {
    let mut missing = Vec::new();
    if !template.has_addr() {
        missing.push("{addr} (where it connects to)");
    }
    if !command.contains("{text}") {
        missing.push("{text} (what it sends)");
    }
    // A server without {addr} skips the cases that need it.
    ensure!(
        side == Side::Server || missing.is_empty(),
        "the command of a client needs {}: write for example {option} \
         'python3 client.py {{addr}} {{text}}'; the checker cannot try a client that \
         takes its text only from stdin",
        missing.join(" and ")
    );
    Ok(())
}

fn knock(addr: SocketAddr) -> std::result::Result<(), Obstacle> {
    let tried = TcpStream::connect_timeout(&addr, Duration::from_secs(3));
    tried.map(drop).map_err(|error| Obstacle {
        what: format!("no server answers at {addr}"),
        command: String::new(),
        why: vec![format!("{error}. Is the server running?")],
    })
}

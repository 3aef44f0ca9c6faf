//! The programs of a case: how it starts them, and what it asks of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::lab::{LIVES, Lab, PATIENCE, Target, any_port};
use crate::os;
use crate::program::running::{Habits, Program, Streams, Template};
use crate::program::start;
use crate::verdict::{Check, Stop};

/// How often we look whether something has been printed.
const TICK: Duration = Duration::from_millis(5);

impl Lab<'_> {
    /// Sets a limit for the programs started from here on.
    pub fn set(&self, name: &'static str, value: u64) {
        self.set_text(name, &value.to_string());
    }

    pub fn set_text(&self, name: &'static str, value: &str) {
        self.env.borrow_mut().push((name, value.to_owned()));
    }

    fn template(&self) -> Check<&Template> {
        match &self.setup.target {
            Target::Command(template) => Ok(template),
            Target::Address(_) => {
                let why = "needs to start the program: --cmd".to_owned();
                Err(Box::new(Stop::Skip(why)))
            }
        }
    }

    /// What earlier cases have taught us of the program.
    pub fn habits(&self) -> Check<&Habits> {
        Ok(&self.template()?.habits)
    }

    /// A fresh server, or the one that runs already.
    pub fn server(&self) -> Check<SocketAddr> {
        if let Target::Address(addr) = self.setup.target {
            return Ok(addr);
        }
        self.server_at(any_port())
    }

    pub fn server_at(&self, asked: SocketAddr) -> Check<SocketAddr> {
        let mut program = self.start(asked, &[], None)?;
        let ready = start::wait_ready(&mut program);
        self.programs.borrow_mut().push(program);
        self.open_window();
        ready.map_err(|trouble| {
            let mut failure = self.fail("it says `listening on IP:PORT`", "");
            failure.meaning = trouble.join(" ");
            failure.look = "how the program starts".into();
            failure.actual = vec!["it did not come up this time".into()];
            failure.by_time = true;
            failure.into()
        })
    }

    /// Starts the program; it is the caller's.
    pub fn start(
        &self,
        addr: SocketAddr,
        texts: &[String],
        streams: impl Into<Streams>,
    ) -> Check<Program> {
        let env = self.env.borrow();
        let mut template = self.template()?.clone();
        template.most_processes += self.clients.get();
        if let Some(folder) = &*self.journal.borrow() {
            template.keep_journal(&folder.path().join("journal"));
        }
        let started = template.start(addr, texts, &env, streams);
        started.map_err(|error| {
            let failure = self.fail("the program starts", format!("{error:#}"));
            failure.into()
        })
    }

    /// Chooses the journal of the programs started from here on: a file that
    /// is not there yet, or what a program has left in it.
    pub fn keep_journal(&self) -> Check<PathBuf> {
        let folder = os::folder().map_err(|error| {
            let why = format!("the checker cannot make a folder: {error}");
            Box::new(Stop::Unknown(why))
        })?;
        let path = folder.path().join("journal");
        *self.journal.borrow_mut() = Some(folder);
        Ok(path)
    }

    /// Kills all processes of the programs, as a crash does, and waits until
    /// they are gone.
    pub fn crash(&self) {
        self.signal_all(Signal::KILL);
        self.last_ended(PATIENCE);
    }

    /// How the last program ended, if it does in time.
    pub fn last_ended(&self, limit: Duration) -> Option<ExitStatus> {
        self.programs.borrow_mut().last_mut()?.wait(limit)
    }

    /// What the last program printed: stdout and stderr.
    pub fn last_output(&self) -> (Vec<u8>, Vec<u8>) {
        let programs = self.programs.borrow();
        let Some(program) = programs.last() else { return Default::default() };
        program.wait_output();
        (program.out.first(), program.err.first())
    }

    /// Does the last program print this within the limit, on stdout or stderr?
    pub fn prints(&self, what: &str, limit: Duration) -> bool {
        let until = self.until(limit);
        let what = what.as_bytes();
        loop {
            let (out, err) = self.so_far();
            let has = |text: &[u8]| text.windows(what.len()).any(|w| w == what);
            if has(&out) || has(&err) {
                return true;
            }
            if Instant::now() > until || self.last_ended(TICK).is_some() {
                return false;
            }
        }
    }

    /// What the last program has printed so far.
    pub fn so_far(&self) -> (Vec<u8>, Vec<u8>) {
        let programs = self.programs.borrow();
        let last = programs.last();
        last.map_or_else(Default::default, |p| (p.out.first(), p.err.first()))
    }

    /// Does something with the last program, if there is one.
    pub fn with_last(&self, act: impl FnOnce(&mut Program)) {
        if let Some(program) = self.programs.borrow_mut().last_mut() {
            act(program);
        }
    }

    /// How many bytes the last program has printed on both.
    pub fn printed_in_all(&self) -> u64 {
        let programs = self.programs.borrow();
        programs.last().map_or(0, |p| p.out.total() + p.err.total())
    }

    /// How many bytes the last program has printed on stderr.
    pub fn last_complained(&self) -> u64 {
        let programs = self.programs.borrow();
        programs.last().map_or(0, |program| program.err.total())
    }

    /// What it has printed on stderr since then.
    pub fn complaints_since(&self, before: u64) -> Vec<u8> {
        let programs = self.programs.borrow();
        programs.last().map_or(Vec::new(), |p| p.err.since(before))
    }

    /// How many bytes the last program has printed.
    pub fn last_printed(&self) -> u64 {
        let programs = self.programs.borrow();
        programs.last().map_or(0, |program| program.out.total())
    }

    /// Keeps a program for the report, and until the case is over.
    pub fn keep(&self, program: Program) {
        self.programs.borrow_mut().push(program);
    }

    pub fn end_programs(&self) {
        self.programs.borrow_mut().clear();
    }

    /// A server that dies of what was just done does so about now. Also called
    /// when a script has passed.
    pub fn lives_on(&self) -> Check {
        match self.last_ended(Duration::from_millis(50)) {
            None => Ok(()),
            Some(_) => Err(self.fail(LIVES, "it ended").into()),
        }
    }

    /// Sends a signal to each process of the programs.
    pub fn signal_all(&self, signal: Signal) {
        for pid in self.pids().into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// All processes of the programs.
    pub fn pids(&self) -> Vec<i32> {
        let programs = self.programs.borrow();
        programs.iter().flat_map(Program::pids).collect()
    }
}

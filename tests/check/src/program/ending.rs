//! How we end a program, with everything that it started.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process,
    kill_process_group, waitid, waitpid,
};

use crate::os;
use crate::program::proc;

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// How often we look for what is left. If a program starts others faster than
/// we end them, we stop its whole group at once.
const ROUNDS: usize = 100;

/// The programs that run now, by their first process, each with its mark in
/// the environment. All copies of this value are about the same programs.
#[derive(Clone)]
pub struct Processes(Arc<Shared>);

struct Shared {
    live: Mutex<Programs>,
    /// Has the checker been told to end? Then it starts no program and prints
    /// no line any more.
    is_over: AtomicBool,
    /// Is each child of this process one of the programs, or an orphan of one?
    adopts: bool,
    /// Makes the marks differ from those of others in this process.
    name: u64,
    count: AtomicU64,
}

impl Processes {
    /// For a process that has other children, too: we leave an orphan alone
    /// that has lost its mark.
    pub fn new() -> Processes {
        Processes::made(false)
    }

    /// For a process that starts no other children: orphans become ours, and
    /// we end them.
    pub fn adopting() -> Processes {
        os::adopt_orphans();
        Processes::made(true)
    }

    fn made(adopts: bool) -> Processes {
        let (live, is_over, count) = Default::default();
        let name = RandomState::new().hash_one(std::process::id());
        Processes(Arc::new(Shared { live, is_over, adopts, name, count }))
    }

    fn live(&self) -> MutexGuard<'_, Programs> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A value that no other program has in its environment.
    pub fn new_mark(&self) -> String {
        let count = self.0.count.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{count}", self.0.name)
    }

    /// After Ctrl-C, whoever asks waits here for the end of the checker.
    pub fn wait_if_over(&self) {
        while self.0.is_over.load(Ordering::Relaxed) {
            thread::park();
        }
    }

    /// Starts a program. No thread may look for orphans meanwhile, because it
    /// would take a program for one that is not in the list yet.
    pub fn spawn(
        &self,
        command: &mut Command,
        mark: &str,
    ) -> io::Result<Child> {
        let mut live = self.live();
        if self.0.is_over.load(Ordering::Relaxed) {
            drop(live);
            self.wait_if_over();
            return Err(io::Error::other("interrupted"));
        }
        let child = command.spawn()?;
        live.insert(child.id() as i32, mark.to_owned());
        Ok(child)
    }

    /// Ends all programs, and starts no other: for Ctrl-C.
    pub fn end_all(&self) {
        let programs = {
            let live = self.live();
            self.0.is_over.store(true, Ordering::Relaxed);
            live.clone()
        };
        for &pid in programs.keys() {
            kill_group(pid, Signal::KILL);
        }
        for (pid, mark) in programs {
            self.end_stragglers(pid, &mark);
        }
    }

    /// All processes of a program: its tree, and those that left it. What has
    /// left it and ended is nobody's any more: only its own parent's children
    /// count until that waits for them.
    pub fn all_of(&self, first: i32, mark: &str) -> Vec<i32> {
        let mut pids = proc::tree(first);
        let others = stragglers(first, mark, &self.live(), self.0.adopts);
        pids.extend(others.into_iter().filter(|&pid| proc::is_alive(pid)));
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Ends a program: it may tidy up, then it must go. Returns how it ended
    /// and whether it obeyed SIGTERM.
    pub fn end(
        &self,
        child: &mut Child,
        mark: &str,
        is_polite: bool,
    ) -> (Option<ExitStatus>, bool) {
        let pid = child.id() as i32;
        let mut obeyed = true;
        if is_polite && !has_ended(child, Duration::ZERO) {
            kill_group(pid, Signal::TERM);
            obeyed = has_ended(child, GRACE);
        }
        // Even when the first process is gone: others may be left in its
        // group.
        kill_group(pid, Signal::KILL);
        has_ended(child, GRACE);
        self.end_stragglers(pid, mark);
        let status = child.try_wait().ok().flatten();
        self.live().remove(&pid);
        (status, obeyed)
    }

    /// Ends what left the group of the program: processes with its mark, and
    /// orphans that belong to no other program.
    fn end_stragglers(&self, first: i32, mark: &str) {
        for _ in 0..ROUNDS {
            let live = self.live();
            let left = stragglers(first, mark, &live, self.0.adopts);
            if left.is_empty() {
                return;
            }
            for pid in left.iter().filter_map(|&pid| Pid::from_raw(pid)) {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
            drop(live);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Ends these processes of a program at once.
pub fn kill_all(first: i32, pids: &[i32]) {
    kill_group(first, Signal::KILL);
    for pid in pids.iter().filter_map(|&pid| Pid::from_raw(pid)) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn kill_group(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process_group(pid, signal);
    }
}

/// Waits until the program has ended, for at most this time, and returns how
/// it did. It stays a zombie (`waitid`, WNOWAIT) until [`Processes::end`]: as
/// long as it is one, no other process gets its number, and so none gets a
/// signal that was meant for it.
pub fn wait(child: &Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = look(child) {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

fn has_ended(child: &Child, limit: Duration) -> bool {
    wait(child, limit).is_some()
}

fn look(child: &Child) -> Option<ExitStatus> {
    let options =
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = Pid::from_raw(child.id() as i32)?;
    let status = waitid(WaitId::Pid(pid), options).ok()??;
    // As wait(2) gives it: the exit code above the signal.
    let code = status.exit_status().unwrap_or(0) << 8;
    let signal = status.terminating_signal().unwrap_or(0);
    Some(ExitStatus::from_raw(code | signal))
}

type Programs = HashMap<i32, String>;

/// What left the tree of a program, dead or alive.
fn stragglers(
    first: i32,
    mark: &str,
    live: &Programs,
    adopts: bool,
) -> Vec<i32> {
    let own = std::process::id() as i32;
    let is_left = |&pid: &i32| {
        if pid == own || (pid != first && live.contains_key(&pid)) {
            return false;
        }
        proc::has_mark(pid, mark) && proc::is_alive(pid)
            || pid != first
                && proc::parent(pid) == Some(own)
                && (proc::group(pid) == Some(first)
                    || adopts && is_orphan(pid, live))
    };
    proc::all().into_iter().filter(is_left).collect()
}

/// One of our children that we did not start, and that no program which still
/// runs can have started.
fn is_orphan(pid: i32, live: &Programs) -> bool {
    let group = proc::group(pid).unwrap_or(0);
    !live.contains_key(&pid)
        && !live.contains_key(&group)
        && !live.values().any(|mark| proc::has_mark(pid, mark))
}

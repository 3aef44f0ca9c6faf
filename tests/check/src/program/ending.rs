//! How a program is ended, with all that it started.

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use rustix::process::{kill_process, kill_process_group, waitpid};

use crate::program::proc;

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// How often we look for what is left. A program that starts others faster
/// than we end them is stopped by its group, all at once.
const ROUNDS: usize = 100;

/// The programs that run now: first process, and mark in the environment.
static LIVE: Mutex<Option<Programs>> = Mutex::new(None);

fn live() -> MutexGuard<'static, Option<Programs>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Is everything over? Then nothing is started or said any more.
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// After Ctrl-C, whoever asks waits here for the end of the checker.
pub fn wait_if_over() {
    while IS_OVER.load(Ordering::Relaxed) {
        thread::park();
    }
}

/// Starts a program. Nobody looks for orphans meanwhile: one that is not yet
/// in the list would be taken for one.
pub fn spawn(command: &mut Command, mark: &str) -> io::Result<Child> {
    let mut live = live();
    if IS_OVER.load(Ordering::Relaxed) {
        drop(live);
        wait_if_over();
        return Err(io::Error::other("interrupted"));
    }
    let child = command.spawn()?;
    let programs = live.get_or_insert_default();
    programs.insert(child.id() as i32, mark.to_owned());
    Ok(child)
}

/// Processes that lose their parent become ours, so that we find and end
/// them: also those which made a session of their own (prctl(2),
/// PR_SET_CHILD_SUBREAPER). Elsewhere the group must do.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Pid::from_raw(1));
}

/// Ends all programs: for Ctrl-C.
pub fn end_all() {
    let programs = {
        let live = live();
        IS_OVER.store(true, Ordering::Relaxed);
        live.clone().unwrap_or_default()
    };
    for &pid in programs.keys() {
        kill_group(pid, Signal::KILL);
    }
    for (pid, mark) in programs {
        end_stragglers(pid, &mark);
    }
}

/// All processes of a program: its tree, and those that left it. What has
/// left it and ended is nobody's any more: only its own parent's children
/// count until that waits for them.
pub fn all_of(first: i32, mark: &str) -> Vec<i32> {
    let mut pids = proc::tree(first);
    let others = stragglers(first, mark, live().as_ref());
    pids.extend(others.into_iter().filter(|&pid| proc::is_alive(pid)));
    pids.sort_unstable();
    pids.dedup();
    pids
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

/// Ends a program: it may tidy up, then it must go. Returns how it ended and
/// whether it obeyed SIGTERM.
pub fn end(
    child: &mut Child,
    mark: &str,
    is_polite: bool,
) -> (Option<ExitStatus>, bool) {
    let pid = child.id() as i32;
    let mut obeyed = true;
    let mut status = child.try_wait().ok().flatten();
    if status.is_none() && is_polite {
        kill_group(pid, Signal::TERM);
        status = wait(child, GRACE);
        obeyed = status.is_some();
    }
    // Also when the first process is gone: others may be left in its group.
    kill_group(pid, Signal::KILL);
    if status.is_none() {
        status = wait(child, GRACE);
    }
    end_stragglers(pid, mark);
    live().get_or_insert_default().remove(&pid);
    (status, obeyed)
}

/// Waits for the end of a program, at most so long.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Ends what left the group of the program: processes with its mark, and
/// orphans that nobody else owns.
fn end_stragglers(first: i32, mark: &str) {
    for _ in 0..ROUNDS {
        let live = live();
        let left = stragglers(first, mark, live.as_ref());
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

type Programs = HashMap<i32, String>;

/// What left the tree of a program, dead or alive.
fn stragglers(first: i32, mark: &str, live: Option<&Programs>) -> Vec<i32> {
    let own = std::process::id() as i32;
    let none = Programs::new();
    let others = live.unwrap_or(&none);
    let is_left = |&pid: &i32| {
        if pid == own || (pid != first && others.contains_key(&pid)) {
            return false;
        }
        proc::has_mark(pid, mark) && proc::is_alive(pid)
            || pid != first
                && proc::parent(pid) == Some(own)
                && (proc::group(pid) == Some(first) || is_orphan(pid, others))
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

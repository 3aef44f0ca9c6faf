//! The program under test: how we start, watch and end it.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::diagnosis::said;
use crate::os;
use crate::program::ending::Processes;
use crate::program::output::Output;
use crate::program::{ending, proc};

/// How much of stdout is kept: more than any case asks for.
const KEPT: usize = 20_000_000;

/// What a program may print before it is ended: one that logs each byte of
/// what we send stays below.
const FLOOD: u64 = 1 << 30;

/// How many processes a program may start.
const CROWD: usize = 200;

/// How often the watch looks. A program that eats memory as fast as it can
/// gets a few hundred MB in that time.
const WATCH: Duration = Duration::from_millis(50);

/// In each such round of the watch, all processes of the machine are looked at:
/// some may have left the program's tree.
const SEARCH: usize = 10;

/// Stands for the file in which a server keeps its journal.
const JOURNAL: &str = "{journal}";

/// What earlier runs of a program have taught us.
#[derive(Default)]
pub struct Habits {
    /// It ignored SIGTERM. Then it is not asked any more: two seconds for
    /// each case would cost minutes.
    ignores_sigterm: AtomicBool,
    /// A client did not come at all. Then it is not waited for as long.
    pub never_came: AtomicBool,
}

/// What a program gets on its stdin.
#[derive(Default)]
pub enum Input {
    #[default]
    Nothing,
    /// These bytes, and the end.
    Bytes(Vec<u8>),
    /// These bytes, and what `Program::feed` says, until its end is said.
    Open(Vec<u8>),
    /// A folder: each read of it fails.
    Folder,
}

/// What becomes of what a program prints.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Reader {
    #[default]
    Reads,
    /// It reads when it is told to.
    Later,
    /// It has gone: each write fails.
    Gone,
}

/// What a program finds at its three standard streams.
#[derive(Default)]
pub struct Streams {
    pub stdin: Input,
    pub stdout: Reader,
    pub stderr: Reader,
}

impl From<Option<Vec<u8>>> for Streams {
    fn from(input: Option<Vec<u8>>) -> Streams {
        let stdin = input.map_or(Input::Nothing, Input::Bytes);
        Streams { stdin, ..Streams::default() }
    }
}

/// How to start the program: `--cmd`, split into words, and where.
#[derive(Clone)]
pub struct Template {
    words: Vec<String>,
    pub dir: Option<PathBuf>,
    pub most_memory: u64,
    /// How many processes it may have: one for each client is fine.
    pub most_processes: usize,
    pub processes: Processes,
    pub habits: Arc<Habits>,
}

impl Template {
    /// # Errors
    /// A quotation mark is not closed, or there is no word.
    pub fn parse(
        text: &str,
        dir: Option<PathBuf>,
        memory: u64,
        processes: &Processes,
    ) -> Result<Self> {
        let words = shlex::split(text).with_context(|| {
            format!(
                "cannot read the command {text:?}: a quotation mark is not \
                 closed"
            )
        })?;
        ensure!(
            !words.is_empty(),
            "cannot start your program: the command is empty"
        );
        Ok(Template {
            words,
            dir,
            most_memory: memory,
            most_processes: CROWD,
            processes: processes.clone(),
            habits: Arc::default(),
        })
    }

    /// Can we tell the program where to listen or to connect?
    pub fn has_addr(&self) -> bool {
        self.words.iter().any(|w| w.contains("{addr}") || w.contains("{port}"))
    }

    /// Can we tell the program where to keep its journal?
    pub fn has_journal(&self) -> bool {
        self.words.iter().any(|word| word.contains(JOURNAL))
    }

    /// From here on the program keeps this journal.
    pub fn keep_journal(&mut self, path: &Path) {
        name_journal(&mut self.words, path);
    }

    /// Do we name the address, and not the port alone?
    fn has_host(&self) -> bool {
        self.words.iter().any(|w| w.contains("{addr}") || w.contains("{host}"))
    }

    fn fill(&self, addr: SocketAddr, texts: &[String]) -> Vec<String> {
        let fill = |word: &String| -> Vec<String> {
            if word == "{text}" {
                return texts.to_vec();
            }
            let word = word
                .replace("{addr}", &addr.to_string())
                .replace("{host}", &addr.ip().to_string())
                .replace("{port}", &addr.port().to_string())
                .replace("{text}", &texts.join(" "));
            vec![word]
        };
        self.words.iter().flat_map(fill).collect()
    }

    /// Starts it, with `env` and without any other setting of the contract.
    ///
    /// # Errors
    /// There is no such program, or it may not be run.
    pub fn start(
        &self,
        addr: SocketAddr,
        texts: &[String],
        env: &[(&str, String)],
        streams: impl Into<Streams>,
    ) -> Result<Program> {
        let streams = streams.into();
        let mut words = self.fill(addr, texts);
        let folder = self.has_journal().then(|| new_journal(&mut words));
        let mark = self.processes.new_mark();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).process_group(0);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TCP_") {
                command.env_remove(name);
            }
        }
        // So that Python buffers its output as it does for a learner's pipe.
        command.env_remove("PYTHONUNBUFFERED");
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.env("CHECK_MARK", &mark);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        streams.connect(&mut command)?;
        let mark = format!("CHECK_MARK={mark}");
        let child = self
            .processes
            .spawn(&mut command, &mark)
            .with_context(|| format!("cannot run {:?}", words[0]))?;
        let told = Told { addr, has_host: self.has_host() };
        let mut program = self.watch(child, mark, told, streams);
        program.folder = folder.transpose()?;
        Ok(program)
    }

    /// Reads what it prints, and sees that it does not take too much.
    fn watch(
        &self,
        mut child: Child,
        mark: String,
        told: Told,
        streams: Streams,
    ) -> Program {
        let pid = child.id() as i32;
        os::forbid_core(pid);
        let stdin = child.stdin.take();
        let stdin = stdin.and_then(|pipe| streams.stdin.write_into(pipe));
        let none = || Output::collect(std::io::empty(), 0);
        let out = child.stdout.take();
        let err = child.stderr.take();
        let program = Program {
            out: out.map_or_else(none, |pipe| Output::collect(pipe, KEPT)),
            err: err.map_or_else(none, |pipe| Output::collect(pipe, 1 << 16)),
            child,
            mark,
            told,
            processes: self.processes.clone(),
            habits: Arc::clone(&self.habits),
            excess: Arc::default(),
            is_over: Arc::default(),
            status: None,
            stdin,
            folder: None,
            dir: self.dir.clone(),
        };
        if streams.stdout == Reader::Later {
            program.out.hold();
        }
        program.start_watch(pid, (self.most_memory, self.most_processes));
        program
    }
}

fn name_journal(words: &mut [String], path: &Path) {
    let path = path.to_string_lossy();
    for word in words {
        *word = word.replace(JOURNAL, &path);
    }
}

/// A journal that is not there yet, in a folder of its own.
fn new_journal(words: &mut [String]) -> Result<TempDir> {
    let folder = os::folder().context("cannot make a folder for a journal")?;
    name_journal(words, &folder.path().join("journal"));
    Ok(folder)
}

/// Where a program was asked to listen, or to connect to.
#[derive(Clone, Copy)]
pub struct Told {
    pub addr: SocketAddr,
    /// Was it told the address, or no more than the port?
    pub has_host: bool,
}

/// What can be seen of a program at some moment.
#[derive(Default)]
pub struct Seen {
    pub gone: Option<ExitStatus>,
    /// What it printed, as far as it tells an error.
    pub printed: Vec<String>,
}

/// A program that runs. It is ended when this value goes away.
pub struct Program {
    child: Child,
    mark: String,
    /// The address that its command line names.
    pub told: Told,
    processes: Processes,
    habits: Arc<Habits>,
    pub out: Arc<Output>,
    pub err: Arc<Output>,
    excess: Arc<Mutex<Option<Excess>>>,
    is_over: Arc<AtomicBool>,
    status: Option<ExitStatus>,
    stdin: Option<ChildStdin>,
    /// Where its journal is, if no case has chosen a place.
    folder: Option<TempDir>,
    /// Where it was started, if not where we were.
    dir: Option<PathBuf>,
}

impl Input {
    /// Writes what there is; returns the pipe if it stays open.
    fn write_into(self, mut pipe: ChildStdin) -> Option<ChildStdin> {
        match self {
            Input::Bytes(bytes) => {
                // In a thread, so that a program that does not read cannot
                // delay us.
                thread::spawn(move || pipe.write_all(&bytes));
                None
            }
            Input::Open(bytes) => {
                let _ = pipe.write_all(&bytes); // a pipe has room for a line
                Some(pipe)
            }
            Input::Nothing | Input::Folder => None,
        }
    }
}

impl Streams {
    fn connect(&self, command: &mut Command) -> Result<()> {
        command.stdin(match self.stdin {
            Input::Nothing => Stdio::null(),
            Input::Bytes(_) | Input::Open(_) => Stdio::piped(),
            Input::Folder => File::open("/").context("cannot open /")?.into(),
        });
        let pipe = |reader| match reader {
            Reader::Reads | Reader::Later => Ok(Stdio::piped()),
            Reader::Gone => std::io::pipe().map(|(_, end)| end.into()),
        };
        command.stdout(pipe(self.stdout)?).stderr(pipe(self.stderr)?);
        Ok(())
    }
}

impl Program {
    /// A thread that ends the program when it takes too much of anything.
    fn start_watch(&self, pid: i32, most: (u64, usize)) {
        let (out, err) = (Arc::clone(&self.out), Arc::clone(&self.err));
        let excess = Arc::clone(&self.excess);
        let is_over = Arc::clone(&self.is_over);
        let mark = self.mark.clone();
        let processes = self.processes.clone();
        thread::spawn(move || {
            for round in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let printed = out.total() + err.total();
                let pids = match round % SEARCH {
                    0 => processes.all_of(pid, &mark),
                    _ => proc::tree(pid),
                };
                if let Some(what) = excess_of(&pids, most, printed) {
                    *excess.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(what);
                    ending::kill_all(pid, &pids);
                    return;
                }
                thread::park_timeout(WATCH);
            }
        });
    }

    /// Returns all processes of the program, even those that left its group.
    pub fn pids(&self) -> Vec<i32> {
        self.processes.all_of(self.child.id() as i32, &self.mark)
    }

    /// What it took too much of, if it was ended for that.
    pub fn excess(&self) -> Option<Excess> {
        self.excess.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a signal to its first process alone.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none()
            && let Some(pid) = Pid::from_raw(self.child.id() as i32)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Writes to its open stdin. A program that reads no more is no error.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(bytes);
        }
    }

    /// Ends its stdin.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Waits until the program has ended by itself.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = ending::wait(&self.child, limit);
        }
        self.status
    }

    /// What can be seen of it, if it has a moment to end.
    pub fn seen(&mut self, moment: Duration) -> Seen {
        let gone = self.wait(moment);
        if gone.is_some() {
            self.wait_output();
        }
        Seen { gone, printed: self.last_words() }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.wait(Duration::ZERO)
    }

    /// Waits until all that it printed is here. Another process may keep the
    /// pipe open, so after half a second we take what we have.
    pub fn wait_output(&self) {
        let limit = Duration::from_millis(500);
        let end = Instant::now() + limit;
        self.out.wait_end(limit);
        self.err.wait_end(end.saturating_duration_since(Instant::now()));
    }

    /// The last that it printed: on stderr, or if nothing is there, on stdout.
    /// The folder in which it was started is left out of it, because a copy is
    /// in another one each time.
    pub fn last_output(&self) -> Vec<u8> {
        let text = self.err.since(0);
        let text = if text.is_empty() { self.out.since(0) } else { text };
        match &self.dir {
            Some(dir) => without(&text, dir.join("").as_os_str().as_bytes()),
            None => text,
        }
    }

    /// The lines of it that tell what went wrong.
    pub fn last_words(&self) -> Vec<String> {
        said::telling(&self.last_output())
    }

    /// Ends it, and all that it started.
    pub fn end(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ignores_sigterm = &self.habits.ignores_sigterm;
        let is_polite = !ignores_sigterm.load(Ordering::Relaxed);
        let (status, obeyed) =
            self.processes.end(&mut self.child, &self.mark, is_polite);
        self.status = self.status.or(status);
        if !obeyed {
            ignores_sigterm.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// A text without each occurrence of `part`.
fn without(text: &[u8], part: &[u8]) -> Vec<u8> {
    let (mut rest, mut left) = (text, Vec::new());
    let find = |text: &[u8]| text.windows(part.len()).position(|w| w == part);
    while let Some(at) = find(rest) {
        left.extend_from_slice(&rest[..at]);
        rest = &rest[at + part.len()..];
    }
    left.extend_from_slice(rest);
    left
}

/// What a program took too much of.
#[derive(Clone)]
pub struct Excess {
    pub what: String,
    pub look: &'static str,
}

fn excess_of(
    pids: &[i32],
    (most_memory, most_processes): (u64, usize),
    printed: u64,
) -> Option<Excess> {
    let of = |what: String, look| Some(Excess { what, look });
    if pids.len() > most_processes {
        return of_processes(pids, most_processes);
    }
    let sum = |of: fn(i32) -> Option<u64>| -> u64 {
        pids.iter().filter_map(|&pid| of(pid)).sum()
    };
    // What processes share counts once: asked only when it may matter.
    if sum(proc::resident) > most_memory && sum(proc::share) > most_memory {
        let what = format!("it took more than {} MB", most_memory >> 20);
        return of(what, "what your program keeps in memory, and for how long");
    }
    if printed > FLOOD {
        let what = format!("it printed more than {} MB", FLOOD >> 20);
        return of(what, "what your program prints without end");
    }
    None
}

/// One that has ended counts until its parent waits for it.
fn of_processes(pids: &[i32], most: usize) -> Option<Excess> {
    let dead = pids.iter().filter(|&&pid| !proc::is_alive(pid)).count();
    let (how, look) = match dead > pids.len() / 2 {
        true => (
            ", and never waited for those that ended (zombies)",
            "what your program does when a child process ends: SIGCHLD, \
             waitpid",
        ),
        false => ("", "what starts them, and what ends them"),
    };
    let what = format!("it started more than {most} processes{how}");
    Some(Excess { what, look })
}

/// How a program ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(101), _) => "exit code 101 (a Rust panic)".to_owned(),
        (Some(code @ 129..=159), _) => {
            format!("exit code {code} ({})", signal_name(code - 128))
        }
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            format!("signal {signal} ({})", signal_name(signal))
        }
        (None, None) => "unknown".to_owned(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT: it aborted",
        _ if signal == Signal::BUS.as_raw() => "SIGBUS", // 7, or 10 on macOS
        8 => "SIGFPE: a division by zero?",
        9 => "SIGKILL",
        11 => "SIGSEGV: a bad pointer",
        13 => "SIGPIPE: it wrote to a connection that was closed",
        15 => "SIGTERM",
        _ => "a signal",
    }
}

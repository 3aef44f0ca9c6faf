//! Machines: network namespaces (network_namespaces(7)) without a name, which
//! end with the last process in them.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How long anything may take that should take no time.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long to sleep between two looks at a process.
const MOMENT: Duration = Duration::from_millis(5);

/// The folder of the whole project.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The first argument of the program when it runs inside.
pub const INSIDE: &str = "inside";

/// A mutex that a thread left behind in a panic is as good as any.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---- The way in

/// Runs this program once more, with these arguments, as the first process of
/// namespaces of its own, and waits for its end. Whatever ends one of the two,
/// the kernel ends all that runs inside.
///
/// # Errors
/// The system lacks unshare(1), or allows no namespaces.
pub fn run_inside(args: &[OsString]) -> Result<ExitCode> {
    let probe = unshare().arg("true").output();
    let probe = probe.context("cannot run unshare (install util-linux)")?;
    let said = String::from_utf8_lossy(&probe.stderr);
    ensure!(
        probe.status.success(),
        "cannot make a network namespace: {} (be root, or allow user \
         namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0 \
         on Ubuntu, --privileged in a container)",
        said.trim()
    );
    let lab = env::current_exe().context("cannot find this program")?;
    let mut inside = unshare()
        .arg(lab)
        .arg(INSIDE)
        .args(args)
        .stdin(Stdio::piped()) // it ends when we do: see `end_with_parent`
        .spawn()
        .context("cannot run unshare")?;
    let _alive = inside.stdin.take();
    let status = inside.wait().context("cannot wait for unshare")?;
    Ok(status.code().map_or(ExitCode::FAILURE, |n| (n as u8).into()))
}

/// unshare(1) for what a machine needs. Root does without a user namespace:
/// some systems have none.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "--"]);
    command
}

/// Ends this process when the one outside has ended, even by `kill -9`: then
/// its end of the pipe is closed. As we are the first process in here, the
/// kernel ends all others with us (pid_namespaces(7)).
///
/// # Errors
/// We are not inside: what follows would change the network of this system.
pub fn end_with_parent() -> Result<()> {
    let is_first = std::process::id() == 1;
    ensure!(is_first, "{INSIDE} is a word between lab and itself");
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    Ok(())
}

// ---- A machine

/// A machine: a network of its own.
pub struct Machine {
    name: &'static str,
    net: File,
    /// The first process on it, which ends with its stdin.
    holder: Option<Child>,
}

impl Machine {
    /// The machine on which this process runs.
    ///
    /// # Errors
    /// There is no /proc, or a setting is refused.
    pub fn this(name: &'static str) -> Result<Machine> {
        let net = File::open("/proc/thread-self/ns/net");
        let net = net.context("cannot open /proc/thread-self/ns/net")?;
        Machine { name, net, holder: None }.prepared()
    }

    /// One more machine.
    ///
    /// # Errors
    /// The kernel refuses one more namespace, or a setting.
    pub fn another(name: &'static str) -> Result<Machine> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "read _"])
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run unshare")?;
        let path = format!("/proc/{}/ns/net", holder.id());
        let ours = fs::read_link("/proc/thread-self/ns/net")?;
        let end = Instant::now() + DEADLINE;
        while fs::read_link(&path).is_ok_and(|net| net == ours) {
            let is_late = Instant::now() >= end;
            let ended = wait(&mut holder, MOMENT)?;
            let is_over = is_late || ended.is_some();
            ensure!(!is_over, "cannot make a network namespace");
        }
        let net =
            File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Machine { name, net, holder: Some(holder) }.prepared()
    }

    /// Its settings, the same on each kernel.
    fn prepared(self) -> Result<Machine> {
        for (name, value) in [
            ("ipv6/conf/all/disable_ipv6", "1"), // no packets but ours
            ("ipv4/ip_local_port_range", "50001 50002"),
            // That of RFC 5681; each Linux has it, and allows it in here.
            ("ipv4/tcp_congestion_control", "reno"),
            ("ipv4/tcp_rmem", "4096 131072 6291456"),
            ("ipv4/tcp_wmem", "4096 16384 4194304"),
            ("ipv4/tcp_no_metrics_save", "1"),
        ] {
            self.set(name, value)?;
        }
        self.run("ip link set lo up")?;
        Ok(self)
    }

    /// Changes a setting below /proc/sys/net. One that this kernel does not
    /// have is no error.
    ///
    /// # Errors
    /// The kernel does not allow this value.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{name}");
        match self.inside(|| fs::write(&path, value))? {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => {
                other.with_context(|| format!("cannot write {value} to {path}"))
            }
        }
    }

    /// Does something on this machine: in a thread that steps into its
    /// network. A program that is started there runs there, too.
    ///
    /// # Errors
    /// The kernel refuses the step.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        let result = thread::scope(|scope| {
            let visitor = scope.spawn(|| {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(self.net.as_fd(), network)
                    .context("cannot enter a network namespace")?;
                Ok(act())
            });
            visitor.join()
        });
        result.unwrap_or_else(|_| bail!("a thread panicked"))
    }

    /// Runs a command, its words separated by spaces, and returns what it
    /// printed.
    ///
    /// # Errors
    /// It is not installed, fails, or does not end within the deadline.
    pub fn run(&self, command: &str) -> Result<String> {
        let mut words = command.split(' ');
        let program = words.next().unwrap_or_default();
        let mut ready = Command::new(program);
        ready.args(words).stdin(Stdio::null());
        ready.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self
            .inside(|| ready.spawn())?
            .with_context(|| format!("cannot run {program} (install it?)"))?;
        if wait(&mut child, DEADLINE)?.is_none() {
            child.kill().context("cannot end a program")?;
        }
        let output = child.wait_with_output().context("cannot read a pipe")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let status = output.status;
        let is_done = status.success();
        ensure!(is_done, "cannot run {command} ({status}): {}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Joins two machines by a cable, with an address at each end.
    ///
    /// # Errors
    /// `ip` is missing, or the kernel has no veth.
    pub fn join(&self, other: &Machine, addrs: [&str; 2]) -> Result<()> {
        let holder = other.holder.as_ref().map(Child::id);
        let holder = holder.context("this machine has no holder")?;
        self.run(&format!(
            "ip link add eth0 type veth peer name eth0 netns {holder}"
        ))?;
        for (machine, addr) in [(self, addrs[0]), (other, addrs[1])] {
            machine.run(&format!("ip address add {addr}/24 dev eth0"))?;
            // Packets as they are on a cable, not put together for speed.
            machine.run("ip link set eth0 up gso_max_segs 1")?;
        }
        Ok(())
    }

    /// Starts a program, and prints each line of it behind the machine's name.
    /// With `typed`, it gets that on stdin, and then waits for more.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start(&self, words: &[String], typed: &str) -> Result<Program> {
        let [name, args @ ..] = words else { bail!("a program has a name") };
        let mut command = Command::new(find(name));
        command.args(args).env_remove("RUST_BACKTRACE");
        command.current_dir(ROOT).stdin(Stdio::null());
        if !typed.is_empty() {
            command.stdin(Stdio::piped());
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        say(self.name, &format!("$ {}", shown(words)));
        let child = self.inside(|| command.spawn())?;
        let mut child = child.with_context(|| {
            format!("cannot run {name} (try: cargo build --bin {name})")
        })?;
        if let Some(stdin) = &mut child.stdin {
            stdin.write_all(typed.as_bytes()).context("cannot type")?;
        }
        Ok(Program::watch(self.name, child))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// The programs of this project are beside this one.
fn find(name: &str) -> PathBuf {
    let beside = env::current_exe().map(|lab| lab.with_file_name(name));
    beside.ok().filter(|path| path.exists()).unwrap_or(name.into())
}

/// A command as one would type it.
fn shown(words: &[String]) -> String {
    let words = words.iter().map(|word| match word.contains([' ', '\n']) {
        true => format!("'{}'", word.replace('\n', "; ")),
        false => word.clone(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Prints a line, cut to what fits into a page. A control character could move
/// the cursor, so it is spelled out.
fn say(name: &str, line: &str) {
    let mut plain = String::new();
    for c in line.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    if let Some((end, _)) = plain.char_indices().nth(70) {
        plain.truncate(end);
        plain.push('…');
    }
    print(&format!("{name:6} | {plain}\n"));
}

/// Prints a text. When nobody reads it any more, as behind `| head -1`, there
/// is nothing left to do: this process ends, and all that runs in here with it.
pub fn print(text: &str) {
    if io::stdout().write_all(text.as_bytes()).is_err() {
        std::process::exit(1);
    }
}

/// Waits until a process has ended, at most this long. How did it end?
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        let ended = child.try_wait().context("cannot wait for a program")?;
        if ended.is_some() || Instant::now() >= end {
            return Ok(ended);
        }
        thread::sleep(MOMENT);
    }
}

// ---- A program on it

/// A program that runs. It is killed when this value goes away.
pub struct Program {
    child: Child,
    said: Arc<Said>,
}

/// How many lines of each pipe are printed and kept. A program that prints
/// without end must not fill the memory.
const LINES: usize = 1000;

/// How many bytes of a line are kept.
const LONGEST: u64 = 1024;

/// What a program has printed.
#[derive(Default)]
struct Said {
    /// The lines, and how many of its two pipes are still open.
    state: Mutex<(Vec<String>, usize)>,
    changed: Condvar,
}

impl Said {
    /// Waits until `found` says so, at most until `limit` is over. Did it?
    fn wait(
        &self,
        limit: Duration,
        found: impl Fn(&[String], usize) -> bool,
    ) -> bool {
        let is_not =
            |state: &mut (Vec<String>, usize)| !found(&state.0, state.1);
        let state = lock(&self.state);
        let waited = self.changed.wait_timeout_while(state, limit, is_not);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Prints the lines of a pipe, and keeps them.
    fn read(
        self: &Arc<Said>,
        name: &'static str,
        pipe: Option<impl Read + Send + 'static>,
    ) {
        let said = Arc::clone(self);
        let Some(pipe) = pipe else { return };
        lock(&said.state).1 += 1;
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut n = 0;
            while let Some((line, is_whole)) = next_line(&mut pipe) {
                n += 1;
                if n <= LINES {
                    say(name, &line);
                    lock(&said.state).0.push(line);
                    said.changed.notify_all();
                } else if n == LINES + 1 {
                    say(name, &format!("… (lab prints {LINES} lines)"));
                }
                if !is_whole {
                    let _ = pipe.skip_until(b'\n');
                }
            }
            lock(&said.state).1 -= 1;
            said.changed.notify_all();
        });
    }
}

/// The next line of a pipe, or the start of a long one. Is it whole? Not all
/// programs write UTF-8.
fn next_line(pipe: &mut impl BufRead) -> Option<(String, bool)> {
    let mut line = Vec::new();
    pipe.by_ref().take(LONGEST).read_until(b'\n', &mut line).ok()?;
    if line.is_empty() {
        return None;
    }
    let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
    Some((String::from_utf8_lossy(&line).into_owned(), is_whole))
}

impl Program {
    fn watch(name: &'static str, mut child: Child) -> Program {
        let said = Arc::<Said>::default();
        said.read(name, child.stdout.take());
        said.read(name, child.stderr.take());
        Program { child, said }
    }

    /// Waits until it has printed a line that starts like this.
    ///
    /// # Errors
    /// It has ended without it, or not printed it within the deadline.
    pub fn wait_for(&self, start: &str) -> Result<()> {
        let is_there =
            |lines: &[String]| lines.iter().any(|line| line.starts_with(start));
        self.said.wait(DEADLINE, |lines, open| open == 0 || is_there(lines));
        let is_found = is_there(&lock(&self.said.state).0);
        ensure!(
            is_found,
            "cannot go on: the server ended or let {DEADLINE:?} pass, and \
             printed no line that starts with {start:?}"
        );
        Ok(())
    }

    /// Waits until it has ended by itself, at most this long, and then for its
    /// last lines. How did it end?
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn ends_within(
        &mut self,
        limit: Duration,
    ) -> Result<Option<ExitStatus>> {
        let ended = wait(&mut self.child, limit)?;
        if ended.is_some() {
            let second = Duration::from_secs(1);
            self.said.wait(second, |_, open| open == 0);
        }
        Ok(ended)
    }
}

/// Checks how a client ended that had this long.
///
/// # Errors
/// It has not ended, and then `try_this` may help, or its exit code is not 0.
pub fn check(
    ended: Option<ExitStatus>,
    limit: Duration,
    try_this: &str,
) -> Result<()> {
    let status = ended.with_context(|| {
        format!(
            "cannot wait any longer for the client: it did not end within \
             {limit:?}, the limit of this command ({try_this})"
        )
    })?;
    ensure!(status.success(), "the client ended with {status}");
    Ok(())
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill(); // its stdin is open until here
        let _ = self.child.wait();
    }
}

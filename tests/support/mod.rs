//! What the tests share: real programs, started, watched and always ended.

#![allow(dead_code)] // each test file uses a part of this

pub mod arguments;
pub mod bands;
pub mod draw;
pub mod language;
pub mod load;
pub mod net;
pub mod scene;
pub mod shapes;

use std::collections::BTreeMap;
use std::env::consts::EXE_EXTENSION;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use socket2::{Domain, Socket, Type};

/// How long a test waits for anything that must happen. Far more than it
/// takes, also on a busy machine: a test that gets here has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The folder of the whole project; see `.cargo/config.toml`.
pub const ROOT: &str = env!("PROJECT");

/// Where Cargo put the program `name`: all of them are in one folder, and each
/// test is in the folder `deps` below it.
pub fn bin(name: &str) -> String {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let path = folder.join(name).with_extension(EXE_EXTENSION);
    assert!(path.exists(), "no program is called {name:?}");
    path.into_os_string().into_string().unwrap()
}

/// What a program wrote to one pipe so far. A thread never stops reading it,
/// so that the program never waits for us.
#[derive(Default)]
struct Output {
    state: Mutex<(Vec<u8>, bool)>, // the bytes; has the pipe ended?
    changed: Condvar,
}

impl Output {
    fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Output> {
        let output = Arc::new(Output::default());
        let writer = Arc::clone(&output);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let n = pipe.read(&mut buffer).unwrap_or(0);
                let mut state = writer.state.lock().unwrap();
                state.0.extend_from_slice(&buffer[..n]);
                state.1 = n == 0;
                writer.changed.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        output
    }

    /// Waits until `found` says so of the text so far, or panics.
    fn wait(&self, what: &str, found: impl Fn(&str) -> bool) -> String {
        let text_of =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.wait_for_bytes(what, |bytes, _| found(&text_of(bytes)));
        text_of(&self.bytes())
    }

    // ANCHOR: wait
    fn wait_for_bytes(&self, what: &str, found: impl Fn(&[u8], bool) -> bool) {
        let end = Instant::now() + DEADLINE;
        let mut state = self.state.lock().unwrap();
        loop {
            if found(&state.0, state.1) {
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            let ended = if state.1 { ", and ended" } else { "" };
            assert!(
                !left.is_zero() && ended.is_empty(),
                "waited for {what}; the program wrote {:?}{ended}",
                String::from_utf8_lossy(&state.0[..state.0.len().min(2000)])
            );
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }
    // ANCHOR_END: wait

    fn bytes(&self) -> Vec<u8> {
        self.state.lock().unwrap().0.clone()
    }
}

/// A program that runs. It is killed when this value goes away.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Program {
    /// Starts one of our programs with nothing on stdin.
    pub fn start(name: &str, args: &[&str]) -> Program {
        Program::spawn(Command::new(bin(name)).args(args), false)
    }

    /// Starts the server of a step, or a server peer, on a free port.
    pub fn server(name: &str) -> (Program, SocketAddr) {
        let program = match name {
            "threads" | "write-each" | "black-hole" => {
                Program::start(name, &["127.0.0.1:0"])
            }
            _ => Program::start(name, &["server", "--addr", "127.0.0.1:0"]),
        };
        let addr = program.addr();
        (program, addr)
    }

    /// Starts the client of a step. Without a text it reads `input`.
    pub fn client(step: &str, addr: SocketAddr, text: Option<&str>) -> Program {
        let addr = addr.to_string();
        let mut args = vec!["client", "--addr", &addr];
        args.extend(text);
        let mut command = Command::new(bin(step));
        Program::spawn(command.args(args), text.is_none())
    }

    /// Starts any command; with `input`, its stdin is ours to write.
    pub fn spawn(command: &mut Command, input: bool) -> Program {
        let stdin = if input { Stdio::piped() } else { Stdio::null() };
        Program::spawn_from(command, stdin)
    }

    /// Starts any command with this stdin.
    pub fn spawn_from(command: &mut Command, stdin: Stdio) -> Program {
        let mut child = command
            .env_remove("RUST_BACKTRACE") // anyhow would print one
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        Program {
            stdin: child.stdin.take(),
            stdout: Output::collect(child.stdout.take().unwrap()),
            stderr: Output::collect(child.stderr.take().unwrap()),
            child,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address that a server prints when it is ready.
    pub fn addr(&self) -> SocketAddr {
        let start = "listening on ";
        let text = self.stdout.wait("its address", |text| {
            text.starts_with(start) && text.contains('\n')
        });
        let line = text.lines().next().unwrap();
        let line = line.split(',').next().unwrap(); // what follows is a remark
        line[start.len()..].parse().expect("an address after `listening on`")
    }

    /// Waits until the program has written `part` to stdout.
    pub fn wait_for(&self, part: &str) -> String {
        self.stdout.wait(part, |text| text.contains(part))
    }

    /// Waits until the program has written `part` to stdout `n` times.
    pub fn wait_for_times(&self, part: &str, n: usize) -> String {
        self.stdout.wait(part, |text| text.matches(part).count() >= n)
    }

    /// Waits until the program has written `part` to stderr.
    pub fn wait_for_stderr(&self, part: &str) {
        self.stderr.wait(part, |text| text.contains(part));
    }

    /// Types `bytes`. A program that has ended is no error: that shows later.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("a program with input");
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    /// Gives the program `bytes` and the end of its input, from a thread: also
    /// a program that does not read keeps nobody waiting.
    pub fn feed(&mut self, bytes: Vec<u8>) {
        let mut stdin = self.stdin.take().expect("a program with input");
        thread::spawn(move || stdin.write_all(&bytes));
    }

    /// Ends the program's input, as Ctrl-D does.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends the program, as Ctrl-C or a closed terminal would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until the program ends by itself.
    pub fn finish(mut self) -> Ended {
        self.end_input();
        self.wait_end();
        let code = self.child.wait().unwrap().code();
        let (stdout, stderr) = self.texts();
        Ended { code, stdout, stderr }
    }

    /// Waits until both pipes have ended, and so (nearly) the program.
    pub fn wait_end(&self) {
        self.stdout.wait_for_bytes("its end", |_, ended| ended);
        self.stderr.wait_for_bytes("its end", |_, ended| ended);
    }

    pub fn texts(&self) -> (Vec<u8>, String) {
        let stderr = self.stderr.bytes();
        (self.stdout.bytes(), String::from_utf8_lossy(&stderr).into_owned())
    }
}

// ANCHOR: drop
impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
// ANCHOR_END: drop

/// Closes all descriptors but the first three, with bash: `sh` knows only one
/// digit. An editor or a CI may leave some open, and then every descriptor
/// that `ss` or strace prints has another number, and fewer fit below a limit.
const CLOSE: &str = r#"for n in $(ls /proc/self/fd); do
    if [ "$n" -gt 2 ]; then eval "exec $n>&-"; fi
done
exec "$0" "$@""#;

/// Starts this program once more, without the descriptors of others. Without
/// bash it goes on as it is.
#[cfg(target_os = "linux")]
pub fn close_inherited() {
    use std::os::unix::process::CommandExt;
    const DONE: &str = "DESCRIPTORS_ARE_CLOSED";
    if std::env::var_os(DONE).is_none() {
        let mut bash = Command::new("bash");
        bash.args(["-c", CLOSE]).args(std::env::args_os());
        let _ = bash.env(DONE, "yes").exec();
    }
}

/// A test; one that misses something is skipped, and its name says why.
pub fn trial(
    title: &str,
    missing: Option<&str>,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    let title = match missing {
        Some(what) => format!("{title} (skipped: {what})"),
        None => title.to_owned(),
    };
    let trial = Trial::test(title, move || {
        test();
        Ok(())
    });
    trial.with_ignored_flag(missing.is_some())
}

/// Is there a program of this name, that tells its version when asked? Each
/// one is asked once: some take a tenth of a second to answer.
pub fn is_installed(program: &str, flag: &str) -> bool {
    static TOLD: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    let mut told = TOLD.lock().unwrap();
    *told.entry(format!("{program} {flag}")).or_insert_with(|| {
        let version = Command::new(program).arg(flag).output();
        version.is_ok_and(|output| output.status.success())
    })
}

/// Sends a signal with the command `kill`. After `-STOP` (only on Linux) it
/// waits until each thread stands still: `kill` returns before that, and on a
/// busy machine a thread may still answer a client meanwhile.
pub fn signal(pid: u32, name: &str) {
    let text = pid.to_string();
    let kill = Command::new("kill").args([name, &text]).status().unwrap();
    assert!(kill.success(), "kill {name} {pid}");
    if name == "-STOP" {
        wait_until("a stop of all threads", || is_stopped(pid));
    }
}

/// Does `/proc/PID/task/*/status` (proc(5)) show each thread as stopped?
fn is_stopped(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut states = tasks.map(|task| {
        let path = task.unwrap().path().join("status");
        std::fs::read_to_string(path).unwrap_or_default()
    });
    states.all(|status| status.contains("\nState:\tT "))
}

/// One end of a connection, as Linux sees it.
#[derive(Debug, PartialEq)]
pub struct End {
    pub is_server: bool,
    /// As the kernel numbers them, such as [`ESTABLISHED`].
    pub state: u8,
    /// Bytes that the other end has not acknowledged.
    pub unsent: u64,
    /// Bytes that the program has not read; a FIN counts as one.
    pub unread: u64,
}

pub const ESTABLISHED: u8 = 1;
const FIN_WAIT2: u8 = 5; // closed here, acknowledged there
const TIME_WAIT: u8 = 6;
const LISTEN: u8 = 10;

/// The ends of all connections of the server at `addr`, from `/proc/net/tcp`
/// (proc(5): local and remote address, state, queues of both directions).
pub fn ends(addr: SocketAddr) -> Vec<End> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let server = format!("0100007F:{:04X}", addr.port());
    let number = |text| u64::from_str_radix(text, 16).unwrap();
    let mut ends = Vec::new();
    // After many tests the table is long, so look at few of its lines.
    for line in table.lines().filter(|line| line.contains(&server)) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_server = columns[1] == server;
        let state = number(columns[3]) as u8;
        // TIME_WAIT may be that of a connection which had this port before.
        let is_alive = state != LISTEN && state != TIME_WAIT;
        if is_alive && (is_server || columns[2] == server) {
            let (unsent, unread) = columns[4].split_once(':').unwrap();
            let (unsent, unread) = (number(unsent), number(unread));
            ends.push(End { is_server, state, unsent, unread });
        }
    }
    ends
}

/// Waits until the server at `addr` has ended a connection, and the kernel of
/// its client knows that: a server says so before it does so.
pub fn wait_for_fin(addr: SocketAddr) {
    wait_until("the server's FIN", || {
        let mut ends = ends(addr).into_iter();
        ends.any(|end| end.is_server && end.state == FIN_WAIT2)
    });
}

/// Bytes that have come in for the server at `addr` and that it has not read.
pub fn unread(addr: SocketAddr) -> u64 {
    let ends = ends(addr).into_iter().filter(|end| end.is_server);
    ends.map(|end| end.unread).sum()
}

/// A socket that is bound to a free port and does not listen: it refuses for
/// sure, and nobody can take its port.
pub fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// Calls again if a signal has come: it ends a read of a socket that has a time
/// limit, also when no handler is there and the process was only stopped for a
/// moment (signal(7)).
pub fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Waits until `true`, looking again and again, or panics.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asserts a snapshot with a header of exactly three lines, so that the book
/// can include what follows with `:4:`.
pub fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path(format!("{ROOT}/tests/snapshots"));
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

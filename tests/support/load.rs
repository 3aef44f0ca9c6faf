//! Clients that send all the time while their server is replaced, a herd, and a
//! client that never reads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::{Program, bin, ends, signal, unread, wait_until};

/// What clients saw of a number of restarts.
#[derive(Debug, Default)]
pub struct Seen {
    pub answered: usize,
    /// Attempts that certainly did nothing.
    pub refused: usize,
    /// Attempts of which nobody knows.
    pub unknown: usize,
    /// Requests without an answer after all their attempts.
    pub failed: usize,
    /// The exit codes of the servers that were replaced.
    pub codes: Vec<Option<i32>>,
}

/// How many requests each client sends before the next restart.
const BETWEEN: usize = 30;

/// Replaces a server of step 8 this often, by this signal, while as many
/// clients send one request after the other, with so many attempts for each.
/// The next server starts as soon as the old one listens no more.
pub fn restarts(n: usize, by: &str, clients: usize, attempts: &str) -> Seen {
    let (mut server, addr) = Program::server("step8");
    let load = Load::default();
    let _last = thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| load.send(addr, attempts));
        }
        for _ in 0..n {
            load.wait_for(clients * BETWEEN);
            signal(server.id(), by);
            wait_until("a free port", || !listens(addr));
            let old = server;
            let args = ["server", "--addr", &addr.to_string()];
            server = Program::start("step8", &args);
            server.addr();
            load.seen.lock().unwrap().codes.push(old.finish().code);
        }
        load.wait_for(clients * BETWEEN);
        load.is_over.store(true, SeqCst);
        server
    });
    let mut seen = load.seen.into_inner().unwrap();
    seen.answered = load.answered.into_inner();
    seen
}

/// Is there a listener in `/proc/net/tcp`?
fn listens(addr: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let listener = format!(": 0100007F:{:04X} 00000000:0000 0A", addr.port());
    table.lines().any(|line| line.contains(&listener))
}

#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    working: AtomicUsize,
    is_over: AtomicBool,
    seen: Mutex<Seen>,
}

impl Load {
    /// Waits for this many more answers, or until no client is left.
    fn wait_for(&self, more: usize) {
        let goal = self.answered.load(SeqCst) + more;
        wait_until("clients at work", || {
            let answered = self.answered.load(SeqCst);
            let nobody = answered > 0 && self.working.load(SeqCst) == 0;
            answered >= goal || nobody
        });
    }

    /// Sends one request after the other until the end, or until one fails:
    /// then the client ends, and has said why.
    fn send(&self, addr: SocketAddr, attempts: &str) {
        let mut client = Client::start(addr, attempts);
        let mut replies = BufReader::new(client.0.stdout.take().unwrap());
        let mut stdin = client.0.stdin.take().unwrap();
        self.working.fetch_add(1, SeqCst);
        let (mut n, mut reply) = (0, String::new());
        while !self.is_over.load(SeqCst) {
            n += 1;
            let request = format!("request {n}\n");
            let _ = stdin.write_all(request.as_bytes());
            reply.clear();
            if replies.read_line(&mut reply).unwrap() == 0 {
                break;
            }
            assert_eq!(reply, request);
            self.answered.fetch_add(1, SeqCst);
        }
        self.working.fetch_sub(1, SeqCst);
        drop(stdin);
        let mut errors = String::new();
        let mut stderr = client.0.stderr.take().unwrap();
        stderr.read_to_string(&mut errors).unwrap();
        let mut seen = self.seen.lock().unwrap();
        let attempts = |what| errors.matches(what).count();
        seen.refused += attempts(": not executed: cannot")
            + attempts(": not executed: the server");
        seen.unknown += errors
            .lines()
            .filter(|l| l.starts_with("attempt ") && l.contains("unknown"))
            .count();
        seen.failed += usize::from(!client.0.wait().unwrap().success());
    }
}

/// A client of step 8. It is killed when this value goes away.
struct Client(Child);

impl Client {
    fn start(addr: SocketAddr, attempts: &str) -> Client {
        let mut command = Command::new(bin("step8"));
        command.args(["client", "--addr", &addr.to_string()]);
        command.args(["--attempts", attempts]).env_remove("RUST_BACKTRACE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Client(command.stderr(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets 20 clients connect to a frozen server with five slots, so that it finds
/// them all at once; a client waits for at most `base` ms at first. Returns how
/// many attempts each one made, or `None` if it gave up.
pub fn herd(base: &str) -> Vec<Option<usize>> {
    let args = ["server", "--addr", "127.0.0.1:0", "--max-conns", "5"];
    let server = Program::start("step8", &args);
    let addr = server.addr();
    signal(server.id(), "-STOP");
    let client = |_| {
        let mut command = Command::new(bin("step8"));
        command.args(["client", "--addr", &addr.to_string(), "hi"]);
        command.args(["--backoff-base-ms", base]);
        Program::spawn(&mut command, false)
    };
    let clients: Vec<Program> = (0..20).map(client).collect();
    wait_until("20 requests", || unread(addr) == 20 * 7);
    signal(server.id(), "-CONT");
    let attempts = |client: Program| {
        let ended = client.finish();
        let refused = ended.stderr.matches(": not executed: the server");
        let attempts = 1 + refused.count();
        (ended.code == Some(0)).then_some(attempts)
    };
    clients.into_iter().map(attempts).collect()
}

/// Where the bytes are when a client that sends requests and reads no reply
/// can send no more: in bytes.
#[derive(Debug)]
pub struct Stuck {
    /// What the client's kernel took from its program.
    pub taken: u64,
    /// Replies that the client's kernel has, and requests not acknowledged.
    pub at_client: u64,
    /// Requests that the server has not read, and replies not acknowledged.
    pub at_server: u64,
    /// By how much the server's memory has grown.
    pub grown: u64,
}

/// Sends to this server until nothing has been taken for half a second.
pub fn stuck(server: &Program) -> (TcpStream, Stuck) {
    let addr = server.addr();
    let before = resident(server);
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let frame = [&60_001u32.to_be_bytes()[..], &[1], &[b'x'; 60_000]].concat();
    let mut taken = 0;
    loop {
        let rest = &frame[taken as usize % frame.len()..];
        match client.write(rest) {
            Ok(n) => taken += n as u64,
            Err(_) => break,
        }
    }
    let kept = |is_server| {
        let ends = ends(addr).into_iter();
        let ends = ends.filter(|end| end.is_server == is_server);
        ends.map(|end| end.unsent + end.unread).sum()
    };
    let (at_client, at_server) = (kept(false), kept(true));
    let grown = resident(server).saturating_sub(before);
    (client, Stuck { taken, at_client, at_server, grown })
}

/// From `/proc/PID/status` (proc(5)).
fn resident(program: &Program) -> u64 {
    let path = format!("/proc/{}/status", program.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kb: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kb * 1024
}

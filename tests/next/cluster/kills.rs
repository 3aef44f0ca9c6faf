//! Nothing lost and nothing twice, proved by killing servers and Redis.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::frame::OVERLOADED;
use crate::ledger::Operation;
use crate::support::{DEADLINE, Program, ROOT, bin, trial};
use crate::world::{Came, DURABLE, Peer, Redis, ask, low_port, server_at};

pub fn trials(redis: Option<&str>) -> Vec<Trial> {
    vec![trial("totals_are_exact_after_kills_of_all", redis, soak)]
}

const SERVERS: usize = 3;
const CLIENTS: u64 = 8; // that speak frames themselves
const WINDOW: u64 = 32; // requests on their way
const REAL: [u64; 2] = [101, 102]; // of these, the client is the program's own
const ADDS: usize = 30; // of each of those
const KILLS: u64 = 3; // of each of those

/// A client's amounts differ, and some are below zero.
fn amount(client: u64, seq: u64) -> i64 {
    ((seq * 7 + client) % 1000) as i64 - 300
}

fn operation(client: u64, seq: u64) -> Operation {
    Operation { client, seq, amount: amount(client, seq) }
}

/// The servers and their Redis. The addresses stay, whoever is killed.
struct World {
    redis: Redis,
    servers: Vec<(Program, SocketAddr)>,
    killed: [u64; 2], // servers, Redis
}

impl World {
    fn new() -> World {
        let redis = Redis::start(&DURABLE);
        let mut world = World { redis, servers: Vec::new(), killed: [0; 2] };
        while world.servers.len() < SERVERS {
            let addr = low_port();
            let mut program = server_at(&world.redis.engine(), addr);
            if listens(&mut program) {
                world.servers.push((program, addr));
            }
        }
        world
    }

    fn kill_one(&mut self) {
        let one = rand::random_range(0..=SERVERS);
        if one == SERVERS {
            self.redis.restart(); // which kills it first
            self.killed[1] += 1;
        } else {
            self.servers[one].0.kill();
            self.killed[0] += 1;
        }
        self.start_all();
    }

    /// A server may also have ended because it started without Redis.
    fn start_all(&mut self) {
        let end = Instant::now() + DEADLINE;
        for (program, addr) in &mut self.servers {
            while !program.is_running() {
                assert!(Instant::now() < end, "{:?}", program.texts());
                *program = server_at(&self.redis.engine(), *addr);
                listens(program);
            }
        }
    }
}

/// Waits until a server listens, or has ended.
fn listens(program: &mut Program) -> bool {
    let end = Instant::now() + DEADLINE;
    while program.is_running() {
        if program.texts().0.starts_with(b"listening on ") {
            return true;
        }
        assert!(Instant::now() < end, "a server neither listens nor ends");
        thread::sleep(Duration::from_millis(2));
    }
    false
}

fn soak() {
    let operations = std::env::var("CLUSTER_OPERATIONS");
    let operations: u64 =
        operations.map_or(2_000, |text| text.parse().unwrap());
    let begin = Instant::now();
    let mut world = World::new();
    let addrs: Vec<_> = world.servers.iter().map(|(_, addr)| *addr).collect();
    let done = Arc::new(AtomicU64::new(0));
    let clients = start_clients(&addrs, operations / CLIENTS, &done);
    let limit = 2 * DEADLINE + Duration::from_millis(operations * 20);
    let (mut kills, step) = (1, (operations / 10).min(800));
    while !clients.iter().all(|client| client.is_finished()) {
        assert!(begin.elapsed() < limit, "the soak does not end");
        thread::sleep(Duration::from_millis(1));
        if done.load(Relaxed) >= kills * step {
            world.kill_one();
            kills += 1;
        }
    }
    let ends: Vec<_> =
        clients.into_iter().map(|it| it.join().unwrap()).collect();
    world.redis.restart();
    ends.iter().for_each(|end| assert_exact(&addrs, end));
    report(&world, done.load(Relaxed), &ends);
}

/// Says what was done; the book prints that of a long run.
fn report(world: &World, done: u64, ends: &[End]) {
    let doubts: u64 = ends.iter().map(|end| end.doubts).sum();
    let [servers, redis] = world.killed;
    let line = format!(
        "{done} operations, {servers} kills of servers, {redis} of Redis, \
         {doubts} connections that ended without an answer, and all totals \
         were exact.\n"
    );
    eprint!("{line}");
    if std::env::var("CLUSTER_OPERATIONS").is_ok() {
        let path = format!("{ROOT}/tests/bench/cluster-kills.md");
        std::fs::write(path, line).unwrap();
    }
}

/// What a client has seen.
struct End {
    client: u64,
    answers: Vec<i64>, // to its operations 1, 2, …
    doubts: u64,       // connections that ended while answers were missing
}

fn start_clients(
    addrs: &[SocketAddr],
    each: u64,
    done: &Arc<AtomicU64>,
) -> Vec<JoinHandle<End>> {
    let mut clients = Vec::new();
    for client in 1..=CLIENTS {
        let (addrs, done) = (addrs.to_vec(), Arc::clone(done));
        let drive = move || drive(&addrs, client, each, &done);
        clients.push(thread::spawn(drive));
    }
    for client in REAL {
        let addrs = addrs.to_vec();
        clients.push(thread::spawn(move || drive_real(&addrs, client)));
    }
    clients
}

/// Each operation was done once. They may have been done in another order: if
/// Redis dies in the middle of a batch, the batch behind it comes first. But
/// each total is the one before another operation, or the last.
fn assert_exact(addrs: &[SocketAddr], end: &End) {
    let (client, last) = (end.client, end.answers.len() as u64);
    let sum = (1..=last).map(|seq| amount(client, seq)).sum();
    let mut after = [&[0], &end.answers[..]].concat();
    let before = (1..).zip(&end.answers);
    let before = before.map(|(seq, total)| total - amount(client, seq));
    let mut before: Vec<_> = before.chain([sum]).collect();
    after.sort_unstable();
    before.sort_unstable();
    assert_eq!(after, before, "client {client}");
    for &addr in addrs {
        let known = ask(addr, client, last, amount(client, last));
        assert_eq!(known, Came::Total(end.answers[last as usize - 1]));
        assert_eq!(ask(addr, client, last + 1, 0), Came::Total(sum));
    }
}

/// Has the operations 1 to `last` of a client done. After each failure it sends
/// again whatever has no answer, to any of the servers.
fn drive(
    addrs: &[SocketAddr],
    client: u64,
    last: u64,
    done: &AtomicU64,
) -> End {
    let (mut next, mut answers, mut doubts) = (1, Vec::new(), 0);
    while next <= last {
        let addr = addrs[rand::random_range(0..addrs.len())];
        let Ok(mut peer) = Peer::new(addr) else {
            thread::sleep(Duration::from_millis(2)); // it is being replaced
            continue;
        };
        let mut to_send = next;
        while next <= last {
            match ask_ahead(&mut peer, client, next, &mut to_send, last) {
                Came::Total(total) => {
                    answers.push(total);
                    done.fetch_add(1, Relaxed);
                    next += 1;
                }
                Came::Error(OVERLOADED, _) => break, // Redis is away
                Came::Error(code, text) => panic!("ERROR {code}: {text}"),
                Came::Nothing => {
                    doubts += 1;
                    break;
                }
            }
            if rand::random_ratio(1, 500) {
                break; // it leaves while answers are missing
            }
        }
    }
    End { client, answers, doubts }
}

/// Sends what the window has room for, and returns the next answer.
fn ask_ahead(
    peer: &mut Peer,
    client: u64,
    next: u64,
    to_send: &mut u64,
    last: u64,
) -> Came {
    let end = (next + WINDOW).min(last + 1);
    let new = (*to_send..end).map(|seq| operation(client, seq));
    *to_send = end;
    match peer.send(&new.collect::<Vec<_>>()) {
        Ok(()) => peer.answer(),
        Err(_) => Came::Nothing,
    }
}

/// Has a real client do the operations 1 to [`ADDS`], and kills it a few times
/// in between. The next one goes on behind the last total that was printed: the
/// operation behind that may be done already.
fn drive_real(addrs: &[SocketAddr], client: u64) -> End {
    let (mut answers, mut killed) = (Vec::new(), 0);
    while answers.len() < ADDS {
        let done = answers.len() as u64;
        let mut program = start_real(addrs, client, done + 1);
        let ends = killed == KILLS;
        if ends {
            program.wait_end();
        } else {
            let left = (ADDS as u64 - done) as usize;
            let some = rand::random_range(1..5);
            program.wait_for_times("\n", some.min(left));
            program.kill();
            program.wait_end();
            killed += 1;
        }
        let (stdout, stderr) = program.texts();
        let stdout = String::from_utf8(stdout).unwrap();
        let whole = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
        answers.extend(whole.lines().map(|line| line.parse::<i64>().unwrap()));
        assert!(!ends || answers.len() == ADDS, "{stderr}");
    }
    End { client, answers, doubts: 0 }
}

fn start_real(addrs: &[SocketAddr], client: u64, first: u64) -> Program {
    let mut command = Command::new(bin("cluster"));
    command.args(["client", "--attempts", "1000", "--backoff-base-ms", "5"]);
    command.env("TCP_CLIENT_ID", client.to_string());
    command.env("TCP_SEQ", first.to_string());
    for addr in addrs {
        command.arg(format!("--addr={addr}"));
    }
    for seq in first..=ADDS as u64 {
        command.arg(format!("--add={}", amount(client, seq)));
    }
    Program::spawn(&mut command, false)
}

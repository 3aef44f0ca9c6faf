//! The figures of "More than one machine", measured side by side in one run:
//!
//!     cargo bench -p cluster --bench cluster
//!
//! writes `tests/bench/cluster.md` and `tests/bench/idle.md`. It takes a
//! minute, and needs Linux and redis-server.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[allow(unused)]
#[path = "../../steps/cluster/engine.rs"]
mod engine;
#[allow(unused)]
#[path = "../../steps/step8/frame.rs"]
mod frame;
#[allow(unused)]
#[path = "../../steps/step8/journal.rs"]
mod journal;
#[allow(unused)]
#[path = "../../steps/step8/ledger.rs"]
mod ledger;
#[allow(unused)]
#[path = "../../steps/step8/limits.rs"]
mod limits;
#[allow(unused)]
#[path = "../../steps/cluster/redis.rs"]
mod redis;
#[allow(unused)]
#[path = "../../steps/step8/retry.rs"]
mod retry;
#[allow(unused)]
#[path = "../support/mod.rs"]
mod support;
#[allow(unused)]
#[path = "../next/cluster/world.rs"]
mod world;

use std::fmt::Display;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use engine::Shared;
use journal::{Journal, Request};
use ledger::{Answer, Ledger, Operation};
use support::{Program, ROOT, bin, is_installed, wait_until};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use world::{DURABLE, Redis};

fn main() {
    if !cfg!(target_os = "linux") || !is_installed("redis-server", "--version")
    {
        println!("skipped: needs Linux and redis-server");
        return;
    }
    rlimit::increase_nofile_limit(32 * 1024).expect("more descriptors");
    write("cluster", &rates());
    write("idle", &idle());
}

fn write(name: &str, table: &str) {
    println!("{name}\n\n{table}");
    let path = format!("{ROOT}/tests/bench/{name}.md");
    fs::write(path, table).expect("the table is written");
}

/// The engine prints what happens to it; nothing may.
fn say(line: impl Display) {
    panic!("{line}");
}

// ---- How many operations a second?

/// How long each way is measured, and how often.
const WHILE: Duration = Duration::from_millis(700);
const ROUNDS: usize = 5;

/// Where the tasks of an engine take their requests from: one, or several.
type Inboxes = Vec<mpsc::Receiver<Request>>;

/// A way to keep operations. What it returns lives as long as it is measured.
type Keeps = Box<dyn std::any::Any>;
type Way = fn(&Runtime, Inboxes) -> Keeps;

/// Its name, how many tasks it has, and how it starts.
const WAYS: [(&str, usize, Way); 4] = [
    ("journal of step 8", 1, in_a_journal),
    ("Redis, `always`", 1, |runtime, inboxes| {
        in_redis(runtime, inboxes, &DURABLE)
    }),
    ("Redis, `always`, 3 engines", 3, |runtime, inboxes| {
        in_redis(runtime, inboxes, &DURABLE)
    }),
    ("Redis, `everysec`", 1, |runtime, inboxes| {
        in_redis(runtime, inboxes, &["--appendonly", "yes", "--save", ""])
    }),
];

fn rates() -> String {
    let names = WAYS.map(|(name, ..)| format!(" {name} |")).concat();
    let lines = WAYS.map(|_| " ---: |").concat();
    let mut table = format!("| clients that wait |{names}\n| ---: |{lines}\n");
    for clients in [1, 10, 100, 1000] {
        let mut rates = WAYS.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (rates, (_, tasks, way)) in rates.iter_mut().zip(WAYS) {
                rates.push(rate(clients, tasks, way)); // in turns
            }
        }
        let medians = rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[ROUNDS / 2]
        });
        let cells = medians
            .map(|rate| format!(" {rate:.0}/s ({:.1}) |", rate / medians[0]));
        table += &format!("| {clients} |{}\n", cells.concat());
    }
    table
}

fn in_a_journal(runtime: &Runtime, inboxes: Inboxes) -> Keeps {
    // On the disk where Cargo builds: many a `/tmp` is no disk.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("journal");
    let mut ledger = Ledger::default();
    let (journal, _) = Journal::open(&path, &mut ledger).unwrap();
    let inbox = inboxes.into_iter().next().unwrap();
    runtime.spawn(journal::run(ledger, Some(journal), inbox));
    Box::new(folder)
}

fn in_redis(runtime: &Runtime, inboxes: Inboxes, settings: &[&str]) -> Keeps {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let redis = Redis::start_in(settings, folder);
    for inbox in inboxes {
        let open = Shared::open(redis.addr, Duration::from_secs(10));
        let (shared, _) = runtime.block_on(open).unwrap();
        runtime.spawn(engine::run(shared, inbox));
    }
    Box::new(redis)
}

/// Operations a second of all clients, each of which has one on its way.
fn rate(clients: u64, tasks: usize, way: Way) -> f64 {
    let runtime = Runtime::new().unwrap();
    let (senders, inboxes): (Vec<_>, _) =
        (0..tasks).map(|_| mpsc::channel(1024)).unzip();
    let keeps = way(&runtime, inboxes);
    let start = Instant::now();
    let all = (0..clients).map(|client| {
        let sender = senders[client as usize % tasks].clone();
        runtime.spawn(async move {
            let mut seq = 0;
            while start.elapsed() < WHILE {
                seq += 1;
                let (reply, answer) = oneshot::channel();
                let operation = Operation { client, seq, amount: 1 };
                let request = Request { operation, reply };
                sender.send(request).await.ok().unwrap();
                assert_eq!(answer.await, Ok(Ok(Answer::Total(seq as i64))));
            }
            seq
        })
    });
    let all: Vec<_> = all.collect();
    let total = all.into_iter().map(|it| runtime.block_on(it).unwrap());
    let rate = total.sum::<u64>() as f64 / start.elapsed().as_secs_f64();
    drop((senders, keeps));
    rate
}

// ---- What does an idle connection cost?

const IDLE: usize = 10_000;

fn idle() -> String {
    let mut sizes: Vec<[f64; 2]> = (0..3).map(|_| size_of_idle()).collect();
    let median = |i: usize, sizes: &mut Vec<[f64; 2]>| {
        sizes.sort_by(|a, b| a[i].total_cmp(&b[i]));
        sizes[1][i]
    };
    let [ours, kernel] = [0, 1].map(|i| median(i, &mut sizes));
    format!(
        "| | one idle connection | a million of them |\n\
         | --- | ---: | ---: |\n\
         | memory of the server | {ours:.1} KB | {ours:.1} GB |\n\
         | memory of its kernel | {kernel:.1} KB | {kernel:.1} GB |\n\
         | descriptors | 1 | 1 000 000 |\n"
    )
}

/// KB of the program and of the kernel, for one of 10 000 idle clients that
/// have sent one ADD. The kernel has both ends, so one takes half.
fn size_of_idle() -> [f64; 2] {
    let mut command = Command::new(bin("cluster"));
    command.args(["server", "--addr", "127.0.0.1:0", "--max-conns", "20000"]);
    command.args(["--heartbeat-ms", "600000"]);
    let server = Program::spawn(&mut command, false);
    let addr = server.addr();
    let before = [rss(&server), slab()];
    let clients: Vec<TcpStream> =
        (0..IDLE).map(|n| asked_once(addr, n as u64)).collect();
    wait_until("all clients", || support::ends(addr).len() >= 2 * IDLE);
    let after = [rss(&server), slab()];
    drop(clients);
    let [ours, kernel] = [0, 1].map(|i| (after[i] - before[i]) / IDLE as f64);
    [ours, kernel / 2.0]
}

fn asked_once(addr: SocketAddr, client: u64) -> TcpStream {
    let mut peer = world::Peer::new(addr).unwrap();
    let operation = Operation { client, seq: 1, amount: 1 };
    assert_eq!(peer.ask(operation), world::Came::Total(1));
    peer.0
}

/// Resident memory, in KB.
fn rss(server: &Program) -> f64 {
    let path = format!("/proc/{}/status", server.id());
    number(&fs::read_to_string(path).unwrap(), "VmRSS:")
}

/// Memory of the kernel's objects, in KB.
fn slab() -> f64 {
    number(&fs::read_to_string("/proc/meminfo").unwrap(), "Slab:")
}

fn number(text: &str, key: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

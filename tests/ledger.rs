//! Step 7 loses nothing and does nothing twice, proved by killing.
//!
//! The programs are real, and so are the kills (SIGKILL), the resets and the
//! full disks. `LEDGER_OPERATIONS=100000` makes the first test as long as that;
//! it prints what it has done.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use support::arguments::arguments;
use support::{DEADLINE, Program, bin, trial};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::select;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

fn main() {
    let unix = (!cfg!(unix)).then_some("needs Unix");
    let tmpfs = (!has_namespaces()).then_some("needs unshare and mount");
    let trials: Vec<Trial> = vec![
        trial("totals_are_exact_after_kills_and_resets", None, soak),
        trial("what_does_not_fit_is_not_acknowledged", unix, size_limit),
        trial("a_full_disk_is_not_acknowledged", tmpfs, full_disk),
        trial("a_torn_journal_is_cut_and_reported", None, torn),
        trial("a_damaged_journal_is_left_as_it_is", None, damaged),
        trial("a_client_without_room_is_refused", None, no_room),
        trial("the_last_number_of_all_can_be_used", None, last_number),
        trial("the_second_server_of_a_journal_does_not_start", None, second),
    ];
    libtest_mimic::run(&arguments(), trials).exit();
}

// ---- Frames and journals

const REPLY: usize = 4 + 1 + 24;

/// The frame of an ADD. A client's amounts differ, and some are below zero.
fn add(client: u64, seq: u64) -> Vec<u8> {
    let parts = [client, seq, amount(client, seq) as u64];
    let parts = parts.map(u64::to_be_bytes).concat();
    [b"\0\0\0\x19\x03", &parts[..]].concat()
}

fn amount(client: u64, seq: u64) -> i64 {
    ((seq * 7 + client) % 1000) as i64 - 300
}

fn total(client: u64, seq: u64) -> i64 {
    (1..=seq).map(|seq| amount(client, seq)).sum()
}

fn reply(client: u64, seq: u64, total: i64) -> Vec<u8> {
    let parts = [client, seq, total as u64].map(u64::to_be_bytes).concat();
    [b"\0\0\0\x19\x83", &parts[..]].concat()
}

/// A folder that goes away with the test, and the path of a journal in it.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    (folder, path)
}

/// How many operations of each client are in the journal: each of them once,
/// in the order in which the client sent them.
fn recorded(journal: &[u8]) -> BTreeMap<u64, u64> {
    assert!(journal.is_empty() || journal.starts_with(b"ledger1\n"));
    let mut counts = BTreeMap::new();
    for record in journal.get(8..).unwrap_or_default().chunks_exact(28) {
        let part = |at: usize| record[at..at + 8].try_into().unwrap();
        let [client, seq, sum] = [0, 8, 16].map(part);
        let client = u64::from_be_bytes(client);
        let count = counts.entry(client).or_default();
        *count += 1;
        assert_eq!(u64::from_be_bytes(seq), *count, "of client {client}");
        assert_eq!(i64::from_be_bytes(sum), amount(client, *count));
    }
    counts
}

fn start(journal: &Path) -> Program {
    Program::start("step7", &arguments_of(journal))
}

fn arguments_of(journal: &Path) -> [&str; 5] {
    let journal = journal.to_str().unwrap();
    ["server", "--addr", "127.0.0.1:0", "--journal", journal]
}

/// Sends ADDs, one after another, until one gets no reply. Returns how many
/// got theirs.
fn add_until_the_end(addr: SocketAddr, client: u64) -> u64 {
    let Ok(mut stream) = StdStream::connect(addr) else { return 0 };
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut sum = 0;
    for seq in 1.. {
        let mut bytes = [0; REPLY];
        let sent = stream.write_all(&add(client, seq));
        if sent.and_then(|()| stream.read_exact(&mut bytes)).is_err() {
            return seq - 1;
        }
        sum += amount(client, seq);
        assert_eq!(bytes[..], reply(client, seq, sum));
    }
    unreachable!()
}

/// Asserts that the server still knows the reply to this operation.
fn assert_known(addr: SocketAddr, client: u64, seq: u64) {
    let mut stream = StdStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&add(client, seq)).unwrap();
    let mut bytes = [0; REPLY];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes[..], reply(client, seq, total(client, seq)));
}

// ---- Kills and resets

/// What the parts of the soak share.
struct Soak {
    journal: PathBuf,
    server: Mutex<SocketAddr>, // it changes with each restart
    done: AtomicU64,           // operations with a reply
    resets: AtomicU64,
}

const CLIENTS: u64 = 8; // that speak frames themselves
const WINDOW: u64 = 32; // requests on their way

fn soak() {
    let operations = std::env::var("LEDGER_OPERATIONS");
    let operations = operations.map_or(4_000, |text| text.parse().unwrap());
    let limit = DEADLINE + Duration::from_millis(operations * 10);
    let begin = Instant::now();
    let (_folder, journal) = folder();
    let mut server = start(&journal);
    let soak = Arc::new(Soak {
        journal,
        server: Mutex::new(server.addr()),
        done: AtomicU64::new(0),
        resets: AtomicU64::new(0),
    });
    let runtime = Runtime::new().unwrap();
    let run = run(Arc::clone(&soak), operations, &mut server);
    let [kills, killed] = runtime.block_on(async {
        timeout(limit, run).await.expect("the soak ends in time")
    });
    drop(runtime); // ends the relay
    server.kill();
    assert_exact(&soak.journal, operations / CLIENTS);
    eprintln!(
        "{} operations, {kills} kills of the server, {killed} of clients, {} \
         resets, {:.1?}",
        soak.done.load(Relaxed),
        soak.resets.load(Relaxed),
        begin.elapsed()
    );
}

/// Each operation is in the journal once, and a new server knows each total.
fn assert_exact(journal: &Path, each: u64) {
    let expected = (1..=CLIENTS).map(|client| (client, each));
    let expected = expected.chain(REAL.map(|client| (client, ADDS)));
    let expected: BTreeMap<_, _> = expected.collect();
    assert_eq!(recorded(&fs::read(journal).unwrap()), expected);
    let server = start(journal);
    server.wait_for("the journal is whole");
    for (client, last) in expected {
        assert_known(server.addr(), client, last);
    }
}

/// Runs all clients to their end, and kills the server meanwhile. Returns how
/// many kills of servers and of clients there were.
async fn run(soak: Arc<Soak>, all: u64, server: &mut Program) -> [u64; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap();
    tokio::spawn(accept(listener, Arc::clone(&soak)));
    let start_one = |client| {
        tokio::spawn(drive(Arc::clone(&soak), relay, client, all / CLIENTS))
    };
    let clients: Vec<_> = (1..=CLIENTS).map(start_one).collect();
    let real = REAL.map(|client| {
        let soak = Arc::clone(&soak);
        spawn_blocking(move || drive_real(&soak, relay, client))
    });
    let (mut kills, mut killed) = (0, 0);
    while !clients.iter().all(|client| client.is_finished()) {
        sleep(Duration::from_millis(1)).await;
        // The journal grows between two kills.
        if soak.done.load(Relaxed) >= kills * (all / 10).min(800) {
            kills += 1;
            server.kill();
            *server = start(&soak.journal);
            *soak.server.lock().unwrap() = server.addr();
        }
    }
    for client in clients {
        client.await.unwrap();
    }
    for program in real {
        killed += program.await.unwrap();
    }
    [kills, killed]
}

/// Accepts for the server, whichever runs, and resets connections.
async fn accept(listener: TcpListener, soak: Arc<Soak>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let soak = Arc::clone(&soak);
        tokio::spawn(async move {
            let server = loop {
                let addr = *soak.server.lock().unwrap();
                if let Ok(server) = TcpStream::connect(addr).await {
                    break server;
                }
                sleep(Duration::from_millis(2)).await; // it is being replaced
            };
            carry(client, server).await;
            soak.resets.fetch_add(1, Relaxed);
        });
    }
}

/// Carries bytes in both directions until one end closes, or until a random
/// number has gone one way, which is rarely the end of a frame. Then it resets
/// both connections.
async fn carry(mut client: TcpStream, mut server: TcpStream) {
    let _ = client.set_nodelay(true).and(server.set_nodelay(true));
    let [up, down] = [(); 2].map(|()| rand::random_range(1..6_000));
    {
        let (from_client, mut to_client) = client.split();
        let (from_server, mut to_server) = server.split();
        let (mut up, mut down) = (from_client.take(up), from_server.take(down));
        select! {
            _ = copy(&mut up, &mut to_server) => {}
            _ = copy(&mut down, &mut to_client) => {}
        }
    }
    let _ = client.set_zero_linger().and(server.set_zero_linger());
}

/// Has the operations 1 to `last` of a client done. After each failure it sends
/// again whatever has no reply, on a new connection.
async fn drive(soak: Arc<Soak>, relay: SocketAddr, client: u64, last: u64) {
    let (mut next, mut sum) = (1, 0);
    while next <= last {
        let Ok(mut stream) = TcpStream::connect(relay).await else { continue };
        let mut to_send = next;
        loop {
            let mut requests = Vec::new();
            while to_send <= last && to_send < next + WINDOW {
                requests.extend(add(client, to_send));
                to_send += 1;
            }
            let mut bytes = [0; REPLY];
            let sent = stream.write_all(&requests).await;
            if sent.is_err() || stream.read_exact(&mut bytes).await.is_err() {
                break; // a reset, or all is done
            }
            sum += amount(client, next);
            assert_eq!(bytes[..], reply(client, next, sum));
            soak.done.fetch_add(1, Relaxed);
            next += 1;
            if next > last {
                break;
            }
        }
    }
}

const REAL: [u64; 2] = [101, 102]; // of these, the client is step 7's own
const ADDS: u64 = 30;
const KILLS: u64 = 3;

/// Has a real client do the operations 1 to [`ADDS`], and kills it a few times
/// in between. The next one goes on behind the last reply that was printed: the
/// operation behind that may be done already. Returns the number of kills.
fn drive_real(soak: &Soak, relay: SocketAddr, client: u64) -> u64 {
    let (mut done, mut killed) = (0, 0);
    while done < ADDS {
        let mut program = start_real(relay, client, done + 1);
        let ends = killed == KILLS;
        if ends {
            program.wait_end();
        } else {
            let left = (ADDS - done) as usize;
            let some = rand::random_range(1..5);
            program.wait_for_times("\n", some.min(left));
            program.kill();
            program.wait_end();
            killed += 1;
        }
        let (stdout, stderr) = program.texts();
        let stdout = String::from_utf8(stdout).unwrap();
        let whole = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
        for line in whole.lines() {
            done += 1;
            assert_eq!(line, total(client, done).to_string());
        }
        assert!(!ends || done == ADDS, "{stderr}");
    }
    soak.done.fetch_add(done, Relaxed);
    killed
}

fn start_real(relay: SocketAddr, client: u64, first: u64) -> Program {
    let mut command = Command::new(bin("step7"));
    command.args(["client", "--addr", &relay.to_string()]);
    command.args(["--attempts", "1000", "--backoff-base-ms", "5"]);
    command.env("TCP_CLIENT_ID", client.to_string());
    command.env("TCP_SEQ", first.to_string());
    for seq in first..=ADDS {
        command.arg(format!("--add={}", amount(client, seq)));
    }
    Program::spawn(&mut command, false)
}

// ---- No room

/// The server's clients while it runs into the limit. Returns how many replies
/// each of them got.
fn fill(addr: SocketAddr) -> BTreeMap<u64, u64> {
    std::thread::scope(|scope| {
        let add = |client| (client, add_until_the_end(addr, client));
        let clients = (1..=8).map(|client| scope.spawn(move || add(client)));
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// What has a reply is there, and at most the one more that each client sent.
fn assert_all_there(replies: &BTreeMap<u64, u64>, addr: SocketAddr) {
    for (&client, &seq) in replies.iter().filter(|(_, seq)| **seq > 0) {
        assert_known(addr, client, seq);
    }
}

fn assert_recorded(replies: &BTreeMap<u64, u64>, journal: &[u8]) {
    let counts = recorded(journal);
    for (client, &replies) in replies {
        let count = counts.get(client).copied().unwrap_or_default();
        assert!(
            (replies..=replies + 1).contains(&count),
            "client {client}: {replies} replies, {count} records"
        );
    }
}

/// The shell ignores SIGXFSZ, and so does what it executes: then a write that
/// does not fit fails, where it would end the program (setrlimit(2)).
fn size_limit() {
    let (_folder, journal) = folder();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 7; exec \"$@\"", "sh"]);
    command.arg(bin("step7")).args(arguments_of(&journal));
    let server = Program::spawn(&mut command, false);
    let replies = fill(server.addr());
    let ended = server.finish();
    assert_eq!(ended.code, Some(1));
    let why = "error: cannot write the journal: File too large";
    assert!(ended.stderr.starts_with(why), "{}", ended.stderr);
    let full = fs::read(&journal).unwrap();
    assert_eq!(full.len() % (7 * 512), 0); // some shells count in KiB
    assert_recorded(&replies, &full);

    let server = start(&journal);
    let torn = (full.len() - 8) % 28;
    server.wait_for(&format!("cut a torn record of {torn} bytes"));
    assert_all_there(&replies, server.addr());
}

/// May this test mount a file system of its own?
fn has_namespaces() -> bool {
    let mut command = Command::new("unshare");
    command.args(["-rm", "--pid", "--fork", "--kill-child"]);
    command.args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    command.output().is_ok_and(|output| output.status.success())
}

/// In a namespace, so that the disk goes away with the test. Then the disk gets
/// more room, and the server starts again.
const FULL_DISK: &str = "\
    mount -t tmpfs -o size=16k tmpfs \"$1\"; \"$2\" server --addr \
    127.0.0.1:0 --journal \"$1/journal\"; echo \"exit code $?\"; \
    mount -o remount,size=1m \"$1\"; cp \"$1/journal\" \"$3\"; exec \"$2\" \
    server --addr 127.0.0.1:0 --journal \"$1/journal\"";

fn full_disk() {
    let (folder, copy) = folder();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-rm", "--pid", "--fork", "--kill-child"]);
    command.args(["sh", "-c", FULL_DISK, "sh"]);
    command.args([&disk, Path::new(&bin("step7")), &copy]);
    let server = Program::spawn(&mut command, false);
    let replies = fill(server.addr());
    server.wait_for("exit code 1\n");
    server.wait_for_stderr("cannot write the journal: No space left on device");
    let text = server.wait_for("cut a torn record of ");
    let (_, rest) = text.rsplit_once("listening on ").unwrap();
    let addr = rest.lines().next().unwrap().parse().unwrap();
    let full = fs::read(&copy).unwrap();
    assert!(full.len() <= 16 * 1024);
    assert_recorded(&replies, &full);
    assert_all_there(&replies, addr);
}

// ---- Torn and damaged

/// The bytes of a journal with the first three operations of client 1.
fn three(journal: &Path) -> Vec<u8> {
    let server = start(journal);
    for seq in 1..=3 {
        assert_known(server.addr(), 1, seq);
    }
    drop(server); // which kills it
    let bytes = fs::read(journal).unwrap();
    assert_eq!(bytes.len(), 8 + 3 * 28);
    bytes
}

fn torn() {
    let (_folder, journal) = folder();
    let whole = three(&journal);
    for size in [whole.len() - 1, whole.len() - 27, 8 + 28 + 1] {
        fs::write(&journal, &whole[..size]).unwrap();
        let server = start(&journal);
        let torn = (size - 8) % 28;
        let what = format!("cut a torn record of {torn} bytes off the journal");
        server.wait_for(&what);
        for seq in 1..=3 {
            assert_known(server.addr(), 1, seq);
        }
        drop(server);
        assert_eq!(fs::read(&journal).unwrap(), whole);
    }
}

fn damaged() {
    let (_folder, journal) = folder();
    let whole = three(&journal);
    for (at, what) in [
        (3, "this is another kind of file"),
        (8 + 9, "the record at offset 8 is damaged"),
        (36 + 27, "the record at offset 36 is damaged"),
    ] {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(&journal, &bytes).unwrap();
        let ended = start(&journal).finish();
        assert_eq!((ended.code, &ended.stdout[..]), (Some(1), &b""[..]));
        let path = journal.display();
        let error = format!("error: cannot use the journal {path}: {what}\n");
        assert_eq!(ended.stderr, error);
        assert_eq!(fs::read(&journal).unwrap(), bytes);
    }
}

fn second() {
    let (_folder, journal) = folder();
    let server = start(&journal);
    assert_known(server.addr(), 1, 1);
    let ended = start(&journal).finish();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(1), &b""[..]));
    assert!(ended.stderr.contains("is it in use?"), "{}", ended.stderr);
    assert_known(server.addr(), 1, 2);
    drop(server);
    assert_known(start(&journal).addr(), 1, 2);
}

// ---- The ends of what there is

/// The ERROR is the last frame, even if an operation behind it was applied.
fn no_room() {
    let (_folder, journal) = folder();
    let server = start(&journal);
    let mut stream = StdStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let all: Vec<_> = (1..=20_000).collect(); // the limit of step 7
    for some in all.chunks(500) {
        let requests = some.iter().map(|&client| add(client, 1));
        stream.write_all(&requests.collect::<Vec<_>>().concat()).unwrap();
        stream.read_exact(&mut vec![0; REPLY * some.len()]).unwrap();
    }
    let mut stream = StdStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let requests = [add(7, 1), add(20_001, 1), add(7, 2)].concat();
    stream.write_all(&requests).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let refused = b"\0\0\0\x12\x7f\x06too many clients";
    assert_eq!(bytes, [&reply(7, 1, total(7, 1)), &refused[..]].concat());
    assert_known(server.addr(), 7, 2);
}

fn last_number() {
    let (_folder, journal) = folder();
    let server = start(&journal);
    let addr = server.addr().to_string();
    let seq = u64::MAX.to_string();
    let args = ["client", "--addr", &addr, "--seq", &seq, "--add=5", "--add=1"];
    let ended = Program::start("step7", &args).finish();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(1), &b"5\n"[..]));
    assert_eq!(ended.stderr, "error: the numbers are used up\n");
}

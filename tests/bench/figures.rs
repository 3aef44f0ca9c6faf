//! The figures that the book prints, measured side by side in one run.
//!
//!     cargo bench --bench figures
//!
//! writes one table for each question into `tests/bench`; with names behind it
//! (`-- herd flush`), only those. All take about six minutes. The ratios are
//! what counts: the times are those of one machine on one day. Needs Linux.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

/// What the journal needs. Their own tests are compiled here, and not run.
#[allow(unused)]
#[path = "../../steps/step7/frame.rs"]
mod frame;
#[path = "instructions.rs"]
mod instructions;
#[allow(unused)]
#[path = "../../steps/step7/journal.rs"]
mod journal;
#[allow(unused)]
#[path = "../../steps/step7/ledger.rs"]
mod ledger;
#[path = "spends.rs"]
mod spends;
#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use journal::{Journal, Request};
use ledger::{Answer, Ledger, Operation};
use socket2::{Domain, Socket, Type};
use support::load::{Seen, herd as herd_at_the_limit, restarts, stuck};
use support::{Program, ROOT};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

/// The name of a figure, and what measures it.
type Figure = (&'static str, fn() -> String);

const FIGURES: [Figure; 21] = [
    ("backlog", backlog),
    ("nagle", nagle),
    ("requests", requests),
    ("threads", threads),
    ("flush", flush),
    ("pause", pause),
    ("herd", herd),
    ("connect", connect),
    ("costs", costs),
    ("journal", journal),
    ("restart", restart),
    ("full", full),
    ("unread", unread),
    ("proxy", proxy),
    ("udp", udp),
    ("udp-identity", udp_identity),
    ("reuseport", reuseport),
    ("buffers", buffers),
    ("instructions", instructions::table),
    ("calls", spends::calls),
    ("spends", spends::shares),
];

fn main() {
    if instructions::work() {
        return;
    }
    if !cfg!(target_os = "linux") {
        println!("skipped: needs Linux");
        return;
    }
    rlimit::increase_nofile_limit(8192).expect("more descriptors");
    let named: Vec<String> =
        env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    for (name, measure) in FIGURES {
        if named.is_empty() || named.iter().any(|other| other == name) {
            write(name, &measure());
        }
    }
}

/// Keeps the table. One that is empty could not be measured here.
fn write(name: &str, table: &str) {
    if table.is_empty() {
        return;
    }
    println!("{name}\n\n{table}");
    let path = format!("{ROOT}/tests/bench/{name}.md");
    fs::write(path, table).expect("the table is written");
}

// ---- How long is the queue of clients that nobody has accepted yet?

/// 1000 clients connect in one burst, while the server is busy for a tenth of
/// a second; then it accepts as fast as it can.
fn backlog() -> String {
    let mut table = "| `listen` | all 1000 connected after | had to knock \
                     again |\n| ---: | ---: | ---: |\n"
        .to_owned();
    for backlog in [5, 128, 1024] {
        let (all, late) = burst(backlog);
        table += &format!("| {backlog} | {} | {late} |\n", seconds(all));
    }
    table
}

fn listen(backlog: i32) -> (TcpListener, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    socket.bind(&any.into()).unwrap();
    socket.listen(backlog).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// The time until 1000 clients were connected, and how many took longer than
/// 0.9 s: their SYN was ignored, and sent again after a second (RFC 6298).
fn burst(backlog: i32) -> (Duration, usize) {
    let (listener, addr) = listen(backlog);
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let server = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        let mut accepted = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            accepted.push(listener.accept().unwrap());
        }
    });
    let start = Instant::now();
    let clients: Vec<Socket> = (0..1000).map(|_| knock(addr)).collect();
    let mut waiting: Vec<&Socket> = clients.iter().collect();
    let mut late = 0;
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|socket| socket.peer_addr().is_err());
        if start.elapsed() > Duration::from_millis(900) {
            late += before - waiting.len();
        }
        thread::sleep(Duration::from_millis(1));
    }
    let all = start.elapsed();
    over.store(true, Ordering::Relaxed);
    // So that `accept` returns; refused if the server has ended already.
    let _last = TcpStream::connect(addr);
    server.join().unwrap();
    (all, late)
}

/// Begins to connect, and does not wait for it.
fn knock(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _ = socket.connect(&addr.into()); // an error: "in progress"
    socket
}

// ---- What do TCP_NODELAY and the size of the buffer change?

/// Messages of 64 KiB, one after another, to echo servers that differ in
/// nothing else.
fn nagle() -> String {
    let variants = [
        (4, false, "4 KiB"),
        (16, false, "16 KiB"),
        (64, false, "64 KiB"),
        (4, true, "4 KiB"),
        (16, true, "16 KiB"),
        (64, true, "64 KiB"),
    ];
    let times = variants.map(|(kib, nodelay, _)| echo_64(kib, nodelay));
    let best = times[5];
    let mut table = "| buffer | `TCP_NODELAY` | 64 KiB there and back | \
                     ratio |\n| ---: | :---: | ---: | ---: |\n"
        .to_owned();
    for ((_, nodelay, buffer), time) in variants.iter().zip(times) {
        let nodelay = if *nodelay { "on" } else { "off" };
        let ratio = time.as_secs_f64() / best.as_secs_f64();
        table += &format!(
            "| {buffer} | {nodelay} | {} | {ratio:.1} |\n",
            seconds(time)
        );
    }
    table
}

/// The median time of 100 messages.
fn echo_64(kib: usize, nodelay: bool) -> Duration {
    let (listener, addr) = listen(5);
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(nodelay).unwrap();
        let mut buffer = vec![0; kib * 1024];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return,
                n => stream.write_all(&buffer[..n]).unwrap(),
            }
        }
    });
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_nodelay(true).unwrap();
    let message = vec![b'x'; 64 * 1024];
    let mut echo = message.clone();
    let round = || {
        let start = Instant::now();
        client.write_all(&message).unwrap();
        client.read_exact(&mut echo).unwrap();
        start.elapsed()
    };
    let median = median(std::iter::repeat_with(round).take(100).collect());
    drop(client);
    server.join().unwrap();
    median
}

// ---- One write for a request, or two?

/// Small requests to step 4's server, each sent when the reply to the one
/// before has come. The clients differ in nothing else: the server is the same.
fn requests() -> String {
    let ways = [
        ("two writes: five bytes of head, then the payload", 2, false),
        ("one write", 1, false),
        ("two writes, with `TCP_NODELAY`", 2, true),
    ];
    let (_server, addr) = Program::server("step4");
    let times = ways.map(|(_, writes, nodelay)| ask(addr, writes, nodelay));
    let best = times.iter().min().unwrap().as_secs_f64();
    let mut table = "| the client's way | median of a request | ratio |\n\
                     | --- | ---: | ---: |\n"
        .to_owned();
    for ((way, ..), time) in ways.iter().zip(times) {
        let ratio = time.as_secs_f64() / best;
        table += &format!("| {way} | {} | {ratio:.1} |\n", seconds(time));
    }
    table
}

/// The median time of 100 requests. The first ones say little: at the start of
/// a connection, Linux acknowledges at once.
fn ask(addr: SocketAddr, writes: usize, nodelay: bool) -> Duration {
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_nodelay(nodelay).unwrap();
    let frame = b"\0\0\0\x03\x01hi";
    let mut reply = *frame;
    let round = || {
        let start = Instant::now();
        let (head, payload) = frame.split_at(5);
        if writes == 1 {
            client.write_all(frame).unwrap();
        } else {
            client.write_all(head).unwrap();
            client.write_all(payload).unwrap();
        }
        client.read_exact(&mut reply).unwrap();
        start.elapsed()
    };
    median(std::iter::repeat_with(round).take(100).collect())
}

// ---- A thread or a task for each client?

/// 1000 idle clients; then 50 that ask as fast as they get answers.
fn threads() -> String {
    let programs = [("a thread each", "threads"), ("a task each", "step3")];
    let idle = programs.map(|(_, name)| idle(name));
    let mut table = "| 1000 clients | threads | memory of an idle client | \
                     without its 64 KiB buffer |\n\
                     | --- | ---: | ---: | ---: |\n"
        .to_owned();
    for (i, (what, _)) in programs.into_iter().enumerate() {
        let (threads, memory) = idle[i];
        let rest = memory - 64.0; // what the thread or the task itself costs
        table += &format!(
            "| {what} | {threads} | {memory:.1} KiB | {rest:.1} KiB |\n"
        );
    }
    table
}

/// Threads, and KiB of resident memory for each of 1000 clients that were
/// answered once and now say nothing: what the kernel keeps for them is not
/// counted.
///
/// Each has filled its buffer, so all 64 KiB of that are resident, and can be
/// subtracted. A client that has sent nothing would not tell what the rest is:
/// the allocator has written to some pages of its buffer, and not to all.
fn idle(name: &str) -> (f64, f64) {
    let (server, addr) = Program::server(name);
    let before = status(&server, "VmRSS:");
    let mut clients = Vec::new();
    for _ in 0..1000 {
        let mut client = TcpStream::connect(addr).unwrap();
        let mut message = vec![b'x'; 64 * 1024]; // as much as its buffer holds
        client.write_all(&message).unwrap();
        client.read_exact(&mut message).unwrap();
        clients.push(client);
    }
    let memory = (status(&server, "VmRSS:") - before) / 1000.0;
    (status(&server, "Threads:"), memory)
}

/// A number from `/proc/PID/status` (proc(5)); memory is in KiB, called kB.
fn status(program: &Program, key: &str) -> f64 {
    let path = format!("/proc/{}/status", program.id());
    let status = fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// ---- One write for each reply, or one for all that are ready?

/// 50 clients that each keep 16 requests in flight.
fn flush() -> String {
    let names = ["write-each", "step4"];
    let mut rates = [vec![], vec![]];
    for _ in 0..5 {
        for (rates, name) in rates.iter_mut().zip(names) {
            rates.push(frames_a_second(name)); // in turns
        }
    }
    let [each, batch] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    format!(
        "| 50 clients that each send 16 requests at once \
         | replies a second, compared with the first row |\n\
         | --- | ---: |\n\
         | a write for each reply | 1.0 |\n\
         | a write for all that are ready | {:.1} |\n",
        batch / each
    )
}

fn frames_a_second(name: &str) -> f64 {
    const ROUNDS: usize = 400;
    let (_server, addr) = Program::server(name);
    let frame = [&[0, 0, 0, 65, 1][..], &[b'x'; 64]].concat();
    let batch = frame.repeat(16);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let mut client = TcpStream::connect(addr).unwrap();
                client.set_nodelay(true).unwrap();
                let mut replies = batch.clone();
                for _ in 0..ROUNDS {
                    client.write_all(&batch).unwrap();
                    client.read_exact(&mut replies).unwrap();
                }
            });
        }
    });
    (50 * ROUNDS * 16) as f64 / start.elapsed().as_secs_f64()
}

// ---- Whom does a server that was stopped for a while find too slow?

/// Step 5's server and one without the second look of `within`, three times
/// each, in turns.
fn pause() -> String {
    let rows = [
        ("no-second-look", "step 5 without the second look"),
        ("step5", "step 5"),
    ];
    let mut kept = [vec![], vec![]];
    for _ in 0..3 {
        for (kept, (name, _)) in kept.iter_mut().zip(rows) {
            kept.push(kept_after_a_pause(name).to_string());
        }
    }
    let mut table = "| 80 clients of a server that was stopped | got their \
                     reply, in three trials |\n| --- | ---: |\n"
        .to_owned();
    for (kept, (_, what)) in kept.iter().zip(rows) {
        table += &format!("| {what} | {} |\n", kept.join(", "));
    }
    table
}

/// While the server is stopped, each of 80 clients sends its frame before its
/// idle limit of 1 s has passed. The server goes on after 1.5 s: how many get
/// a reply, and not an ERROR?
fn kept_after_a_pause(name: &str) -> usize {
    let mut command = std::process::Command::new(support::bin(name));
    command.args((name == "step5").then_some("server"));
    command.args(["--addr", "127.0.0.1:0", "--idle-ms", "1000"]);
    let server = Program::spawn(&mut command, false);
    let addr = server.addr();
    let start = Instant::now();
    let mut clients: Vec<_> =
        (0..80).map(|_| TcpStream::connect(addr).unwrap()).collect();
    server.wait_for_times(" connected", 80);
    support::signal(server.id(), "-STOP");
    for client in &mut clients {
        client.write_all(b"\0\0\0\x03\x01hi").unwrap();
    }
    support::wait_until("all frames", || support::unread(addr) == 80 * 7);
    assert!(start.elapsed() < Duration::from_secs(1), "the clients were late");
    thread::sleep(Duration::from_millis(1500));
    support::signal(server.id(), "-CONT");
    let is_reply = |client: &mut TcpStream| {
        let mut head = [0; 5];
        client.read_exact(&mut head).unwrap();
        head[4] == 0x81
    };
    clients.iter_mut().map(is_reply).filter(|is_reply| *is_reply).count()
}

// ---- Do clients that failed together come back together?

/// For each client, when its second to last attempt came, in ms after the
/// server dropped all first ones.
type Attempts = Vec<Vec<u128>>;

/// How often eight clients of step 5 are watched: chance draws each time.
const DRAWS: usize = 5;

fn herd() -> String {
    let alike = attempts("no-jitter", |addr, text| vec![addr, text]);
    let draw = || {
        attempts("step5", |addr, text| {
            vec!["client".into(), "--addr".into(), addr, text]
        })
    };
    let draws: Vec<Attempts> =
        std::iter::repeat_with(draw).take(DRAWS).collect();
    let all = draws.concat();
    let mut table = format!(
        "| attempt | without chance: first, last | full jitter, all {DRAWS} \
         groups: first, last |\n| ---: | ---: | ---: |\n"
    );
    for n in 0..4 {
        table += &format!("| {} |", n + 2);
        for attempts in [&alike, &all] {
            let [first, last] = span(attempts, n);
            table += &format!(" {first}, {last} ms |");
        }
        table.push('\n');
    }
    format!("{}\n\n{table}", picture(&alike, &draws))
}

/// When the first and the last client made attempt `n`, counted from the
/// second attempt.
fn span(attempts: &Attempts, n: usize) -> [u128; 2] {
    let nth = attempts.iter().map(|times| times[n]);
    [nth.clone().min().unwrap(), nth.max().unwrap()]
}

/// Eight clients ask; when all have, the server drops them at once. Then it
/// drops each attempt, and writes down when it came.
fn attempts(
    program: &str,
    args: impl Fn(String, String) -> Vec<String>,
) -> Attempts {
    let (listener, addr) = listen(64);
    let mut programs = Vec::new();
    for i in 0..8 {
        let args = args(addr.to_string(), i.to_string());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        programs.push(Program::start(program, &args));
    }
    let first: Vec<_> = (0..8).map(|_| request(&listener)).collect();
    let start = Instant::now();
    drop(first);
    let mut attempts = vec![vec![]; 8];
    for _ in 0..8 * 4 {
        let (stream, client) = request(&listener);
        attempts[client].push(start.elapsed().as_millis());
        drop(stream);
    }
    attempts
}

/// The next connection, and which client has asked on it.
fn request(listener: &TcpListener) -> (TcpStream, usize) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut frame = [0; 6];
    stream.read_exact(&mut frame).unwrap();
    (stream, usize::from(frame[5] - b'0'))
}

/// All but the first draw are hidden, until `herd.js` shows them.
fn picture(alike: &Attempts, draws: &[Attempts]) -> String {
    let last = alike.iter().chain(draws.iter().flatten()).flatten().max();
    let end = (last.unwrap() / 500 + 1) * 500; // of the axis, in ms
    let mut body = panel("herd", "without chance", alike, end);
    for (i, draw) in draws.iter().enumerate() {
        let hidden = if i == 0 { "" } else { " hidden" };
        let id = format!("herd-{}", i + 1);
        let panel = panel(&id, "full jitter", draw, end);
        body += &format!("<div class=\"draw\"{hidden}>\n{panel}</div>\n");
    }
    format!(
        "<figure class=\"herd\">\n{body}<figcaption>When the attempts of \
         eight clients reach the server</figcaption>\n</figure>"
    )
}

/// A dot for each attempt: time runs to the right, a row for each client.
fn panel(id: &str, title: &str, all: &Attempts, end: u128) -> String {
    let x = |ms: u128| 16 + ms * 448 / end;
    let mut body = format!(
        "<text class=\"end\" x=\"240\" y=\"16\">{title}</text>\n\
         <line x1=\"16\" y1=\"154\" x2=\"464\" y2=\"154\"/>\n"
    );
    body.extend((0..=end).step_by(500).map(|ms| {
        let x = x(ms).clamp(30, 440);
        format!("<text x=\"{x}\" y=\"172\">{ms} ms</text>\n")
    }));
    for (row, times) in all.iter().enumerate() {
        let y = 34 + row * 15;
        for &ms in times {
            let x = x(ms);
            body += &format!(
                "<circle class=\"client\" cx=\"{x}\" cy=\"{y}\" \
                 r=\"5\"/>\n"
            );
        }
    }
    format!(
        "<svg role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" \
         viewBox=\"0 0 480 180\">\n\
         <title id=\"{id}-title\">Eight clients, {title}</title>\n\
         <desc id=\"{id}-desc\">{}.</desc>\n{body}</svg>\n",
        spans(all)
    )
}

fn spans(all: &Attempts) -> String {
    let spans = (0..4).map(|n| {
        let [first, last] = span(all, n);
        format!("attempt {} after {first} to {last} ms", n + 2)
    });
    spans.collect::<Vec<_>>().join(", ")
}

// ---- How long does a connect to a black hole take, when nobody limits it?

fn connect() -> String {
    let (_hole, addr) = Program::server("black-hole");
    let start = Instant::now();
    let error = TcpStream::connect(addr).unwrap_err();
    let kernel = start.elapsed();
    let start = Instant::now();
    let addr = addr.to_string();
    let args = ["client", "--attempts", "1", "--addr", &addr, "hi"];
    let ended = Program::start("step5", &args).finish();
    assert_eq!(ended.code, Some(3));
    format!(
        "| who ends it | after | what it says |\n| --- | ---: | --- |\n\
         | the kernel | {} | {error} |\n\
         | step 5, `TCP_CONNECT_MS` = 4000 | {} | no answer within 4s |\n",
        seconds(kernel),
        seconds(start.elapsed())
    )
}

// ---- What do the limits of step 5 cost, and what do they save?

fn costs() -> String {
    let steps = ["step4", "step5"];
    let [room4, room5] = steps.map(room_of_an_idle_client);
    let [kept4, kept5] = steps.map(kept_for_a_client_that_never_reads);
    let slowest = slowest_reader();
    format!(
        "| | step 4 | step 5 |\n| --- | ---: | ---: |\n\
         | memory of an idle client, two seconds after its 64 KiB frame \
         | {room4:.0} KB | {room5:.0} KB |\n\
         | kept by the server's kernel for a client that never reads \
         | {kept4:.1} MB | {kept5:.1} MB |\n\
         | slowest steady reader that is not cut, with `TCP_WRITE_MS` = 10000 \
         | any | {slowest} KB/s |\n"
    )
}

/// Kilobytes of resident memory.
fn room_of_an_idle_client(step: &str) -> f64 {
    let (server, addr) = Program::server(step);
    let before = status(&server, "VmRSS:");
    let frame = [&[0, 1, 0, 0, 1][..], &[b'x'; 65_535]].concat();
    let mut reply = frame.clone();
    let mut clients = Vec::new();
    for _ in 0..1000 {
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(&frame).unwrap();
        client.read_exact(&mut reply).unwrap();
        clients.push(client);
    }
    thread::sleep(Duration::from_secs(2));
    (status(&server, "VmRSS:") - before) / 1000.0
}

/// Megabytes, when nothing more has been taken for half a second.
fn kept_for_a_client_that_never_reads(step: &str) -> f64 {
    let (_server, addr) = Program::server(step);
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let frame = [&[0, 1, 0, 0, 1][..], &[b'x'; 65_535]].concat();
    while client.write_all(&frame).is_ok() {}
    let ends = support::ends(addr).into_iter().filter(|end| end.is_server);
    ends.map(|end| end.unsent + end.unread).sum::<u64>() as f64 / 1e6
}

/// KB/s that a client must read. Measured with a limit of 1 s, in which it has
/// to read as much as in 10 s with the default.
fn slowest_reader() -> u64 {
    let mut command = std::process::Command::new(support::bin("step5"));
    command.args(["server", "--addr", "127.0.0.1:0", "--write-ms", "1000"]);
    let server = Program::spawn(&mut command, false);
    let addr = server.addr();
    let readers: Vec<_> = (1..=40)
        .map(|kb| (kb, thread::spawn(move || is_kept(addr, kb * 10_000))))
        .collect();
    let kept = readers.into_iter().map(|(kb, r)| (kb, r.join().unwrap()));
    let (kb, _) = kept.filter(|(_, is_kept)| *is_kept).min().unwrap();
    kb
}

/// Is a client that reads this many bytes a second still served after 8 s?
fn is_kept(addr: SocketAddr, rate: u64) -> bool {
    let mut client = TcpStream::connect(addr).unwrap();
    let mut writer = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let frame = [&[0, 1, 0, 0, 1][..], &[b'x'; 65_535]].concat();
        while writer.write_all(&frame).is_ok() {}
    });
    let start = Instant::now();
    let mut piece = vec![0; rate as usize / 50];
    let mut is_kept = true;
    for n in 1..=400 {
        // What came before a reset can still be read: only writing shows it.
        is_kept &= !sender.is_finished();
        if !is_kept || client.read_exact(&mut piece).is_err() {
            break;
        }
        let due = start + n * Duration::from_millis(20);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    sender.join().unwrap();
    is_kept
}

// ---- What does it cost to have each operation on disk before its answer?

/// How long each way is measured.
const WHILE: Duration = Duration::from_secs(1);

fn journal() -> String {
    let mut table = "| clients that wait | each syncs its own operation \
                     | one sync for all that are ready | ratio |\n\
                     | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for clients in [1, 10, 100] {
        let mut rates = [vec![], vec![]];
        for _ in 0..5 {
            rates[0].push(one_by_one(clients)); // in turns
            rates[1].push(together(clients));
        }
        let [each, all] = rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        });
        table += &format!(
            "| {clients} | {each:.0}/s | {all:.0}/s | {:.1} |\n",
            all / each
        );
    }
    let sync = seconds(time_of_a_sync());
    format!("{table}\nAn append and its `fdatasync`: {sync} (median).\n")
}

/// A journal on the disk where Cargo builds: many a `/tmp` is no disk.
fn new_journal() -> (TempDir, Journal) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("journal");
    let (journal, _) = Journal::open(&path, &mut Ledger::default()).unwrap();
    (folder, journal)
}

fn operation(client: u64, seq: u64) -> Operation {
    Operation { client, seq, amount: 1 }
}

fn time_of_a_sync() -> Duration {
    let (_folder, mut journal) = new_journal();
    let round = |seq| {
        let start = Instant::now();
        journal.append(&[operation(1, seq)]).unwrap();
        start.elapsed()
    };
    median((1..=500).map(round).collect())
}

/// Operations a second, if each client appends and syncs for itself.
fn one_by_one(clients: u64) -> f64 {
    let (_folder, journal) = new_journal();
    let owned = Mutex::new((Ledger::default(), journal));
    let start = Instant::now();
    let work = |client| {
        let mut seq = 0;
        while start.elapsed() < WHILE {
            seq += 1;
            let (ledger, journal) = &mut *owned.lock().unwrap();
            let operation = operation(client, seq);
            let (answer, _) = ledger.apply(operation).unwrap();
            assert_eq!(answer, Answer::Total(seq as i64));
            journal.append(&[operation]).unwrap();
        }
        seq
    };
    let total = thread::scope(|scope| {
        let work = &work;
        let all = (0..clients).map(|client| scope.spawn(move || work(client)));
        let all: Vec<_> = all.collect();
        all.into_iter().map(|client| client.join().unwrap()).sum::<u64>()
    });
    total as f64 / start.elapsed().as_secs_f64()
}

/// Operations a second, if step 7's task owns the journal.
fn together(clients: u64) -> f64 {
    let (_folder, journal) = new_journal();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (sender, requests) = mpsc::channel(1024);
    runtime.spawn(journal::run(Ledger::default(), Some(journal), requests));
    let start = Instant::now();
    let all = (0..clients).map(|client| {
        let sender = sender.clone();
        runtime.spawn(async move {
            let mut seq = 0;
            while start.elapsed() < WHILE {
                seq += 1;
                let (reply, answer) = oneshot::channel();
                let operation = operation(client, seq);
                let request = Request { operation, reply };
                sender.send(request).await.ok().unwrap();
                assert_eq!(answer.await, Ok(Ok(Answer::Total(seq as i64))));
            }
            seq
        })
    });
    let all: Vec<_> = all.collect();
    let total: u64 =
        all.into_iter().map(|it| runtime.block_on(it).unwrap()).sum();
    total as f64 / start.elapsed().as_secs_f64()
}

// ---- How many requests does a restart cost?

/// Eight clients send all the time, while their server is replaced.
fn restart() -> String {
    let rows = [
        ("-KILL", "1", "`kill -9`, one attempt"),
        ("-KILL", "10", "`kill -9`, up to ten attempts"),
        ("-TERM", "1", "`kill`, one attempt"),
        ("-TERM", "10", "`kill`, up to ten attempts"),
    ];
    let mut table = "| ten restarts, 8 clients | answered | attempts \
                     refused | attempts with an unknown outcome | requests \
                     failed |\n| --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for (by, attempts, what) in rows {
        let mut sum = Seen::default();
        for _ in 0..10 {
            let seen = restarts(1, by, 8, attempts);
            sum.answered += seen.answered;
            sum.refused += seen.refused;
            sum.unknown += seen.unknown;
            sum.failed += seen.failed;
        }
        let Seen { answered, refused, unknown, failed, .. } = sum;
        table += &format!(
            "| {what} | {answered} | {refused} | {unknown} | {failed} |\n"
        );
    }
    table
}

// ---- What becomes of 20 clients that find a server with five slots?

fn full() -> String {
    let mut table = "| 20 clients, five slots | attempt 1 | 2 | 3 | 4 | 5 | \
                     gave up |\n| --- | ---: | ---: | ---: | ---: | ---: | \
                     ---: |\n"
        .to_owned();
    for (base, what) in
        [("1", "wait at most 1 ms at first"), ("100", "at most 100 ms")]
    {
        let all: Vec<_> =
            (0..5).flat_map(|_| herd_at_the_limit(base)).collect();
        let count = |n| all.iter().filter(|&&other| other == n).count();
        let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|n| count(Some(n)));
        let none = count(None);
        table +=
            &format!("| {what} | {a} | {b} | {c} | {d} | {e} | {none} |\n");
    }
    table
}

// ---- Where are the bytes of a client that never reads?

fn unread() -> String {
    let (server, _) = Program::server("step8");
    let (_client, stuck) = stuck(&server);
    let mb = |bytes: u64| bytes as f64 / 1e6;
    format!(
        "| a client sends and never reads | |\n| --- | ---: |\n\
         | it could send | {:.1} MB |\n\
         | its own kernel holds | {:.1} MB |\n\
         | the server's kernel holds | {:.1} MB |\n\
         | the server's memory has grown by | {:.1} MB |\n",
        mb(stuck.taken),
        mb(stuck.at_client),
        mb(stuck.at_server),
        mb(stuck.grown)
    )
}

// ---- What does a proxy between the two cost?

/// A request to an echo server, and 200 MB to one that only reads: straight
/// there, through our proxy and through socat: the best of nine, in turns.
fn proxy() -> String {
    let (_server, echo) = Program::server("step3");
    let (listener, sink) = listen(5);
    thread::spawn(move || listener.incoming().flatten().for_each(drain));
    let mut relays = Vec::new(); // they run for as long as this knows them
    let mut ways = vec![("direct".to_owned(), echo, sink)];
    for name in ["proxy", "socat"] {
        if let Some(both) = relay(name, echo).zip(relay(name, sink)) {
            ways.push((format!("through {name}"), both.0.1, both.1.1));
            relays.push(both);
        }
    }
    let mut best = vec![[Duration::MAX; 2]; ways.len()];
    for _ in 0..9 {
        for ((_, echo, sink), best) in ways.iter().zip(&mut best) {
            let times = [ask(*echo, 1, true), upload(*sink)];
            *best = [0, 1].map(|i| best[i].min(times[i]));
        }
    }
    let mut table = "| the way | a small request and its reply | ratio \
                     | 200 MB one way | ratio |\n\
                     | --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for ((name, ..), times) in ways.iter().zip(&best) {
        let cells = [0, 1].map(|i| {
            let ratio = times[i].as_secs_f64() / best[0][i].as_secs_f64();
            format!("{} | {ratio:.1}", seconds(times[i]))
        });
        table += &format!("| {name} | {} |\n", cells.join(" | "));
    }
    table
}

/// A relay to `to`, on a port that it prints; `None` if it is not installed.
fn relay(name: &str, to: SocketAddr) -> Option<(Program, SocketAddr)> {
    if name == "proxy" {
        let to = to.to_string();
        let args = ["--addr", "127.0.0.1:0", "--to", &to];
        let proxy = Program::start("proxy", &args);
        let addr = proxy.addr();
        return Some((proxy, addr));
    }
    if !support::is_installed("socat", "-V") {
        println!("skipped: needs socat");
        return None;
    }
    let mut command = std::process::Command::new("socat");
    let listen = "TCP-LISTEN:0,bind=127.0.0.1,fork,nodelay";
    command.args(["-d", "-d", listen, &format!("TCP:{to},nodelay")]);
    let socat = Program::spawn(&mut command, false);
    socat.wait_for_stderr("listening on AF=2 127.0.0.1:");
    let said = socat.texts().1;
    let port = said.split("127.0.0.1:").nth(1)?.lines().next()?.parse();
    Some((socat, SocketAddr::from(([127, 0, 0, 1], port.ok()?))))
}

fn drain(mut stream: TcpStream) {
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
}

/// The time until the server has read 200 MB and the end.
fn upload(addr: SocketAddr) -> Duration {
    let mut client = TcpStream::connect(addr).unwrap();
    let chunk = vec![b'x'; 1_000_000];
    let start = Instant::now();
    for _ in 0..200 {
        client.write_all(&chunk).unwrap();
    }
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    start.elapsed()
}

// ---- What do two options of a socket change?

/// All numbers that an experiment of `options.py` prints.
fn option(name: &str) -> Vec<u64> {
    let path = format!("{ROOT}/tests/peers/python/options.py");
    let ended = Command::new("python3").args([&path, name]).output().unwrap();
    let text = String::from_utf8(ended.stdout).unwrap();
    let words = text.split(|c: char| !c.is_ascii_digit());
    words.filter_map(|digits| digits.parse().ok()).collect()
}

/// How many of 100 clients wait for the first of two servers: ten times.
fn reuseport() -> String {
    let mut firsts: Vec<u64> = (0..10)
        .map(|_| match option("SO_REUSEPORT")[..] {
            [100, first, second, ..] if first + second == 100 => first,
            ref other => panic!("{other:?}"),
        })
        .collect();
    firsts.sort();
    let (fewest, median, most) = (firsts[0], firsts[5], firsts[9]);
    format!(
        "| | fewest | median | most |\n| --- | ---: | ---: | ---: |\n\
         | clients of the first server | {fewest} | {median} | {most} |\n"
    )
}

/// The size of the buffers, and how much a write takes that nobody reads.
fn buffers() -> String {
    let mut table = "| | `SO_SNDBUF` | `SO_RCVBUF` | a `write` takes \
                     | `SO_RCVBUF` after 30 MB |\n\
                     | --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let numbers = option("SO_RCVBUF");
    let (left, asked) = numbers.split_at(6);
    for (title, numbers) in
        [("left to the kernel", left), ("20 000 asked for", &asked[1..])]
    {
        let [sender, reader, taken, 30, _, after] = numbers else {
            panic!("{numbers:?}")
        };
        table +=
            &format!("| {title} | {sender} | {reader} | {taken} | {after} |\n");
    }
    table
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        t if t >= 1.0 => format!("{t:.1} s"),
        t if t >= 0.001 => format!("{:.2} ms", t * 1000.0),
        t => format!("{:.3} ms", t * 1000.0),
    }
}

// ---- What a lost packet costs, with TCP and without

/// 20 additions over a road of 10 ms each way, five times each. Needs what the
/// lab needs: namespaces, and /dev/net/tun.
fn udp() -> String {
    let mut table = "| 20 additions | packets lost | time | ratio | total \
                     |\n| --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let mut peer = None;
    for (loss, share) in [("0%", "none"), ("20%", "a fifth")] {
        for (step, name) in [("step7", "TCP, step 7"), ("udp", "UDP")] {
            let runs = (1..=5).map(|seed| road(step, loss, seed));
            let mut runs: Vec<(f64, i64)> = runs.collect();
            runs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let totals: Vec<i64> = runs.iter().map(|run| run.1).collect();
            assert_eq!(totals, [20; 5]);
            let median = runs[2].0;
            let ratio = median / *peer.get_or_insert(median);
            table += &format!(
                "| {name} | {share} | {median:.1} s | {ratio:.1} | 20 |\n"
            );
        }
    }
    table
}

/// How long the packets of one run were on the road, in seconds, and the total.
fn road(step: &str, loss: &str, seed: u32) -> (f64, i64) {
    let mut lab = std::process::Command::new(env!("CARGO"));
    lab.args(["run", "--quiet", "--release", "-p", "lab", "--", "wan"]);
    lab.args(["--delay", "10ms", "--loss", loss, "--seed", &seed.to_string()]);
    lab.args(["--step", step, "--", "--client-id", "1"]);
    let output = lab.args(["--add=1"; 20]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let number = |word: &str| word.parse::<i64>().ok();
    let said = text.lines().filter_map(|line| line.strip_prefix("client | "));
    let total = said.filter_map(number).next_back().unwrap();
    let ladder = text.lines().skip_while(|line| !line.starts_with("   ms"));
    let words = ladder.filter_map(|line| line.split_whitespace().next());
    let last = words.filter_map(number).filter(|ms| *ms < 120_000).max();
    (last.unwrap() as f64 / 1000.0, total)
}

/// 1000 additions of 1 through the road of `steps/udp`, which loses a fifth of
/// the datagrams, repeats a fifth and delays a fifth.
fn udp_identity() -> String {
    let cargo = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "-p", "udp"])
        .status();
    assert!(cargo.unwrap().success());
    let server = Program::start("udp", &["server", "--addr", "127.0.0.1:0"]);
    let to = server.addr().to_string();
    let bad = ["--loss", "20%", "--twice", "20%", "--late", "20%"];
    let road = ["road", "--addr", "127.0.0.1:0", "--to", &to];
    let road = Program::start("udp", &[&road[..], &bad].concat());
    let addr = road.addr().to_string();
    let mut table = "| 1000 additions of 1, with | attempts | total |\n\
                     | --- | ---: | ---: |\n"
        .to_owned();
    for (more, name) in [
        ("--seq=1", "an identity for each operation"),
        ("--forgetful", "a new one for each attempt"),
    ] {
        let mut client = std::process::Command::new(support::bin("udp"));
        client.args(["client", "--addr", &addr, more]);
        client.args(["--add", "1", "--times", "1000"]);
        client.envs([("TCP_REQUEST_MS", "5"), ("TCP_ATTEMPTS", "1000")]);
        client.env("TCP_BACKOFF_CAP_MS", "5");
        let output = client.output().unwrap();
        let [said, errors] = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8(bytes).unwrap());
        let again = errors.matches("waits ").count();
        let total = said.lines().last().unwrap();
        table += &format!("| {name} | {} | {total} |\n", 1000 + again);
    }
    table
}

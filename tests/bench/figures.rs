//! The figures that the book prints, measured side by side in one run.
//!
//!     cargo bench --bench figures
//!
//! writes one table for each question into `tests/bench`. The ratios are what
//! counts: the times are those of one machine on one day. Needs Linux.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use support::{Program, ROOT};

fn main() {
    if !cfg!(target_os = "linux") {
        println!("skipped: needs Linux");
        return;
    }
    rlimit::increase_nofile_limit(8192).expect("more descriptors");
    write("backlog", &backlog());
    write("nagle", &nagle());
    write("threads", &threads());
}

fn write(name: &str, table: &str) {
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
        (4, true, "4 KiB"),
        (16, true, "16 KiB"),
    ];
    let times = variants.map(|(kib, nodelay, _)| echo_64(kib, nodelay));
    let best = times[3];
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

// ---- A thread or a task for each client?

/// 1000 idle clients; then 50 that ask as fast as they get answers.
fn threads() -> String {
    let programs = [("a thread each", "threads"), ("a task each", "step3")];
    let mut rows: Vec<(&str, f64, f64, f64)> = Vec::new();
    for (what, name) in programs {
        let (threads, kilobytes) = idle(name);
        rows.push((what, threads, kilobytes, 0.0));
    }
    for _ in 0..5 {
        for (row, (_, name)) in rows.iter_mut().zip(programs) {
            row.3 = row.3.max(rate(name)); // the best of five, in turns
        }
    }
    let mut table = "| 1000 clients | threads of the system | resident \
                     memory of an idle client | answers, 50 busy clients |\n\
                     | --- | ---: | ---: | ---: |\n"
        .to_owned();
    let first = rows[0].3;
    for (what, threads, kilobytes, rate) in rows {
        let ratio = rate / first;
        table += &format!(
            "| {what} | {threads} | {kilobytes:.1} KB | {ratio:.2} |\n"
        );
    }
    table
}

/// Threads, and kilobytes of resident memory for each of 1000 clients that
/// were answered once and now say nothing: what the system keeps for them is
/// not counted.
fn idle(name: &str) -> (f64, f64) {
    let (server, addr) = Program::server(name);
    let before = status(&server, "VmRSS:");
    let mut clients = Vec::new();
    for _ in 0..1000 {
        let mut client = TcpStream::connect(addr).unwrap();
        let mut message = [b'x'; 16 * 1024]; // as much as its buffer holds
        client.write_all(&message).unwrap();
        client.read_exact(&mut message).unwrap();
        clients.push(client);
    }
    let kilobytes = (status(&server, "VmRSS:") - before) / 1000.0;
    (status(&server, "Threads:"), kilobytes)
}

/// A number from `/proc/PID/status` (proc(5)); memory is in kilobytes.
fn status(program: &Program, key: &str) -> f64 {
    let path = format!("/proc/{}/status", program.id());
    let status = fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Answers a second to 50 clients that each wait for their answer.
fn rate(name: &str) -> f64 {
    let (_server, addr) = Program::server(name);
    let start = Instant::now();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            thread::spawn(move || {
                let mut client = TcpStream::connect(addr).unwrap();
                client.set_nodelay(true).unwrap();
                for _ in 0..1000 {
                    client.write_all(&[b'x'; 64]).unwrap();
                    client.read_exact(&mut [0; 64]).unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    50_000.0 / start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        t if t >= 1.0 => format!("{t:.1} s"),
        t => format!("{:.2} ms", t * 1000.0),
    }
}

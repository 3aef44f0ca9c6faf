//! The exercises of *More than one machine*.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use tempfile::TempDir;

use super::copy::{Solved, print};
use super::support::{Program, is_installed, trial};

pub fn trials() -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    let redis = !is_installed("redis-server", "--version");
    let redis = linux.or(redis.then_some("needs redis-server"));
    let python = !is_installed("python3", "--version");
    let python = redis.or(python.then_some("needs python3"));
    let strace = !is_installed("strace", "-V");
    let strace = redis.or(strace.then_some("needs strace"));
    vec![
        trial("cluster::a_double_has_too_few_digits", redis, doubles),
        trial("cluster::a_shared_ledger_in_python", python, build),
        trial("cluster::redis_gathers_what_waits", strace, syncs),
    ]
}

fn doubles() {
    let solved = Solved::with("cluster-doubles");
    let tried = solved.run("cargo test -p cluster redis_answers").fails();
    let parts = ["... FAILED", "test result: FAILED"];
    print("cluster-doubles", &tried.shown(&parts));
}

/// Four cases that say the most: Redis needs long to start on a busy machine.
fn build() {
    let checked = Solved::with("cluster-build").check(
        "server step7 --keep-going --case S7-01 --case S7-03 --case S7-06 \
         --case S7-14 --cmd 'tests/exercises/cluster.sh {addr} {journal}'",
    );
    print("cluster-build", &checked.cases());
}

/// How many ADDs each of the two crowds sends.
const ADDS: usize = 1000;

fn syncs() {
    let solved = Solved::with("");
    let (_own, server) = solved.program("cluster");
    let folder = TempDir::new().unwrap();
    let alone = count(&server, &folder.path().join("1"), 1);
    let mut crowd = count(&server, &folder.path().join("50"), 50);
    for attempt in ["again", "once more"] {
        if crowd * 2 >= ADDS {
            // The clients of a busy machine are no crowd.
            crowd = count(&server, &folder.path().join(attempt), 50);
        }
    }
    assert!(alone >= ADDS, "{alone} syncs for {ADDS} ADDs of one client");
    assert!(crowd * 2 < ADDS, "{crowd} syncs for {ADDS} ADDs of 50 clients");
    print(
        "cluster-syncs",
        "1000 ADDs of one client:   1000 syncs or more\n\
         1000 ADDs of fifty clients: fewer than half as many",
    );
}

/// How often Redis syncs for the ADDs of so many clients.
fn count(server: &str, folder: &Path, clients: usize) -> usize {
    fs::create_dir(folder).unwrap();
    let trace = folder.join("trace");
    let port = free_port();
    let mut redis = Command::new("strace");
    // -D: our child is Redis, and strace ends with it.
    redis.args(["-D", "-f", "-e", "trace=fdatasync", "-o"]).arg(&trace);
    redis.arg("redis-server").current_dir(folder);
    let port_text = port.to_string();
    redis.args(["--port", &port_text, "--bind", "127.0.0.1", "--save", ""]);
    redis.args(["--appendonly", "yes", "--appendfsync", "always"]);
    let redis = Program::spawn(&mut redis, false);
    redis.wait_for("Ready to accept connections");
    let engine = format!("redis://127.0.0.1:{port}");
    let mut server = Command::new(server);
    server.args(["server", "--addr", "127.0.0.1:0", "--engine", &engine]);
    server.env("TCP_ENGINE_MS", "60000"); // the machine may be busy
    let server = Program::spawn(&mut server, false);
    let addr = server.addr();
    let syncs = || fs::read_to_string(&trace).unwrap().matches("= 0").count();
    let before = syncs();
    thread::scope(|scope| {
        for client in 0..clients {
            scope.spawn(move || add(addr, client, ADDS / clients));
        }
    });
    syncs() - before
}

fn free_port() -> u16 {
    let any = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    any.local_addr().unwrap().port()
}

/// Sends so many ADDs, one after another, and reads each total.
fn add(addr: SocketAddr, client: usize, times: usize) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    for seq in 1..=times as u64 {
        let mut frame = vec![0, 0, 0, 25, 3];
        frame.extend((client as u64 + 1).to_be_bytes());
        frame.extend(seq.to_be_bytes());
        frame.extend(1_i64.to_be_bytes());
        stream.write_all(&frame).unwrap();
        let mut reply = [0; 29];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply[4], 0x83, "{reply:?}");
        assert_eq!(reply[21..], seq.to_be_bytes());
    }
}

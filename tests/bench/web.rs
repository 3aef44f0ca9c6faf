//! How fast our web server is beside axum, in one run.
//!
//!     cargo bench -p web
//!
//! writes `tests/bench/web.md`. The ratios are what counts: the rates are those
//! of one machine on one day, on which wrk shares the processors. Needs wrk.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report
#![allow(missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;

use axum::Router;
use tokio::net::TcpListener;
use tower_http::services::ServeDir;

use support::{Program, ROOT, bin};

/// The pages: their names, and how large they are.
const PAGES: [(&str, usize); 3] =
    [("small", 100), ("page", 35_000), ("large", 20_000_000)];

/// How often each of them is measured, in turn.
const ROUNDS: usize = 3;

fn main() {
    if Command::new("wrk").arg("-v").output().is_err() {
        println!("skipped: needs wrk");
        return;
    }
    let args = ["build", "--release", "-p", "web", "--example", "axum"];
    let built = Command::new("cargo").args(args).current_dir(ROOT).status();
    assert!(built.unwrap().success());
    let folder = tempfile::tempdir().unwrap();
    for (name, size) in PAGES {
        fs::write(folder.path().join(name), vec![b'x'; size]).unwrap();
    }
    let table = table(folder.path());
    println!("{table}");
    fs::write(format!("{ROOT}/tests/bench/web.md"), table).unwrap();
}

fn table(folder: &Path) -> String {
    let any = "127.0.0.1:0";
    let mut web = Command::new(bin("web"));
    web.arg(folder).args(["--addr", any]);
    let mut axum = Command::new(bin("examples/axum"));
    axum.arg(folder).arg(any);
    let servers =
        [web, axum].map(|mut command| Program::spawn(&mut command, false));
    let [web, axum] = servers.each_ref().map(Program::addr);
    let addrs = [web, axum, as_it_comes(folder)];
    let mut table = "| one page | ours | axum, as above | without \
                     `TCP_NODELAY` |\n| --- | ---: | ---: | ---: |\n"
        .to_owned();
    for (name, size) in PAGES {
        let mut rates = [[0.0; ROUNDS]; 3];
        for round in 0..ROUNDS {
            for (addr, rates) in addrs.iter().zip(&mut rates) {
                rates[round] = rate(*addr, name);
            }
        }
        let rates = rates.map(median);
        let cell = |rate: f64| format!("{rate:.0} ({:.2})", rate / rates[0]);
        let [ours, axum, slow] = rates.map(cell);
        let size = match size {
            1_000_000.. => format!("{} MB", size / 1_000_000),
            1_000.. => format!("{} kB", size / 1_000),
            _ => format!("{size} bytes"),
        };
        table += &format!("| {size} | {ours} | {axum} | {slow} |\n");
    }
    table
}

/// A server of axum in a thread of ours, with Nagle's algorithm.
fn as_it_comes(folder: &Path) -> SocketAddr {
    let files = Router::new().fallback_service(ServeDir::new(folder));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        runtime.block_on(async { axum::serve(listener, files).await })
    });
    addr
}

fn median(mut rates: [f64; ROUNDS]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[ROUNDS / 2]
}

/// 32 clients ask for one page again and again. Returns how many answers came
/// in a second.
fn rate(addr: SocketAddr, name: &str) -> f64 {
    let url = format!("http://{addr}/{name}");
    let args = ["-t1", "-c32", "-d3s", "--timeout", "20s"];
    let output = Command::new("wrk").args(args).arg(url).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let is_bad = text.contains("Socket errors") || text.contains("Non-2xx");
    assert!(!is_bad, "{text}");
    let rate = text.split("Requests/sec:").nth(1).unwrap();
    rate.split_whitespace().next().unwrap().parse().unwrap()
}

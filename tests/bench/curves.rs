//! How latency is measured wrongly, and how the cost of a request grows.
//!
//!     cargo bench -p load --bench curves
//!
//! measures for about five minutes, writes what it saw as JSON into
//! tests/bench/curves, and draws the figures and tables of the book from it
//! (tests/load/plot.rs). With names behind it (`-- pause size`) it measures
//! only those. `-- --quick` tries everything in less than a minute, and writes
//! into target/curves instead. Servers and generator share the processors. A
//! server that is not installed is left out, by name. Needs Linux.

#![allow(clippy::unwrap_used)] // in a bench, a panic is the report

#[path = "../load/plot/data.rs"]
mod data;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use data::{Growth, Loop, Pause, Point, Server};
use serde::{Deserialize, Serialize};
use support::{Ended, Program, ROOT};

/// What can be measured alone.
const PARTS: [&str; 3] = ["pause", "connections", "size"];

/// How long the server stands still.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest that one run of `load` may take.
const RUN: Duration = Duration::from_secs(120);

fn main() {
    if !cfg!(target_os = "linux") {
        return println!("skipped: needs Linux");
    }
    // The programs that we start inherit it.
    rlimit::increase_nofile_limit(32 * 1024).expect("more descriptors");
    let (options, names): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let plan = Plan::new(options.iter().any(|option| option == "--quick"));
    for name in &names {
        assert!(PARTS.contains(&&**name), "{name:?} is none of {PARTS:?}");
    }
    let is_named = |name| names.is_empty() || names.iter().any(|n| n == name);
    cargo_build();
    if is_named("pause") {
        plan.write("pause", &pause(&plan));
    }
    let peers = Peers::new();
    if is_named("connections") {
        let cells = plan.connections.iter().map(|&n| Cell::new(n, n, 64));
        let cells: Vec<Cell> = cells.collect();
        plan.write("connections", &growth(&plan, &peers, &cells));
    }
    if is_named("size") {
        let cells = plan.sizes.iter().map(|&n| Cell::new(n, 50, n));
        let cells: Vec<Cell> = cells.collect();
        plan.write("size", &growth(&plan, &peers, &cells));
    }
    run(Command::new(env!("CARGO_BIN_EXE_plot")).arg(&plan.folder));
}

/// How much is measured, and where the outcome goes.
struct Plan {
    folder: PathBuf,
    rounds: usize,
    seconds: f64,
    connections: &'static [u64],
    sizes: &'static [u64],
}

impl Plan {
    fn new(is_quick: bool) -> Plan {
        let sizes = &[1, 64, 1024, 8 * 1024, 64 * 1024];
        let root = Path::new(ROOT);
        let (folder, rounds, seconds, connections): (_, _, _, &[u64]) =
            match is_quick {
                true => ("target/curves", 1, 0.2, &[1, 10, 100]),
                false => {
                    ("tests/bench/curves", 3, 1.0, &[1, 10, 100, 1000, 10_000])
                }
            };
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap();
        Plan { folder, rounds, seconds, connections, sizes }
    }

    fn write(&self, name: &str, measured: &impl Serialize) {
        let path = self.folder.join(name).with_extension("json");
        let json = serde_json::to_string_pretty(measured).unwrap();
        fs::write(&path, json + "\n").unwrap();
        println!("wrote {}", path.display());
    }
}

// ---- The programs

/// Runs a command to its end. It must succeed.
fn run(command: &mut Command) {
    let status = command.status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?}");
}

/// The bench is a program of another package, so Cargo has not built these.
fn cargo_build() {
    let steps = ["--bin", "step3", "--bin", "step4"];
    let mut cargo = Command::new(env!("CARGO"));
    run(cargo
        .args(["build", "--release", "--quiet"])
        .args(steps)
        .current_dir(ROOT));
}

/// The servers that echo bytes: how each is started, and which are missing.
struct Peers {
    here: Vec<(&'static str, Vec<String>)>,
    missing: Vec<String>,
}

impl Peers {
    fn new() -> Peers {
        let root = Path::new(ROOT);
        fs::create_dir_all(root.join("target/curves")).unwrap();
        let path = |name: &str| root.join(name).display().to_string();
        let step3 = [&support::bin("step3"), "server", "--addr=127.0.0.1:0"];
        let (c, go) = ("target/curves/echo_epoll", "target/curves/echo_go");
        let cc = format!("cc -std=c11 -O2 -o {c} tests/peers/c/echo_epoll.c");
        let go_build = format!("go build -o {go} tests/peers/go/echo.go");
        let python = path("tests/peers/python/echo.py");
        let mut peers = Peers { here: Vec::new(), missing: Vec::new() };
        peers.add("step 3", None, &step3);
        peers.add("C epoll", Some(&cc), &[&path(c), "raw", "0"]);
        peers.add("Go", Some(&go_build), &[&path(go), "raw", "0"]);
        let version = Some("python3 --version");
        peers.add("asyncio", version, &["python3", &python, "0"]);
        peers
    }

    /// Adds a server, which `args` start, if the command `build` succeeds: it
    /// compiles the server, or asks what runs it for its version.
    fn add(&mut self, name: &'static str, build: Option<&str>, args: &[&str]) {
        let mut words = build.into_iter().flat_map(str::split_whitespace);
        if let Some(program) = words.next() {
            let mut command = Command::new(program);
            command.args(words).current_dir(ROOT).stdout(Stdio::null());
            if !command.status().is_ok_and(|status| status.success()) {
                println!("{name} is left out: it needs {program}");
                self.missing.push(format!("{name} (it needs {program})"));
                return;
            }
        }
        let args = args.iter().map(|&arg| arg.to_owned());
        self.here.push((name, args.collect()));
    }
}

/// The part of what `load --format json` prints that we use.
#[derive(Deserialize)]
struct Report {
    rate: Option<f64>,
    requests: u64,
    requests_per_second: f64,
    latency_us: BTreeMap<String, f64>,
    latency_curve: Vec<(f64, f64)>,
}

impl Report {
    fn into_loop(self) -> Loop {
        let thousandths = |value: f64| (value * 1000.0).round() / 1000.0;
        let curve = self.latency_curve.into_iter();
        Loop {
            rate: self.rate,
            requests: self.requests,
            latency_us: self.latency_us,
            latency_curve: curve.map(|(x, us)| (x, thousandths(us))).collect(),
        }
    }
}

fn start_load(addr: SocketAddr, options: &str) -> Program {
    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(options.split_whitespace());
    load.args(["--format", "json", &addr.to_string()]);
    Program::spawn(&mut load, false)
}

/// What the generator saw, or why it says that its run was no good.
fn report(mut load: Program) -> Result<Report, String> {
    let end = Instant::now() + RUN;
    while load.is_running() {
        if Instant::now() > end {
            return Err(format!("no end after {RUN:?}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let Ended { code, stdout, stderr } = load.finish();
    match code {
        Some(0) => Ok(serde_json::from_slice(&stdout).unwrap()),
        _ => Err(stderr.lines().last().unwrap_or("no reason").to_owned()),
    }
}

// ---- One pause, two curves

fn pause(plan: &Plan) -> Pause {
    let seconds = 4.0 * plan.seconds + 1.0;
    let measure = |more: &str| {
        let (server, addr) = Program::server("step4");
        let options = "--speak frames --connections 1 --warm-up 0.5";
        let options = format!("{options} --seconds {seconds} {more}");
        let load = start_load(addr, &options);
        thread::sleep(Duration::from_millis(1000)); // half of it is warm-up
        support::signal(server.id(), "-STOP");
        thread::sleep(PAUSE);
        support::signal(server.id(), "-CONT");
        let seen = report(load).unwrap().into_loop();
        let is_in_it = seen.latency_us["max"] > 0.9e6 * PAUSE.as_secs_f64();
        assert!(is_in_it, "the pause was not in the measured time: try again");
        seen
    };
    Pause {
        machine: machine(),
        pause: PAUSE.as_secs_f64(),
        closed: measure(""),
        open: measure("--rate 1000"),
    }
}

// ---- How the cost grows

/// What is measured at one place of the horizontal axis.
struct Cell {
    x: u64,
    connections: u64,
    size: u64,
}

impl Cell {
    fn new(x: u64, connections: u64, size: u64) -> Cell {
        Cell { x, connections, size }
    }
}

/// All servers in each cell. The rounds are interleaved.
fn growth(plan: &Plan, peers: &Peers, cells: &[Cell]) -> Growth {
    let servers = peers.here.iter().map(|(name, _)| Server {
        name: (*name).to_owned(),
        points: cells.iter().map(|cell| Point::new(cell.x)).collect(),
    });
    let mut growth = Growth {
        machine: machine(),
        left_out: peers.missing.clone(),
        servers: servers.collect(),
    };
    for round in 0..plan.rounds {
        for (at, cell) in cells.iter().enumerate() {
            all_servers(plan, peers, (round, at, cell), &mut growth);
        }
    }
    for server in &mut growth.servers {
        server.points.retain(|point| !point.p99_us.is_empty());
    }
    growth
}

/// One server after another. Each round begins with another one.
fn all_servers(
    plan: &Plan,
    peers: &Peers,
    (round, at, cell): (usize, usize, &Cell),
    growth: &mut Growth,
) {
    for turn in 0..peers.here.len() {
        let i = (round + turn) % peers.here.len();
        let (name, start) = &peers.here[i];
        match measure(plan, start, cell) {
            Ok(report) => growth.servers[i].points[at].add(&report),
            Err(why) => {
                println!("{name} at {}: {why}", cell.x);
                let what = format!("round {} of {name}", round + 1);
                growth.left_out.push(format!("{what} at {}: {why}", cell.x));
            }
        }
    }
}

impl Point {
    fn new(x: u64) -> Point {
        Point { x, requests_per_second: Vec::new(), p99_us: Vec::new() }
    }

    fn add(&mut self, report: &Report) {
        self.requests_per_second.push(report.requests_per_second.round());
        self.p99_us.push((report.latency_us["p99"] * 10.0).round() / 10.0);
    }
}

/// One run against a server that has just been started.
fn measure(
    plan: &Plan,
    start: &[String],
    cell: &Cell,
) -> Result<Report, String> {
    let mut command = Command::new(&start[0]);
    let server = Program::spawn(command.args(&start[1..]), false);
    let Cell { connections, size, .. } = cell;
    // Ten thousand connections need longer until each has been served often.
    let (longer, warm_up) =
        if *connections > 1000 { (2.0, 1.0) } else { (1.0, 0.3) };
    let (seconds, warm_up) = (plan.seconds * longer, plan.seconds * warm_up);
    let options = format!(
        "--speak raw --connections {connections} --size {size} \
         --seconds {seconds} --warm-up {warm_up}"
    );
    report(start_load(server.addr(), &options))
}

/// The processor, its cores and the kernel.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    let model = model.unwrap_or_else(|| env::consts::ARCH.to_owned());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
    let kernel = kernel.unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

//! A load generator for the raw echo and for frames.
//!
//! It sends requests over many connections, checks each byte that comes back,
//! and says how many replies came and how long each took:
//!
//!     cargo run --release --bin step4 -- server >/dev/null
//!     cargo run --release -p load -- 127.0.0.1:8888
//!
//! In a **closed loop** (the default) a connection sends its next request when
//! the reply before has come. A server that pauses gets no requests meanwhile,
//! so its pause counts only once for each connection. In an **open loop**
//! (`--rate`) requests are due by the clock, whatever the server does, and the
//! time of each counts from when it was due: a pause counts for all requests
//! that wait for its end.

mod compare;
mod connection;
mod engine;
mod errors;
mod idle;
mod process;
mod report;
mod wire;

use std::io::{IsTerminal, Write, stderr, stdout};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;

use connection::Shared;
use engine::{Engine, Measured, Plan};
use report::{Connect, Generator, Idle, Late, Latency, Report, Server, us};
use wire::{MAX_PAYLOAD, Shape, Speak, Work};

/// Measures how many requests a server answers, and how fast
///
/// Each reply is compared byte for byte. The exit code is 0 if something was
/// measured and every reply was right, otherwise 1.
#[derive(Parser)]
#[command(version, after_help = READING)]
struct Args {
    /// Where the server is
    #[arg(value_name = "IP:PORT", required_unless_present = "compare")]
    addr: Option<SocketAddr>,
    /// What the server speaks
    #[arg(long, value_enum, default_value = "frames")]
    speak: Speak,
    /// What a request asks for; only with frames
    #[arg(long, value_enum, default_value = "echo")]
    work: Work,
    /// How many connections
    #[arg(long, value_name = "N", default_value = "50")]
    connections: usize,
    /// Bytes in the payload of an ECHO [default: 64; with --idle, 65535]
    #[arg(long, value_name = "BYTES")]
    size: Option<usize>,
    /// Requests of each connection that are on their way at a time
    #[arg(long, value_name = "N", default_value = "1")]
    #[arg(conflicts_with = "rate")]
    in_flight: usize,
    /// How long to measure [default: 5; with --quick, 1]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// How long to send before that [default: 1; with --quick, 0.2]
    #[arg(long, value_name = "S")]
    warm_up: Option<f64>,
    /// Requests per second of all connections together, by the clock (open
    /// loop)
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Open a connection for each request, and close it after the reply
    #[arg(long, conflicts_with = "in_flight")]
    reconnect: bool,
    /// Open N connections that send one request and then nothing; measure what
    /// they cost, and one client alone and among them
    #[arg(long, value_name = "N")]
    #[arg(conflicts_with_all = ["connections", "in_flight"])]
    #[arg(conflicts_with_all = ["rate", "reconnect"])]
    idle: Option<usize>,
    /// A short run, to try something
    #[arg(long)]
    quick: bool,
    /// Give up on a connection that makes no progress for this long, and on a
    /// request that takes ten times as long
    #[arg(long, value_name = "S", default_value = "10")]
    timeout: f64,
    /// The server's process [default: the one that listens there]
    #[arg(long)]
    pid: Option<u32>,
    /// How to print the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Compare two reports of --format json
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"])]
    #[arg(exclusive = true)]
    compare: Option<Vec<PathBuf>>,
}

/// All of them are sent before the first reply is read.
const MAX_IN_FLIGHT: usize = 1024;

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Csv,
}

const READING: &str = "\
How to read the report:
  latency    from when a request was due to the last byte of its reply
  its CPU    what the server's process used (Linux, same machine), and its
             memory (PSS) before the connections and after the run
  generator  the part of the time in which this program used a processor, and
             for how long it used one per request; in an open loop, how late
             after they were due its requests left

A closed loop shows how fast the server and this program work together. So give
the servers that you compare the same load, and look at their CPU per request,
too. A generator that is busy for more than 90 % of the time may be the limit;
then trust the CPU per request, and not the rate. On Linux, `taskset -c 0` in
front of the server and `taskset -c 1` in front of this program keep them out
of each other's way. An open loop does not sleep when less than 1 ms is left
until the next request, because epoll sleeps for whole milliseconds only.

--idle opens one connection, measures it with ECHOs of 64 bytes, opens N more,
sends one ECHO of --size bytes on each, waits 3 s, and measures a new connection
in the same way. A server on this machine sees one source address, whose free
ports allow about 28000 connections.";

fn main() -> ExitCode {
    let outcome = run(&Args::parse());
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(args: &Args) -> Result<ExitCode> {
    if let Some([a, b]) = args.compare.as_deref() {
        print(&compare::compare(a, b)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let addr = args.addr.context("an address is missing")?;
    let report = measure(args, addr)?;
    print(&match args.format {
        Format::Text => report.text(),
        Format::Json => report.json()?,
        Format::Csv => report.csv()?,
    })?;
    if report.requests > 0 && report.errors.count() == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    for (text, times) in &report.error_texts {
        let _ = writeln!(stderr(), "error: {text} ({times} times)");
    }
    if report.errors.count() == 0 {
        let _ = writeln!(stderr(), "error: no reply came in this time");
    }
    Ok(ExitCode::FAILURE)
}

fn print(text: &str) -> Result<()> {
    writeln!(stdout(), "{text}").context("cannot write the report")
}

/// A time that was given in seconds.
fn seconds(name: &str, value: f64) -> Result<Duration> {
    let time = Duration::try_from_secs_f64(value).ok();
    let time = time.filter(|time| *time <= Duration::from_secs(86_400));
    time.with_context(|| format!("cannot use {name} {value}: 0 to 86400"))
}

impl Args {
    fn plan(&self) -> Result<Plan> {
        let (measured, warm_up) =
            if self.quick { (1.0, 0.2) } else { (5.0, 1.0) };
        let measured = self.seconds.unwrap_or(measured);
        ensure!(measured > 0.0, "cannot measure for {measured} seconds");
        if let Some(rate) = self.rate {
            let is_fine = (0.001..=10_000_000.0).contains(&rate);
            ensure!(is_fine, "cannot use --rate {rate}: 0.001 to 10000000");
        }
        let n = self.in_flight;
        let is_fine = (1..=MAX_IN_FLIGHT).contains(&n);
        ensure!(is_fine, "cannot use --in-flight {n}: 1 to {MAX_IN_FLIGHT}");
        Ok(Plan {
            warm_up: seconds("--warm-up", self.warm_up.unwrap_or(warm_up))?,
            measured: seconds("--seconds", measured)?,
            in_flight: self.in_flight,
            rate: self.rate,
        })
    }

    fn size(&self) -> usize {
        let default = if self.idle.is_some() { MAX_PAYLOAD } else { 64 };
        self.size.unwrap_or(default)
    }

    fn shape(&self) -> Result<Shape> {
        let size = self.size();
        match self.speak {
            Speak::Raw => {
                let is_fine = (1..=16 << 20).contains(&size);
                ensure!(is_fine, "cannot use --size {size}: 1 to 16777216");
                ensure!(
                    self.work == Work::Echo,
                    "cannot use --work with --speak raw: it has only the echo"
                );
            }
            Speak::Frames => ensure!(
                size <= MAX_PAYLOAD,
                "cannot use --size {size}: a frame takes 0 to {MAX_PAYLOAD}"
            ),
        }
        Ok(Shape::new(self.speak, self.work, size))
    }
}

/// CPU times before or after the measured time, in seconds.
#[derive(Clone, Copy)]
struct Look {
    own: f64,
    server: Option<f64>,
}

/// What a run has left, besides what the engine counted.
struct Outcome {
    idle: Option<Idle>,
    /// How long it took to connect, in seconds; none if each request connects.
    connected: Option<f64>,
    plan: Plan,
    measured: Measured<Look>,
}

fn measure(args: &Args, addr: SocketAddr) -> Result<Report> {
    let n = args.idle.unwrap_or(args.connections);
    ensure!(n > 0, "cannot measure with 0 connections: at least 1");
    idle::allow(n)?;
    let limit = seconds("--timeout", args.timeout)?;
    ensure!(!limit.is_zero(), "cannot use --timeout 0: more than 0");
    let mut engine = Engine::new(addr, args.shape()?, limit)?;
    if stderr().is_terminal() {
        engine.progress = Some(show);
    }
    engine.shared.reconnect = args.reconnect;
    let pid = args.pid.or_else(|| process::listener(addr));
    let memory = || pid.and_then(process::memory);
    let before = memory();
    let outcome = load(args, &mut engine, pid)?;
    if engine.progress.is_some() {
        let _ = write!(stderr(), "\r\x1b[K");
    }
    let looks = (outcome.measured.before, outcome.measured.after);
    let requests = engine.shared.replies;
    let server = server(pid, looks, (before, memory()), requests);
    Ok(report(args, &engine.shared, outcome, server))
}

fn load(args: &Args, engine: &mut Engine, pid: Option<u32>) -> Result<Outcome> {
    let plan = args.plan()?;
    let look =
        || Look { own: process::own_cpu(), server: pid.and_then(process::cpu) };
    if let Some(n) = args.idle {
        let (idle, measured) = idle::run(engine, n, plan, pid, look)?;
        let connected = Some(n as f64 / idle.connect_per_second);
        return Ok(Outcome { idle: Some(idle), connected, plan, measured });
    }
    let range = engine.add(args.connections);
    let mut connected = None;
    if !args.reconnect {
        connected = Some(engine.connect(range.clone())?);
    }
    let measured = engine.run(range, plan, look)?;
    Ok(Outcome { idle: None, connected, plan, measured })
}

/// The progress on a terminal.
fn show(shared: &Shared) {
    let (replies, errors) = (shared.replies, shared.tally.count());
    let text = format!("\r\x1b[K{replies} replies, {errors} errors");
    let _ = stderr().write_all(text.as_bytes());
}

/// The server's process, if both its CPU time and its memory can be seen.
fn server(
    pid: Option<u32>,
    looks: (Look, Look),
    memory: (Option<u64>, Option<u64>),
    requests: u64,
) -> Option<Server> {
    let cpu_seconds = looks.1.server? - looks.0.server?;
    Some(Server {
        pid: pid?,
        cpu_seconds,
        cpu_us_per_request: 1e6 * cpu_seconds / requests.max(1) as f64,
        memory_kb_before: memory.0?,
        memory_kb_after: memory.1?,
    })
}

fn report(
    args: &Args,
    shared: &Shared,
    outcome: Outcome,
    server: Option<Server>,
) -> Report {
    let Outcome { idle, connected, plan, measured } = outcome;
    let (seconds, rate) = rate(shared, measured.seconds, args.rate.is_some());
    let report = Report {
        addr: shared.addr,
        speak: args.speak,
        work: args.work,
        connections: if idle.is_some() { 1 } else { args.connections },
        size: idle.as_ref().map_or(args.size(), |_| idle::SIZE),
        in_flight: args.in_flight,
        rate: args.rate,
        reconnect: args.reconnect,
        planned_seconds: plan.measured.as_secs_f64(),
        warm_up: plan.warm_up.as_secs_f64(),
        seconds,
        requests: shared.replies,
        requests_per_second: rate,
        bytes_per_second: rate * shared.shape.bytes(),
        latency_us: Latency::of(&shared.latency),
        latency_curve: report::curve(&shared.latency),
        connect: connect(&shared.connects, connected.unwrap_or(seconds)),
        errors: shared.tally.errors.clone(),
        error_texts: shared.tally.texts.clone().into_iter().collect(),
        generator: generator(&measured),
        server,
        idle,
        warnings: Vec::new(),
    };
    Report { warnings: report.warnings(), ..report }
}

/// How long was measured, and how many requests were answered per second.
fn rate(shared: &Shared, seconds: f64, is_open: bool) -> (f64, f64) {
    let window = &shared.window;
    // In an open loop, requests count by when they were due.
    let seconds = if is_open { lasted(window, window.end) } else { seconds };
    let longest = lasted(window, shared.last_reply).max(seconds);
    (seconds, shared.replies as f64 / longest)
}

/// From the start of `window` to `end`, in seconds.
fn lasted(window: &Range<u64>, end: u64) -> f64 {
    end.saturating_sub(window.start).max(1) as f64 / 1e9
}

fn generator(measured: &Measured<Look>) -> Generator {
    let cpu_seconds = measured.after.own - measured.before.own;
    Generator {
        cpu_seconds,
        busy: cpu_seconds / measured.seconds,
        late_us: Late::of(&measured.late),
    }
}

fn connect(times: &Histogram<u64>, seconds: f64) -> Connect {
    Connect {
        count: times.len(),
        per_second: times.len() as f64 / seconds,
        p50_us: us(times, 0.5),
        p99_us: us(times, 0.99),
        max_us: us(times, 1.0),
    }
}

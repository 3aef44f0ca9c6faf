//! One server with a switch for each mistake, and what each switch costs.
//!
//!     cargo bench -p load --bench experiments                    all of them
//!     cargo bench -p load --bench experiments -- buffer sync     only these
//!     cargo bench -p load --bench experiments -- --quick        write nothing
//!
//! Runs `switches` and `load` beside each other, one setting after the other
//! (each round begins with another one), and writes a table for each
//! experiment and one JSON for all into `tests/bench/experiments`. All take
//! about four minutes. The ratios are what counts. Needs Linux, and strace for
//! the number of system calls.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report
#![allow(missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, exit};
use std::thread::available_parallelism;
use std::time::Duration;

use serde_json::{Map, Value, json};
use support::{Program, ROOT, bin, is_installed, wait_until};
use tempfile::TempDir;

/// A way to run the server: its name, its switches, what `load` does with it.
/// Its ratios are to the setting that stands `base` places above it.
struct Setting {
    name: &'static str,
    switches: &'static str,
    load: &'static str,
    base: usize,
}

/// Its name, whether p99 is of interest, its settings.
type Experiment = (&'static str, bool, &'static [Setting]);

const fn set(
    name: &'static str,
    switches: &'static str,
    load: &'static str,
    base: usize,
) -> Setting {
    Setting { name, switches, load, base }
}

const ONE: &str = "--connections 1";
const FIFTY: &str = "--connections 50";
const THOUSAND: &str = "--connections 1000";
const BATCH: &str = "--connections 50 --in-flight 16";
const LARGE: &str = "--connections 10 --size 60000";
/// On a slow disk, 800 messages that are synced one by one take long.
const SYNC: &str = "--connections 50 --in-flight 16 --timeout 60";

/// All but `memory`, which asks how much and not how fast.
const EXPERIMENTS: [Experiment; 10] = [
    (
        "buffer",
        false,
        &[
            set("`--buffer 65536`", "--buffer 65536", LARGE, 0),
            set("`--buffer 16384`", "--buffer 16384", LARGE, 1),
            set("`--buffer 4096`", "--buffer 4096", LARGE, 2),
            set("`--buffer 512`", "--buffer 512", LARGE, 3),
        ],
    ),
    (
        "nodelay",
        true,
        &[
            set("no switch", "", ONE, 0),
            set("`--nagle`", "--nagle", ONE, 1),
            set("`--two-writes --nagle`", "--two-writes --nagle", ONE, 2),
        ],
    ),
    (
        "writes",
        false,
        &[
            set("no switch", "", FIFTY, 0),
            set("`--two-writes`", "--two-writes", FIFTY, 1),
        ],
    ),
    (
        "flush",
        false,
        &[
            set("no switch", "", BATCH, 0),
            set("`--flush-each`", "--flush-each", BATCH, 1),
        ],
    ),
    (
        "allocation",
        false,
        &[
            set("no switch, 64 bytes", "", BATCH, 0),
            set("`--new-vec`, 64 bytes", "--new-vec", BATCH, 1),
            set("no switch, 60 000 bytes", "", LARGE, 0),
            set("`--new-vec`, 60 000 bytes", "--new-vec", LARGE, 1),
        ],
    ),
    (
        "print",
        false,
        &[
            set("no switch", "", BATCH, 0),
            set("`--print`", "--print", BATCH, 1),
        ],
    ),
    (
        "threads",
        true,
        &[
            set("no switch, 50 clients", "", FIFTY, 0),
            set("`--threads`, 50 clients", "--threads", FIFTY, 1),
            set("no switch, 1000 clients", "", THOUSAND, 0),
            set("`--threads`, 1000 clients", "--threads", THOUSAND, 1),
        ],
    ),
    (
        "workers",
        false,
        &[
            set("no switch, 1 client", "", ONE, 0),
            set("`--workers 1`, 1 client", "--workers 1", ONE, 1),
            set("no switch, 50 clients", "", FIFTY, 0),
            set("`--workers 1`, 50 clients", "--workers 1", FIFTY, 1),
        ],
    ),
    (
        "timer",
        false,
        &[
            set("no switch", "", FIFTY, 0),
            set("`--timer`", "--timer", FIFTY, 1),
        ],
    ),
    (
        "sync",
        true,
        &[
            set("no switch", "", SYNC, 0),
            set("`--sync FILE`", "--sync FILE", SYNC, 1),
            set("`--sync-batch`, too", "--sync FILE --sync-batch", SYNC, 2),
        ],
    ),
];

/// How often each setting is measured, and for how many seconds.
const ROUNDS: usize = 5;
const SECONDS: &str = "1";

/// Linux counts processor time in hundredths of a second, so a server that has
/// used less than this, in seconds, says nothing about it.
const LEAST: f64 = 0.05;

fn main() {
    if !cfg!(target_os = "linux") {
        println!("skipped: needs Linux");
        return;
    }
    let args: Vec<String> = env::args().skip(1).collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let named: Vec<&String> =
        args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let names: Vec<&str> =
        EXPERIMENTS.iter().map(|(name, ..)| *name).chain(["memory"]).collect();
    if let Some(name) = named.iter().find(|n| !names.contains(&n.as_str())) {
        println!("no experiment is called {name}; these are: {names:?}");
        exit(1);
    }
    rlimit::increase_nofile_limit(8192).expect("more descriptors");
    build();
    let wanted =
        |name: &str| named.is_empty() || named.iter().any(|n| *n == name);
    for experiment in EXPERIMENTS.iter().filter(|each| wanted(each.0)) {
        let (table, json) = measure(experiment, quick);
        publish(experiment.0, &table, json, quick);
    }
    if wanted("memory") {
        let (table, json) = memory();
        publish("memory", &table, json, quick);
    }
}

/// Cargo does not build an example for a bench.
fn build() {
    let args = ["build", "--release", "-p", "load", "--example", "switches"];
    let built = Command::new("cargo").args(args).current_dir(ROOT).status();
    assert!(built.unwrap().success());
}

/// Prints a table, and unless `quick`, writes it and its figures.
fn publish(name: &str, table: &str, json: Value, quick: bool) {
    println!("{name}\n\n{table}");
    if quick {
        return;
    }
    let folder = Path::new(ROOT).join("tests/bench/experiments");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name).with_extension("md"), table).unwrap();
    fs::write(folder.join("machine.md"), machine() + "\n").unwrap();
    let path = folder.join("experiments.json");
    let text = fs::read_to_string(&path).unwrap_or("{}".to_owned());
    let mut all: Map<String, Value> = serde_json::from_str(&text).unwrap();
    all.insert(name.to_owned(), json);
    let text = serde_json::to_string_pretty(&all).unwrap();
    fs::write(path, text + "\n").unwrap();
}

/// The kernel, and how many processors of which kind.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let processors = available_parallelism().unwrap();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|l| l.strip_prefix("model name\t: "));
    let model = model.unwrap_or("of unknown kind");
    format!("Linux {}, {processors} processors ({model})", kernel.trim())
}

// ---- How fast?

/// What one setting showed, a value for each round.
#[derive(Default)]
struct Rounds {
    rate: Vec<f64>,
    cpu: Vec<f64>, // of the server, in µs a message; NaN if too little
    p99: Vec<f64>, // in µs
    busy: Vec<f64>, // of the time, `load` had a processor
}

fn measure(experiment: &Experiment, quick: bool) -> (String, Value) {
    let (name, p99, settings) = experiment;
    let (rounds, seconds) = if quick { (1, "0.3") } else { (ROUNDS, SECONDS) };
    let folder = scratch();
    let mut seen: Vec<Rounds> =
        settings.iter().map(|_| Rounds::default()).collect();
    for round in 1..=rounds {
        eprintln!("{name}: round {round} of {rounds}");
        for turn in 0..settings.len() {
            let i = (round + turn) % settings.len();
            run(&settings[i], seconds, folder.path(), &mut seen[i]);
        }
    }
    // Calls are counted with one worker, so here they would all be the same.
    let counted = settings.iter().filter(|_| *name != "workers");
    let calls: Vec<Option<f64>> =
        counted.map(|setting| calls(setting, folder.path())).collect();
    let table = table(settings, &seen, &calls, *p99);
    (table, figures(settings, &seen, &calls))
}

/// On a disk, not in memory as /tmp may be: `sync` must cost what it costs.
fn scratch() -> TempDir {
    tempfile::tempdir_in(Path::new(ROOT).join("target")).unwrap()
}

/// The server with these switches, on a free port.
fn server(switches: &str, folder: &Path) -> Command {
    let file = folder.join("journal");
    let mut command = Command::new(bin("examples/switches"));
    command.arg("127.0.0.1:0");
    command.args(switches.split_whitespace().map(|switch| match switch {
        "FILE" => file.as_os_str(),
        _ => switch.as_ref(),
    }));
    command
}

fn run(setting: &Setting, seconds: &str, folder: &Path, seen: &mut Rounds) {
    let time = format!("--warm-up 0.2 --seconds {seconds}");
    let options = format!("{} {time}", setting.load);
    let report = load(setting.switches, &options, folder);
    let figure = |path| report.pointer(path).and_then(Value::as_f64).unwrap();
    seen.rate.push(figure("/requests_per_second"));
    let enough = figure("/server/cpu_seconds") > LEAST;
    let cpu = figure("/server/cpu_us_per_request");
    seen.cpu.push(if enough { cpu } else { f64::NAN });
    seen.p99.push(figure("/latency_us/p99"));
    seen.busy.push(figure("/generator/busy"));
}

/// Lets `load` ask a fresh server. Each reply must be right.
fn load(switches: &str, options: &str, folder: &Path) -> Value {
    let server = Program::spawn(&mut server(switches, folder), false);
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["--format", "json", "--pid", &server.id().to_string()])
        .args(options.split_whitespace())
        .arg(server.addr().to_string())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{switches} {options}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A median, the lowest and the highest.
fn spread(values: &[f64]) -> [f64; 3] {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}

/// Each round's value as a ratio to the base's in the same round.
fn ratios(values: &[f64], base: &[f64]) -> [f64; 3] {
    let ratios = values.iter().zip(base).map(|(value, base)| value / base);
    spread(&ratios.collect::<Vec<f64>>())
}

fn table(
    settings: &[Setting],
    seen: &[Rounds],
    calls: &[Option<f64>],
    p99: bool,
) -> String {
    let mut head = "| setting | rate | CPU time |".to_owned();
    let mut line = "| --- | ---: | ---: |".to_owned();
    let is_counted = !calls.is_empty();
    for (column, is_there) in [(" p99 |", p99), (" calls |", is_counted)] {
        if is_there {
            head += column;
            line += " ---: |";
        }
    }
    let mut table = format!("{head}\n{line}\n");
    for (i, (setting, rounds)) in settings.iter().zip(seen).enumerate() {
        let base = &seen[i - setting.base];
        let rate = ratio(ratios(&rounds.rate, &base.rate));
        let cpu = ratio(ratios(&rounds.cpu, &base.cpu));
        let p99 = if p99 { time(&rounds.p99) } else { String::new() };
        let calls = calls.get(i).map_or(String::new(), |calls| {
            format!(" {} |", calls.map_or("–".to_owned(), number))
        });
        table += &format!("| {} |{rate}{cpu}{p99}{calls}\n", setting.name);
    }
    table + &by_hand(settings)
}

/// The options of `load`, for a reader who repeats the experiment.
fn by_hand(settings: &[Setting]) -> String {
    let mut loads: Vec<String> =
        settings.iter().map(|s| format!("`{}`", s.load)).collect();
    loads.dedup();
    format!("\n(`load` ran with {}.)\n", loads.join(", then with "))
}

fn ratio([median, low, high]: [f64; 3]) -> String {
    if low.is_nan() || high.is_nan() {
        return " – |".to_owned();
    }
    if low == high {
        return format!(" {} |", few(median));
    }
    format!(" {} ({}–{}) |", few(median), few(low), few(high))
}

/// Two or three digits, however large or small the value is.
fn few(value: f64) -> String {
    match value {
        v if v < 0.001 => format!("{v:.5}"),
        v if v < 0.01 => format!("{v:.4}"),
        v if v < 0.1 => format!("{v:.3}"),
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// A number of calls is rounded, because a few belong to the server's start.
fn number(calls: f64) -> String {
    if calls < 1.0 { format!("{calls:.2}") } else { format!("{calls:.1}") }
}

fn time(us: &[f64]) -> String {
    let [median, ..] = spread(us);
    format!(" {} ms |", few(median / 1000.0))
}

/// The same for the JSON, with the figures themselves.
fn figures(
    settings: &[Setting],
    seen: &[Rounds],
    calls: &[Option<f64>],
) -> Value {
    let rows = settings.iter().zip(seen).enumerate();
    let rows = rows.map(|(i, (setting, rounds))| {
        json!({
            "setting": setting.name,
            "switches": setting.switches,
            "load": setting.load,
            "compared_with": settings[i - setting.base].name,
            "requests_per_second": rounds.rate,
            "cpu_us_per_request": rounds.cpu,
            "p99_us": rounds.p99,
            "generator_busy": rounds.busy,
            "calls_per_request": calls.get(i),
        })
    });
    let rows: Vec<Value> = rows.collect();
    json!({ "machine": machine(), "settings": rows })
}

// ---- How many system calls?

/// How many system calls the server makes for a message, if one client sends
/// as many at once as `load` has in flight. The tasks get a single worker,
/// because several would wake each other, now more often and now less.
fn calls(setting: &Setting, folder: &Path) -> Option<f64> {
    if !is_installed("strace", "-V") {
        return None;
    }
    const FEW: usize = 20;
    const MANY: usize = 120;
    let [few, many] =
        [FEW, MANY].map(|bursts| all_calls(setting, bursts, folder));
    let in_flight = option(setting.load, "--in-flight").unwrap_or(1);
    Some((many - few) as f64 / ((MANY - FEW) * in_flight) as f64)
}

/// The number behind an option, if it is there.
fn option(options: &str, name: &str) -> Option<usize> {
    let mut words = options.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

/// All system calls of a server that lives for so many bursts. With `-D` the
/// server is our own child, and strace ends when the server is killed.
fn all_calls(setting: &Setting, bursts: usize, folder: &Path) -> usize {
    let summary = folder.join("calls");
    let _ = fs::remove_file(&summary);
    let mut switches = setting.switches.to_owned();
    if !switches.contains("--threads") && !switches.contains("--workers") {
        switches += " --workers 1";
    }
    let server = server(&switches, folder);
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-c", "-o"]).arg(&summary);
    strace.arg(server.get_program()).args(server.get_args());
    let server = Program::spawn(&mut strace, false);
    send(server.addr(), setting.load, bursts);
    drop(server);
    let text = || fs::read_to_string(&summary).unwrap_or_default();
    wait_until("strace's summary", || text().ends_with("total\n"));
    let text = text();
    let total = text.lines().last().unwrap();
    total.split_whitespace().nth(3).unwrap().parse().unwrap()
}

/// Sends bursts of frames, each when the replies to the one before are there.
fn send(addr: SocketAddr, load: &str, bursts: usize) {
    let in_flight = option(load, "--in-flight").unwrap_or(1);
    let burst = frame(option(load, "--size").unwrap_or(64)).repeat(in_flight);
    let mut client = connect(addr);
    let mut replies = burst.clone();
    for _ in 0..bursts {
        client.write_all(&burst).unwrap();
        client.read_exact(&mut replies).unwrap();
    }
}

/// An ECHO with a payload of `size` bytes.
fn frame(size: usize) -> Vec<u8> {
    let length = u32::try_from(1 + size).unwrap();
    let mut frame = length.to_be_bytes().to_vec();
    frame.push(1);
    frame.resize(5 + size, b'x');
    frame
}

fn connect(addr: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    client
}

// ---- How much memory?

/// What a client costs the server that has sent one message and now says
/// nothing: a mean of 1000. What the kernel keeps is not counted.
fn memory() -> (String, Value) {
    let settings = [
        ("no switch, 64 bytes", "", 64),
        ("`--threads`, 64 bytes", "--threads", 64),
        ("no switch, 60 000 bytes", "", 60_000),
    ];
    let mut table = "| setting | memory |\n| --- | ---: |\n".to_owned();
    let mut rows = Vec::new();
    for (name, switches, size) in settings {
        let options = format!("--idle 1000 --size {size} --quick");
        let report = load(switches, &options, Path::new(""));
        let kb = report.pointer("/idle/kb_after").and_then(Value::as_f64);
        let kb = kb.expect("the memory of the server");
        table += &format!("| {name} | {kb:.1} KiB |\n");
        rows.push(json!({ "setting": name, "load": options, "kib": kb }));
    }
    table += "\n(`load` ran with `--idle 1000` and `--size`.)\n";
    (table, json!({ "machine": machine(), "settings": rows }))
}

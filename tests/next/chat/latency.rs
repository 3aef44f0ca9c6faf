//! How old are small messages when they arrive? Over the roads of the lab.
//!
//!     cargo build -p lab
//!     CHAT_LATENCY=20 cargo test -p chat --test chat behind
//!
//! With CHAT_LATENCY, as many seconds for each road, and the table of the book
//! is written. Without it, a few seconds, and nothing is written.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use regex::Regex;

use super::support::{ROOT, is_installed};

const RATE: [&str; 2] = ["--rate", "10mbit"];

/// What the table calls a road, the lab's options, and what is beside.
const ROADS: [(&str, &[&str], &[&str]); 5] = [
    ("a clean road, 25 ms long", &[], &[]),
    ("the same, 3 % of packets lost", &["--loss", "3%"], &[]),
    ("10 Mbit/s", &RATE, &[]),
    ("10 Mbit/s, and an upload beside", &RATE, &["upload"]),
    ("the same, the upload held to 80 %", &RATE, &["upload", "1000000"]),
];

fn lab() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.parent().unwrap().with_file_name("lab")
}

/// What is missing, if anything is.
pub fn missing() -> Option<&'static str> {
    if !cfg!(target_os = "linux") {
        Some("needs Linux")
    } else if !lab().exists() {
        Some("needs cargo build -p lab")
    } else if !is_installed("python3", "--version") {
        Some("needs python3")
    } else {
        let tun = fs::File::options().write(true).open("/dev/net/tun");
        tun.is_err().then_some("needs root and /dev/net/tun")
    }
}

/// Median, 95 % and worst age, in ms.
fn ages(seconds: &str, road: &[&str], beside: &[&str]) -> [u32; 3] {
    let script = format!("{ROOT}/tests/next/chat/latency.py");
    let mut command = Command::new(lab());
    command.env_remove("CARGO"); // it is no program that Cargo builds
    command.args(["wan", "--step", &script]).args(road);
    let output = command.args(["--", seconds]).args(beside).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let ages = Regex::new(r"messages, ages (\d+) (\d+) (\d+) ms").unwrap();
    let found = ages.captures(&text).unwrap_or_else(|| {
        panic!("{}", String::from_utf8_lossy(&output.stderr))
    });
    [1, 2, 3].map(|n| found[n].parse().unwrap())
}

pub fn run() {
    let full = env::var("CHAT_LATENCY").ok();
    let measure = |n: usize| {
        let (_, road, beside) = ROADS[n];
        ages(full.as_deref().unwrap_or("3"), road, beside)
    };
    let (clean, loss, beside) = (measure(0), measure(1), measure(3));
    assert!(clean[0] >= 25, "shorter than the road: {clean:?}");
    // A lost message is sent again at the earliest when a later one has been
    // acknowledged: 50 ms, and twice 25 ms; and it needs 25 ms itself.
    assert!(loss[2] >= 100, "nothing was lost: {loss:?}");
    assert!(beside[0] > 4 * clean[0], "no queue: {clean:?} {beside:?}");
    if full.is_some() {
        write([clean, loss, measure(2), beside, measure(4)]);
    }
}

fn write(all: [[u32; 3]; 5]) {
    let mut table = "| the road | median | 95 % | worst |\n".to_owned();
    table += "| --- | ---: | ---: | ---: |\n";
    for ((name, ..), [median, most, worst]) in ROADS.iter().zip(all) {
        let row = format!("| {name} | {median} ms | {most} ms | {worst} ms |");
        let _ = writeln!(table, "{row}");
    }
    fs::write(format!("{ROOT}/tests/bench/latency.md"), table).unwrap();
}

//! How many instructions a frame costs, counted by callgrind. The same
//! program counts the same each time, but each compiler makes another one, so
//! nothing is asserted.

use std::env;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use super::support::{DEADLINE, Program, bin, is_installed};

/// The frame of step 4.
#[allow(unused)]
#[path = "../../steps/step4/frame.rs"]
mod frame;

use frame::{ECHO, ECHO_REPLY, MAX_PAYLOAD, decode, encode};

/// Payloads, in bytes.
const SIZES: [usize; 3] = [64, 1024, MAX_PAYLOAD];

/// Frames in the shorter of two runs. The longer one has twice as many, so
/// that the difference leaves out what starting and ending costs.
const FRAMES: usize = 320;

/// If this is set, the program is the one to be counted.
const COUNTED: &str = "COUNTED";

/// Counts each number twice and shows both where they differ.
pub fn table() -> String {
    if !is_installed("valgrind", "--version") {
        println!("instructions: skipped, needs valgrind");
        return String::new();
    }
    let mut table = "| instructions for a frame with a payload of | 64 B | \
                     1 KiB | 64 KiB |\n| --- | ---: | ---: | ---: |\n"
        .to_owned();
    for work in ["decode", "encode"] {
        let cells = SIZES.map(|size| cell(|n| of_function(work, size, n)));
        table += &format!("| `{work}` | {} |\n", cells.join(" | "));
    }
    for (title, batch) in [
        ("step 4, one frame at a time", 1),
        ("step 4, 16 frames in one write", 16),
    ] {
        // A burst of large frames arrives in pieces, never the same ones.
        let cells = SIZES.map(|size| match batch * size {
            all if all > MAX_PAYLOAD => "–".to_owned(),
            _ => cell(|n| of_server(size, batch, n)),
        });
        table += &format!("| {title} | {} |\n", cells.join(" | "));
    }
    let rustc = Command::new("rustc").arg("--version").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let version = rustc.split(" (").next().unwrap();
    format!("{table}\nCompiled by {version} for {}.\n", env::consts::ARCH)
}

/// What one frame costs, from two runs; and again.
fn cell(count: impl Fn(usize) -> u64) -> String {
    let each = || {
        let more = count(2 * FRAMES).saturating_sub(count(FRAMES));
        (more as f64 / FRAMES as f64).round() as u64
    };
    let (first, second) = (each(), each());
    if first == second {
        return first.to_string();
    }
    format!("{}–{}", first.min(second), first.max(second))
}

/// The instructions of this program when it decodes or encodes `n` frames.
fn of_function(work: &str, size: usize, n: usize) -> u64 {
    let mut command = valgrind();
    command.arg(env::current_exe().unwrap());
    command.env(COUNTED, format!("{work} {size} {n}"));
    let program = Program::spawn(&mut command, false);
    counted(program)
}

/// Does what [`of_function`] asks for. Returns whether it did.
pub fn work() -> bool {
    let Ok(work) = env::var(COUNTED) else { return false };
    let parts: Vec<&str> = work.split(' ').collect();
    let (size, n) = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
    let payload = vec![b'x'; size];
    let mut bytes = Vec::new();
    encode(ECHO, &payload, &mut bytes).unwrap();
    for _ in 0..n {
        if parts[0] == "decode" {
            let _ = black_box(decode(&mut black_box(&bytes[..])));
        } else {
            bytes.clear();
            let _ = encode(ECHO, black_box(&payload), &mut bytes);
            black_box(&bytes);
        }
    }
    true
}

/// The instructions of the server of step 4, with one worker, when it answers
/// `n` frames that come `batch` at a time: its own and those of its libraries,
/// but not those of the kernel.
fn of_server(size: usize, batch: usize, n: usize) -> u64 {
    let mut command = valgrind();
    command.arg(bin("step4")).args(["server", "--addr", "127.0.0.1:0"]);
    command.env("TOKIO_WORKER_THREADS", "1");
    let server = Program::spawn(&mut command, false);
    let mut client = TcpStream::connect(server.addr()).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(3 * DEADLINE)).unwrap();
    let of_kind = |kind| {
        let mut frame = Vec::new();
        encode(kind, &vec![b'x'; size], &mut frame).unwrap();
        frame.repeat(batch)
    };
    let (request, reply) = (of_kind(ECHO), of_kind(ECHO_REPLY));
    let mut received = reply.clone();
    for _ in 0..n / batch {
        client.write_all(&request).unwrap();
        client.read_exact(&mut received).unwrap();
        assert!(received == reply, "a wrong reply");
    }
    drop(client);
    server.wait_for(" ended after");
    super::support::signal(server.id(), "-TERM");
    counted(server)
}

fn valgrind() -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command
}

/// What callgrind says at the end: `==PID== Collected : N`.
fn counted(program: Program) -> u64 {
    let ended = program.finish();
    let line = ended.stderr.lines().find(|line| line.contains("Collected :"));
    let line = line.unwrap_or_else(|| panic!("callgrind: {}", ended.stderr));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

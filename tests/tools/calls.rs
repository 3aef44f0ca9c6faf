//! What a server asks the operating system for, in five ways of writing it:
//! the calls that strace sees, from the first socket to the first client.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::support::language::Language;
use crate::support::{Program, bin, is_installed, snapshot, trial};
use libtest_mimic::Trial;
use regex::Regex;

/// A name; the program to trace; a command that tells the version of what it
/// is written in, and the version that the book prints. Another version may
/// ask the system for other things, and is skipped.
type Server = (&'static str, fn() -> Command, [&'static str; 3]);

const SERVERS: [Server; 5] = [
    ("tokio", || ours("step3", &["server", "--addr", "127.0.0.1:0"]), TOKIO),
    ("std", || ours("threads", &["127.0.0.1:0"]), STD),
    ("python", || peer(Language::Python), ["python3", "--version", "3.11."]),
    ("java", || peer(Language::Java), ["javac", "--version", "17."]),
    ("go", || peer(Language::Go), ["go", "version", "go1.19"]),
];
const TOKIO: [&str; 3] = ["cargo", "--version", ""]; // Cargo.lock says which
const STD: [&str; 3] = ["rustc", "--version", "1.95."];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let strace = cfg!(target_os = "linux") && is_installed("strace", "-V");
    let strace = (!strace).then_some("needs strace");
    let mut trials = Vec::new();
    for (name, command, [program, flag, version]) in SERVERS {
        let told = Command::new(program).arg(flag).output();
        let told = told.map(|output| output.stdout).unwrap_or_default();
        let fits = String::from_utf8_lossy(&told).contains(version);
        let other = (!fits).then(|| format!("needs {program} {version}"));
        let missing = strace.or(other.as_deref());
        trials.push(trial(&format!("calls::of {name}"), missing, move || {
            snapshot(&format!("calls-{name}"), calls(command()).trim_end());
        }));
    }
    trials.push(trial("calls::of the client", strace, || {
        snapshot("calls-client", of_the_client().trim_end());
    }));
    trials.push(trial("calls::of 100 frames", strace, || {
        snapshot("calls-frames", of_100_frames().trim_end());
    }));
    let test = lines_in_two_pieces_are_made_whole;
    trials.push(trial("calls::in two pieces are made whole", None, test));
    trials
}

/// Counts the calls with which step 4 receives 100 frames and answers them.
fn of_100_frames() -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=recvfrom,sendto", "-o"]);
    strace.arg(file.path()).arg(bin("step4"));
    strace.args(["server", "--addr", "127.0.0.1:0"]);
    let traced = Traced(Program::spawn(&mut strace, false));
    let mut client = TcpStream::connect(traced.0.addr()).unwrap();
    let frames = [0, 0, 0, 3, 1, b'h', b'i'].repeat(100);
    client.write_all(&frames).unwrap();
    client.read_exact(&mut vec![0; frames.len()]).unwrap();
    traced.stop();
    traced.0.wait_end();
    let trace = fs::read_to_string(file.path()).unwrap();
    let call = Regex::new(r"(recvfrom|sendto).* = (700)$").unwrap();
    let trace = whole_lines(&trace);
    let calls = trace.iter().filter_map(|line| call.captures(line));
    let lines = calls.map(|found| format!("{} = {}", &found[1], &found[2]));
    lines.collect::<Vec<_>>().join("\n")
}

/// Traces the client of step 2 from its start to its end.
fn of_the_client() -> String {
    let (_server, addr) = Program::server("step2");
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    let trace = "trace=socket,setsockopt,bind,connect,shutdown";
    strace.args(["-f", "-e", trace, "-e", "signal=none", "-o"]);
    strace.arg(file.path()).arg(bin("step2"));
    strace.args(["client", "--addr", &addr.to_string(), "hi"]);
    let ended = Program::spawn(&mut strace, false).finish();
    assert_eq!(ended.stdout, b"hi");
    let trace = fs::read_to_string(file.path()).unwrap();
    of_the_socket_that_connects(&trace, &format!("htons({})", addr.port()))
}

fn of_the_socket_that_connects(trace: &str, port: &str) -> String {
    let call = Regex::new(r"^\d+ +(\w+)\((.*)\) += ").unwrap();
    let mut socket = String::new();
    let mut lines = Vec::new();
    for line in whole_lines(trace) {
        let Some(found) = call.captures(&line) else { continue };
        let (name, args) = (&found[1], &found[2]);
        let (first, rest) = args.split_once(", ").unwrap_or((args, ""));
        match name {
            "socket" if lines.len() <= 1 => {
                socket = line.rsplit(' ').next().unwrap().to_owned();
                lines = vec![format!("socket({args}) = 3")];
            }
            "connect" if rest.contains(port) => {
                lines.push("connect(3, 127.0.0.1:8888)".to_owned());
            }
            _ if first == socket => lines.push(format!("{name}(3, {rest})")),
            _ => {}
        }
    }
    lines.join("\n")
}

fn ours(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(bin(name));
    command.args(args);
    command
}

fn peer(language: Language) -> Command {
    let mut command = language.command("answer_once_server");
    command.arg("0");
    command
}

/// Traces a server until it has accepted one client.
fn calls(server: Command) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    let trace = "trace=socket,setsockopt,bind,listen,accept,accept4";
    strace.args(["-f", "-e", trace, "-e", "signal=none", "-o"]);
    strace.arg(file.path()).arg(server.get_program());
    strace.args(server.get_args());
    let traced = Traced(Program::spawn(&mut strace, false));
    let mut client = TcpStream::connect(traced.0.addr()).unwrap();
    client.write_all(b"hi").unwrap();
    client.read_exact(&mut [0]).unwrap(); // it has accepted us
    traced.stop();
    traced.0.wait_end();
    shortened(&fs::read_to_string(file.path()).unwrap())
}

/// A program under strace, which ends when this value goes away: were strace
/// killed alone, the program would go on without it.
pub struct Traced(pub Program);

impl Traced {
    /// Ends the program, if it has not ended by itself; strace follows.
    pub fn stop(&self) {
        let id = self.0.id();
        let children = format!("/proc/{id}/task/{id}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        for child in children.split_whitespace() {
            // It may be gone by now, and `kill` fails: that is no matter.
            let _ = Command::new("kill").args(["-TERM", child]).output();
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The lines of a trace, those whole again that strace wrote in two pieces
/// since the call of another thread came in between:
/// `1 name(args <unfinished ...>` and later `1 <... name resumed>) = 0`.
pub fn whole_lines(trace: &str) -> Vec<String> {
    let begun = Regex::new(r"^(\d+) +(.*) <unfinished \.\.\.>$").unwrap();
    let resumed = Regex::new(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$").unwrap();
    let mut lines: Vec<String> = Vec::new();
    let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
    for line in trace.lines() {
        if let Some(found) = begun.captures(line) {
            waiting.insert(found[1].to_owned(), lines.len());
            lines.push(format!("{} {}", &found[1], &found[2]));
        } else if let Some(found) = resumed.captures(line) {
            let at = waiting.remove(&found[1]).expect("the start of a call");
            lines[at] += &found[2];
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

fn lines_in_two_pieces_are_made_whole() {
    let trace =
        "1  a(2 <unfinished ...>\n7  b() = 1\n1  <... a resumed>, 3) = 0";
    assert_eq!(whole_lines(trace), ["1 a(2, 3) = 0", "7  b() = 1"]);
}

/// Of all calls, those for the socket that listens, and then the options of
/// the socket that `accept` returned. Descriptors get the numbers 3 and 4.
fn shortened(trace: &str) -> String {
    let call = Regex::new(r"^\d+ +(\w+)\((.*)\) += (\d+)$").unwrap();
    let mut lines: Vec<String> = Vec::new();
    let (mut listener, mut accepted) = (String::new(), String::new());
    for line in whole_lines(trace) {
        let Some(found) = call.captures(&line) else { continue };
        let (name, args, result) = (&found[1], &found[2], &found[3]);
        let (first, rest) = args.split_once(", ").unwrap_or((args, ""));
        match name {
            "socket" => {
                listener = result.to_owned(); // if no other socket follows
                lines = vec![format!("socket({args}) = 3")];
            }
            "accept" | "accept4" if first == listener => {
                accepted = result.to_owned();
                lines.push(format!("{name}(3, …) = 4"));
            }
            _ if first == accepted => lines.push(format!("{name}(4, {rest})")),
            _ if first == listener => lines.push(format!("{name}(3, {rest})")),
            _ => {}
        }
    }
    let v4 = Regex::new(r"\{sa_family=AF_INET,.*\}").unwrap();
    let v6 = Regex::new(r"\{sa_family=AF_INET6,.*\}").unwrap();
    let text = lines.join("\n");
    let text = v4.replace_all(&text, "127.0.0.1:0");
    v6.replace_all(&text, "[::ffff:127.0.0.1]:0").into_owned()
}

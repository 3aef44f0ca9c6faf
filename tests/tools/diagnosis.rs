//! Makes what the chapter "Testing and debugging" shows: for each question
//! that helps when nothing works, one command and the answer of a healthy
//! server.

use std::collections::BTreeSet;
use std::process::Command;

use libtest_mimic::Trial;
use regex::Regex;

use crate::support::net::{Namespace, missing, ports};
use crate::support::{Program, trial, wait_until};
use crate::symptoms::{
    has, keep, machine, printed, serve, silent_client, ss, start, terminals,
    typed, wait_for_ss,
};

/// A question, the program that answers it, and the test.
type Rung = (&'static str, &'static str, fn());

const RUNGS: [Rung; 7] = [
    ("a test that sleeps", "strace", sleeps),
    ("who listens", "ss", listens),
    ("may I connect", "nc", connects),
    ("is the server's answer right", "nc", answers),
    ("where are the bytes", "ss", bytes),
    ("which program is it", "lsof", files),
    ("what does the program do", "strace", calls),
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let no_namespace = missing();
    let trials = RUNGS.map(|(title, program, test)| {
        let absent = (!is_there(program)).then(|| format!("needs {program}"));
        let title = format!("diagnosis::{title}");
        trial(&title, no_namespace.or(absent.as_deref()), test)
    });
    trials.into()
}

/// `nc` and `lsof` know neither `-V` nor `--version`.
fn is_there(program: &str) -> bool {
    match program {
        "nc" => {
            let help = Command::new("nc").arg("-h").output();
            let help = help.map(|output| output.stderr).unwrap_or_default();
            // There are several programs of this name.
            String::from_utf8_lossy(&help).contains("OpenBSD")
        }
        "lsof" => Command::new("lsof").arg("-v").output().is_ok(),
        _ => has(program),
    }
}

const SERVER: &str = "cargo run --bin step3 -- server";

/// A machine with the server of step 3 and a client that has said `one`.
fn talking(name: &str) -> (Namespace, Program, Program) {
    let net = machine(name);
    let server = serve(&net, SERVER);
    let mut client = silent_client(&net, "step3", 50001);
    client.write(b"one\n");
    client.wait_for("one\n");
    (net, server, client)
}

/// strace plays a machine that is so slow that `listen` takes three seconds.
fn sleeps() {
    let net = machine("rung-sleeps");
    let slow = "strace -f -o /dev/null -e inject=listen:delay_enter=3s";
    let shown = format!("{slow} target/debug/step3 server");
    let server = start(&net, &shown);
    let tested = typed(&net, "sleep 0.1; target/debug/step3 client hello");
    let slow = printed(&shown, &server);
    // The program of a killed strace lives on.
    let kill = format!("kill -9 $(ip netns pids {})", net.name);
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    server.wait_end();
    let text = [("a slow machine", &*slow), ("a test that sleeps", &tested)];
    keep("rung-sleeps", &terminals(&text));
}

fn listens() {
    let (net, _server, _client) = talking("rung-listens");
    keep("rung-listens", &ss(&net, "ss -ltnp 'sport = :8888'"));
}

/// With a server, and without.
fn connects() {
    let (net, server, _client) = talking("rung-connects");
    let shown = "nc -zv 127.0.0.1 8888";
    net.shell(&ports(50002, 50002));
    let mut text = typed(&net, shown);
    server.wait_for_times("ended", 1);
    drop(server);
    text += "# after the server has ended\n";
    net.shell(&ports(50003, 50003));
    text += &typed(&net, shown);
    keep("rung-connects", &text);
}

/// An echo, and a frame with its reply.
fn answers() {
    let (net, _server, _client) = talking("rung-answers");
    net.shell(&ports(50002, 50002));
    let mut text = typed(&net, "echo hello | nc -N 127.0.0.1 8888");
    let net = machine("rung-frame");
    let _server = serve(&net, "cargo run --bin step4 -- server");
    text += "# now with the server of step 4\n";
    text += &typed(
        &net,
        r"printf '\0\0\0\6\1hello' | nc -N 127.0.0.1 8888 | od -An -c",
    );
    keep("rung-answers", &text);
}

/// Besides the client that talks, one has come and gone.
fn bytes() {
    let (net, server, _client) = talking("rung-bytes");
    net.shell(&ports(50002, 50002));
    typed(&net, "echo two | nc -N 127.0.0.1 8888");
    server.wait_for_times("ended", 1);
    wait_for_ss(&net, "-tan", "TIME-WAIT");
    let mut text = ss(&net, "ss -tan");
    let shown = "ss -tin 'sport = :8888'";
    let inside = typed(&net, shown);
    let names = ["rto", "rtt", "mss", "cwnd"];
    let words = inside.split_whitespace().filter_map(|word| {
        let (name, value) = word.split_once(':')?;
        match name {
            _ if names.contains(&name) => Some(format!("{name}:N")),
            _ if name.starts_with("bytes_") => Some(format!("{name}:{value}")),
            _ => None,
        }
    });
    let words: Vec<_> = words.collect();
    text += &format!("$ {shown}\n…\n  … {} …\n", words.join(" … "));
    keep("rung-bytes", &text);
}

fn files() {
    let (net, server, client) = talking("rung-files");
    let mut text = typed(&net, "lsof -nP -iTCP:8888");
    for (program, shown) in [(&server, "4001"), (&client, "4002")] {
        text =
            text.replace(&format!(" {} ", program.id()), &format!(" {shown} "));
    }
    // Where lsof may not look at a file system, it says so.
    let warning = Regex::new(r"(?m)^(lsof: WARNING:| {6}).*\n").unwrap();
    let text = warning.replace_all(&text, "");
    let device = Regex::new(r"( IPv4 +)\d+").unwrap();
    keep("rung-files", &columns(&device.replace_all(&text, "${1}N")));
}

/// A table with columns that are as narrow as they can be.
fn columns(text: &str) -> String {
    let (command, table) = text.split_once('\n').unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i));
        cells.map(|cell| cell.len()).max().unwrap_or_default()
    };
    let mut lines = vec![command.to_owned()];
    for row in &rows {
        let cells = row.iter().enumerate();
        let cells = cells.map(|(i, cell)| format!("{cell:w$}", w = width(i)));
        lines.push(cells.collect::<Vec<_>>().join("  "));
    }
    lines.join("\n")
}

/// The client says one more line while strace watches the server.
fn calls() {
    let (net, server, mut client) = talking("rung-calls");
    let id = server.id();
    let shown = format!("strace -f -e trace=network -p {id}");
    let strace = start(&net, &shown);
    strace.wait_for("attached");
    wait_until("strace at each thread", || is_traced(id));
    client.write(b"two\n");
    client.wait_for("two\n");
    wait_until("both calls", || {
        printed("", &strace).matches(" = 4\n").count() == 2
    });
    // strace also talks of itself, and puts spaces before a small number.
    let spaces = Regex::new(r"\[pid +").unwrap();
    let text = printed(&shown, &strace);
    let text = spaces.replace_all(&text, "[pid ");
    let lines = text.lines().filter(|line| line.starts_with(['$', '[']));
    keep("rung-calls", &lines.collect::<Vec<_>>().join("\n"));
}

/// Does a tracer watch each thread (`TracerPid` in proc_pid_status(5))?
fn is_traced(id: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let tracers: BTreeSet<bool> = tasks
        .map(|task| {
            let path = task.unwrap().path().join("status");
            let status = std::fs::read_to_string(path).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        })
        .collect();
    tracers == BTreeSet::from([true])
}

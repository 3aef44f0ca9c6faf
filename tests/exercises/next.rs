//! The exercises of the chapters *UDP* and *TLS*.

use std::env::consts::OS;
use std::fs;
use std::process::Command;

use libtest_mimic::Trial;
use tempfile::TempDir;

use super::copy::{Solved, print};
use super::support::{Program, ROOT, is_installed, signal, trial, wait_until};

pub fn trials() -> Vec<Trial> {
    let python = !is_installed("python3", "--version");
    let python = python.then_some("needs python3");
    let ss = (OS != "linux" || !is_installed("ss", "-V"))
        .then_some("needs ss of Linux");
    vec![
        trial("udp::half_a_datagram_is_lost", python, udp_halves),
        trial("udp::a_buffer_that_is_too_small", None, udp_room),
        trial("udp::as_patient_as_the_road", None, udp_build),
        trial("udp::what_did_not_fit", ss, udp_measure),
    ]
}

/// Builds a program that is a package of its own, and returns where it is: in
/// a folder of its own, because the next solution builds another one.
pub fn built(solved: &Solved, name: &str) -> (TempDir, String) {
    solved.run(&format!("cargo build -p {name}")).succeeds();
    let own = TempDir::new().unwrap();
    let path = own.path().join(name);
    let made = format!("{ROOT}/target/exercises/target/debug/{name}");
    fs::copy(made, &path).unwrap();
    let path = path.into_os_string().into_string().unwrap();
    (own, path)
}

// ---- UDP

fn udp_halves() {
    let ran =
        Solved::with("").run("python3 tests/exercises/halves.py").succeeds();
    print("udp-halves", &ran.shown(&["SOCK_STREAM", "SOCK_DGRAM"]));
}

fn udp_room() {
    let line = "cargo run -q -p udp; echo \"exit code $?\"";
    let ran = Solved::with("udp-room").run(line).succeeds();
    let lines: Vec<&str> = ran.text.lines().collect();
    let [start, end] = [&lines[..7], &lines[lines.len() - 2..]];
    let shown = format!("{}\n…\n{}", start.join("\n"), end.join("\n"));
    print("udp-room", &format!("$ {line}\n{shown}"));
}

fn udp_build() {
    let solved = Solved::with("udp-build");
    let tested = solved.run("cargo test -p udp --bin udp").succeeds();
    let played = solved.run("cargo run -q -p udp").succeeds();
    let shown = tested.shown(&["trip::", "test result"])
        + "\n"
        + &played.shown(&["within", "total is"]);
    print("udp-build", &shown);
}

fn udp_measure() {
    let (_own, udp) = built(&Solved::with(""), "udp");
    let mut command = Command::new(udp);
    command.args(["server", "--verbose", "--addr", "127.0.0.1:0"]);
    let server = Program::spawn(&mut command, false);
    let port = server.addr().port();
    signal(server.id(), "-STOP");
    let flood = format!(
        "for i in {{1..1000}}; do printf '%1200d' 0 > \
         /dev/udp/127.0.0.1/{port}; done; ss -lunmH 'sport = :{port}'"
    );
    let sent = Command::new("bash").args(["-c", &flood]).output().unwrap();
    assert!(sent.status.success() && sent.stderr.is_empty(), "{sent:?}");
    let told = String::from_utf8(sent.stdout).unwrap();
    let dropped = told.split(",d").nth(1).and_then(|d| d.split(')').next());
    let dropped: usize = dropped.unwrap().parse().unwrap();
    assert!((1..1000).contains(&dropped), "{told}");
    signal(server.id(), "-CONT");
    let line = "drops 1200 bytes";
    let lines = || {
        let text = String::from_utf8(server.texts().0).unwrap();
        text.matches(line).count()
    };
    wait_until("what has fitted", || lines() + dropped >= 1000);
    assert_eq!(lines() + dropped, 1000);
    let text = "… times “server: drops 1200 bytes: not a frame”\n\
        $ ss -lunm 'sport = :8888'\n… skmem:(…,d…)\nboth together: 1000";
    print("udp-measure", text);
}

//! Submissions that harm whoever runs them: they cost themselves points, and
//! the checker nothing. No process is left behind.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report
#![cfg(target_os = "linux")] // what is left behind is looked for in /proc

mod support;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{GALLERY, Said, alone, check, gallery, running, shared};

/// Tries a server that is a shell script; `$0` is the gallery.
fn script(script: &str, more: &[&str]) -> Said {
    let _machine = shared();
    unlocked(script, more)
}

fn unlocked(script: &str, more: &[&str]) -> Said {
    let cmd = format!("sh -c '{script}' '{GALLERY}' {{addr}}");
    let args = ["server", "step4", "--seed", "7", "--cmd", &cmd];
    check(&[&args[..], more].concat())
}

const SERVE: &str = r#"exec "$0" server --step 4 --addr "$1""#;

#[test]
fn dies_at_once() {
    let said = script("echo no luck >&2; exit 7", &[]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("exit code 7"), "{}", said.text);
    assert!(said.text.contains("| no luck"), "{}", said.text);
}

#[test]
fn is_not_there() {
    let said = check(&["server", "step2", "--cmd", "./no-such-program {addr}"]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    let cmd = "./no-such-program {addr} {text}";
    let said = check(&["client", "step2", "--cmd", cmd]);
    assert_eq!(said.code, Some(3), "{}", said.text);
}

#[test]
fn listens_elsewhere() {
    let said = script("echo listening on 127.0.0.1:1; sleep 86401", &[]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("It listens on no port"), "{}", said.text);
    assert_eq!(running("sleep 86401"), 0);
}

#[test]
fn leaves_this_machine() {
    let said = script("echo listening on 192.0.2.1:80; sleep 86411", &[]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("this machine only"), "{}", said.text);
}

/// It names a port on which another server listens.
#[test]
fn lets_another_one_answer() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap();
    let said = script(&format!("echo listening on {addr}; sleep 86412"), &[]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("somebody else"), "{}", said.text);
}

#[test]
fn goes_into_the_background() {
    let script = format!("{} &", SERVE.trim_start_matches("exec "));
    let said = self::script(&script, &[]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("background"), "{}", said.text);
}

/// It has no limit, and keeps the machine busy, so that nobody can tell: that
/// gains it nothing, whether it is found out or not.
#[test]
fn makes_itself_late() {
    let _machine = alone();
    let cmd = format!(
        "sh -c 'for i in 1 2 3 4 5 6 7 8; do for j in 1 2 3 4; do \
         while :; do :; done & done; done; \
         exec \"$0\" server --step 5 --defect no-idle-limit --addr \"$1\"' \
         '{GALLERY}' {{addr}}"
    );
    let said = check(&["server", "step5", "--case", "S5-01", "--cmd", &cmd]);
    assert!(said.code == Some(1) || said.code == Some(2), "{}", said.text);
    assert!(said.text.contains("0 of 2 points"), "{}", said.text);
}

/// Ctrl-C, at any moment: nothing is left of what was started.
#[test]
fn is_interrupted() {
    let cmd = format!("sh -c 'sleep 86406 & {SERVE}' '{GALLERY}' {{addr}}");
    for _ in 0..5 {
        let mut checker = Command::new(env!("CARGO_BIN_EXE_check"))
            .args(["server", "step4", "--keep-going", "--cmd", &cmd])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while running("sleep 86406") == 0 {
            assert!(Instant::now() < end, "nothing was started");
        }
        let pid = Pid::from_child(&checker);
        kill_process(pid, Signal::INT).unwrap();
        assert_eq!(checker.wait().unwrap().code(), Some(130));
        assert_eq!(running("sleep 86406"), 0);
    }
}

#[test]
fn says_something_else() {
    let said = script("echo Server started; sleep 86402", &[]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    let wanted = "Its first line on stdout was: Server started";
    assert!(said.text.contains(wanted), "{}", said.text);
    assert_eq!(running("sleep 86402"), 0);
}

/// The line is in a buffer: the port is open all the same, and that shows.
#[test]
fn does_not_flush() {
    let script = r#""$0" server --step 4 --addr "$1" | cat >/dev/null"#;
    let said = self::script(script, &[]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("flush stdout"), "{}", said.text);
}

#[test]
fn prints_escape_codes_and_binary() {
    let said = script(
        r#"printf "\033[2J\033]0;owned\007\377\376\n"; sleep 86403"#,
        &[],
    );
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(!said.text.contains('\x1b') && !said.text.contains('\x07'));
    assert_eq!(running("sleep 86403"), 0);
}

/// It is asked once, then killed; the next ones are not asked any more.
#[test]
fn ignores_sigterm() {
    let _machine = shared();
    let start = Instant::now();
    let script = r#"trap "" TERM; exec "$0" server --step 4 --addr "$1""#;
    let said = unlocked(script, &["--case", "S4-01", "--case", "S4-02"]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(start.elapsed() < Duration::from_secs(12), "took too long");
}

/// Sessions of their own, no parent, and no environment: found all the same.
#[test]
fn starts_others_that_hide() {
    let script = format!(
        "(setsid sleep 86404 &); (env -i setsid sleep 86405 &); {SERVE}"
    );
    let said = self::script(&script, &["--case", "S4-01"]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert_eq!(running("sleep 86404") + running("sleep 86405"), 0);
}

#[test]
fn forks_without_end() {
    let script = "while :; do sleep 86413 & done";
    let said = self::script(script, &[]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("200 processes"), "{}", said.text);
    assert_eq!(running("sleep 86413"), 0);
}

#[test]
fn floods_stdout() {
    let said = script("yes flood86407", &[]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    let script = format!("(yes flood86407 >&2) & {SERVE}");
    let said = self::script(&script, &["--case", "S4-14"]);
    assert_ne!(said.code, Some(3), "{}", said.text);
    assert!(said.text.len() < 4000, "{}", said.text.len());
    assert_eq!(running("flood86407"), 0);
}

#[test]
fn eats_memory() {
    let big = "dd if=/dev/zero of=/dev/null bs=400M";
    let said = script(big, &["--memory", "200"]);
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("more than 200 MB"), "{}", said.text);
}

/// Always the same port: said, and then tried one case after another.
#[test]
fn chooses_its_own_port() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let addr = format!("--addr 127.0.0.1:{port}");
    let cmd = format!("'{GALLERY}' server --step 4 {addr} {{addr}}");
    let args = ["server", "step4", "--cmd", &cmd, "--case", "S4-01"];
    let said = check(&[&args[..], &["--case", "S4-02"]].concat());
    assert_eq!(said.code, Some(0), "{}{}", said.text, said.stderr);
    assert!(said.stderr.contains("ignores {addr}"), "{}", said.stderr);
}

/// Two runs with the same seed say the same; another seed sends other bytes.
#[test]
fn a_seed_decides_all_bytes() {
    let cmd = gallery("server", 4, Some("reply-kind-of-request"));
    let run = |seed: &str| {
        let args = ["server", "step4", "--case", "S4-01", "--cmd", &cmd];
        check(&[&args[..], &["--seed", seed]].concat()).text
    };
    assert_eq!(run("1"), run("1"));
    assert_ne!(run("1").lines().nth(2), run("2").lines().nth(2));
}

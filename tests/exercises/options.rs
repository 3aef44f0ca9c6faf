//! The exercises of *Socket options*.

use std::net::TcpStream;
use std::process::Command;

use libtest_mimic::Trial;
use regex::Regex;

use super::copy::{Solved, print};
use super::support::{Program, ROOT, is_installed, trial, wait_until};

pub fn trials() -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    let python = !is_installed("python3", "--version");
    let absent = linux.or(python.then_some("needs python3"));
    let ss = (!is_installed("ss", "-V")).then_some("needs ss");
    vec![
        trial("options::a_little_is_no_progress", absent, little),
        trial("options::a_server_that_notices", absent, build),
        trial("options::ss_shows_the_timer", absent.or(ss), timer),
        trial("options::nagle_costs_less_the_slower_you_write", absent, pauses),
    ]
}

/// The output of an experiment, in a copy with a patch.
fn experiment(patch: &str, option: &str) -> String {
    let line = format!("python3 tests/peers/python/options.py {option}");
    Solved::with(patch).run(&line).succeeds().shown(&[option])
}

fn little() {
    let shown = experiment("options-little", "TCP_USER_TIMEOUT");
    let passed = Regex::new(r"after \d+ ms").unwrap();
    print("options-little", &passed.replace_all(&shown, "after N ms"));
}

fn build() {
    let checked = Solved::with("").check(
        "server step3 --keep-going --cmd \
         'python3 tests/exercises/options_server.py {addr}'",
    );
    print("options-build", &checked.shown(&["passed"]));
}

fn timer() {
    let mut python = Command::new("python3");
    python.args(["tests/exercises/options_server.py", "127.0.0.1:0"]);
    let server = Program::spawn(python.current_dir(ROOT), false);
    let addr = server.addr();
    let client = TcpStream::connect(addr).unwrap();
    let filter = format!("sport = :{}", addr.port());
    let ss = || {
        let ss = Command::new("ss").args(["-tnoH", &filter]).output().unwrap();
        String::from_utf8(ss.stdout).unwrap()
    };
    wait_until("a timer of an hour at most", || ss().contains("timer:"));
    let shown = ss();
    drop(client);
    let words: Vec<&str> = shown.split_whitespace().collect();
    let line = words.join(" ").replace(&addr.to_string(), "127.0.0.1:8888");
    let peer = Regex::new(r"8888 127\.0\.0\.1:\d+").unwrap();
    let line = peer.replace(&line, "8888 127.0.0.1:50001");
    let seconds = Regex::new(r"keepalive,\d+(?:\.\d+)?sec,0").unwrap();
    let line = seconds.replace(&line, "keepalive,Nsec,0");
    print("options-timer", &format!("$ ss -tno 'sport = :8888'\n{line}"));
}

/// 20 bytes, each after a pause: without Nagle's algorithm each travels alone
/// (and now and then one twice, where the machine is slow).
fn pauses() {
    let mut short = segments("options-pause");
    for _ in 0..4 {
        if short.0 * 2 > short.1 {
            short = segments("options-pause"); // a busy machine made them longer
        }
    }
    let long = segments("options-long-pause");
    assert!(short.0 * 2 <= short.1 && short.1 >= 20, "{short:?}");
    assert!(long.0 >= 18 && long.1 >= 20, "{long:?}");
    print(
        "options-pauses",
        "pause of 10 ms:  Nagle's algorithm saves more than half of the segments\n\
         pause of 100 ms: it saves hardly any",
    );
}

/// With Nagle's algorithm, and without it.
fn segments(patch: &str) -> (u32, u32) {
    let shown = experiment(patch, "TCP_NODELAY");
    let number = Regex::new(r"(\d+) segments").unwrap();
    let found = number.captures_iter(&shown);
    let found: Vec<u32> = found.map(|n| n[1].parse().unwrap()).collect();
    (found[0], found[1])
}

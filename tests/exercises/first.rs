//! The exercises from *Introduction* to *Many clients*.

use std::env::consts::OS;
use std::net::SocketAddr;
use std::process::Command;

use libtest_mimic::Trial;

use super::copy::{Solved, print};
use super::support::scene::Scene;
use super::support::{Program, ends, is_installed, trial, wait_until};

pub fn trials() -> Vec<Trial> {
    let linux = (OS != "linux").then_some("needs Linux");
    let python = !is_installed("python3", "--version");
    let python = python.then_some("needs python3");
    let ss = (!is_installed("ss", "-V")).then_some("needs ss");
    vec![
        trial("server::one_at_a_time", None, server_turn),
        trial("server::a_queue_for_one", linux, server_backlog),
        trial("server::a_greeter_in_python", python, server_build),
        trial("server::the_queue_as_ss_sees_it", ss, server_measure),
    ]
}

fn server_turn() {
    let (_own, step1) = Solved::with("").program("step1");
    let start = |args: &[&str], input| {
        Program::spawn(Command::new(&step1).args(args), input)
    };
    let server = start(&["server", "--addr", "127.0.0.1:0"], false);
    let addr = server.addr();
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    let run = "cargo run --bin step1 --";
    scene.terminal("the server", &format!("{run} server"), server);
    let addr = addr.to_string();
    let silent = start(&["client", "--addr", &addr], true);
    scene.terminal("a client", &format!("{run} client"), silent);
    let second = start(&["client", "--addr", &addr, "hello"], false);
    scene.terminal("a second client", &format!("{run} client hello"), second);
    scene.note(1, "^D\n");
    scene.program(1).end_input();
    scene.wait_end(1);
    scene.wait_end(2);
    scene.wait_for(0, "hello", 1);
    print("server-turn", &scene.text());
}

fn server_backlog() {
    let solved = Solved::with("server-backlog");
    let tried = solved.run("cargo test --test contract step3::s3_05").fails();
    print("server-backlog", &tried.shown(&["1000 clients", "found room"]));
}

fn server_build() {
    let checked = Solved::with("").check(
        "server step1 --keep-going --cmd \
         'python3 tests/exercises/greeter.py {addr}'",
    );
    print("server-build", &checked.shown(&["✓", "passed"]));
}

/// What `ss` shows of a server's queue, printed with port 8888.
fn queue(addr: SocketAddr) -> String {
    let filter = format!("sport = :{}", addr.port());
    let ss = Command::new("ss").args(["-ltnH", &filter]).output().unwrap();
    let line = String::from_utf8(ss.stdout).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let [state, waiting, room] = words[..3] else { panic!("{line}") };
    format!(
        "$ ss -ltn 'sport = :8888'\nState  Recv-Q Send-Q Local Address:Port\n\
         {state} {waiting:<6} {room:<6} 127.0.0.1:8888\n"
    )
}

fn server_measure() {
    let (_own, step1) = Solved::with("").program("step1");
    let start = |args: &[&str], input| {
        Program::spawn(Command::new(&step1).args(args), input)
    };
    let server = start(&["server", "--addr", "127.0.0.1:0"], false);
    let addr = server.addr();
    let connect = || start(&["client", "--addr", &addr.to_string()], true);
    let mut first = connect();
    wait_until("the first client", || {
        ends(addr).len() == 2 && queue(addr).contains("LISTEN 0 ")
    });
    let _others = [(); 3].map(|()| connect());
    wait_until("the others", || queue(addr).contains("LISTEN 3 "));
    let mut shown = queue(addr);
    first.end_input();
    wait_until("the next client's turn", || queue(addr) != shown);
    shown += &format!("\n# after Ctrl-D in the first client\n{}", queue(addr));
    print("server-measure", &shown);
}

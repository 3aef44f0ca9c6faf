//! What a reader sees after typing the commands of the book.
//!
//! Each test runs real programs over loopback and keeps what they printed as a
//! snapshot. The book prints those files: read a snapshot before accepting it.
//! Run these tests again with `cargo insta test` or `INSTA_UPDATE=always`.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;

use support::scene::{Scene, rename_ports, without_waits};
use support::{
    DEADLINE, ESTABLISHED, End, Program, bin, ends, refusing, signal, snapshot,
    unread, wait_for_fin, wait_until,
};

/// Ten at once, since the order of the lines must be no matter of luck.
fn demo(step: &str) {
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| demo_once(step));
        }
    });
}

fn demo_once(step: &str) {
    let ended = Program::start(step, &[]).finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let text = String::from_utf8(ended.stdout).unwrap();
    let (_, port) = text.split_once("127.0.0.1:").unwrap(); // the server's
    let port = port.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let port: u16 = port.parse().unwrap();
    let text = rename_ports(&text, |p| (p == port).then_some(40001));
    let text = without_waits(&text);
    let text = format!("$ cargo run --bin {step}\n{text}");
    snapshot(&format!("demo-{step}"), text.trim_end());
}

#[test]
fn demo_step1() {
    demo("step1");
}

#[test]
fn demo_step2() {
    demo("step2");
}

#[test]
fn demo_step3() {
    demo("step3");
}

#[test]
fn demo_step4() {
    demo("step4");
}

/// Prints the words of Linux for the first failure.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn demo_step5() {
    demo("step5");
}

#[test]
fn demo_step6() {
    demo("step6");
}

#[test]
fn demo_step7() {
    demo("step7");
}

#[test]
fn demo_step8() {
    demo("step8");
}

/// The server has a request in its kernel, and is told to stop: by a signal
/// that it can hear, and by one that it can't.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "looks into /proc/net/tcp")]
fn stopped_in_the_middle() {
    for (by, shown) in [("-TERM", "kill"), ("-KILL", "kill -9")] {
        let mut scene = asked_and_frozen();
        scene.note(0, "connected", &format!("$ {shown} %1\n"));
        let server = scene.program(0).id();
        signal(server, by);
        if by == "-TERM" {
            signal(server, "-CONT"); // as the shell does
            scene.program(1).wait_for("pay 5 euros\n");
        }
        scene.wait_end(0); // its client leaves by itself
        scene.program(1).end_input();
        scene.wait_end(1);
        let name = if by == "-TERM" { "term" } else { "kill" };
        scene.snapshot(&format!("drain-{name}"));
    }
}

/// A frozen server, and a client that waits for its second reply.
fn asked_and_frozen() -> Scene {
    let mut scene = Scene::new();
    let addr = scene.server("step8");
    let script = format!(
        "TCP_ATTEMPTS=1 {} client --addr {addr} 2>&1; echo \"exit code $?\"",
        bin("step8")
    );
    let mut sh = Command::new("sh");
    let client = Program::spawn(sh.arg("-c").arg(script), true);
    let typed = "TCP_ATTEMPTS=1 cargo run --bin step8 -- client; \
                 echo \"exit code $?\"";
    scene.terminal("the client", typed, client);
    scene.type_line(1, "hello", "hello\n");
    scene.wait_for(0, "connected", 1);
    signal(scene.program(0).id(), "-STOP");
    scene.note(0, "connected", "^Z\n");
    scene.type_line(1, "pay 5 euros", "");
    wait_until("the request", || unread(addr) > 0);
    scene
}

/// A second client of a server with one slot.
#[test]
fn full() {
    let mut scene = Scene::new();
    let addr = scene.server_with("step8", &[("TCP_MAX_CONNS", "1")]);
    scene.client("step8", None, "cargo run --bin step8 -- client");
    scene.type_line(1, "one", "one\n");
    scene.stays_silent(1);
    let mut command = Command::new(bin("step8"));
    command.args(["client", "--addr", &text(addr), "--attempts", "2", "two"]);
    let shown = "cargo run --bin step8 -- client --attempts 2 two";
    let client = Program::spawn(&mut command, false);
    scene.terminal("another client", shown, client);
    scene.wait_end(2);
    scene.wait_for(0, "one too many", 2);
    scene.snapshot("drain-full");
}

/// Told to stop, and told again while a client waits for a reply.
#[test]
#[cfg_attr(not(unix), ignore = "needs a Unix signal")]
fn stopped_twice() {
    let mut scene = Scene::new();
    let addr = scene.server("step8");
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"\0\0\0\x05\x05\0\0\x27\x10").unwrap(); // 10 s of WORK
    let server = scene.program(0).id();
    scene.note(0, "connected", "^C\n");
    signal(server, "-TERM");
    scene.note(0, "stopping", "^C\n");
    signal(server, "-TERM");
    scene.wait_end(0);
    scene.snapshot("drain-twice");
}

// ANCHOR: messages
#[test]
fn step4_answers_messages() {
    let mut scene = Scene::new();
    let addr = scene.server("step4");
    let mut command = Command::new(bin("step4"));
    command.args(["client", "--addr", &text(addr), "one", "", "two\nlines"]);
    let client = Program::spawn(&mut command, false);
    let shown = "cargo run --bin step4 -- client one '' $'two\\nlines'";
    scene.terminal("the client", shown, client);
    scene.wait_end(1);
    scene.wait_for(0, "ended", 1);
    scene.snapshot("step4-answers-messages");
}
// ANCHOR_END: messages

/// A browser, say, that takes the port for a web server's.
#[test]
#[cfg_attr(not(unix), ignore = "needs a Unix shell")]
fn step4_refuses_http() {
    let mut scene = Scene::new();
    let addr = scene.server("step4");
    let script = format!(
        "printf 'GET / HTTP/1.1\\r\\n\\r\\n' | {} client --addr {addr} | cat -v",
        bin("step3")
    );
    let mut sh = Command::new("sh");
    let client = Program::spawn(sh.arg("-c").arg(script), false);
    let shown = "printf 'GET / HTTP/1.1\\r\\n\\r\\n' \\\n  \
                 | cargo run --bin step3 -- client | cat -v";
    scene.terminal("a client that speaks HTTP", shown, client);
    scene.wait_end(1);
    scene.wait_for(0, "at most", 1);
    scene.snapshot("step4-refuses-http");
}

/// The SYN of step 4's client is never answered: it waits and waits.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "a full queue is silent there")]
fn black_hole() {
    let (hole, addr) = Program::server("black-hole");
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    scene.terminal("nobody gets in", "cargo run --bin black-hole", hole);
    scene.stays_silent(0);
    let script = format!(
        "timeout 2 {} client --addr {addr} hello; echo \"exit code $?\"",
        bin("step4")
    );
    let mut sh = Command::new("sh");
    let client = Program::spawn(sh.arg("-c").arg(script), false);
    let shown = "timeout 2 cargo run --bin step4 -- client hello; \
                 echo \"exit code $?\"";
    scene.terminal("the client of step 4, ended after 2 s", shown, client);
    let script = format!(
        "TCP_CONNECT_MS=500 TCP_ATTEMPTS=3 {} client --addr {addr} hello; \
         echo \"exit code $?\"",
        bin("step5")
    );
    let mut sh = Command::new("sh");
    let client = Program::spawn(sh.arg("-c").arg(script + " >&2"), false);
    let shown = "TCP_CONNECT_MS=500 TCP_ATTEMPTS=3 cargo run --bin step5 -- \
                 client hello; echo \"exit code $?\"";
    scene.terminal("the client of step 5", shown, client);
    scene.wait_end(1);
    scene.wait_end(2);
    scene.snapshot("step5-black-hole");
}

/// A byte now and then: step 4 waits as long as its client wants.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn slowloris_and_step4() {
    let mut scene = Scene::new();
    scene.server("step4");
    slowloris(scene, "step4", "in the middle");
}

/// Step 5 does not.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn slowloris_and_step5() {
    let mut scene = Scene::new();
    scene.server_with("step5", &[("TCP_FRAME_MS", "2000")]);
    slowloris(scene, "step5", "not whole");
}

fn slowloris(mut scene: Scene, step: &str, last: &str) {
    let addr = scene.program(0).addr();
    scene.run("slowloris", &[&text(addr)], "cargo run --bin slowloris");
    scene.wait_end(1);
    scene.wait_for(0, last, 1);
    let text = scene.text();
    let bytes = regex::Regex::new(r"after \d+ bytes: error").unwrap();
    let text = bytes.replace(&text, "after N bytes: error");
    snapshot(&format!("{step}-slowloris"), text.trim_end());
}

/// A limit around `read_exact`, and one around `read_buf`.
#[test]
fn lost_bytes() {
    let ended = Program::start("lost-bytes", &[]).finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let text = String::from_utf8(ended.stdout).unwrap();
    let text = format!("$ cargo run --bin lost-bytes\n{text}");
    snapshot("lost-bytes", text.trim_end());
}

/// The server has the request and does not answer in time. What the client
/// sees is the same, whether the server goes on later or dies.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "looks into /proc/net/tcp")]
fn unknown_outcome() {
    for goes_on in [true, false] {
        let mut scene = Scene::new();
        let addr = scene.server("step5");
        let server = scene.program(0).id();
        signal(server, "-STOP");
        scene.note(0, "listening", "^Z\n");
        let script = format!(
            "TCP_REQUEST_MS=500 TCP_ATTEMPTS=1 {} client --addr {addr} \
             'pay 5 euros' 2>&1; echo \"exit code $?\"",
            bin("step5")
        );
        let mut sh = Command::new("sh");
        let client = Program::spawn(sh.arg("-c").arg(script), false);
        let shown = "TCP_REQUEST_MS=500 TCP_ATTEMPTS=1 cargo run --bin \
                     step5 -- client 'pay 5 euros'; echo \"exit code $?\"";
        scene.terminal("the client", shown, client);
        scene.wait_end(1);
        if goes_on {
            scene.note(0, "listening", "$ fg\n");
            signal(server, "-CONT");
            scene.wait_for(0, "ended after 1 frames", 1);
            scene.snapshot("step5-unknown-executed");
        } else {
            scene.note(0, "listening", "$ kill -9 %1\n");
            scene.program(0).kill();
            scene.stays_silent(0);
            scene.snapshot("step5-unknown-not-executed");
        }
    }
}

/// Silence for longer than the server allows, seen by a client that waits for
/// its user.
#[test]
fn idle() {
    let mut scene = Scene::new();
    scene.server_with("step5", &[("TCP_IDLE_MS", "600")]);
    scene.client("step4", None, "cargo run --bin step4 -- client");
    scene.wait_end(1);
    scene.wait_for(0, "no frame", 1);
    scene.snapshot("error-timeout");
}

/// Without its option the limit is a minute, and this test fails.
#[test]
fn limits_are_options_too() {
    let args = ["server", "--addr", "127.0.0.1:0", "--idle-ms", "300"];
    let server = Program::start("step5", &args);
    let mut silent = TcpStream::connect(server.addr()).unwrap();
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).unwrap();
    assert_eq!(answer[4..6], [0x7f, 5], "ERROR 5: too slow");
    let ended = Program::start("step5", &["server", "--idle-ms", "0"]).finish();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--idle-ms"), "{}", ended.stderr);
}

#[test]
fn help_of_the_limits() {
    let ended = Program::start("step5", &["server", "--help"]).finish();
    let text = String::from_utf8(ended.stdout).unwrap().replace(".exe", "");
    let text = format!("$ cargo run --bin step5 -- server --help\n{text}");
    snapshot("help-step5-server", text.trim_end());
    let ended = Program::start("step5", &["client", "--help"]).finish();
    let text = String::from_utf8(ended.stdout).unwrap().replace(".exe", "");
    let text = format!("$ cargo run --bin step5 -- client --help\n{text}");
    snapshot("help-step5-client", text.trim_end());
}

#[test]
fn help() {
    let ended = Program::start("step1", &["--help"]).finish();
    assert_eq!(ended.code, Some(0));
    let text = String::from_utf8(ended.stdout).unwrap().replace(".exe", "");
    let text = format!("$ cargo run --bin step1 -- --help\n{text}");
    snapshot("help-step1", text.trim_end());
}

#[test]
fn step1_greets() {
    let mut scene = Scene::new();
    scene.server("step1");
    scene.ask("step1", "Hello, Server!");
    scene.wait_end(1);
    scene.wait_for(0, "closes\n", 1);
    scene.snapshot("step1-greets");
}

/// Two pieces that arrive one after the other: one `read` takes the first.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints what Linux does")]
fn step1_reads_once_a_message_in_pieces() {
    let mut scene = Scene::new();
    let addr = scene.server("step1");
    let shown = "(printf 'Hello, '; sleep 1; printf 'Server!') \\\n  \
                 | cargo run --bin step2 -- client";
    scene.client("step2", None, shown);
    scene.program(1).write(b"Hello, ");
    wait_for_fin(addr);
    scene.program(1).write(b"Server!");
    scene.program(1).end_input();
    scene.wait_end(1);
    scene.wait_for(0, "closes\n", 1);
    scene.snapshot("step1-reads-once-pieces");
}

/// A message that is longer than the buffer: one `read` takes 1024 bytes. The
/// server is stopped until all has arrived, so that each run is the same.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints what Linux does")]
fn step1_reads_once_a_long_message() {
    let mut scene = Scene::new();
    let addr = scene.server("step1");
    signal(scene.program(0).id(), "-STOP");
    let shown = "seq 1000 | cargo run --bin step1 -- client";
    scene.client("step1", None, shown);
    let numbers: String = (1..=1000).map(|n| format!("{n}\n")).collect();
    scene.program(1).write(numbers.as_bytes());
    scene.program(1).end_input();
    let all = numbers.len() as u64 + 1; // and the FIN
    wait_until("the whole message", || unread(addr) == all);
    signal(scene.program(0).id(), "-CONT");
    scene.wait_end(1);
    scene.wait_for(0, "closes\n", 1);
    scene.snapshot("step1-reads-once-long");
}

/// The server closes first, stops, and starts again on its port. (That is
/// 8889, because a reader has just seen 8888 refused for a minute.)
#[test]
fn step1_restarts() {
    let shown = "cargo run --bin step1 -- server --addr 127.0.0.1:8889";
    let mut scene = Scene::new();
    let (server, addr) = Program::server("step1");
    scene.rename(addr, 8889);
    scene.terminal("the server", shown, server);
    // This client ends its direction only when the server has ended.
    let client = "cargo run --bin step2 -- client --addr 127.0.0.1:8889";
    scene.client("step2", None, client);
    scene.type_line(1, "hi", "Hello, client!");
    scene.program(1).end_input();
    scene.wait_end(1);
    if cfg!(unix) {
        // As Ctrl-C would; but a job in the background may ignore SIGINT.
        signal(scene.program(0).id(), "-TERM");
    } else {
        scene.program(0).kill();
    }
    scene.wait_end(0);

    let address = text(addr);
    let again = Program::start("step1", &["server", "--addr", &address]);
    assert_eq!(again.addr(), addr);
    let printed = String::from_utf8(again.texts().0).unwrap();
    scene.add(0, format!("^C\n$ {shown}\n{printed}"));
    scene.snapshot("step1-restarts");
}

/// Without SO_REUSEADDR, a server that closed first cannot start again on its
/// port. The client keeps its direction open until the server has ended.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn article_time_wait() {
    let shown = "cargo run --bin article -- answer-once";
    let answer_once = |addr: &str| {
        Program::start("article", &["answer-once", "--addr", addr])
    };
    let mut scene = Scene::new();
    let first = answer_once("127.0.0.1:0");
    let addr = first.addr();
    scene.rename(addr, 8888);
    scene.terminal("the server", shown, first);
    scene.client("step2", None, "cargo run --bin step2 -- client");
    scene.type_line(1, "hi", "Hello, client!");
    scene.wait_end(0);
    scene.program(1).end_input();
    scene.wait_end(1);

    let second = answer_once(&text(addr)).finish();
    assert_eq!((second.code, second.stdout), (Some(1), Vec::new()));
    scene.add(0, format!("$ {shown}\n{}", second.stderr));
    scene.snapshot("article-time-wait");
}

/// The server listens on 8888, the client connects to 9999.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn article_never_meet() {
    let (_other, elsewhere) = refusing();
    let mut scene = Scene::new();
    scene.rename(elsewhere, 9999);
    scene.server("article");
    let args = ["connect", "--addr", &text(elsewhere)];
    scene.run("article", &args, "cargo run --bin article -- connect");
    scene.wait_end(1);
    scene.stays_silent(0);
    scene.snapshot("article-never-meet");
}

/// On one port: the server waits for more or the end, the client waits for an
/// answer.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "looks into /proc")]
fn article_both_wait() {
    let mut scene = Scene::new();
    let addr = scene.server("article");
    let shown = "cargo run --bin article -- client --addr 127.0.0.1:8888";
    scene.run("article", &["client", "--addr", &text(addr)], shown);
    scene.wait_for(0, "received", 1);
    scene.wait_for(1, "sending", 1);
    // No byte is under way and both programs sleep: nothing can ever change.
    wait_until("stillness", || is_still(addr));
    for terminal in [0, 1] {
        wait_until("sleep", || sleeps(scene.program(terminal)));
        assert!(scene.program(terminal).is_running());
    }
    assert!(is_still(addr));
    snapshot("article-both-wait", scene.text().trim_end());

    // The reader stops the client: the kernel sends its FIN, and the server
    // ends, too. Since the client closed first, the server's port is free.
    scene.program(1).kill();
    scene.wait_end(0);
    scene.program(0).wait_for("the client has ended");
    let again = ["server", "--addr", &text(addr)];
    assert_eq!(Program::start("article", &again).addr(), addr);
}

/// Are both ends of the connection open, with nothing on its way?
fn is_still(addr: SocketAddr) -> bool {
    let still =
        |end: &End| (end.state, end.unsent, end.unread) == (ESTABLISHED, 0, 0);
    let ends = ends(addr);
    ends.len() == 2 && ends.iter().all(still)
}

/// Does the program wait in the kernel (state S, proc(5))?
fn sleeps(program: &Program) -> bool {
    let path = format!("/proc/{}/stat", program.id());
    let stat = fs::read_to_string(path).unwrap();
    stat.rsplit_once(')').unwrap().1.trim_start().starts_with('S')
}

/// Step 1's client says that it has sent all: the server's loop ends.
#[test]
fn article_half_close_ends_it() {
    let mut scene = Scene::new();
    scene.server("article");
    scene.ask("step1", "Hello, Server!");
    scene.wait_end(1);
    scene.wait_end(0);
    scene.snapshot("article-half-close-ends-it");
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn address_in_use() {
    let mut scene = Scene::new();
    let addr = scene.server("step1");
    let second = Program::start("step1", &["server", "--addr", &text(addr)]);
    let shown = "cargo run --bin step1 -- server";
    scene.terminal("a second server", shown, second);
    scene.wait_end(1);
    scene.stays_silent(0);
    scene.snapshot("error-address-in-use");
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn address_not_available() {
    let args = ["server", "--addr", "192.0.2.1:8888"];
    one_error("address-not-available", "step1", &args, 1);
}

/// An address to listen on, as one to connect to: Linux takes it for this
/// machine, and reaches a server that listens on 127.0.0.1 only.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints what Linux does")]
fn connects_to_zero() {
    let mut scene = Scene::new();
    let zero = format!("0.0.0.0:{}", scene.server("step3").port());
    let args = ["client", "--addr", &zero, "Hello, echo!"];
    let shown = "cargo run --bin step3 -- client --addr 0.0.0.0:8888 \
                 'Hello, echo!'";
    scene.run("step3", &args, shown);
    scene.wait_end(1);
    scene.wait_for(0, "ended", 1);
    scene.snapshot("connects-to-zero");
}

#[test]
fn invalid_address() {
    let args = ["client", "--addr", "localhost:8888", "hi"];
    one_error("invalid-address", "step1", &args, 2);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn connection_refused() {
    let (_socket, addr) = refusing();
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    scene.ask("step1", "Hello, Server!");
    scene.wait_end(0);
    scene.snapshot("error-connection-refused");
}

#[test]
fn step2_echoes() {
    let mut scene = Scene::new();
    scene.server("step2");
    scene.ask("step2", "Hello, echo!");
    scene.wait_end(1);
    scene.wait_for(0, "ended", 1);
    scene.snapshot("step2-echoes");
}

#[test]
#[cfg_attr(not(unix), ignore = "needs a Unix shell")]
fn step2_echoes_3_mb() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::new();
    let addr = scene.server("step2");
    let script = format!(
        "head -c 3000000 /dev/urandom > big\n\
         {} client --addr {addr} < big > back\n\
         cmp big back && echo identical",
        bin("step2")
    );
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(script).current_dir(&folder);
    let shown = "head -c 3000000 /dev/urandom > big\n\
                 $ cargo run --bin step2 -- client < big > back\n\
                 $ cmp big back && echo identical";
    scene.terminal("the client", shown, Program::spawn(&mut sh, false));
    scene.wait_end(1);
    scene.wait_for(0, "ended", 1);
    scene.snapshot("step2-echoes-3-mb");
}

/// A client that writes everything before it reads: server and client wait
/// for each other, as soon as the kernel's buffers are full.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints what Linux does")]
fn write_first_deadlocks() {
    let mut scene = Scene::new();
    let addr = scene.server("step2");
    scene.run("write-first", &[&text(addr)], "cargo run --bin write-first");
    scene.wait_end(1);
    scene.wait_for(0, "reset", 1);
    let text = scene.text();
    let stuck = regex::Regex::new(r"after writing (\d+) bytes").unwrap();
    let n: usize = stuck.captures(&text).expect(&text)[1].parse().unwrap();
    assert!(n < 100_000_000, "it wrote everything");
    let text = stuck.replace(&text, "after writing N bytes");
    snapshot("write-first-deadlocks", text.trim_end());
}

/// The same client, with a message that fits into the buffers, is lucky.
#[test]
fn write_first_is_lucky() {
    let mut scene = Scene::new();
    let addr = scene.server("step2");
    let shown = "cargo run --bin write-first -- 127.0.0.1:8888 1000";
    scene.run("write-first", &[&text(addr), "1000"], shown);
    scene.wait_end(1);
    scene.wait_for(0, "ended", 1);
    scene.snapshot("write-first-is-lucky");
}

/// Client A stays; client B has connected and sent, and gets no answer. Then
/// A ends, and B is served.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "looks into /proc/net/tcp")]
fn step2_lets_the_second_client_wait() {
    let mut scene = Scene::new();
    let addr = two_clients(&mut scene, "step2");
    // Three bytes and the FIN, which is counted as one.
    wait_until("B's bytes in the kernel", || unread(addr) == 4);
    assert!(scene.program(2).is_running());
    scene.wait_for(0, "connected", 1);
    scene.stays_silent(1);
    scene.stays_silent(2);
    snapshot("step2-second-client-waits", scene.text().trim_end());

    scene.program(1).end_input();
    scene.wait_end(1);
    scene.wait_end(2);
    scene.wait_for(0, "ended", 2);
    scene.snapshot("step2-second-client-served");
}

#[test]
fn step3_serves_both() {
    let mut scene = Scene::new();
    two_clients(&mut scene, "step3");
    scene.wait_end(2);
    scene.wait_for(0, "ended", 1);
    assert!(scene.program(1).is_running());
    scene.stays_silent(1);
    scene.snapshot("step3-serves-both");
}

/// A: types a line and stays. B: sends `two` and ends its stream.
fn two_clients(scene: &mut Scene, step: &str) -> SocketAddr {
    let addr = scene.server(step);
    scene.client(step, None, &format!("cargo run --bin {step} -- client"));
    scene.type_line(1, "one", "one\n");
    scene.ask(step, "two");
    addr
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn step3_reports_a_reset() {
    let mut scene = Scene::new();
    let addr = scene.server("step3");
    scene.run("reset", &[&text(addr)], "cargo run --bin reset");
    scene.wait_end(1);
    scene.program(0).wait_for("reset");
    scene.ask("step3", "Still there?");
    scene.wait_end(2);
    scene.wait_for(0, "ended", 1);
    scene.snapshot("step3-reports-a-reset");
}

/// A client that sends and closes without reading, while the server stands
/// still: the second write meets a closed socket.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn broken_pipe() {
    let mut scene = Scene::new();
    let addr = scene.server("step4");
    signal(scene.program(0).id(), "-STOP");
    let mut client = TcpStream::connect(addr).unwrap();
    let frame = [&4001_u32.to_be_bytes()[..], &[1], &[b'x'; 4000]].concat();
    client.write_all(&frame.repeat(10)).unwrap();
    drop(client);
    wait_until("its bytes in the kernel", || unread(addr) >= 40_000);
    signal(scene.program(0).id(), "-CONT");
    scene.wait_for(0, "cannot write", 1);
    scene.snapshot("error-broken-pipe");
}

/// At the descriptor limit: the server says so, pauses, and goes on.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "prints Linux's words")]
fn too_many_open_files() {
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(format!(
        "ulimit -Sn 12; exec {} server --addr 127.0.0.1:0",
        bin("step3")
    ));
    let server = Program::spawn(&mut sh, false);
    let addr = server.addr();
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(TcpStream::connect(addr).unwrap());
    }
    let text = server.wait_for("cannot accept");
    let line = text.lines().find(|l| l.contains("cannot accept")).unwrap();
    let shown = format!(
        "$ (ulimit -Sn 12; target/debug/step3 server)\n\
         listening on 127.0.0.1:8888\n…\n{line}\n…"
    );
    snapshot("error-too-many-open-files", &shown);
}

/// One command that ends at once with an error.
fn one_error(name: &str, step: &str, args: &[&str], code: i32) {
    let ended = Program::start(step, args).finish();
    assert_eq!(ended.code, Some(code));
    assert!(ended.stdout.is_empty());
    let args = args.join(" ");
    let text = format!("$ cargo run --bin {step} -- {args}\n{}", ended.stderr);
    snapshot(&format!("error-{name}"), text.trim_end());
}

fn text(addr: SocketAddr) -> String {
    addr.to_string()
}

//! The exercises of *A web server* and *Real time*.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use libtest_mimic::Trial;
use regex::Regex;
use tempfile::TempDir;

use super::copy::{Solved, print};
use super::next::built;
use super::support::{Program, ROOT, is_installed, signal, trial, wait_until};

pub fn trials() -> Vec<Trial> {
    let curl = (!is_installed("curl", "--version")).then_some("needs curl");
    let python = !is_installed("python3", "--version");
    let python = python.then_some("needs python3");
    let strace = !cfg!(target_os = "linux") || !is_installed("strace", "-V");
    let strace = strace.then_some("needs strace");
    vec![
        trial("web::a_404_ends_no_connection", curl, web_404),
        trial("web::decoded_once", curl, web_once),
        trial("web::a_body_that_is_a_request", no_netcat(), web_skip),
        trial("web::a_reset_behind_an_answer", python, web_reset),
        trial("web::a_download_that_carries_on", curl, web_build),
        trial("web::how_often_it_reads", strace.or(curl), web_measure),
        trial("chat::whom_it_lets_in", curl, chat_origin),
        trial("chat::an_older_number_is_a_copy", python, chat_order),
        trial("chat::a_queue_of_dots", None, chat_queue),
        trial("chat::a_ping_buys_no_time", python, chat_clock),
        trial("chat::who_is_writing", None, chat_build),
    ]
}

fn no_netcat() -> Option<&'static str> {
    let help = Command::new("nc").arg("-h").output();
    let is_bsd = help.is_ok_and(|help| {
        String::from_utf8_lossy(&help.stderr).contains("OpenBSD")
    });
    (!is_bsd).then_some("needs netcat-openbsd")
}

// ---- A web server

/// A folder, printed as `/tmp/pages`, and a server of it.
struct Site {
    pages: TempDir,
    _own: TempDir,
    server: Program,
    addr: SocketAddr,
}

impl Site {
    /// Starts the server as `wrapped` does, perhaps by another program.
    fn start(solved: &Solved, wrapped: &[&str]) -> Site {
        let (own, web) = built(solved, "web");
        let pages = TempDir::new().unwrap();
        for (name, text) in [
            ("hello.txt", "Hello, browser!\n"),
            ("other.txt", "Another page.\n"),
        ] {
            fs::write(pages.path().join(name), text).unwrap();
        }
        let size = 20_000_000;
        fs::write(pages.path().join("big"), vec![b'x'; size]).unwrap();
        let folder = pages.path().to_str().unwrap();
        let line = [wrapped, &[&web, "--addr", "127.0.0.1:0", "."]].concat();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).current_dir(folder);
        let server = Program::spawn(&mut command, false);
        let addr = server.addr();
        Site { pages, _own: own, server, addr }
    }

    /// What bash prints for each of these lines, in `/tmp/pages`.
    fn typed(&self, lines: &[&str]) -> String {
        let port = self.addr.port().to_string();
        let folder = self.pages.path().to_str().unwrap();
        let mut shown = String::new();
        for line in lines {
            let real = line.replace("8888", &port);
            let real = real.replace("/tmp/pages", folder);
            let real = real.replace("/tmp/request", &format!("{folder}/r"));
            let mut bash = Command::new("bash");
            bash.args(["-c", &format!("exec 2>&1; {real}")]);
            let output = bash.current_dir(ROOT).output().unwrap().stdout;
            let output = String::from_utf8_lossy(&output).replace('\r', "");
            shown += &format!("$ {line}\n{output}");
        }
        shown
    }
}

fn web_404() {
    let site = Site::start(&Solved::with(""), &[]);
    let text = site.typed(&[
        "curl -s -w '%{http_code}, new connections: %{num_connects}\\n' \
         http://127.0.0.1:8888/{none,hello.txt}",
    ]);
    assert!(text.contains("404, new connections: 1"), "{text}");
    assert!(text.contains("200, new connections: 0"), "{text}");
    print("web-404", &text);
}

fn web_once() {
    let site = Site::start(&Solved::with(""), &[]);
    let text = site.typed(&[
        "mkdir /tmp/pages/%2e%2e; echo 'a strange name' > \
         /tmp/pages/%2e%2e/file",
        "curl -s --path-as-is http://127.0.0.1:8888/%2e%2e/file",
        "curl -s --path-as-is http://127.0.0.1:8888/%252e%252e/file",
    ]);
    assert!(text.ends_with("a strange name\n"), "{text}");
    print("web-once", &text);
}

fn web_skip() {
    let solved = Solved::with("web-skip");
    let tests = "cargo test -p web --bin web -- --test-threads=1";
    let tested = solved.run(tests).fails();
    let site = Site::start(&solved, &[]);
    let text = site.typed(&[
        "printf '%s\\r\\n' 'GET /hello.txt HTTP/1.1' 'Host: a' \
         'Content-Length: 36' '' \\\n    'GET /other.txt HTTP/1.1' 'Host: a' \
         '' > /tmp/request",
        "nc -N 127.0.0.1 8888 < /tmp/request | grep -v ': '",
    ]);
    assert_eq!(text.matches("HTTP/1.1 200").count(), 2, "{text}");
    let failed = tested.shown(&["... FAILED", "test result"]);
    print("web-skip", &format!("{text}\n{failed}"));
}

fn web_reset() {
    let mut shown = String::new();
    for (patch, is_reset) in [("", false), ("web-reset", true)] {
        let site = Site::start(&Solved::with(patch), &[]);
        let python = "python3 tests/exercises/upload.py 127.0.0.1:8888";
        let text = site.typed(&[python]);
        assert!(text.contains("HTTP/1.1 413 "), "{text}");
        assert_eq!(text.contains("reset by peer"), is_reset, "{text}");
        shown += &format!("{text}\n");
    }
    print("web-reset", &shown);
}

fn web_build() {
    let solved = Solved::with("web-build");
    let tests = "cargo test -p web --bin web";
    let tested = solved.run(tests).succeeds();
    let site = Site::start(&solved, &[]);
    let text = site.typed(&[
        "head -c 5000000 /tmp/pages/big > /tmp/pages/copy",
        "curl -s -C - -o /tmp/pages/copy \
         -w '%{http_code}, %{size_download} bytes\\n' \
         http://127.0.0.1:8888/big",
        "cmp /tmp/pages/big /tmp/pages/copy && echo the same",
        "curl -s -r 7-13 http://127.0.0.1:8888/hello.txt; echo",
        "curl -s -r 16- -D - http://127.0.0.1:8888/hello.txt",
    ]);
    assert!(text.contains("206, 15000000 bytes\n"), "{text}");
    assert!(text.contains("the same\n"), "{text}");
    let tested = tested.shown(&["range::", "test result"]);
    print("web-build", &format!("{text}\n{tested}"));
}

fn web_measure() {
    let mut shown = String::new();
    for patch in ["", "web-piece"] {
        let log = TempDir::new().unwrap();
        let path = log.path().join("reads.txt");
        let strace = "strace -D -f -e trace=read -P big -o";
        let mut wrapped: Vec<&str> = strace.split(' ').collect();
        wrapped.push(path.to_str().unwrap());
        let site = Site::start(&Solved::with(patch), &wrapped);
        let curl = "curl -s -o /dev/null -w '%{size_download}\\n' \
            http://127.0.0.1:8888/big";
        let text = site.typed(&[curl]);
        assert!(text.ends_with("20000000\n"), "{text}");
        signal(site.server.id(), "-INT");
        site.server.finish();
        let reads = || fs::read_to_string(&path).unwrap_or_default();
        wait_until("the end of strace", || reads().contains("+++ exited"));
        let piece = if patch.is_empty() { "64" } else { "8" };
        let n = reads().matches("read(").count();
        shown += &format!("PIECE = {piece} * 1024: {n} reads\n");
    }
    print("web-measure", &shown);
}

// ---- Real time

/// A server of a room, and a page that does something strange.
struct Room {
    _own: TempDir,
    server: Program,
    addr: SocketAddr,
}

impl Room {
    fn start(patch: &str) -> Room {
        let (own, chat) = built(&Solved::with(patch), "chat");
        let mut command = Command::new(chat);
        command.args(["server", "--addr", "127.0.0.1:0", "--frame-ms", "1000"]);
        let server = Program::spawn(&mut command, false);
        let addr = server.addr();
        Room { _own: own, server, addr }
    }

    fn play(&self, scene: &str) -> String {
        let mut python = Command::new("python3");
        python.args(["tests/exercises/room.py", &self.addr.to_string(), scene]);
        let output = python.current_dir(ROOT).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let shown = "python3 tests/exercises/room.py 127.0.0.1:8888";
        format!("$ {shown} {scene}\n{text}")
    }
}

fn chat_origin() {
    let room = Room::start("");
    let mut shown = String::new();
    for page in ["http://127.0.0.1:8888", "http://evil.example"] {
        let head = "Upgrade: websocket,Connection: Upgrade,\
            Sec-WebSocket-Version: 13,\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let origin = format!("Origin: {page}");
        let port = room.addr.port().to_string();
        let mut curl = Command::new("curl");
        for field in head.split(',').chain([&origin[..]]) {
            curl.args(["-H", &field.replace("8888", &port)]);
        }
        curl.args(["-s", "-i", "--http1.1", "--max-time", "2"]);
        let output = curl.arg(format!("http://{}/room", room.addr)).output();
        let text = String::from_utf8_lossy(&output.unwrap().stdout).to_string();
        let status = text.lines().next().unwrap();
        shown += &format!("{origin:36} {status}\n");
    }
    assert!(shown.contains("101") && shown.contains("403"), "{shown}");
    print("chat-origin", &shown);
}

fn chat_order() {
    let text = Room::start("").play("order");
    let id = Regex::new(r"\d{13}-\d+").unwrap();
    print("chat-order", &id.replace_all(&text, "ID"));
}

fn chat_queue() {
    let line = "cargo test -p chat --bin chat newest";
    let tested = Solved::with("chat-queue").run(line).fails();
    let mut shown = String::new();
    for line in tested.shown(&["... FAILED", "left:", "right:"]).lines() {
        let short: String = line.chars().take(78).collect();
        let cut = if short == line { "" } else { "…" };
        shown += &format!("{short}{cut}\n");
    }
    print("chat-queue", &shown);
}

fn chat_clock() {
    let mut shown = String::new();
    for patch in ["", "chat-clock"] {
        let room = Room::start(patch);
        shown += &format!("{}\n", room.play("fragments"));
        let waits = shown.contains("has waited");
        assert_eq!(waits, !patch.is_empty(), "{shown}");
        if patch.is_empty() {
            room.server.wait_for("in time");
        }
        let is_late = room.server.texts().0;
        let is_late = String::from_utf8_lossy(&is_late).contains("in time");
        assert_eq!(is_late, patch.is_empty());
    }
    print("chat-clock", &shown);
}

fn chat_build() {
    let line = "cargo test -p chat --bin chat room::";
    let tested = Solved::with("chat-build").run(line).succeeds();
    print("chat-build", &tested.shown(&["waits", "test result"]));
}

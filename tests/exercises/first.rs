//! The exercises from *Introduction* to *Frames*, and what some of the
//! questions there are proved by.

use std::env::consts::OS;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use regex::{Captures, Regex};
use tempfile::TempDir;

use super::copy::{Solved, print};
use super::support::net::{self, Namespace};
use super::support::scene::Scene;
use super::support::{
    ESTABLISHED, Program, ends, is_installed, trial, wait_for_fin, wait_until,
};

pub fn trials() -> Vec<Trial> {
    let linux = (OS != "linux").then_some("needs Linux");
    let python = !is_installed("python3", "--version");
    let python = python.then_some("needs python3");
    let ss = (!is_installed("ss", "-V")).then_some("needs ss");
    let mut trials = vec![
        trial("introduction::no_server", net::missing(), refused),
        trial("introduction::the_share_of_your_text", None, share),
        trial("preparation::the_wrong_byte_order", linux, order),
        trial("preparation::another_loopback", linux, loopback),
        trial("preparation::an_echo_of_nothing", linux, nothing),
        trial("preparation::port_0_ten_times", linux, port_0),
        trial("hello::without_shutdown", linux.or(python), hello),
        trial("server::one_at_a_time", linux, server_turn),
        trial("server::a_queue_for_one", linux, server_backlog),
        trial("server::a_greeter_in_python", python, server_build),
        trial("server::the_queue_as_ss_sees_it", ss, server_measure),
        trial("server::a_loop_without_a_pause", linux.or(python), spin),
        trial("client::without_shutdown", linux, no_shutdown),
        trial("client::the_server_has_left", linux, server_left),
        trial("client::hears_why_it_was_refused", linux, hears_why),
        trial("client::an_echo_client_in_python", python, echo_client),
        trial("client::write_first_five_times", linux, write_first),
    ];
    trials.extend(from_many_clients_on(linux, python));
    trials
}

fn from_many_clients_on(
    linux: Option<&'static str>,
    python: Option<&'static str>,
) -> Vec<Trial> {
    let strace = !is_installed("strace", "-V");
    let strace = strace.then_some("needs strace");
    vec![
        trial("many-clients::await_behind_spawn", linux, awaited),
        trial("many-clients::no_descriptor_left", linux, descriptors),
        trial("many-clients::a_task_that_sleeps", linux, sleeps),
        trial("many-clients::an_echo_server_in_python", python, echo_server),
        trial("many-clients::threads_and_tasks", linux, threads),
        trial("frames::an_unknown_kind", linux, unknown_kind),
        trial("frames::three_bytes", linux, three_bytes),
        trial("frames::a_length_with_a_sign", None, signed),
        trial("frames::a_message_that_a_terminal_obeys", linux, escapes),
        trial("frames::a_server_in_python", python, frames_server),
        trial("frames::a_client_in_python", python, frames_client),
        trial("frames::the_writes_of_100_replies", strace, writes),
    ]
}

/// Programs of the project, perhaps with a solution in them, in terminals.
struct Stage {
    own: TempDir,
    scene: Scene,
    addr: Option<SocketAddr>,
}

impl Stage {
    fn with(patch: &str, names: &[&str]) -> Stage {
        let own = TempDir::new().unwrap();
        let build = names.iter().map(|name| format!(" --bin {name}"));
        let build: String = build.collect();
        let built = names.iter().map(|name| format!(" target/debug/{name}"));
        let built: String = built.collect();
        let folder = own.path().display();
        let line = format!("cargo build{build} && cp{built} {folder}");
        Solved::with(patch).run(&line).succeeds();
        Stage { own, scene: Scene::new(), addr: None }
    }

    /// What runs when a reader types this: our programs, on our port.
    fn real(&self, line: &str) -> String {
        let program = Regex::new(
            r"(?:cargo run --bin |target/debug/)([a-z0-9-]+)(?: --)?( \w+)?",
        );
        let own = self.own.path().display();
        let addr = self.addr.map(|addr| addr.to_string()).unwrap_or_default();
        let real = |found: &Captures| {
            let (name, role) = (&found[1], found.get(2).map(|r| r.as_str()));
            match (name, role) {
                (_, Some(" server")) => {
                    format!("{own}/{name} server --addr 127.0.0.1:0")
                }
                (_, Some(" client")) => {
                    format!("{own}/{name} client --addr {addr}")
                }
                ("threads" | "write-each", _) => {
                    format!("{own}/{name} 127.0.0.1:0")
                }
                _ => format!("{own}/{name} {addr}"),
            }
        };
        program.unwrap().replace_all(line, real).into_owned()
    }

    fn spawn(&self, line: &str, input: bool) -> Program {
        let line = self.real(line);
        // The program itself, and not its shell, is what a test ends.
        let line = match line.rsplit_once("; ") {
            _ if line.contains('|') => line,
            Some((before, last)) => format!("{before}; exec {last}"),
            None => format!("exec env {line}"),
        };
        Program::spawn(Command::new("bash").args(["-c", &line]), input)
    }

    /// Starts a server, whose port is printed as 8888.
    fn serve(&mut self, shown: &str) -> SocketAddr {
        let line = shown.trim_matches(['(', ')']); // of a shell for ulimit
        let server = self.spawn(line, false);
        let addr = server.addr();
        self.addr = Some(addr);
        self.scene.rename(addr, 8888);
        self.scene.terminal("the server", shown, server);
        addr
    }

    /// Runs a line in a new terminal; with `input`, somebody types there.
    fn run(&mut self, title: &'static str, line: &str, input: bool) -> usize {
        let program = self.spawn(line, input);
        self.scene.terminal(title, line, program);
        self.scene.last()
    }

    /// Runs a line to its end.
    fn ran(&mut self, title: &'static str, line: &str) {
        let at = self.run(title, line, false);
        self.scene.wait_end(at);
    }
}

// ---- Introduction

fn refused() {
    let (_own, step1) = Solved::with("").program("step1");
    let net = Namespace::new("refused");
    let mut tcpdump = net.command("tcpdump");
    tcpdump.args(["-i", "lo", "-nn", "-t", "-l", "-c", "2"]);
    tcpdump.args(["--immediate-mode", "port", "8888"]);
    let tcpdump = Program::spawn(&mut tcpdump, false);
    tcpdump.wait_for_stderr("listening on");
    let mut client = net.command(step1);
    let client = Program::spawn(client.args(["client", "hello"]), false);
    client.wait_end();
    tcpdump.wait_end();
    let packets = String::from_utf8(tcpdump.texts().0).unwrap();
    let varies = Regex::new(r"\bseq [1-9]\d*|\back \d{3,}|\bwin .*, length");
    let packets = varies.unwrap().replace_all(&packets, |found: &Captures| {
        let end = if found[0].ends_with("length") { ", length" } else { "" };
        format!("{} …{end}", found[0].split(' ').next().unwrap())
    });
    let client = client.texts().1;
    print(
        "introduction-refused",
        &format!(
            "# terminal 1: the packets\n$ tcpdump -i lo -nn -t port 8888\n\
             {packets}\n# terminal 2: the client\n\
             $ cargo run --bin step1 -- client hello\n{client}"
        ),
    );
}

fn share() {
    let size = Solved::with("").run("wc -c tests/captures/step1.pcap");
    let crossed = "echo $((888 - 24 - 10 * 16)) bytes crossed";
    let crossed = Solved::with("").run(crossed);
    let both = [size.shown(&["888"]), crossed.shown(&["704"])];
    print("introduction-share", &both.concat());
}

// ---- Preparation

fn order() {
    let mut stage = Stage::with("", &["step3", "step4"]);
    stage.serve("cargo run --bin step4 -- server");
    let line = "printf '\\3\\0\\0\\0\\1hi' \
                | cargo run --bin step3 -- client | cat -v";
    stage.ran("a client with the wrong byte order", line);
    stage.scene.wait_for(0, "at most", 1);
    print("preparation-order", &stage.scene.text());
}

fn loopback() {
    let mut stage = Stage::with("", &["step3"]);
    let addr = stage.serve("cargo run --bin step3 -- server");
    let shown = "cargo run --bin step3 -- client --addr [::1]:8888 hi";
    let mut client = Command::new(stage.own.path().join("step3"));
    client.args(["client", "--addr", &format!("[::1]:{}", addr.port()), "hi"]);
    stage.scene.terminal(
        "the client",
        shown,
        Program::spawn(&mut client, false),
    );
    stage.scene.wait_end(1);
    stage.scene.stays_silent(0);
    let text = stage.scene.text();
    let port = format!("]:{}", addr.port());
    print("preparation-loopback", &text.replace(&port, "]:8888"));
}

fn nothing() {
    let mut stage = Stage::with("", &["step3", "step4"]);
    stage.serve("cargo run --bin step4 -- server");
    for (title, bytes, says) in [
        ("an echo of nothing", r"\0\0\0\1\1", "after 1 frame"),
        ("no kind", r"\0\0\0\0", "length 0"),
    ] {
        let client = "cargo run --bin step3 -- client | od -An -c";
        stage.ran(title, &format!("printf '{bytes}' | {client}"));
        stage.scene.wait_for(0, says, 1);
    }
    print("preparation-nothing", &stage.scene.text());
}

fn port_0() {
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    let text = std::fs::read_to_string(range).unwrap();
    let mut ends = text.split_whitespace().map(|n| n.parse::<u16>().unwrap());
    let range = ends.next().unwrap()..=ends.next().unwrap();
    let (_own, step1) = Solved::with("").program("step1");
    let servers = [(); 10].map(|()| {
        let mut server = Command::new(&step1);
        Program::spawn(server.args(["server", "--addr", "127.0.0.1:0"]), false)
    });
    let mut ports = servers.each_ref().map(|server| server.addr().port());
    ports.sort_unstable();
    let n = ports.iter().filter(|port| range.contains(port)).count();
    let differ = ports.windows(2).all(|two| two[0] != two[1]);
    assert!(differ, "two servers listen on one port: {ports:?}");
    let shown = format!("10 servers, 10 different ports, {n} in the range");
    print("preparation-port-0", &shown);
}

fn hello() {
    let mut stage = Stage::with("", &["step1", "step2"]);
    let solved = Solved::with("hello-no-shutdown");
    let file = "tests/peers/python/hello.py";
    let own = stage.own.path().display();
    solved.run(&format!("cp {file} {own}")).succeeds();
    drop(solved);
    for step in ["step1", "step2"] {
        let addr = stage.serve(&format!("cargo run --bin {step} -- server"));
        let server = stage.scene.last();
        let mut python = Command::new("python3");
        python.env_remove("PYTHONUNBUFFERED");
        python.arg(stage.own.path().join("hello.py"));
        let port = addr.port().to_string();
        let client = Program::spawn(python.arg(port), false);
        stage.scene.terminal("the client", &format!("python3 {file}"), client);
        if step == "step1" {
            stage.scene.wait_end(1);
            stage.scene.wait_for(server, "closes", 1);
            stage.scene.program(server).kill();
            stage.scene.note(server, "closes", "^C\n");
        } else {
            wait_for_both(addr);
            assert!(stage.scene.program(3).is_running());
            stage.scene.stays_silent(3);
            stage.scene.wait_for(server, "connected", 1);
        }
    }
    print("hello-no-shutdown", &stage.scene.text());
}

/// Waits until the echo of a client has been taken, and nothing is on its way
/// between two ends that are both open.
fn wait_for_both(addr: SocketAddr) {
    wait_until("two ends that wait for each other", || {
        let ends = ends(addr);
        let is_quiet = ends.iter().all(|end| {
            end.state == ESTABLISHED && end.unread == 0 && end.unsent == 0
        });
        ends.len() == 2 && is_quiet
    });
}

// ---- The server

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
    let text = addr.to_string();
    let silent = start(&["client", "--addr", &text], true);
    scene.terminal("a client", &format!("{run} client"), silent);
    wait_until("the first client", || ends(addr).len() == 2);
    let second = start(&["client", "--addr", &text, "hello"], false);
    scene.terminal("a second client", &format!("{run} client hello"), second);
    scene.note(1, "", "^D\n");
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
    let server = "python3 tests/exercises/greeter.py {addr}";
    check("server-build", "server step1", server);
}

fn spin() {
    let line = "python3 tests/exercises/spin.py";
    let text = Solved::with("").run(line).succeeds().text;
    assert!(text.contains("more than 1000") && text.contains("half a second"));
    print("server-spin", &format!("$ {line}\n{text}"));
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

// ---- The client

fn no_shutdown() {
    let mut stage = Stage::with("client-no-shutdown", &["step2"]);
    let addr = stage.serve("cargo run --bin step2 -- server");
    let line = "cargo run --bin step2 -- client hello";
    let client = stage.run("the client", line, false);
    stage.scene.wait_for(client, "hello", 1);
    wait_for_both(addr);
    assert!(stage.scene.program(client).is_running());
    stage.scene.note(client, "hello", "\n^C\n");
    stage.scene.program(client).kill();
    stage.scene.wait_for(0, "ended after 5 bytes", 1);
    print("client-no-shutdown", &stage.scene.text());
}

fn server_left() {
    let mut stage = Stage::with("", &["step2"]);
    let addr = stage.serve("cargo run --bin step2 -- server");
    let line = "cargo run --bin step2 -- client";
    let client = stage.run("the client", line, true);
    stage.scene.type_line(client, "one", "one\n");
    stage.scene.note(0, "connected", "^C\n");
    stage.scene.program(0).kill();
    stage.scene.stays_silent(0);
    wait_for_fin(addr);
    stage.scene.type_line(client, "two", "one\n"); // no answer
    wait_until("the RST", || ends(addr).is_empty());
    stage.scene.note(client, "one\n", "three\n");
    stage.scene.program(client).write(b"three\n");
    stage.scene.wait_end(client);
    print("client-server-left", &stage.scene.text());
}

fn hears_why() {
    let mut stage = Stage::with("", &["step2", "step4"]);
    stage.serve("cargo run --bin step4 -- server");
    let line = "yes x | cargo run --bin step2 -- client | cat -v";
    stage.ran("a client that does not stop", line);
    stage.scene.wait_for(0, "at most", 1);
    print("client-hears-why", &stage.scene.text());
}

/// Prints what the checker says of a program.
fn check(name: &str, role: &str, command: &str) {
    let options = format!("{role} --keep-going --cmd '{command}'");
    print(name, &Solved::with("").check(&options).cases());
}

fn echo_client() {
    let client = "python3 tests/exercises/echo_client.py {addr} {text}";
    check("client-build", "client step2", client);
}

fn write_first() {
    let mut stage = Stage::with("", &["step2", "write-first"]);
    let addr = stage.serve("cargo run --bin step2 -- server");
    let number = Regex::new(r"after writing (\d+) bytes").unwrap();
    let mut shown = "$ for i in $(seq 5); do target/debug/write-first; done\n\
                     …\n"
    .to_owned();
    for _ in 0..5 {
        let client = Command::new(stage.own.path().join("write-first"))
            .arg(addr.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(client.stderr).unwrap();
        let n: u32 = number.captures(&text).expect(&text)[1].parse().unwrap();
        assert!((1000..100_000_000).contains(&n), "{text}");
        shown += &number.replace(&text, "after writing N bytes");
    }
    print("client-measure", &shown);
}

// ---- Many clients

fn awaited() {
    let mut stage = Stage::with("many-clients-await", &["step3"]);
    let addr = stage.serve("cargo run --bin step3 -- server");
    let line = "cargo run --bin step3 -- client";
    let first = stage.run("a client", line, true);
    stage.scene.type_line(first, "one", "one\n");
    stage.scene.wait_for(first, "one", 1);
    let second = stage.run("a second client", &format!("{line} two"), false);
    // Its text and its FIN have arrived, and the server has not taken them.
    wait_until("two clients", || {
        ends(addr).iter().any(|end| end.is_server && end.unread > 3)
    });
    assert!(stage.scene.program(second).is_running());
    stage.scene.stays_silent(second);
    stage.scene.wait_for(0, "connected", 1);
    print("many-clients-await", &stage.scene.text());
}

fn descriptors() {
    let mut stage = Stage::with("", &["step3"]);
    let addr = stage.serve("(ulimit -Sn 12; target/debug/step3 server)");
    let line = "target/debug/step3 client";
    let first = stage.run("the first client", line, true);
    stage.scene.type_line(first, "one", "one\n");
    let second = stage.run("a second client", line, true);
    stage.scene.type_line(second, "two", "two\n");
    stage.scene.stays_silent(second);
    stage.scene.wait_for(0, "cannot accept", 1);
    let last = stage.run("the last client", &format!("{line} hello"), false);
    wait_until("its text in the queue", || {
        ends(addr).iter().any(|end| end.is_server && end.unread > 5)
    });
    assert!(stage.scene.program(last).is_running());
    stage.scene.note(first, "one\n", "^D\n");
    stage.scene.program(first).end_input();
    stage.scene.wait_end(first);
    stage.scene.wait_end(last);
    stage.scene.wait_for(0, "ended after 5 bytes", 1);
    let shown = once(&stage.scene.text(), "server: cannot accept");
    print("many-clients-descriptors", &shown);
}

/// Of the lines with this start, only the first, and that there are more. They
/// come from another thread than the second `connected`, and so before or
/// after it; here after it.
fn once(text: &str, start: &str) -> String {
    let (told, others): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with(start));
    let mut shown = others.join("\n");
    let (second, connected) =
        shown.match_indices(" connected\n").nth(1).unwrap();
    let after = second + connected.len();
    shown.insert_str(after, &format!("{}\n…\n", told[0]));
    shown
}

fn sleeps() {
    let mut stage = Stage::with("many-clients-sleep", &["step3"]);
    let server = "TOKIO_WORKER_THREADS=2 cargo run --bin step3 -- server";
    let addr = stage.serve(server);
    let mut clients = Vec::new();
    let start = Instant::now();
    for n in 1..=2 {
        clients.push(TcpStream::connect(addr).unwrap());
        stage.scene.wait_for(0, "connected", n);
    }
    clients.push(TcpStream::connect(addr).unwrap());
    let mut shown = stage.scene.text();
    shown += "\n# the third client is connected, and this line comes late\n";
    stage.scene.wait_for(0, "connected", 3);
    let late = start.elapsed();
    assert!(late >= Duration::from_secs(10), "after {late:?}");
    let text = stage.scene.text();
    shown += &format!("…\n{}", text.lines().last().unwrap());
    print("many-clients-sleep", &shown);
}

fn echo_server() {
    let server = "python3 tests/exercises/echo_server.py {addr}";
    check("many-clients-build", "server step3", server);
}

/// How many threads a server has with 100 clients, as Linux counts them.
fn threads() {
    let mut stage = Stage::with("", &["step3", "threads"]);
    let mut shown = String::new();
    for (line, n) in [
        ("target/debug/threads", 101),
        ("TOKIO_WORKER_THREADS=2 target/debug/step3 server", 3),
    ] {
        let addr = stage.serve(line);
        let server = stage.scene.last();
        let _clients = [(); 100].map(|()| TcpStream::connect(addr).unwrap());
        let pid = stage.scene.program(server).id();
        let count = || {
            let status = format!("/proc/{pid}/status");
            let status = std::fs::read_to_string(status).unwrap();
            let line = status.lines().find(|l| l.starts_with("Threads:"));
            line.unwrap().replace('\t', " ")
        };
        wait_until("a place for each client", || {
            ends(addr).len() == 200 && count().ends_with(&format!(" {n}"))
        });
        shown += &format!(
            "$ {line} &\n$ # 100 clients connect\n\
             $ grep Threads /proc/$!/status\n{}\n\n",
            count()
        );
    }
    print("many-clients-threads", &shown);
}

// ---- Frames

fn unknown_kind() {
    let mut stage = Stage::with("", &["step3", "step4"]);
    stage.serve("cargo run --bin step4 -- server");
    let line = r"printf '\0\0\0\2\7x\0\0\0\3\1hi' \
                | cargo run --bin step3 -- client | cat -v";
    let line = line.replace("                | ", "  | ");
    stage.ran("a client", &line);
    stage.scene.wait_for(0, "ended after", 1);
    print("frames-unknown-kind", &stage.scene.text());
}

fn three_bytes() {
    let mut stage = Stage::with("", &["step3", "step4"]);
    stage.serve("cargo run --bin step4 -- server");
    let line = r"printf '\0\0\0' | cargo run --bin step3 -- client";
    stage.ran("a client", line);
    stage.scene.wait_for(0, "middle of a frame", 1);
    print("frames-three-bytes", &stage.scene.text());
}

fn signed() {
    let solved = Solved::with("frames-signed");
    let tried = solved.run("cargo test --test frames").fails();
    print("frames-signed", &tried.shown(&["FAILED", "test result"]));
}

fn escapes() {
    let mut stage = Stage::with("", &["step4"]);
    stage.serve("cargo run --bin step4 -- server");
    let line = r"cargo run --bin step4 -- client $'\e[7mhello' | cat -v";
    stage.ran("the client", line);
    stage.scene.wait_for(0, "ended after", 1);
    print("frames-escapes", &stage.scene.text());
}

/// Only some cases: `tests/check/tests/peers.rs` tries all.
fn frames_server() {
    let cases = "server step4 --case S4-05 --case S4-08 --case S4-09";
    let server = "python3 tests/peers/python/framed_server.py {port}";
    check("frames-build-server", cases, server);
}

fn frames_client() {
    let cases = "client step4 --case C4-02 --case C4-05 --case C4-07";
    let client = "python3 tests/peers/python/framed_client.py {port} {text}";
    check("frames-build-client", cases, client);
}

/// How often two servers write, when 100 frames come in one write.
fn writes() {
    let mut stage = Stage::with("", &["step3", "step4", "write-each"]);
    let mut shown = String::new();
    for (name, role, n) in [("write-each", "", 100), ("step4", " server", 1)] {
        let file = stage.own.path().join("calls");
        let file = file.display();
        // With -D, strace is the child, and ends with the server.
        let strace = format!("strace -D -f -e trace=sendto -o {file}");
        stage.serve(&format!("{strace} target/debug/{name}{role}"));
        let frames = stage.own.path().join("frames");
        std::fs::write(&frames, b"\0\0\0\x03\x01hi".repeat(100)).unwrap();
        let frames = frames.display();
        let client = &format!("target/debug/step3 client < {frames} | wc -c");
        let client = stage.run("a client", client, false);
        stage.scene.wait_end(client);
        let count = || {
            let calls = std::fs::read_to_string(file.to_string()).unwrap();
            calls.matches("sendto(").count()
        };
        wait_until("the trace", || count() >= n);
        assert_eq!(count(), n, "{name}");
        let line = format!("strace -f -e trace=sendto target/debug/{name}");
        shown += &format!("$ {line}{role} 2>&1 | grep -c sendto\n{n}\n");
    }
    print("frames-writes", &shown);
}

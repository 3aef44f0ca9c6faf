//! The exercises from *Testing and debugging* to *Trying again*, and what
//! proves the answers there.

use std::env::consts::OS;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use libtest_mimic::Trial;
use regex::Regex;
use tempfile::TempDir;

use super::copy::{Outcome, Solved, print};
use super::support::scene::Scene;
use super::support::{
    DEADLINE, ESTABLISHED, Program, ROOT, again, ends, is_installed, refusing,
    signal, snapshot, trial, unread, wait_until,
};

pub fn trials() -> Vec<Trial> {
    let linux = (OS != "linux").then_some("needs Linux");
    let python = !is_installed("python3", "--version");
    let python = python.then_some("needs python3");
    let ss = (!is_installed("ss", "-V")).then_some("needs ss");
    let nc = Command::new("nc").arg("-h").output();
    let nc = nc.map(|output| output.stderr).unwrap_or_default();
    let nc = String::from_utf8_lossy(&nc).contains("OpenBSD");
    let nc = (!nc).then_some("needs nc");
    let mut trials = limits(linux, python, nc);
    trials.extend(retry(linux));
    trials.extend(testing(ss, python));
    trials.extend(roads(python));
    trials.extend(proxy(python));
    trials.extend(sim(python));
    trials
}

// ---- Programs of a copy

/// A program of the steps, perhaps with a patch.
struct Own {
    _folder: TempDir,
    path: String,
    name: &'static str,
}

impl Own {
    fn new(patch: &str, name: &'static str) -> Own {
        let (folder, path) = Solved::with(patch).program(name);
        Own { _folder: folder, path, name }
    }

    /// Starts it with these variables, and returns what the reader types.
    fn start(&self, set: &[(&str, &str)], args: &[&str]) -> (Program, String) {
        let mut command = Command::new(&self.path);
        command.envs(set.iter().copied()).args(args);
        let set: String = set
            .iter()
            .map(|(name, value)| format!("{name}={value} "))
            .collect();
        let shown = format!("{set}cargo run --bin {} --", self.name);
        (Program::spawn(&mut command, true), shown)
    }

    /// Its server, in a new terminal, on a port that is printed as 8888.
    fn server(
        &self,
        scene: &mut Scene,
        title: &'static str,
        set: &[(&str, &str)],
    ) -> SocketAddr {
        let args = ["server", "--addr", "127.0.0.1:0"];
        let (server, shown) = self.start(set, &args);
        let addr = server.addr();
        scene.rename(addr, 8888);
        scene.terminal(title, &format!("{shown} server"), server);
        addr
    }

    /// Its client, in a new terminal, with these texts or a keyboard.
    fn client(
        &self,
        scene: &mut Scene,
        title: &'static str,
        addr: SocketAddr,
        set: &[(&str, &str)],
        texts: &[&str],
    ) {
        let addr = addr.to_string();
        let args = [&["client", "--addr", &addr][..], texts].concat();
        let (client, shown) = self.start(set, &args);
        let texts: String = texts.iter().map(|t| format!(" {t}")).collect();
        scene.terminal(title, &format!("{shown} client{texts}"), client);
    }
}

/// A line of the shell, in a new terminal; `ADDR` and `PORT` are those of the
/// server, which the reader types as `shown` says.
fn shell(scene: &mut Scene, addr: SocketAddr, line: &str) {
    let mut command = Command::new("bash");
    let real = line.replace("8888", &addr.port().to_string());
    command.args(["-c", &format!("exec 2>&1; {real}")]).current_dir(ROOT);
    scene.terminal("a client", line, Program::spawn(&mut command, false));
}

// ---- Time limits

fn limits(
    linux: Option<&str>,
    python: Option<&str>,
    nc: Option<&str>,
) -> Vec<Trial> {
    vec![
        trial("time-limits::each_read_its_own_limit", None, each_read),
        trial("time-limits::a_byte_buys_time", None, limits_byte),
        trial("time-limits::silent_for_too_long", linux, limits_silent),
        trial("time-limits::three_limits_in_python", python, limits_build),
        trial("time-limits::five_bytes_and_patience", nc, limits_measure),
        trial("time-limits::no_reader_no_error", linux.or(python), no_reader),
    ]
}

fn each_read() {
    let own = Own::new("time-limits-byte", "step5");
    let slowloris = Own::new("", "slowloris");
    let mut scene = Scene::new();
    let set = [("TCP_FRAME_MS", "2000")];
    let addr =
        own.server(&mut scene, "a server with a limit for each read", &set);
    let (client, shown) = slowloris.start(&[], &[&addr.to_string()]);
    scene.terminal("the client", shown.trim_end_matches(" --"), client);
    scene.wait_end(1);
    scene.wait_for(0, "in the middle of a frame", 1);
    snapshot("question-each-read", scene.text().trim_end());
}

fn limits_byte() {
    let tried = Solved::with("time-limits-byte");
    let tried = tried.run("cargo test --bin step5").fails();
    let shown = tried.shown(&["... FAILED", "assertion"]);
    let mut lines: Vec<&str> = shown.lines().collect();
    // Which test fails first is luck; here they stand as in the list.
    lines[4..].sort_unstable_by(|a, b| b.cmp(a));
    print("time-limits-byte", &lines.join("\n"));
}

/// Step 4 waits at the keyboard; step 5 looks before it sends.
fn limits_silent() {
    let [step4, step5] = ["step4", "step5"].map(|step| Own::new("", step));
    let mut scene = Scene::new();
    let set = [("TCP_IDLE_MS", "3000")];
    let addr = step5.server(&mut scene, "the server", &set);
    step4.client(&mut scene, "the client of step 4", addr, &[], &[]);
    scene.type_line(1, "one", "one\n");
    scene.wait_end(1);
    step5.client(&mut scene, "the client of step 5", addr, &[], &[]);
    scene.type_line(2, "one", "one\n");
    scene.program(0).wait_for_times("no frame started", 2);
    wait_until("the end of both connections", || {
        ends(addr).iter().all(|end| end.state != ESTABLISHED)
    });
    scene.type_line(2, "two", "two\n");
    scene.note(2, "two\n", "^D\n");
    scene.program(2).end_input();
    scene.wait_end(2);
    scene.wait_for(0, "ended after", 1);
    print("time-limits-silent", &scene.text());
}

fn limits_build() {
    let options = "server step5 --keep-going --cmd \
                   'python3 tests/exercises/limits_server.py {addr}'";
    print("time-limits-build", &Solved::with("").check(options).cases());
}

fn limits_measure() {
    let own = Own::new("", "step5");
    let mut scene = Scene::new();
    let set = [("TCP_IDLE_MS", "4000"), ("TCP_FRAME_MS", "4000")];
    let addr = own.server(&mut scene, "the server", &set);
    let line = "for i in 1 2 3; do sleep 2; printf '\\0'; sleep 2; \
                printf '\\0\\0\\1\\1'; done | nc -N 127.0.0.1 8888 | od -c";
    shell(&mut scene, addr, line);
    scene.wait_end(1);
    scene.wait_for(0, "ended after 3 frames", 1);
    print("time-limits-measure", &scene.text());
}

fn no_reader() {
    let own = Own::new("", "step5");
    let mut scene = Scene::new();
    let set = [("TCP_WRITE_MS", "3000")];
    let addr = own.server(&mut scene, "the server", &set);
    shell(
        &mut scene,
        addr,
        "python3 tests/exercises/never_reads.py 127.0.0.1:8888",
    );
    scene.wait_end(1);
    scene.wait_for(0, "a write stood still", 1);
    snapshot("question-no-reader", scene.text().trim_end());
}

// ---- Trying again

fn retry(linux: Option<&'static str>) -> Vec<Trial> {
    vec![
        trial("retry::five_payments", linux, payments),
        trial("retry::one_unknown_attempt", None, unknown),
        trial("retry::chance_saves_no_request", None, storm),
        trial("retry::a_deadline_cuts_an_attempt", linux, deadline),
        trial("retry::the_last_attempt_decides", linux, retry_last),
        trial("retry::no_chance_is_noticed", None, retry_ceiling),
        trial("retry::waits_that_last_long_enough", None, retry_measure),
    ]
}

/// In which order five tasks print their lines is a matter of luck, so the
/// lines are counted.
fn payments() {
    let own = Own::new("", "step5");
    let (server, shown) = own.start(&[], &["server", "--addr", "127.0.0.1:0"]);
    let addr = server.addr();
    signal(server.id(), "-STOP");
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    let set = [("TCP_REQUEST_MS", "500")];
    own.client(&mut scene, "the client", addr, &set, &["pay"]);
    scene.wait_end(0);
    signal(server.id(), "-CONT");
    let log = server.wait_for_times("ended after 1 frames", 5);
    let count = log.matches("ended after 1 frames").count();
    let text = format!(
        "# terminal 1: the server\n$ {shown} server > payments\n^Z\n\n\
         # terminal 2: the client\n{}\n# terminal 1\n$ fg\n^C\n\
         $ grep -c 'ended after 1 frames' payments\n{count}",
        scene.text()
    );
    snapshot("question-payments", &text);
}

/// A server that reads one request, and ends.
fn unknown() {
    let own = Own::new("", "step5");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    own.client(&mut scene, "the client", addr, &[], &["pay"]);
    let (mut stream, _) = listener.accept().unwrap();
    drop(listener);
    stream.read_exact(&mut [0; 8]).unwrap();
    drop(stream);
    scene.wait_end(0);
    snapshot("question-unknown", scene.text().trim_end());
}

/// How many requests eight clients send to a server that drops them all.
fn requests(command: impl Fn(SocketAddr) -> Command) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let clients = [(); 8].map(|()| Program::spawn(&mut command(addr), false));
    let server = thread::spawn(move || {
        let asks = |stream: &TcpStream| {
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut stream = stream;
            again(|| stream.read(&mut [0; 100])).unwrap() > 0
        };
        let streams = listener.incoming().map(Result::unwrap);
        streams.take_while(asks).count()
    });
    clients.into_iter().for_each(|client| client.wait_end());
    drop(TcpStream::connect(addr).unwrap()); // it asks nothing
    server.join().unwrap()
}

fn storm() {
    let (_folder, alike) = Solved::with("").program("no-jitter");
    let own = Own::new("", "step5");
    let alike = requests(|addr| {
        let mut command = Command::new(&alike);
        command.arg(addr.to_string());
        command
    });
    let spread = requests(|addr| {
        let mut command = Command::new(&own.path);
        command.args(["client", "--addr", &addr.to_string(), "hi"]);
        command
    });
    let text = format!(
        "| eight clients whose server drops each request | requests |\n\
         | --- | ---: |\n| `no-jitter`, all waits alike | {alike} |\n\
         | step 5, full jitter | {spread} |"
    );
    snapshot("question-storm", &text);
}

/// A stopped server accepts, and never answers.
fn deadline() {
    let own = Own::new("", "step5");
    let (server, _) = own.start(&[], &["server", "--addr", "127.0.0.1:0"]);
    let addr = server.addr();
    signal(server.id(), "-STOP");
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    let set = [("TCP_REQUEST_MS", "1000"), ("TCP_DEADLINE_MS", "1900")];
    own.client(&mut scene, "the client", addr, &set, &["hi"]);
    scene.wait_end(0);
    let last = Regex::new(r"within [0-8]?\d?\dms").unwrap();
    let text = scene.text();
    assert!(last.is_match(&text), "{text}");
    snapshot("question-deadline", last.replace(&text, "within …").trim_end());
}

fn retry_last() {
    let solved = Solved::with("retry-last");
    let tried = solved.run("cargo test --test contract step5::c5_12").fails();
    print("retry-last", &tried.shown(&["expected", "actual"]));
}

fn retry_ceiling() {
    let solved = Solved::with("retry-ceiling");
    let tried = solved.run("cargo test --bin step5").fails();
    print("retry-ceiling", &tried.shown(&["... FAILED", "[0"]));
}

/// Numbers that look random, and are the same in each run (SplitMix64).
fn random(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (*seed ^ *seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (n ^ n >> 31) as f64 / 2f64.powi(64)
}

/// How long the waits last together: at most, on average, and for how many of
/// 10 000 clients more than five seconds.
fn waits(attempts: u32, seed: &mut u64) -> String {
    let ceiling = |n| f64::min(2.0, 0.1 * 2f64.powi(n));
    let ceilings: Vec<f64> = (0..attempts as i32 - 1).map(ceiling).collect();
    let most: f64 = ceilings.iter().sum();
    let long = |_: &i32| {
        let waits = ceilings.iter().map(|ceiling| ceiling * random(seed));
        waits.sum::<f64>() > 5.0
    };
    let share = (0..10_000).filter(long).count() as f64 / 100.;
    let average = most / 2.0;
    format!("| {attempts} | {most:.2} s | {average:.2} s | {share:.1} % |\n")
}

fn retry_measure() {
    let own = Own::new("", "step5");
    let (_socket, addr) = refusing();
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    own.client(&mut scene, "the client", addr, &[], &["hello"]);
    scene.wait_end(0);
    print("retry-waits", &scene.text());
    let seed = &mut 1;
    let rows = [5, 8, 10, 12, 13, 14, 16, 35].map(|n| waits(n, seed)).concat();
    let text = format!(
        "| attempts | all waits, at most | on average | longer than 5 s |\n\
         | ---: | ---: | ---: | ---: |\n{rows}"
    );
    print("retry-measure", &text);
}

// ---- Testing and debugging

fn testing(
    ss: Option<&'static str>,
    python: Option<&'static str>,
) -> Vec<Trial> {
    vec![
        trial("testing::a_real_socket_and_a_paused_clock", None, paused),
        trial("testing::a_queue_of_one", ss, testing_queue),
        trial("testing::a_test_that_cleans_up", python, testing_build),
        trial("testing::it_passes_on_a_busy_machine", python, testing_measure),
    ]
}

fn paused() {
    let solved = Solved::with("testing-paused");
    let tried = solved.run("cargo test --bin step5 a_real_socket").fails();
    let parts = ["... FAILED", "assertion", "left:", "right:"];
    snapshot("question-paused", tried.shown(&parts).trim_end());
}

/// What `ss` shows of the connections of a server, printed with port 8888.
fn sockets(addr: SocketAddr, kind: &str) -> String {
    let filter = format!("sport = :{}", addr.port());
    let ss = Command::new("ss").args([kind, "-H", &filter]).output().unwrap();
    let text = String::from_utf8(ss.stdout).unwrap();
    let mut rows: Vec<String> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!(
                "{:<7}{:<8}{:<8}{:<21}{}",
                words[0], words[1], words[2], words[3], words[4]
            )
        })
        .collect();
    rows.sort();
    format!(
        "$ ss {kind} 'sport = :8888'\nState  Recv-Q  Send-Q  \
         Local Address:Port  Peer Address:Port\n{}\n",
        rows.join("\n")
    )
}

fn testing_queue() {
    let own = Own::new("", "step2");
    let mut scene = Scene::new();
    let addr = own.server(&mut scene, "the server", &[]);
    own.client(&mut scene, "the first client", addr, &[], &[]);
    scene.type_line(1, "one", "one\n");
    own.client(&mut scene, "the second client", addr, &[], &[]);
    scene.program(2).write(b"two\n");
    scene.note(2, "", "two\n");
    wait_until("its bytes", || unread(addr) == 4);
    let seen = sockets(addr, "-ltn") + &sockets(addr, "-tn");
    scene.add(2, format!("\n# terminal 4\n{seen}"));
    scene.wait_for(0, "connected", 1);
    scene.stays_silent(1);
    scene.stays_silent(2);
    print("testing-queue", &scene.text());
}

/// Runs our test of a server on this one.
fn tested(server: &str) -> Outcome {
    let test = "python3 tests/exercises/server_test.py";
    Solved::with("").run(&format!("{test} python3 tests/peers/python/{server}"))
}

/// If the test left its server behind, the output would have no end.
fn testing_build() {
    let good = tested("framed_server.py 0").succeeds().shown(&["passed"]);
    let bad = tested("echo.py 0").fails().shown(&["AssertionError"]);
    print("testing-build", &format!("{good}{bad}"));
}

fn testing_measure() {
    let line = "yes > /dev/null & one=$!; yes > /dev/null & two=$!; \
                for i in $(seq 20); do \
                python3 tests/exercises/server_test.py \
                python3 tests/peers/python/framed_server.py 0; \
                done | sort | uniq -c; kill $one $two";
    let ended = Solved::with("").run(line).succeeds();
    print("testing-measure", &ended.shown(&["passed"]));
}

// ---- A local and a remote network

fn roads(python: Option<&'static str>) -> Vec<Trial> {
    let can = |script: &str| {
        let tried = Command::new("sh").args(["-c", script]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let lan = !can("unshare -rn ip link set lo up");
    let lan = lan.then_some("needs network namespaces");
    let wan = !can("unshare -rn true && test -w /dev/net/tun && ss -V");
    let wan = wan.then_some("needs /dev/net/tun and ss");
    vec![
        trial("lan::who_is_first", wan, lan_first),
        trial("lan::checked_from_outside", lan.or(python), lan_build),
        trial("wan::silence_with_a_limit", wan, wan_silence),
        trial("wan::round_trips", wan, wan_measure),
    ]
}

/// The packets of a run of the lab that carry something, without times.
fn packets(line: &str) -> Vec<String> {
    let ran = Solved::with("").run(line).succeeds();
    let arrows = ran.text.lines().filter_map(|line| {
        let (is_client, words) = match line.split_once("-->") {
            Some((client, _)) => (true, client),
            None => (false, line.split_once("<--")?.1),
        };
        let words = words.trim_start_matches([' ', '.']);
        let words = words.trim_start_matches(char::is_numeric).trim();
        let from = if is_client { "client" } else { "server" };
        let says = ["SYN", "FIN", "bytes", "segments"];
        let is_kept = says.iter().any(|part| words.contains(part));
        is_kept.then(|| format!("{from}: {words}"))
    });
    arrows.collect()
}

/// With fewer numbers: what the exercise asks is who was first.
fn lan_first() {
    let mut text = String::new();
    for step in ["step3", "step5"] {
        let line = format!(
            "cargo run -q -p lab -- wan --delay 25ms --step {step} hello"
        );
        let mut packets = packets(&line);
        // A busy machine may be late, and then something is sent again.
        packets.retain(|packet| !packet.ends_with("again"));
        let at = |part: &str| packets.iter().position(|p| p.contains(part));
        let end = packets
            .iter()
            .position(|p| p.starts_with("client") && p.contains("FIN"));
        let answer = packets
            .iter()
            .position(|p| p.starts_with("server") && p.contains("bytes"));
        assert!(at("SYN").is_some(), "{packets:?}");
        assert_eq!(end < answer, step == "step3", "{packets:?}");
        text += &format!("$ {line}\n…\n{}\n", packets.join("\n"));
    }
    print("lan-first", &text.replace("-q ", ""));
}

/// A machine with an address of its own, and two cases of the checker.
fn lan_build() {
    let server = "python3 tests/exercises/echo_server.py 0.0.0.0:8888";
    let check = "cargo run -q -p check -- server step3 --remote \
                 --addr 192.168.1.20:8888 --case S2-02 --case S3-01";
    let script = format!(
        "ip link set lo up && ip addr add 192.168.1.20/24 dev lo && \
         coproc {server} && read -r line <&${{COPROC[0]}} && echo $line && \
         {check}; code=$?; kill $COPROC_PID; exit $code"
    );
    let line = format!("unshare -rn bash -c '{script}'");
    let solved = Solved::with("");
    solved.run("cargo build -q -p check").succeeds();
    let mut ran = solved.run(&line);
    for _ in 0..3 {
        if ran.code != Some(0) {
            ran = solved.run(&line); // the machine was too busy
        }
    }
    let ran = ran.succeeds().shown(&["listening", "✓"]);
    let lines: Vec<&str> = ran.lines().skip(1).collect();
    let text = format!(
        "# terminal 1\n$ {server}\n{}\n\n# terminal 2\n$ {}\n{}",
        lines[0],
        check.replace("-q ", ""),
        lines[1..].join("\n")
    );
    print("lan-build", &text);
}

/// What each client says in twelve seconds.
fn wan_silence() {
    let solved = Solved::with("");
    solved.run("cargo build -q -p lab --bin lab").succeeds();
    let mut text = String::new();
    for step in ["step5", "step3"] {
        let line = format!(
            "timeout 12 cargo run -p lab -- wan --loss 60% --seed 2 \
             --step {step}"
        );
        solved.run(&format!("cargo build -q --bin {step}")).succeeds();
        let lab = line.replace("cargo run -p lab --", "target/debug/lab");
        let ran = solved.run(&lab);
        let says = ran.text.lines().filter(|l| l.starts_with("client | "));
        let says: Vec<&str> = says.take(2).collect();
        text += &format!("$ {line}\n{}\n", says.join("\n"));
    }
    print("wan-silence", &text);
}

/// How often the road carried something there, which then was answered.
fn wan_measure() {
    let mut text = "| `one two three` with | round trips | at 200 ms each |\n\
                    | --- | ---: | ---: |\n"
        .to_owned();
    for step in ["step4", "step5"] {
        let mut packets = packets(&format!(
            "cargo run -q -p lab -- wan --delay 100ms --step {step} \
             one two three"
        ));
        let is_last = |p: &String| p.starts_with("server: ") && p.contains("b");
        let last = packets.iter().rposition(is_last).unwrap();
        packets.truncate(last + 1);
        packets.dedup_by_key(|packet| packet.starts_with("client"));
        let trips = packets.len() / 2;
        let number = &step[4..];
        text += &format!("| step {number} | {trips} | {} ms |\n", 200 * trips);
    }
    print("wan-measure", &text);
}

// ---- A bad network in a program

fn proxy(python: Option<&'static str>) -> Vec<Trial> {
    vec![
        trial("proxy::an_end_that_is_not_passed_on", None, proxy_end),
        trial("proxy::asked_again_by_number", None, proxy_again),
        trial("proxy::a_relay_in_python", python, proxy_build),
    ]
}

/// A proxy in a new terminal, on a port that is printed as 9999.
fn relay(own: &Own, scene: &mut Scene, to: SocketAddr, fault: &str) -> String {
    let to = to.to_string();
    let mut args = vec!["--addr", "127.0.0.1:0", "--to", &to];
    let mut typed = "--to 127.0.0.1:8888".to_owned();
    if !fault.is_empty() {
        args.push(fault);
        typed += &format!(" '{fault}'");
    }
    let (proxy, shown) = own.start(&[], &args);
    let addr = proxy.addr();
    scene.rename(addr, 9999);
    scene.terminal("the proxy", &format!("{shown} {typed}"), proxy);
    addr.to_string()
}

/// A line with `timeout` or `echo`, in a new terminal.
fn typed(scene: &mut Scene, own: &Own, addr: &str, line: &str) {
    let run = format!("cargo run --bin {} --", own.name);
    let real = line.replace(&run, &own.path).replace("127.0.0.1:9999", addr);
    let mut command = Command::new("bash");
    command.args(["-c", &format!("exec 2>&1; {real}")]);
    scene.terminal("the client", line, Program::spawn(&mut command, false));
}

fn proxy_end() {
    let [proxy, step3] = [("proxy-end", "proxy"), ("", "step3")]
        .map(|(patch, name)| Own::new(patch, name));
    let mut scene = Scene::new();
    let to = step3.server(&mut scene, "the server", &[]);
    let addr = relay(&proxy, &mut scene, to, "");
    let line = "timeout 2 cargo run --bin step3 -- client \
                --addr 127.0.0.1:9999 hello; echo $?";
    typed(&mut scene, &step3, &addr, line);
    scene.wait_end(2);
    scene.wait_for(1, "connected", 1);
    scene.wait_for(0, "connected", 1);
    let shown = scene.text();
    assert!(shown.ends_with("124\n"), "{shown}");
    print("proxy-end", &until_connected(&shown));
}

/// What the programs say when `timeout` has ended the client is not shown.
fn until_connected(text: &str) -> String {
    let is_later = |line: &&str| {
        line.contains(": ended")
            || line.contains("both streams")
            || line.contains(" ended after")
            || line.contains("resets the other")
    };
    let lines: Vec<&str> = text.lines().filter(|l| !is_later(l)).collect();
    lines.join("\n")
}

fn proxy_again() {
    let [proxy, step7] = ["proxy", "step7"].map(|name| Own::new("", name));
    let (server, _) = step7.start(&[], &["server", "--addr", "127.0.0.1:0"]);
    let mut scene = Scene::new();
    scene.rename(server.addr(), 8888);
    let fault = "conn 1-5 down reset after 0 frames";
    let addr = relay(&proxy, &mut scene, server.addr(), fault);
    let run = "cargo run --bin step7 -- client --addr 127.0.0.1:9999 \
               --client-id 7";
    typed(&mut scene, &step7, &addr, &format!("{run} --add 5; echo $?"));
    scene.wait_end(1);
    typed(&mut scene, &step7, &addr, &format!("{run} --seq 1 --add 5"));
    scene.wait_end(2);
    scene.wait_for(0, "6: both streams ended", 1);
    let text = scene.text();
    assert!(text.ends_with("\n5\n"), "{text}");
    let client = text.find("# terminal 2").unwrap();
    print("proxy-again", &text[client..]);
}

/// The server of step 4 waits behind it.
fn proxy_build() {
    let step4 = Own::new("", "step4");
    let (server, _) = step4.start(&[], &["server", "--addr", "127.0.0.1:0"]);
    let behind = format!(" {}", server.addr());
    let options = format!(
        "server step4 --keep-going --cmd \
         'python3 tests/exercises/relay.py {{addr}}{behind}'"
    );
    let checked = Solved::with("").check(&options).cases();
    print("proxy-build", &checked.replace(&behind, " 127.0.0.1:8888"));
}

// ---- A simulated network

fn sim(python: Option<&'static str>) -> Vec<Trial> {
    vec![trial("sim::slices_from_a_seed", python, sim_build)]
}

fn sim_build() {
    let solved = Solved::with("");
    let line = "python3 tests/exercises/slices.py";
    let good = solved.run(line).succeeds().shown(&["seeds"]);
    let bad = solved.run(&format!("{line} bug")).fails().shown(&["seed"]);
    print("sim-build", &format!("{good}{bad}"));
}

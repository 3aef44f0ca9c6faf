//! The exercises from *Testing and debugging* to *Trying again*, and what
//! proves the answers there.

use std::env::consts::OS;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use check::{Machine, Session, Side, Verdict, cases};
use libtest_mimic::Trial;
use regex::Regex;
use tempfile::TempDir;

use super::copy::{Outcome, Solved, print};
use super::support::scene::Scene;
use super::support::{
    DEADLINE, Program, ROOT, is_installed, refusing, signal, snapshot, trial,
    unread, wait_until,
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
        trial("time-limits::silent_for_too_long", None, limits_silent),
        trial("time-limits::three_limits_in_python", python, limits_build),
        trial("time-limits::five_bytes_and_patience", nc, limits_measure),
        trial("time-limits::no_reader_no_error", linux.or(python), no_reader),
    ]
}

fn each_read() {
    let own = Own::new("time-limits-byte", "step5");
    let slowloris = Own::new("", "slowloris");
    let mut scene = Scene::new();
    let set = [("TCP_FRAME_MS", "600")];
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
    let parts = ["FAILED", "assertion", "test result"];
    print("time-limits-byte", &tried.shown(&parts));
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
    scene.type_line(2, "two", "two\n");
    scene.note(2, "^D\n");
    scene.program(2).end_input();
    scene.wait_end(2);
    scene.wait_for(0, "ended after", 1);
    print("time-limits-silent", &scene.text());
}

/// Tries a program of this folder with those cases whose names start so, each
/// a few times, because a busy machine may be too slow for the checker.
fn checked(side: Side, step: u8, command: &str, start: &str) -> String {
    let real = command.replace("tests/", &format!("{ROOT}/tests/"));
    let session = Session::new(side, step, &real).unwrap();
    let session = session.on(&Machine::new()).jobs(3);
    let mut cases = cases::of(side, step);
    cases.retain(|case| case.id.starts_with(start));
    let mut lines = String::new();
    for (case, mut verdict) in session.judge_all(&cases) {
        for _ in 0..3 {
            if !matches!(verdict, Verdict::Pass) {
                verdict = session.judge_patiently(case);
            }
        }
        let is_fine = matches!(verdict, Verdict::Pass);
        assert!(is_fine, "{}", session.report(case, &verdict));
        lines += &format!("✓ {}  {}\n", case.id, case.title);
    }
    lines
}

fn limits_build() {
    let command = "python3 tests/exercises/limits_server.py {addr}";
    let lines = checked(Side::Server, 5, command, "S5-");
    let shown = format!(
        "$ cargo run -p check -- server step5 --cmd '{command}'\n…\n{lines}…"
    );
    print("time-limits-build", &shown);
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
    let set = [("TCP_WRITE_MS", "1000")];
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
            (&*stream).read(&mut [0; 100]).unwrap() > 0
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
    let set = [("TCP_REQUEST_MS", "1000"), ("TCP_DEADLINE_MS", "1700")];
    own.client(&mut scene, "the client", addr, &set, &["hello"]);
    scene.wait_end(0);
    let last = Regex::new(r"within [0-6]\d\dms").unwrap();
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
    print("retry-ceiling", &tried.shown(&["FAILED", "[0", "test result"]));
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
    let parts = ["FAILED", "assertion", "left:", "right:", "test result"];
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
    scene.note(2, "two\n");
    wait_until("its bytes", || unread(addr) == 4);
    let seen = sockets(addr, "-ltn") + &sockets(addr, "-tn");
    scene.add(2, format!("\n# terminal 4\n{seen}"));
    for i in 0..3 {
        scene.stays_silent(i);
    }
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

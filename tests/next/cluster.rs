//! Tests of `steps/cluster`: real processes over real sockets, and a real
//! Redis for each test that needs one. `CLUSTER_OPERATIONS=100000` makes the
//! killing as long as that, and writes
//! `tests/bench/cluster-kills.md`.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[allow(dead_code)]
#[path = "../../steps/step8/frame.rs"]
mod frame;
#[allow(dead_code)]
#[path = "../../steps/step8/ledger.rs"]
mod ledger;
#[allow(dead_code)]
#[path = "../../steps/cluster/redis.rs"]
mod redis;
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../../steps/chat/ws.rs"]
mod ws;

#[path = "cluster/chat.rs"]
mod chat;
#[path = "cluster/checked.rs"]
mod checked;
#[path = "cluster/engine.rs"]
mod engine;
#[path = "cluster/kills.rs"]
mod kills;
#[path = "cluster/world.rs"]
mod world;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use support::arguments::arguments;
use support::scene::{Scene, rename_ports};
use support::{Program, bin, is_installed, refusing, snapshot, trial};
use world::{DEFAULTS, DURABLE, Redis, server_of};

/// How many tests run at once.
const MOST: usize = 5;

fn main() {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    let redis = (!is_installed("redis-server", "--version"))
        .then_some("needs redis-server");
    let both = linux.or(redis);
    let mut trials = kills::trials(redis);
    trials.extend(engine::trials(redis, both));
    trials.extend(chat::trials(redis, both));
    trials.extend(checked::trials(both));
    trials.extend([
        trial("demo", linux, demo),
        trial("two_processes_and_one_redis", both, two_processes),
        trial("redis_with_its_defaults_forgets", both, forgets),
        trial("the_client_moves_on", None, moves_on),
        trial("the_client_gives_up", None, gives_up),
        trial("the_client_goes_round_and_waits", None, goes_round),
        trial("nothing_was_sent", linux, nothing_sent),
        trial("the_clients_deadline", None, deadline),
        trial("what_is_no_engine", None, no_engine),
    ]);
    let mut arguments = arguments();
    // Each brings a Redis and some servers, so not as many as elsewhere.
    let most = arguments.test_threads.unwrap_or(MOST).min(MOST);
    arguments.test_threads = Some(most);
    libtest_mimic::run(&arguments, trials).exit();
}

// ---- What the page prints

fn demo() {
    let program = Program::start("cluster", &[]);
    program.wait_end();
    let (stdout, stderr) = program.texts();
    assert_eq!(stderr, "");
    let text = String::from_utf8(stdout).unwrap();
    let text = format!("$ cargo run -p cluster\n{}", text.trim_end());
    let listens = |name: &str, port: u16| {
        let name = format!("server {name} listens on {port}");
        text.contains(&name.replace(" on ", " on 127.0.0.1:"))
    };
    let text = rename_ports(&text, |port| match port {
        port if listens("A", port) => Some(8888),
        port if listens("B", port) => Some(8889),
        port => (port < 10_000).then_some(port),
    });
    snapshot("cluster-demo", &text);
}

/// What a reader types to start Redis, without and with what makes it keep
/// its word.
const PLAIN: &str = "redis-server > redis.log";
const DURABLY: &str =
    "redis-server --appendonly yes --appendfsync always > redis.log";

/// Redis leaves files where it is.
const ELSEWHERE: &str = "cd \"$(mktemp -d)\"\n$ ";
const SERVE: &str =
    "cargo run -p cluster -- server --engine redis://127.0.0.1:6379";
const ADD: &str = "cargo run -p cluster -- client --client-id 7";

/// The transcript of Redis, of servers and of a client. The client comes last.
struct Terminals {
    scene: Scene,
    addrs: Vec<SocketAddr>, // of the servers, in terminals 1, 2, …
    client: Option<usize>,  // the terminal
}

impl Terminals {
    /// Redis prints the time with each line, so it writes into a file.
    fn new(redis: &Redis, shown: &str) -> Terminals {
        let mut scene = Scene::new();
        scene.rename(redis.addr, 6379);
        let silent = Program::spawn(&mut Command::new("true"), false);
        scene.terminal("Redis", &format!("{ELSEWHERE}{shown}"), silent);
        scene.stays_silent(0);
        Terminals { scene, addrs: Vec::new(), client: None }
    }

    /// A server in a new terminal. It prints its last lines when a client
    /// leaves.
    fn server(&mut self, redis: &Redis, option: &str) {
        let (program, addr) = server_of(&redis.engine());
        let n = self.addrs.len() as u16;
        self.scene.rename(addr, 8888 + n);
        self.scene.terminal("a server", &format!("{SERVE}{option}"), program);
        self.addrs.push(addr);
    }

    /// Kills a server, after it has seen a client leave.
    fn kill(&mut self, n: usize) {
        self.scene.note(n, "ended", "^Z\n$ kill -9 %1\n");
        self.scene.program(n).kill();
        self.scene.stays_silent(n);
    }

    fn ask(&mut self, more: &str, addrs: &str) {
        let mut command = Command::new(bin("cluster"));
        command.args(["client", "--client-id", "7"]).args(more.split(' '));
        let servers = addrs.matches("--addr").count().max(1);
        for addr in self.addrs.iter().take(servers) {
            command.args(["--addr", &addr.to_string()]);
        }
        let program = Program::spawn(&mut command, false);
        let shown = format!("{ADD} {more}{addrs}");
        if let Some(n) = self.client {
            program.wait_end();
            let (stdout, stderr) = program.texts();
            let stdout = String::from_utf8(stdout).unwrap();
            self.scene.add(n, format!("$ {shown}\n{stderr}{stdout}"));
        } else {
            self.scene.terminal("the client", &shown, program);
            self.client = Some(self.scene.last());
            self.scene.wait_end(self.scene.last());
        }
    }
}

fn two_processes() {
    let redis = Redis::start(&DURABLE);
    let mut terminals = Terminals::new(&redis, DURABLY);
    terminals.server(&redis, "");
    terminals.server(&redis, " --addr 127.0.0.1:8889");
    let both = " \\\n    --addr 127.0.0.1:8888 --addr 127.0.0.1:8889";
    terminals.ask("--seq 1 --add 5", both);
    terminals.kill(1);
    terminals.ask("--seq 2 --add 7", both);
    terminals.scene.program(2).wait_for("ended");
    terminals.ask("--seq 1 --add 5", both);
    terminals.scene.wait_for(2, "ended", 2);
    let kept = redis.cli(&["--no-raw", "HGETALL", "ledger:7"]);
    let kept = format!("$ redis-cli HGETALL ledger:7\n{kept}");
    terminals.scene.add(3, kept);
    terminals.scene.snapshot("cluster-redis");
}

/// Without a file, a Redis that is killed comes back empty. The server that
/// was there notices; the next one cannot.
fn forgets() {
    let mut redis = Redis::start(&DEFAULTS);
    let mut terminals = Terminals::new(&redis, PLAIN);
    let (first, addr) = server_of(&redis.engine());
    terminals.scene.rename(addr, 8888);
    terminals.addrs = vec![addr];
    // It ends while its clients' tasks still print what they see.
    let silent = Program::spawn(&mut Command::new("true"), false);
    let shown = format!("{SERVE} > /dev/null");
    terminals.scene.terminal("a server", &shown, silent);
    terminals.scene.stays_silent(1);
    terminals.ask("--seq 1 --add 5", "");
    redis.restart();
    terminals.scene.note(0, "", &format!("^Z\n$ kill -9 %1\n$ {PLAIN}\n"));
    terminals.ask("--seq 2 --add 7 --attempts 1", "");
    let ended = first.finish();
    let (next, addr) = server_of(&redis.engine());
    terminals.addrs = vec![addr];
    terminals.scene.rename(addr, 8888);
    terminals.ask("--seq 2 --add 7", "");
    let printed = next.wait_for("ended");
    let more = format!("{}$ {SERVE}\n{printed}", ended.stderr);
    terminals.scene.add(1, more);
    terminals.scene.snapshot("cluster-forgets");
}

// ---- The client

/// Refused by the first, silence from the second, and the third answers.
fn moves_on() {
    let (_refusing, refuses) = refusing();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_server, answers) = server_of("memory");
    let addrs = [refuses, silent.local_addr().unwrap(), answers];
    let addrs = addrs.map(|addr| addr.to_string());
    let mut args = vec!["client", "--add=5", "--add=7", "--request-ms=3000"];
    args.extend(addrs.iter().flat_map(|addr| ["--addr", addr]));
    let ended = Program::start("cluster", &args).finish();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"5\n12\n"[..]));
    let lines: Vec<_> = ended.stderr.lines().collect();
    let [one, two] = lines[..] else { panic!("{lines:?}") };
    let one_is =
        format!("attempt 1: not executed: cannot connect to {refuses}");
    assert!(one.starts_with(&one_is), "{one}");
    let two_is = "attempt 2: outcome unknown: no whole reply within 3s";
    assert_eq!(two, two_is);
}

/// One unknown outcome among refusals makes all of it unknown, and a definite
/// no does not help. The exit codes are those of step 5.
fn gives_up() {
    let (_refusing, refuses) = refusing();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_server, answers) = server_of("memory");
    let [refuses, silent, answers] =
        [refuses, silent.local_addr().unwrap(), answers]
            .map(|addr| addr.to_string());
    let ask = |amount: &str, addrs: &[&str], more: &str| {
        let mut args = vec!["client", "--client-id=7", "--add", amount, more];
        args.push("--backoff-base-ms=5");
        if addrs.contains(&&silent[..]) {
            args.push("--request-ms=500");
        }
        args.extend(addrs.iter().flat_map(|addr| ["--addr", addr]));
        Program::start("cluster", &args).finish().code.unwrap()
    };
    assert_eq!(ask("5", &[&answers], "--attempts=1"), 0);
    assert_eq!(ask("5", &[&refuses, &refuses], "--attempts=3"), 3);
    assert_eq!(ask("5", &[&refuses, &silent], "--attempts=3"), 4);
    assert_eq!(ask("6", &[&refuses, &answers], "--attempts=3"), 6);
    assert_eq!(ask("6", &[&silent, &answers], "--attempts=3"), 4);
}

/// After the last server comes the first, and there is a wait before each. (Five
/// waits of up to 500 ms are below 150 ms in all, once in 50 000 times.)
fn goes_round() {
    let (_one, first) = refusing();
    let (_two, second) = refusing();
    let [first, second] = [first, second].map(|addr| addr.to_string());
    let args = ["client", "--add=5", "--addr", &first, "--addr", &second];
    let more = ["--attempts=6", "--backoff-base-ms=500"];
    let args = [&args[..], &more, &["--backoff-cap-ms=500"]].concat();
    let begin = Instant::now();
    let ended = Program::start("cluster", &args).finish();
    assert!(begin.elapsed() > Duration::from_millis(150), "no waits");
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 7, "{lines:?}");
    for (line, addr) in lines.iter().zip([&first, &second].repeat(3)) {
        assert!(line.contains(&format!("cannot connect to {addr}")), "{line}");
    }
}

/// One server refuses, and the other's queue is full, so its kernel answers no
/// SYN (Linux): when the deadline passes, the operation has not left.
fn nothing_sent() {
    let (_refusing, refuses) = refusing();
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    full.bind(&any.into()).unwrap();
    full.listen(0).unwrap();
    let addr = full.local_addr().unwrap().as_socket().unwrap();
    let waits = Duration::from_millis(300);
    let open = || TcpStream::connect_timeout(&addr, waits);
    let _waiting: Vec<_> = std::iter::from_fn(|| open().ok()).collect();
    let [refuses, full] = [refuses, addr].map(|addr| addr.to_string());
    let args = ["client", "--add=5", "--addr", &refuses, "--addr", &full];
    let more = ["--deadline-ms=1500", "--backoff-base-ms=5"];
    let ended =
        Program::start("cluster", &[&args[..], &more].concat()).finish();
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
}

/// It is for all attempts together, and cuts the last one short.
fn deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let begin = Instant::now();
    let args = ["client", "--add=5", "--deadline-ms=9000", "--addr", &addr];
    let args = [&args[..], &["--request-ms=8000"]].concat();
    let ended = Program::start("cluster", &args).finish();
    assert_eq!(ended.code, Some(4));
    assert!(ended.stderr.contains("attempt 2: "), "{}", ended.stderr);
    assert!(begin.elapsed() < Duration::from_secs(14), "two attempts");
}

fn no_engine() {
    let free = refusing();
    for (engine, why) in [
        ("redis".to_owned(), "give memory, or redis://IP:PORT".to_owned()),
        ("redis://x".to_owned(), "give memory, or redis://IP:PORT".to_owned()),
        (
            format!("redis://{}", free.1),
            format!(
                "error: cannot use the engine redis://{0}: cannot connect to \
                 {0} (is redis-server running?): Connection refused",
                free.1
            ),
        ),
        // To connect to a group fails at once, without a wait.
        (
            "redis://224.0.0.1:6379".to_owned(),
            "error: cannot use the engine redis://224.0.0.1:6379: cannot "
                .to_owned(),
        ),
    ] {
        let args = ["server", "--engine", &engine, "--engine-ms", "3000"];
        let ended = Program::start("cluster", &args).finish();
        assert_eq!(ended.stdout, b"");
        assert!(ended.stderr.contains(&why), "{}", ended.stderr);
    }
}

//! What the options of a socket change, what each call leaves behind in the
//! kernel, and which of two limits holds a sender back. The experiments are
//! programs in Python, so that a reader can play with them; they need no root.

use std::fs;
#[cfg(target_os = "linux")]
use std::io;
#[cfg(target_os = "linux")]
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::net::{Ipv6Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use regex::{Captures, Regex};
#[cfg(target_os = "linux")]
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::calls::{Traced, whole_lines};
use crate::flow::{Road, set, ss, start};
use crate::packets::{Packet, SERVER, read};
use crate::support::net::{Namespace, missing, ports};
use crate::support::{
    Program, ROOT, bin, is_installed, signal, snapshot, trial, wait_until,
};

/// An option, the snapshot of its experiment, and what that must have shown.
type Experiment = (&'static str, &'static str, fn(&str));

const OPTIONS: [Experiment; 8] = [
    ("TCP_NODELAY", "options-nodelay", |_| {}),
    ("SO_REUSEADDR", "options-reuseaddr", |_| {}),
    ("SO_REUSEPORT", "options-reuseport", both_have_clients),
    ("SO_KEEPALIVE", "options-keep-alive", |_| {}),
    ("TCP_USER_TIMEOUT", "options-user-timeout", not_before_the_limit),
    ("SO_LINGER", "options-linger", some_are_lost),
    ("SO_RCVBUF", "options-buffers", only_the_kernel_lets_them_grow),
    ("IPV6_V6ONLY", "options-v6only", |_| {}),
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    let python =
        (!is_installed("python3", "--version")).then_some("needs python3");
    let absent = linux.or(python);
    let ss = (!is_installed("ss", "-V")).then_some("needs ss");
    let tun = (!Path::new("/dev/net/tun").exists()).then_some("needs a tun");
    let strace = (!is_installed("strace", "-V")).then_some("needs strace");
    let no_root = missing();
    let no_road = no_root.or(python).or(ss).or(tun);
    let is_root = no_root.is_none();
    let mut trials = vec![
        trial("options::which limit, says ss", no_road, which_limit),
        trial("options::which limit, round by round", None, two_limits),
        trial("options::a queue that moves", no_root.or(python), migrate),
        trial("options::from Rust", linux.or(ss), from_rust),
        trial("options::after each call", absent, move || calls(is_root)),
        trial("options::of step 1", linux.or(strace), of_step_1),
        trial("options::which call fails", absent, move || errors(is_root)),
        trial("options::a write without room", absent, move || full(is_root)),
    ];
    trials.extend(experiments(absent, is_root));
    trials
}

fn experiments(absent: Option<&str>, is_root: bool) -> Vec<Trial> {
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err();
    let v6 = v6.then_some("needs IPv6");
    let mut trials = Vec::new();
    for option in OPTIONS {
        let absent = match option.0 {
            "IPV6_V6ONLY" => absent.or(v6),
            _ => absent,
        };
        let title = format!("options::{}", option.0);
        let test = move || experiment(option, is_root);
        trials.push(trial(&title, absent, test));
    }
    trials
}

// ---- An experiment for each option

/// Runs a command as a reader would, and returns what is in the terminal. It
/// needs no root. With root it has a machine of its own, where settings are
/// the usual ones and the table of connections is short.
fn typed(command: &str, is_root: bool) -> String {
    let name = command.rsplit(['.', '/']).next().unwrap().replace(' ', "-");
    let net = is_root.then(|| Namespace::new(&name));
    let mut words = command.split(' ');
    let python = words.next().unwrap();
    let mut program = match &net {
        Some(net) => {
            net.shell(&ports(50001, 50400));
            net.command(python)
        }
        None => Command::new(python),
    };
    program.args(words).current_dir(ROOT);
    let ended = Program::spawn(&mut program, false).finish();
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{command}");
    let printed = String::from_utf8(ended.stdout).unwrap();
    format!("$ {command}\n{}", printed.trim_end())
}

fn experiment((option, name, check): Experiment, is_root: bool) {
    let command = format!("python3 tests/peers/python/options.py {option}");
    let mut text = typed(&command, is_root);
    if option == "TCP_NODELAY" {
        text = patiently(text, || typed(&command, is_root));
    }
    check(&text);
    snapshot(name, &without_numbers(&text));
}

/// Ten writes take a few microseconds. On a machine that makes them wait for
/// 40 ms, an ACK comes in between; then once more.
fn patiently(mut text: String, again: impl Fn() -> String) -> String {
    for _ in 0..5 {
        if !text.contains("off: 2 segments") {
            text = again();
        }
    }
    text
}

/// Numbers that differ from kernel to kernel, or from run to run. Those that
/// somebody asked for, and what the kernel makes of them, stay.
fn without_numbers(text: &str) -> String {
    let number = Regex::new(r"\b\d+\b( (?:bytes|wait|for|clients|ms))?");
    let same = ["500000", "200000", "131072", "1000", "100"];
    let shown = number.unwrap().replace_all(text, |found: &Captures| {
        let whole = &found[0];
        let unit = found.get(1).map_or("", |unit| unit.as_str());
        let digits = whole.strip_suffix(unit).unwrap();
        let is_large = digits.len() > 5 || !unit.is_empty();
        match is_large && !same.contains(&digits) {
            true => format!("N{unit}"),
            false => whole.to_owned(),
        }
    });
    shown.into_owned()
}

/// The number before or behind these words.
fn number(text: &str, pattern: &str) -> u32 {
    let found = Regex::new(pattern).unwrap();
    let found = found.captures(text).unwrap_or_else(|| panic!("{text}"));
    found[1].parse().unwrap()
}

/// 100 coins would fall like this all but once in 10 million times.
fn both_have_clients(text: &str) {
    let first = number(text, r"(\d+) wait for the first");
    let second = number(text, r"(\d+) for the second");
    let resets = number(text, r"(\d+) clients are reset");
    let accepted = number(text, r"accepts (\d+) clients");
    assert_eq!((first + second, resets), (100, first), "{text}");
    assert_eq!(accepted, second, "{text}");
    assert!((23..78).contains(&first), "{text}");
}

/// With this setting, the other server gets the clients of one that is killed.
fn migrate() {
    let net = Namespace::new("migrate");
    net.shell(&ports(50001, 50400));
    set(&net, "tcp_migrate_req", "1");
    let mut python = net.command("python3");
    python.arg(format!("{ROOT}/tests/peers/python/options.py"));
    let ended = Program::spawn(python.arg("SO_REUSEPORT"), false).finish();
    let text = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(number(&text, r"(\d+) clients are reset"), 0, "{text}");
    assert_eq!(number(&text, r"accepts (\d+) clients"), 100, "{text}");
}

/// The limit was a second; the kernel looks when it sends its next probe.
fn not_before_the_limit(text: &str) {
    assert!(number(text, r"timed out after (\d+) ms") > 950, "{text}");
}

fn some_are_lost(text: &str) {
    let (_, off) = text.split_once("on, 0 s").unwrap();
    assert!(number(off, r"got (\d+) bytes") < 400_000, "{text}");
}

fn only_the_kernel_lets_them_grow(text: &str) {
    let (left, asked) = text.split_once("20000 asked for").unwrap();
    let [left_took, asked_took] =
        [left, asked].map(|half| number(half, r"took (\d+)"));
    assert!(left_took > 2 * asked_took, "{text}");
    assert!(number(left, r"MB: .* SO_RCVBUF (\d+)") > 131_072, "{text}");
}

// ---- The same in Rust

#[cfg(not(target_os = "linux"))]
fn from_rust() {}

#[cfg(target_os = "linux")]
// ANCHOR: listener
/// Listens on a port, for IPv6 and IPv4.
fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    socket.set_reuse_address(true)?; // on Windows it would let others in
    socket.set_only_v6(false)?;
    socket.set_recv_buffer_size(20_000)?; // on purpose, to bound memory
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}
// ANCHOR_END: listener

#[cfg(target_os = "linux")]
// ANCHOR: stream
/// Lets the kernel watch over a connection: it gives up on a peer that does
/// not answer for 60 s + 3 × 10 s, or takes none of our bytes for 90 s.
fn watch(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream); // takes a stream of tokio as well
    let ask = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    socket.set_tcp_keepalive(&ask)?; // and turns it on
    socket.set_tcp_user_timeout(Some(Duration::from_secs(90)))?;
    socket.set_tcp_nodelay(true)
}
// ANCHOR_END: stream

/// The options are set, on a connection from IPv4, which inherits the buffer.
#[cfg(target_os = "linux")]
fn from_rust() {
    let listener = listen(0).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(!SockRef::from(&listener).only_v6().unwrap());
    let mut ss = Command::new("ss");
    ss.args(["-tlnH", &format!("sport = :{port}")]);
    let row = String::from_utf8(ss.output().unwrap().stdout).unwrap();
    assert_eq!(row.split_whitespace().nth(2), Some("1024"), "{row}");
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (server, _) = listener.accept().unwrap();
    let accepted = SockRef::from(&server);
    assert_eq!(accepted.recv_buffer_size().unwrap(), 40_000);
    assert!(accepted.reuse_address().unwrap());
    watch(&client).unwrap();
    let socket = SockRef::from(&client);
    assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
    let seconds = |n| Duration::from_secs(n);
    assert_eq!(socket.tcp_keepalive_time().unwrap(), seconds(60));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), seconds(10));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(seconds(90)));
}

// ---- The calls

fn calls(is_root: bool) {
    let text = typed("python3 tests/peers/python/calls.py", is_root);
    snapshot("options-calls", &text);
}

fn errors(is_root: bool) {
    let text = typed("python3 tests/peers/python/calls.py errors", is_root);
    snapshot("options-errors", &text);
}

fn full(is_root: bool) {
    let text = typed("python3 tests/peers/python/calls.py full", is_root);
    snapshot("options-full", &without_numbers(&text));
}

/// What the server of step 1 asks its kernel for, until it waits for its
/// second client; calls for descriptors of others (epoll) are not asked for.
fn of_step_1() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    let names = "trace=socket,setsockopt,bind,listen,accept4,recvfrom,\
                 sendto,close";
    strace.args(["-f", "-e", names, "-e", "signal=none"]);
    strace.arg("-o").arg(file.path()).arg(bin("step1"));
    strace.args(["server", "--addr", "127.0.0.1:0"]);
    let traced = Traced(Program::spawn(&mut strace, false));
    let addr = traced.0.addr();
    let trace = || fs::read_to_string(file.path()).unwrap();
    let client = Program::client("step1", addr, Some("hello"));
    assert_eq!(client.finish().code, Some(0));
    wait_until("no second client", || trace().contains("SOCK_NONBLOCK) = -1"));
    traced.stop();
    traced.0.wait_end();
    let calls = of_two_sockets(&trace());
    let command = format!("$ strace -f -e {names} target/debug/step1 server");
    snapshot("options-step1", &format!("{command}\n{calls}"));
}

/// The calls for the listener, as 3, and for its first client, as 4. When data
/// has not come yet, tokio asks again.
fn of_two_sockets(trace: &str) -> String {
    let call = Regex::new(r"^\d+ +(\w+)\(([^,)]*)(.*)\) += (\S+)( E\w+)?");
    let call = call.unwrap();
    let (mut listener, mut client) = (String::new(), String::new());
    let mut lines: Vec<String> = Vec::new();
    for line in whole_lines(trace) {
        let Some(found) = call.captures(&line) else { continue };
        let [name, first, rest, result] = [1, 2, 3, 4].map(|i| &found[i]);
        let is_waiting = found.get(5).is_some();
        let line = match name {
            "socket" => {
                listener = result.to_owned(); // if no other socket follows
                lines.clear();
                format!("socket({first}{rest}) = 3")
            }
            "accept4" if is_waiting => "accept4(3, …) = -1 EAGAIN".to_owned(),
            "accept4" => {
                client = result.to_owned();
                "accept4(3, …) = 4".to_owned()
            }
            _ if is_waiting => continue,
            _ if first == listener => format!("{name}(3{rest}) = {result}"),
            _ if first == client => format!("{name}(4{rest}) = {result}"),
            _ => continue,
        };
        lines.push(line);
    }
    let any = Regex::new(r"\{sa_family=AF_INET,.*\}").unwrap();
    any.replace(&lines.join("\n"), "127.0.0.1:8888").into_owned()
}

// ---- Two limits on a sender

/// What a sender had on the way in one round trip, at its fullest.
#[derive(Default)]
struct Round {
    at: Duration,
    sent: u32,
    in_flight: u32,
    window: u32,
    /// Was there no room for more?
    is_full: bool,
}

/// The round trips of the client's bytes, seen where they start.
fn rounds(packets: &[Packet]) -> Vec<Round> {
    let mut rounds: Vec<Round> = Vec::new();
    let (mut acked, mut window, mut first) = (0, 0, None);
    for p in packets {
        if p.from == SERVER {
            (acked, window) = (p.ack, p.window);
            first = first.filter(|&seq| p.ack <= seq);
            continue;
        }
        if p.payload.is_empty() {
            continue; // an ACK or a probe
        }
        if first.is_none() {
            first = Some(p.seq);
            let at = p.time - packets[0].time;
            rounds.push(Round { at, ..Round::default() });
        }
        let round = rounds.last_mut().unwrap();
        let size = p.payload.len() as u32;
        round.sent += size;
        let in_flight = p.seq + size - acked;
        let is_full = in_flight >= window;
        if in_flight >= round.in_flight || is_full {
            (round.in_flight, round.window) = (in_flight, window);
        }
        round.is_full |= is_full;
    }
    rounds
}

fn two_limits() {
    let [road, reader] = ["slow-start", "zero-window"].map(|name| {
        let file = format!("{ROOT}/tests/captures/wan-{name}-client.pcap");
        rounds(&read(&fs::read(file).unwrap()))
    });
    snapshot("options-limit-road", &limits(&road, 7));
    snapshot("options-limit-reader", &limits(&reader, 5));
}

/// The first rows, and what holds the sender back in each.
fn limits(rounds: &[Round], shown: usize) -> String {
    let mut text = "| from | sent | on the way | window | limit |\n\
                    | ---: | ---: | ---: | ---: | --- |\n"
        .to_owned();
    let mut left: u32 = rounds.iter().map(|round| round.sent).sum();
    for round in rounds.iter().take(shown) {
        left -= round.sent;
        let limit = match (round.is_full, left) {
            (true, _) => "window",
            (false, 0) => "none: these are the last",
            _ => "congestion window",
        };
        let Round { at, sent, in_flight, window, .. } = round;
        let ms = at.as_millis();
        text += &format!(
            "| {ms} ms | {sent} | {in_flight} | {window} | {limit} |\n"
        );
    }
    text.trim_end().to_owned()
}

const LOOK: &str = "ss -tni dport = 8888";

/// What `ss` says of a sender, of that what the page speaks of.
fn look(net: &Namespace) -> String {
    let field = Regex::new(r" (\w+):\S+").unwrap();
    let names = ["cwnd", "unacked", "rwnd_limited"];
    let mut short = String::new();
    for line in ss(net, LOOK).lines() {
        let (row, more) = line.split_at(line.len().min(66));
        let fields = field.captures_iter(more);
        let fields = fields.filter(|found| names.contains(&&found[1]));
        short += row;
        short.extend(fields.map(|found| found[0].to_owned()));
        short.push('\n');
    }
    short
}

/// All values differ from run to run.
fn without_values(seen: &str, port: u16) -> String {
    let queue = Regex::new(r"\d+  10\.0\.0\.1:\d+").unwrap();
    let field = Regex::new(r"(cwnd:|unacked:|limited:|ms\()[\d.]+");
    let seen = queue.replace(seen, |found: &Captures| {
        let width = found[0].find(' ').unwrap();
        format!("{:>width$}  10.0.0.1:{port}", "N")
    });
    field.unwrap().replace_all(&seen, "${1}N").into_owned()
}

fn send(net: &Namespace, bytes: &str) -> Program {
    start(net, "write-and-leave", &["10.0.0.2:8888", bytes])
}

/// Is there a command and a head, and no line below it?
fn is_quiet(seen: &str) -> bool {
    seen.lines().count() == 2
}

/// Looks again and again until the one sender of the network is `held`. If it
/// has ended before that, since a busy machine looks too late, another starts.
fn held_back(road: &Road, is_held: impl Fn(&str) -> bool) -> String {
    let mut client: Option<Program> = None;
    let mut seen = String::new();
    wait_until("a sender that is held back", || {
        seen = look(&road.a);
        let is_over = |client: &mut Program| !client.is_running();
        if is_quiet(&seen) && client.as_mut().is_none_or(is_over) {
            client = Some(send(&road.a, "4000000"));
        }
        seen.lines().count() == 3 && is_held(&seen)
    });
    seen
}

/// What `ss` says of a sender that the reader has held back for most of the
/// time, and from which nothing is on the way.
const SHARE: &str = r"ESTAB.* cwnd:\d+ rwnd_limited:\d+ms\((?:[89]\d|100)";

/// The same from `ss`: at first the road is the limit, and then a reader that
/// was stopped. Each packet takes 50 ms.
fn which_limit() {
    let (road, _cable) = Road::long("which-limit");
    road.a.shell(&ports(50001, 50100));
    let server = start(&road.b, "sink", &["10.0.0.2:8888"]);
    server.addr();
    let both = Regex::new(r"ESTAB.* cwnd:(\d+) unacked:(\d+)\n").unwrap();
    let of_road = held_back(&road, |seen| {
        let found = both.captures(seen);
        found.is_some_and(|n| n[1] == n[2] && !seen.contains("limited"))
    });
    wait_until("the end", || is_quiet(&look(&road.a)));
    signal(server.id(), "-STOP");
    let share = Regex::new(SHARE).unwrap();
    let of_reader = held_back(&road, |seen| share.is_match(seen));
    let shown = [(of_road, 50001), (of_reader, 50002)]
        .map(|(seen, port)| without_values(&seen, port));
    snapshot("options-which-limit", shown.join("\n").trim_end());
}

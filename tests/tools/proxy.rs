//! The proxy of `steps/proxy`: without faults nothing gets lost, each fault
//! does what it says, and what the steps make of a bad network.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use socket2::SockRef;

use crate::support::scene::{Scene, rename_ports};
use crate::support::{
    DEADLINE, Program, again, bin, ends, is_installed, refusing, snapshot,
    trial, wait_until,
};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    let bash = (!is_installed("bash", "--version")).then_some("needs bash");
    let unix = linux.or(bash);
    let mut trials = vec![
        trial("proxy::nothing is lost", None, nothing_is_lost),
        trial("proxy::half-close, both ways", None, half_close),
        trial("proxy::a reset is passed on", linux, reset_passed_on),
        trial("proxy::an answer, then a reset", linux, last_words),
        trial("proxy::it reads no more than it can write", linux, bounded),
        trial("proxy::no server", None, no_server),
        trial("proxy::it is no server of itself", None, itself),
        trial("proxy::the checker sees no difference", linux, checked),
        trial("proxy::nobody reads its stdout", None, unread),
        trial("proxy::the demo", linux, demo),
        trial("proxy::a torn message, step 1", unix, torn),
        trial("proxy::a silent server, step 4", unix, silent),
        trial("proxy::the third attempt, step 5", unix, third_attempt),
        trial("proxy::lost replies, step 7", unix, lost_replies),
    ];
    trials.extend(faults(linux));
    trials
}

fn faults(linux: Option<&str>) -> Vec<Trial> {
    vec![
        trial("proxy::delay, in one direction", None, delay),
        trial("proxy::delay, and clear", None, delay_ends),
        trial("proxy::jitter", None, jitter),
        trial("proxy::rate", None, rate),
        trial("proxy::slice", None, slice),
        trial("proxy::corrupt, by the seed", None, corrupt),
        trial("proxy::slow-close", None, slow_close),
        trial("proxy::stall, and clear", None, stall),
        trial("proxy::stall, then cut or reset", linux, stall_ends),
        trial("proxy::reset after bytes or frames", linux, reset),
        trial("proxy::cut", None, cut),
        trial("proxy::refuse, by connection", None, refuse),
        trial("proxy::at a time", None, schedule),
        trial("proxy::faults from stdin", None, typed),
        trial("proxy::too much from stdin", None, too_much_typed),
    ]
}

// ---- Both ends of a proxy

/// What may not come before a second has passed comes after this many: timers
/// round.
const EARLY: f64 = 0.9;

fn proxy(to: SocketAddr, faults: &[&str]) -> Program {
    let to = to.to_string();
    let mut command = Command::new(bin("proxy"));
    command.args(["--addr", "127.0.0.1:0", "--to", &to]).args(faults);
    Program::spawn(&mut command, true)
}

/// A proxy with faults, and a listener behind it.
struct Network {
    proxy: Program,
    addr: SocketAddr,
    listener: TcpListener,
}

impl Network {
    fn new(faults: &[&str]) -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = proxy(listener.local_addr().unwrap(), faults);
        let addr = proxy.addr();
        Network { proxy, addr, listener }
    }

    /// The next connection, from end to end.
    fn pair(&self) -> [TcpStream; 2] {
        let client = TcpStream::connect(self.addr).unwrap();
        let (server, _) = self.listener.accept().unwrap();
        for end in [&client, &server] {
            end.set_read_timeout(Some(DEADLINE)).unwrap();
        }
        [client, server]
    }
}

/// Sends all of `bytes` and waits for them at the other end.
fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> Duration {
    let start = Instant::now();
    let mut received = vec![0; bytes.len()];
    thread::scope(|scope| {
        scope.spawn(|| from.write_all(bytes).unwrap());
        to.read_exact(&mut received).unwrap();
    });
    assert!(received == bytes, "other bytes arrived");
    start.elapsed()
}

/// How the stream ends, and what came before.
fn rest(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).err().map(|e| e.kind());
    (bytes, end)
}

const RESET: Option<ErrorKind> = Some(ErrorKind::ConnectionReset);

/// Is a new connection reset? On a busy machine, that may come before
/// `connect` has returned.
fn is_reset(addr: SocketAddr) -> bool {
    let end = TcpStream::connect(addr).and_then(|mut client| {
        client.set_read_timeout(Some(DEADLINE))?;
        again(|| client.read(&mut [0]))
    });
    end.map_err(|error| error.kind()) == Err(ErrorKind::ConnectionReset)
}

/// Does nothing come for a while, not even an end?
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let end = again(|| stream.read(&mut [0])).map_err(|e| e.kind());
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    matches!(end, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn break_off(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn frames(texts: &[&str]) -> Vec<u8> {
    let frame = |text: &&str| {
        let length = 1 + text.len() as u32;
        [&length.to_be_bytes()[..], &[1], text.as_bytes()].concat()
    };
    texts.iter().flat_map(frame).collect()
}

// ---- Without faults, or with those that lose nothing

/// 10 MB there and back, which differ from place to place.
fn nothing_is_lost() {
    let (_server, to) = Program::server("step3");
    let bytes: Vec<u8> = (0..2_500_000u32).flat_map(u32::to_be_bytes).collect();
    for faults in [&[][..], &["slice 1000", "jitter 2ms"]] {
        let proxy = proxy(to, faults);
        let mut client = TcpStream::connect(proxy.addr()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut writer = client.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&bytes).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let (received, end) = rest(&mut client);
            assert_eq!(end, None);
            assert!(received == bytes, "{faults:?}: {}", received.len());
        });
        proxy.wait_for("1: both streams ended");
    }
}

fn half_close() {
    let net = Network::new(&[]);
    for first_is_client in [true, false] {
        let [client, server] = net.pair();
        let (mut first, mut second) = match first_is_client {
            true => (client, server),
            false => (server, client),
        };
        passes(&mut first, &mut second, b"question");
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut second), (vec![], None));
        passes(&mut second, &mut first, b"answer");
        drop(second);
        assert_eq!(rest(&mut first), (vec![], None));
    }
}

fn reset_passed_on() {
    let net = Network::new(&[]);
    let [client, mut server] = net.pair();
    break_off(client);
    assert_eq!(rest(&mut server), (vec![], RESET));

    let [mut client, server] = net.pair();
    break_off(server);
    assert_eq!(rest(&mut client), (vec![], RESET));

    // After a half-close, nobody reads from the client any more.
    let [client, mut server] = net.pair();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut server), (vec![], None));
    break_off(client);
    wait_until("a reset", || server.take_error().unwrap().is_some());

    // Nor when there is no more room.
    let [mut client, server] = net.pair();
    fill(&mut client);
    break_off(client);
    wait_until("a reset", || server.take_error().unwrap().is_some());
}

/// A server that answers after four bytes and closes: its kernel sends the
/// answer, and a reset because of the bytes that nobody has read.
fn last_words() {
    for faults in [&[][..], &["down delay 200ms"], &["up slice 100"]] {
        let net = Network::new(faults);
        for _ in 0..20 {
            let [mut client, mut server] = net.pair();
            client.write_all(&[b'x'; 5000]).unwrap();
            server.read_exact(&mut [0; 4]).unwrap();
            server.write_all(b"too long").unwrap();
            drop(server);
            let (bytes, end) = rest(&mut client);
            assert_eq!(bytes.escape_ascii().to_string(), "too long");
            assert_eq!(end, RESET, "{faults:?}");
        }
    }
    // More than the proxy has room for.
    let net = Network::new(&["down rate 200KB"]);
    let [mut client, mut server] = net.pair();
    server.write_all(&[b'x'; 100_000]).unwrap();
    client.read_exact(&mut [0; 10_000]).unwrap();
    let addr = net.listener.local_addr().unwrap();
    wait_until("all to have left the server", || {
        ends(addr).iter().all(|end| !end.is_server || end.unsent == 0)
    });
    break_off(server);
    let (bytes, end) = rest(&mut client);
    assert_eq!((bytes.len(), end), (90_000, RESET));
}

/// Writes until nothing more is taken for a while; returns how much was.
fn fill(stream: &mut TcpStream) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let chunk = vec![0; 64 * 1024];
    let mut total = 0;
    while total < 256_000_000 {
        match stream.write(&chunk) {
            Ok(n) => total += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    total
}

fn bounded() {
    for faults in [&[][..], &["delay 10ms"], &["up rate 1"], &["up stall"]] {
        let net = Network::new(faults);
        let [mut client, _server] = net.pair();
        let before = resident(&net.proxy);
        let taken = fill(&mut client);
        let grown = resident(&net.proxy) - before;
        // All but 80 KiB of what was taken is in the buffers of the kernel.
        assert!(taken < 256_000_000, "{faults:?}: it takes everything");
        assert!(grown < 1_000, "{faults:?}: grown by {grown} KB");
    }
}

/// Kilobytes of memory (proc(5)).
fn resident(program: &Program) -> i64 {
    let path = format!("/proc/{}/status", program.id());
    let status = fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The proxy has accepted before it knows; then a reset is all it can do.
fn no_server() {
    let (_socket, to) = refusing();
    let proxy = proxy(to, &[]);
    assert!(is_reset(proxy.addr()));
    proxy.wait_for(&format!("1: cannot connect to {to} (is the server"));
}

fn itself() {
    let addr = "127.0.0.1:9999";
    let ended = Program::start("proxy", &["--to", addr]).finish();
    let error = format!("error: cannot relay to {addr}: the proxy itself");
    assert!(ended.stderr.starts_with(&error), "{}", ended.stderr);
    assert_eq!(ended.code, Some(1));
}

/// The server of step 4 keeps the contract, seen through the proxy.
#[cfg(unix)]
fn checked() {
    use check::{Machine, Session, Side, Verdict, cases};
    let (_server, to) = Program::server("step4");
    let command = format!("'{}' --addr {{addr}} --to {to}", bin("proxy"));
    let session = Session::new(Side::Server, 4, &command).unwrap();
    let session = session.on(&Machine::new());
    let mut cases = cases::of(Side::Server, 4);
    cases.retain(|case| case.rule_step() == 4);
    assert!(cases.len() > 20);
    for case in cases {
        let verdict = session.judge_patiently(case);
        let is_fine = matches!(verdict, Verdict::Pass);
        assert!(is_fine, "{}", session.report(case, &verdict));
    }
}

#[cfg(not(unix))]
fn checked() {}

// ---- Each fault

fn delay() {
    for (fault, slow) in [("up delay 1s", 0), ("down delay 1s", 1)] {
        let net = Network::new(&[fault]);
        let [mut client, mut server] = net.pair();
        let times = [
            passes(&mut client, &mut server, b"question"),
            passes(&mut server, &mut client, b"answer"),
        ];
        assert!(times[slow].as_secs_f64() >= EARLY, "{fault}: {times:?}");
        assert!(times[1 - slow].as_secs_f64() < EARLY, "{fault}: {times:?}");
        let said = fault.replacen(' ', ": ", 1);
        net.proxy.wait_for(&format!("1 {said}\n"));
    }
}

/// What a delay still holds leaves when the delay ends.
fn delay_ends() {
    let mut net = Network::new(&["delay 1000s"]);
    let [mut client, mut server] = net.pair();
    client.write_all(b"question").unwrap();
    assert!(is_silent(&mut server));
    net.proxy.write(b"clear\n");
    server.read_exact(&mut [0; 8]).unwrap();
    passes(&mut server, &mut client, b"answer");
}

/// The sum of ten times is that of ten dice.
fn jitter() {
    let net = Network::new(&["up jitter 100ms"]);
    let [mut client, mut server] = net.pair();
    let times = [(); 10].map(|()| passes(&mut client, &mut server, b"x"));
    let sum = times.iter().sum::<Duration>().as_secs_f64();
    assert!(sum > 0.1, "{times:?}");
    let few = times.iter().min() < times.iter().max().map(|t| *t / 2).as_ref();
    assert!(few, "all alike: {times:?}");
}

fn rate() {
    let net = Network::new(&["up rate 10KB"]);
    let [mut client, mut server] = net.pair();
    let time = passes(&mut client, &mut server, &[b'x'; 5000]);
    // The first twentieth of a second is not waited for.
    assert!(time.as_secs_f64() >= 0.45 * EARLY, "{time:?}");
    let time = passes(&mut server, &mut client, &[b'x'; 5000]);
    assert!(time.as_secs_f64() < 0.45 * EARLY, "{time:?}");
}

/// The rate keeps the pieces apart, so that each is a read of its own.
fn slice() {
    let net = Network::new(&["slice 4", "rate 4"]);
    let [mut client, mut server] = net.pair();
    client.write_all(b"0123456789").unwrap();
    for piece in ["0123", "4567", "89"] {
        let mut buffer = [0; 100];
        let n = again(|| server.read(&mut buffer)).unwrap();
        assert_eq!(buffer[..n].escape_ascii().to_string(), piece);
    }
}

fn corrupt() {
    let damaged = |seed: &str| {
        let net = Network::new(&["up corrupt 100", "--seed", seed]);
        let [mut client, mut server] = net.pair();
        client.write_all(&[0; 10_000]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (bytes, end) = rest(&mut server);
        assert_eq!((bytes.len(), end), (10_000, None));
        bytes
    };
    let [one, again, two] = ["1", "1", "2"].map(damaged);
    assert!(one == again, "the same seed, other bytes");
    assert!(one != two, "another seed, the same bytes");
    for bytes in [one, two] {
        let bad = bytes.iter().filter(|&&byte| byte != 0);
        let bits: Vec<_> = bad.map(|byte| byte.count_ones()).collect();
        assert!(bits.iter().all(|&n| n == 1), "one bit of each");
        assert!((50..200).contains(&bits.len()), "{}", bits.len());
    }
}

fn slow_close() {
    let net = Network::new(&["slow-close 1s"]);
    let [mut client, mut server] = net.pair();
    let time = passes(&mut client, &mut server, b"question");
    assert!(time.as_secs_f64() < EARLY, "{time:?}");
    let start = Instant::now();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut server), (vec![], None));
    assert!(start.elapsed().as_secs_f64() >= EARLY);
}

fn stall() {
    let mut net = Network::new(&["conn 1 down stall after 4 bytes"]);
    let [mut client, mut server] = net.pair();
    server.write_all(b"answers").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    assert!(is_silent(&mut client));
    net.proxy.wait_for("1 down: stall after 4 bytes\n");
    passes(&mut client, &mut server, b"the other direction");
    net.proxy.write(b"clear\n");
    assert_eq!(rest(&mut client), (b"ers".to_vec(), None));
}

/// A cable that was pulled can still be cut.
fn stall_ends() {
    for (end, error) in [("cut", None), ("reset", RESET)] {
        let mut net = Network::new(&["stall"]);
        let [mut client, _server] = net.pair();
        net.proxy.wait_for("1 down: stall\n");
        net.proxy.write(format!("up {end}\n").as_bytes());
        assert_eq!(rest(&mut client), (vec![], error));
        net.proxy.wait_for(&format!("1 up: {end}\n"));
    }
}

fn reset() {
    let three = frames(&["one", "two", "three"]);
    let two = frames(&["one", "two"]);
    for (fault, passed) in [
        ("up: reset after 2 frames", &two[..]),
        ("up: reset after 0 frames", b""),
        ("up: reset after 5 bytes", &three[..5]),
    ] {
        let net = Network::new(&[&fault.replace(':', "")]);
        let [mut client, mut server] = net.pair();
        client.write_all(&three).unwrap();
        assert_eq!(rest(&mut server), (passed.to_vec(), RESET), "{fault}");
        assert_eq!(rest(&mut client), (vec![], RESET), "{fault}");
        net.proxy.wait_for(&format!("1 {fault}\n"));
    }
    // What was to pass has passed, and then nothing more comes.
    let net = Network::new(&["down reset after 2 frames"]);
    let [mut client, mut server] = net.pair();
    passes(&mut server, &mut client, &two);
    passes(&mut client, &mut server, &three);
    server.write_all(b"\0").unwrap();
    assert_eq!(rest(&mut client), (vec![], RESET));
}

/// The client gets an end, not a reset, although it has sent more than the
/// proxy has read.
fn cut() {
    let net = Network::new(&["down cut after 4 bytes"]);
    let [mut client, mut server] = net.pair();
    fill(&mut client);
    server.write_all(b"answers").unwrap();
    assert_eq!(rest(&mut client), (b"answ".to_vec(), None));
    client.write_all(b"nor does one come later").unwrap();
    assert_eq!(rest(&mut server).1, None);
}

fn refuse() {
    let net = Network::new(&["conn 1-2 refuse"]);
    for _ in 0..2 {
        assert!(is_reset(net.addr));
    }
    let [mut client, mut server] = net.pair();
    passes(&mut client, &mut server, b"the third gets through");
    net.proxy.wait_for("2: refuse\n");
}

fn schedule() {
    let net = Network::new(&["at 1s conn 2 reset"]);
    let [mut first, _server] = net.pair();
    let start = Instant::now();
    let [mut second, _other_server] = net.pair();
    assert_eq!(rest(&mut second), (vec![], RESET));
    assert!(start.elapsed().as_secs_f64() >= EARLY);
    assert!(is_silent(&mut first));
}

fn typed() {
    let mut net = Network::new(&[]);
    let [mut client, mut server] = net.pair();
    let mut say = |line: &str, answer: &str| {
        net.proxy.write(format!("{line}\n").as_bytes());
        net.proxy.wait_for(answer);
    };
    say("dely 1s", "cannot use \"dely 1s\": \"dely\" is no fault");
    say("\u{fffd}", "is no fault");
    say("down delay 1s", "1 down: delay 1s\n");
    let time = passes(&mut server, &mut client, b"answer");
    assert!(time.as_secs_f64() >= EARLY, "{time:?}");
    say("down delay 0s", "1 down: delay 0ns\n");
    let time = passes(&mut server, &mut client, b"answer");
    assert!(time.as_secs_f64() < EARLY, "{time:?}");
    net.proxy.end_input();
    passes(&mut client, &mut server, b"it goes on");
    let mut next = net.pair();
    let [client, server] = &mut next;
    passes(client, server, b"with others, too");
}

/// As in `proxy | less`: what the proxy prints fills the pipe.
fn unread() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let mut command = Command::new(bin("proxy"));
    command.args(["--addr", "127.0.0.1:0", "--to", &to]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut proxy = Killed(command.spawn().unwrap());
    let mut output = BufReader::new(proxy.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let addr = line.trim().strip_prefix("listening on ").unwrap();
    let mut input = proxy.0.stdin.take().unwrap();
    let bad = [&[b'x'; 500][..], b"\n"].concat().repeat(2000);
    in_time(move || input.write_all(&bad).unwrap());
    let mut client = TcpStream::connect(addr).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    passes(&mut client, &mut server, b"question");
    in_time(|| {
        let mut lines = output.lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with(" lost: nobody read them")));
    });
}

/// What could wait forever.
fn in_time(f: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(f);
    wait_until("the proxy", || thread.is_finished());
    thread.join().unwrap();
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn too_much_typed() {
    let mut net = Network::new(&[]);
    let mut say = |line: &str, answer: &str| {
        net.proxy.write(format!("{line}\n").as_bytes());
        net.proxy.wait_for(answer);
    };
    say(&"x".repeat(100_000), "skips a line of over 1024 bytes\n");
    say("after it", "cannot use \"after it\"");
    say(&"conn 9 stall\n".repeat(100), "from now on: conn 9 stall\n");
    say("stall", "cannot use \"stall\": there are 100 faults");
    say("clear", "from now on: clear\n");
    say("up stall", "from now on: up stall\n");
}

// ---- What a reader sees

/// Ten at once, since the order of the lines must be no matter of luck.
fn demo() {
    let once = || {
        let ended = Program::start("proxy", &[]).finish();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let text = String::from_utf8(ended.stdout).unwrap();
        let port = text.split([':', ',']).nth(1).unwrap();
        let port: u16 = port.parse().unwrap();
        let text = rename_ports(&text, |p| match p {
            8888 | 9999 => Some(p), // what the reader types
            _ => (p == port).then_some(40001),
        });
        let text = format!("$ cargo run --bin proxy\n{text}");
        snapshot("demo-proxy", text.trim_end());
    };
    thread::scope(|scope| {
        (0..10).for_each(|_| drop(scope.spawn(once)));
    });
}

/// Terminals with a server of a step, a proxy with these faults, and a client.
fn scene(step: &str, faults: &[&str], set: &str, arguments: &str) -> Scene {
    let mut scene = Scene::new();
    let to = scene.server(step);
    add(&mut scene, to, step, faults, [set, arguments]);
    scene
}

/// Adds the terminals of the proxy and the client.
fn add(
    scene: &mut Scene,
    to: SocketAddr,
    step: &str,
    faults: &[&str],
    [set, arguments]: [&str; 2],
) {
    let proxy = proxy(to, faults);
    let addr = proxy.addr();
    scene.rename(to, 8888);
    scene.rename(addr, 9999);
    let faults: String =
        faults.iter().map(|fault| format!(" '{fault}'")).collect();
    let run = "cargo run --bin proxy -- --to 127.0.0.1:8888";
    scene.terminal("the proxy", &format!("{run}{faults}"), proxy);
    let mut bash = Command::new("bash");
    let program = bin(step);
    let client =
        format!("({set}{program} client --addr {addr} {arguments}) 2>&1");
    let client = Program::spawn(bash.args(["-c", &client]), false);
    let run = format!("{set}cargo run --bin {step} -- client");
    let shown = format!("{run} --addr 127.0.0.1:9999 {arguments}");
    scene.terminal("the client", &shown, client);
}

fn torn() {
    let faults = ["up slice 5", "up rate 10"];
    let mut scene = scene("step1", &faults, "", "'Hello, Server!'");
    scene.wait_end(2);
    scene.wait_for(0, "closes\n", 1);
    scene.wait_for(1, "resets the other end", 1);
    scene.snapshot("proxy-torn");
}

/// The client has no time limit, so the shell gives it one.
fn silent() {
    let mut scene =
        scene("step4", &["down stall"], "timeout 2 ", "one; echo $?");
    scene.wait_end(2);
    scene.wait_for(0, " ended after 1 frames\n", 1);
    scene.stays_silent(1);
    assert_eq!(scene.program(2).texts().0, b"124\n", "it ended by itself");
    scene.snapshot("proxy-silent");
}

/// Whether the server hears of the end of the old connection or of the new one
/// first is a matter of luck, so its terminal is not shown.
fn third_attempt() {
    let (_server, to) = Program::server("step5");
    let mut scene = Scene::new();
    let faults = ["conn 1 down reset after 0 frames", "conn 2 stall"];
    let client = ["TCP_REQUEST_MS=2000 ", "one"];
    add(&mut scene, to, "step5", &faults, client);
    scene.wait_end(1);
    scene.wait_for(0, "3: both streams ended\n", 1);
    assert!(scene.program(1).texts().0.ends_with(b"\none\n"));
    scene.snapshot("proxy-third-attempt");
}

/// Here, too.
fn lost_replies() {
    let (_server, to) = Program::server("step7");
    let mut scene = Scene::new();
    let arguments = "--add 5 --add 7 --add 30";
    let faults = ["down reset after 1 frame"];
    add(&mut scene, to, "step7", &faults, ["", arguments]);
    scene.wait_end(1);
    scene.wait_for(0, "3: both streams ended\n", 1);
    assert!(scene.program(1).texts().0.ends_with(b"\n42\n"));
    scene.snapshot("proxy-lost-replies");
}

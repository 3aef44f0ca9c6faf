//! Tests of `steps/udp`: real processes over real sockets.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[path = "../support/mod.rs"]
mod support;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use support::arguments::arguments;
use support::scene::Scene;
use support::{
    DEADLINE, Ended, Program, again, bin, is_installed, signal, snapshot,
    trial, wait_until,
};

fn main() {
    let arguments = arguments();
    let mut trials = scenes();
    trials.extend(client());
    trials.extend(server());
    libtest_mimic::run(&arguments, trials).exit();
}

fn scenes() -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    let bash = (!is_installed("bash", "--version")).then_some("needs bash");
    vec![
        trial("the demo", None, demo),
        trial("1000 additions over a bad road", linux.or(bash), thousand),
        trial("a client without identity", None, forgetful),
        trial("nobody is there", linux, refused),
        trial("a datagram that is too large", linux.or(bash), too_large),
        trial("strangers", linux.or(bash), strangers),
    ]
}

// ---- What the page shows

fn demo() {
    let ended = Program::start("udp", &[]).finish();
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    let text = String::from_utf8(ended.stdout).unwrap();
    snapshot("udp-demo", &format!("$ cargo run -p udp\n{}", text.trim_end()));
}

/// A server of ours, and its address.
fn udp_server(more: &[&str]) -> (Program, SocketAddr) {
    let args = [&["server", "--addr", "127.0.0.1:0"], more].concat();
    let program = Program::start("udp", &args);
    let addr = program.addr();
    (program, addr)
}

/// A road to the server at `to`.
fn road(to: SocketAddr, faults: &[&str]) -> (Program, SocketAddr) {
    let to = to.to_string();
    let args = [&["road", "--addr", "127.0.0.1:0", "--to", &to], faults];
    let program = Program::start("udp", &args.concat());
    let addr = program.addr();
    (program, addr)
}

/// Quick attempts, and as many as the deadline allows.
const QUICK: [(&str, &str); 3] = [
    ("TCP_REQUEST_MS", "2"),
    ("TCP_BACKOFF_CAP_MS", "2"),
    ("TCP_ATTEMPTS", "9999"),
];

const BAD: [&str; 6] = ["--loss", "20%", "--twice", "20%", "--late", "20%"];

fn thousand() {
    let mut scene = Scene::new();
    let (server, to) = udp_server(&[]);
    let (road, addr) = road(to, &BAD);
    scene.rename(to, 8888);
    scene.rename(addr, 8889);
    scene.terminal("the server", "cargo run -p udp -- server", server);
    let shown = format!("cargo run -p udp -- road {}", BAD.join(" "));
    scene.terminal("the road", &shown, road);
    scene.wait_for(0, "forgets all totals", 1);
    scene.wait_for(1, "listening", 1);

    let client = "client --add 1 --times 1000 2> errors.txt | tail -n 1";
    let shown = client.replace("client", "client --addr 127.0.0.1:8889");
    let set = QUICK.map(|(name, value)| format!("{name}={value}")).join(" ");
    let shown = format!("{set} \\\n    cargo run -p udp -- {shown}");
    let folder = tempfile::tempdir().unwrap();
    let real = client.replace("client", &format!("client --addr {addr}"));
    let script = format!("{} {real}", bin("udp"));
    let mut command = Command::new("bash");
    command.args(["-c", &script]).envs(QUICK).current_dir(folder.path());
    scene.terminal("the client", &shown, Program::spawn(&mut command, false));
    wait_long(scene.program(2));
    scene.wait_end(2);
    scene.snapshot("udp-thousand");
    let errors = folder.path().join("errors.txt");
    let errors = std::fs::read_to_string(errors).unwrap();
    let again = errors.matches("no reply within").count();
    assert!(again > 300, "only {again} attempts failed");
}

/// A busy machine takes far longer than the deadline of other tests.
fn wait_long(program: &mut Program) {
    let end = Instant::now() + 10 * DEADLINE;
    while program.is_running() && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
}

/// It adds more than it was asked to, and does not notice.
fn forgetful() {
    let (_server, to) = udp_server(&[]);
    let (_road, addr) = road(to, &BAD);
    let addr = addr.to_string();
    let mut command = Command::new(bin("udp"));
    command.args(["client", "--addr", &addr, "--add", "1", "--times", "100"]);
    command.arg("--forgetful").envs(QUICK);
    let mut client = Program::spawn(&mut command, false);
    wait_long(&mut client);
    let ended = client.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let text = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(text.lines().count(), 100);
    let total: i64 = text.lines().last().unwrap().parse().unwrap();
    assert!(total > 110, "the total is {total}");
}

/// A port that refuses: its socket takes datagrams only from one peer, which is
/// not ours. Meanwhile no other program gets the port.
fn closed() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect("127.0.0.1:9").unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

fn refused() {
    let (_held, addr) = closed();
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    let addr = addr.to_string();
    let mut command = Command::new(bin("udp"));
    command.args(["client", "--addr", &addr, "hello"]);
    command.env("TCP_ATTEMPTS", "2");
    let ended = finish(&mut command);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let shown = "TCP_ATTEMPTS=2 cargo run -p udp -- client hello";
    let shown = format!("{shown}; echo \"exit code $?\"");
    scene.terminal("the client", &shown, Program::spawn(&mut command, false));
    scene.wait_end(0);
    scene.add(0, "exit code 3\n".to_owned()); // as asserted above
    scene.snapshot("udp-refused");
}

fn too_large() {
    let (server, addr) = udp_server(&["--datagram", "65507"]);
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    let shown = "cargo run -p udp -- server --datagram 65507";
    scene.terminal("the server", shown, server);
    scene.wait_for(0, "forgets all totals", 1);
    let real = format!("{} client --addr {addr}", bin("udp"));
    for more in ["", "--datagram 65507", "--datagram 65508"] {
        let size = if more.ends_with('8') { 65_503 } else { 65_502 };
        let script = |client: &str| {
            let client = format!("{client} {more}");
            let client = client.trim_end();
            let text = format!("printf '%{size}d' 0");
            format!("{text} | {client} | wc -c")
        };
        let mut command = Command::new("bash");
        let program =
            Program::spawn(command.args(["-c", &script(&real)]), false);
        let shown = script("cargo run -p udp -- client");
        scene.terminal("the client", &shown, program);
        scene.wait_end(scene.last());
    }
    scene.snapshot("udp-too-large");
}

/// What bash sends to /dev/udp/HOST/PORT is a datagram.
fn strangers() {
    let (server, addr) = udp_server(&["--verbose"]);
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    let shown = "cargo run -p udp -- server --verbose";
    scene.terminal("the server", shown, server);
    let texts = ["hello", r"\0\0\0\3\201hi", r"\0\0\0\3\1hi"];
    let script = |port: u16, gap: &str| {
        let to = format!("/dev/udp/127.0.0.1/{port}");
        texts.map(|text| format!("printf '{text}' > {to}")).join(gap)
    };
    let mut command = Command::new("bash");
    command.args(["-c", &script(addr.port(), "\n")]);
    let program = Program::spawn(&mut command, false);
    scene.terminal("a stranger", &script(8888, "\n$ "), program);
    scene.wait_end(1);
    scene.wait_for(0, "echoes", 1);
    scene.snapshot("udp-strangers");
}

// ---- The client, and a server that does what the test wants

fn client() -> Vec<Trial> {
    vec![
        trial("client::only its own reply counts", None, only_its_own),
        trial("client::a stranger is not heard", None, stranger),
        trial("client::a late reply counts", None, late_reply),
        trial("client::each request has its own port", None, ports),
        trial("client::silence is an unknown outcome", None, silence),
        trial("client::the deadline is for everything", None, deadline),
        trial("client::noise does not move the deadline", None, noise),
        trial("client::a refusal after a request", None, refused_later),
        trial("client::what an ERROR means", None, errors),
        trial("client::an ERROR is for one attempt", None, overloaded),
        trial("client::an ERROR is not for the terminal", None, escaped),
        trial("client::what it does not send", None, not_sent),
        trial("client::the last number", None, last_number),
        trial("client::lines of stdin", None, lines),
    ]
}

/// The end that the test plays, with a client that asks it.
struct Fake {
    socket: UdpSocket,
    client: Program,
}

/// For clients that shall not ask twice, however busy the machine is.
const PATIENT: [(&str, &str); 2] =
    [("TCP_REQUEST_MS", "60000"), ("TCP_DEADLINE_MS", "120000")];

const ADD: [&str; 5] = ["--add", "5", "--client-id", "7", "--seq=3"];

impl Fake {
    fn new(args: &[&str], limits: &[(&str, &str)]) -> Fake {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let addr = socket.local_addr().unwrap().to_string();
        let mut command = Command::new(bin("udp"));
        command.args(["client", "--addr", &addr]).args(args);
        command.envs(PATIENT).envs(limits.iter().copied());
        let client = Program::spawn(&mut command, false);
        Fake { socket, client }
    }

    /// The next datagram, and who sent it.
    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2000];
        let (n, client) = again(|| self.socket.recv_from(&mut buffer)).unwrap();
        (buffer[..n].to_vec(), client)
    }

    fn send(&self, bytes: &[u8], to: SocketAddr) {
        self.socket.send_to(bytes, to).unwrap();
    }
}

fn finish(command: &mut Command) -> Ended {
    Program::spawn(command, false).finish()
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = 1 + payload.len() as u32;
    [&length.to_be_bytes()[..], &[kind], payload].concat()
}

fn total(client: u64, seq: u64, total: i64) -> Vec<u8> {
    let numbers = [client, seq, total as u64].map(u64::to_be_bytes);
    frame(0x83, &numbers.concat())
}

fn error(code: u8) -> Vec<u8> {
    frame(0x7f, &[code])
}

fn only_its_own() {
    let fake = Fake::new(&ADD, &[]);
    let (request, client) = fake.receive();
    let numbers = [7, 3, 5u64].map(u64::to_be_bytes).concat();
    assert_eq!(request, frame(3, &numbers));
    let (reply, wrong) = (total(7, 3, 42), total(7, 3, 13));
    for other in [
        &b""[..],
        b"hello",
        &request,
        &total(7, 2, 11),
        &total(8, 3, 12),
        &frame(0x81, b"hi"),
        &reply[..28],
        &[&wrong[..], b"x"].concat(),
        &[&wrong[..], &wrong].concat(),
        &frame(0x83, &reply[5..28]),
    ] {
        fake.send(other, client);
    }
    fake.send(&reply, client);
    let ended = fake.client.finish();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"42\n"[..]));
    assert_eq!(ended.stderr, "");
}

fn stranger() {
    let fake = Fake::new(&ADD, &[]);
    let (_, client) = fake.receive();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(&total(7, 3, 13), client).unwrap();
    fake.send(&total(7, 3, 42), client);
    let ended = fake.client.finish();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"42\n"[..]));
}

// ANCHOR: late-reply
/// The reply to the first attempt comes when the second one was sent.
fn late_reply() {
    let fake = Fake::new(&ADD, &[("TCP_REQUEST_MS", "200")]);
    let first = fake.receive();
    let second = fake.receive();
    assert_eq!(first, second, "from the same port, too");
    fake.send(&total(7, 3, 42), first.1);
    let ended = fake.client.finish();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"42\n"[..]));
    assert!(ended.stderr.contains("no reply within 200ms"));
}
// ANCHOR_END: late-reply

fn ports() {
    let fake = Fake::new(&["one", "one", "two"], &[]);
    let (one, first) = fake.receive();
    assert_eq!(one, frame(1, b"one"));
    fake.send(&frame(0x81, b"one"), first);
    let (_, second) = fake.receive();
    assert_ne!(first, second);
    fake.send(&frame(0x81, b"one"), first); // arrives at a closed port
    fake.send(&frame(0x81, b"one"), second);
    let (_, third) = fake.receive();
    fake.send(&frame(0x81, b"one"), third); // late, and of another request
    fake.send(&frame(0x81, b"two"), third);
    let ended = fake.client.finish();
    assert_eq!(ended.stdout, b"one\none\ntwo\n", "{}", ended.stderr);
}

fn silence() {
    let limits = [("TCP_REQUEST_MS", "50"), ("TCP_ATTEMPTS", "3")];
    let fake = Fake::new(&ADD, &limits);
    let (first, _) = fake.receive();
    for _ in 0..2 {
        assert_eq!(fake.receive().0, first, "byte for byte");
    }
    let ended = fake.client.finish();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(4), &b""[..]));
    let last = ended.stderr.lines().last().unwrap();
    assert_eq!(
        last,
        "error: operation 3 of client 7: outcome unknown: gave up after 3 of \
         3 attempts"
    );
}

/// The deadline comes first, however long one attempt may take.
fn deadline() {
    let limits = [("TCP_REQUEST_MS", "60000"), ("TCP_DEADLINE_MS", "300")];
    let start = Instant::now();
    let fake = Fake::new(&ADD, &limits);
    assert_eq!(fake.client.finish().code, Some(4));
    assert!(start.elapsed() >= Duration::from_millis(270));
}

/// A server that never stops talking, and never answers.
fn noise() {
    let limits = [("TCP_REQUEST_MS", "300"), ("TCP_DEADLINE_MS", "700")];
    let mut fake = Fake::new(&ADD, &limits);
    let (_, client) = fake.receive();
    let start = Instant::now();
    while fake.client.is_running() {
        // In small bursts: `is_running` takes its time.
        for _ in 0..100 {
            let _ = fake.socket.send_to(&total(7, 2, 1), client);
        }
        assert!(start.elapsed() < DEADLINE, "the client waits on");
    }
    let took = start.elapsed();
    assert_eq!(fake.client.finish().code, Some(4));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// The server dies with the request: nobody knows what it did with it.
fn refused_later() {
    let limits = [
        ("TCP_REQUEST_MS", "200"),
        ("TCP_BACKOFF_CAP_MS", "20"),
        ("TCP_ATTEMPTS", "100"),
    ];
    let Fake { socket, client } = Fake::new(&ADD, &limits);
    let mut buffer = [0; 2000];
    again(|| socket.recv_from(&mut buffer)).unwrap();
    client.wait_for_stderr("attempt 1: outcome unknown");
    drop(socket);
    let ended = client.finish();
    let said = &ended.stderr;
    assert_eq!(ended.code, Some(4), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
}

fn errors() {
    for (code, exit) in [(4, 6), (7, 6), (9, 6), (10, 5)] {
        let fake = Fake::new(&ADD, &[]);
        let (_, client) = fake.receive();
        fake.send(&error(code), client);
        let ended = fake.client.finish();
        assert_eq!(ended.code, Some(exit), "{}", ended.stderr);
        let part = format!("the server answered with error {code}");
        assert!(ended.stderr.contains(&part), "{}", ended.stderr);
    }
    // After silence, an ERROR leaves open what became of the first attempt.
    let fake = Fake::new(&ADD, &[("TCP_REQUEST_MS", "200")]);
    fake.receive();
    let (_, client) = fake.receive();
    fake.send(&error(9), client);
    assert_eq!(fake.client.finish().code, Some(4));
}

/// A second copy of the ERROR must not be the answer to the next attempt.
fn overloaded() {
    let fake = Fake::new(&ADD, &[("TCP_ATTEMPTS", "2")]);
    let (_, first) = fake.receive();
    fake.send(&error(6), first);
    let (_, second) = fake.receive();
    assert_ne!(first, second);
    fake.send(&error(6), first);
    fake.send(&total(7, 3, 42), second);
    let ended = fake.client.finish();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"42\n"[..]));
    assert!(ended.stderr.contains("attempt 1: not executed"));

    let fake = Fake::new(&ADD, &[("TCP_ATTEMPTS", "2")]);
    for _ in 0..2 {
        let (_, client) = fake.receive();
        fake.send(&error(6), client);
    }
    assert_eq!(fake.client.finish().code, Some(3));
}

/// What a terminal would obey is escaped.
fn escaped() {
    let fake = Fake::new(&ADD, &[]);
    let (_, client) = fake.receive();
    fake.send(&frame(0x7f, b"\x04\x1b[31mred"), client);
    let ended = fake.client.finish();
    assert_eq!(ended.code, Some(6));
    let text = r#"error 4 "\u{1b}[31mred""#;
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
}

fn not_sent() {
    let fake = Fake::new(&["--datagram", "20", "a text of 15 by"], &[]);
    let (request, client) = fake.receive();
    assert_eq!(request.len(), 20);
    fake.send(&frame(0x81, b"a text of 15 by"), client);
    assert_eq!(fake.client.finish().code, Some(0));

    let larger = ["--datagram", "20", "a text of 16 byt"];
    let ended = Fake::new(&larger, &[]).client.finish();
    assert_eq!(ended.code, Some(1));
    let said = "cannot send 21 bytes in a datagram: --datagram says 20";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);

    let args = ["client", "--addr", "127.0.0.1:0", "hello"];
    let ended = Program::start("udp", &args).finish();
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr, "error: give the server's port with --addr\n");
}

/// There is no number behind it, which matters only if there is more to do.
fn last_number() {
    let (_server, addr) = udp_server(&[]);
    for (times, code) in [("1", 0), ("18446744073709551615", 1)] {
        let mut command = Command::new(bin("udp"));
        command.args(["client", "--addr", &addr.to_string(), "--add", "1"]);
        command.args(["--client-id", "7", "--seq", "18446744073709551615"]);
        let ended = finish(command.args(["--times", times]).envs(PATIENT));
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert_eq!(ended.stdout, b"1\n");
    }
}

fn lines() {
    let (_server, addr) = udp_server(&[]);
    let mut command = Command::new(bin("udp"));
    command.args(["client", "--addr", &addr.to_string()]);
    let mut client = Program::spawn(&mut command, true);
    client.write(b"one\n\ntwo");
    let ended = client.finish();
    assert_eq!(ended.stdout, b"one\n\ntwo\n", "{}", ended.stderr);
}

// ---- The server, and strangers

fn server() -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    vec![
        trial("server::an answer is not larger", None, not_larger),
        trial("server::too large, and one byte less", None, limit),
        trial("server::clients that are gone", None, gone),
        trial("server::its port is taken", None, taken),
        trial("server::one that is stopped loses some", linux, stopped),
        trial("server::IPv6", None, six),
        trial("road::a way back for each client", None, ways),
        trial("road::a server that is not there", None, no_server),
        trial("road::more than all", None, too_bad),
    ]
}

/// A socket that talks to the server.
fn talk(addr: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(addr).unwrap();
    socket
}

/// What comes back before the answer to a last ECHO: the server has one loop,
/// so it has dealt with all that was sent before.
fn answers(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let last = frame(1, b"the last one");
    socket.send(&last).unwrap();
    let mut answers = Vec::new();
    let mut buffer = [0; 70_000];
    loop {
        let n = again(|| socket.recv(&mut buffer)).unwrap();
        if buffer[..n] == frame(0x81, b"the last one") {
            return answers;
        }
        answers.push(buffer[..n].to_vec());
    }
}

fn not_larger() {
    let (mut server, addr) = udp_server(&[]);
    let socket = talk(addr);
    let big = frame(1, &[b'x'; 1195]);
    let larger = frame(1, &[b'x'; 1196]);
    for (bytes, answer) in [
        (&b""[..], None),
        (b"hello", None),
        (&[0; 1200], None),
        (&frame(0x81, b"hi"), None),
        (&error(6), None),
        (&frame(2, b""), None),
        (&frame(2, b"x"), Some(error(3))),
        (&[frame(1, b"a"), frame(1, b"b")].concat(), None),
        (&big, Some(frame(0x81, &[b'x'; 1195]))),
        (&larger, None),
    ] {
        socket.send(bytes).unwrap();
        let expected: Vec<Vec<u8>> = answer.into_iter().collect();
        assert_eq!(answers(&socket), expected, "{bytes:?}");
        assert!(expected.iter().all(|answer| answer.len() <= bytes.len()));
    }
    assert!(server.is_running());
}

/// A datagram beyond the limit, whose first bytes are a whole frame.
fn limit() {
    let (_server, addr) = udp_server(&["--datagram", "20"]);
    let socket = talk(addr);
    let fits = frame(1, &[b'x'; 15]);
    socket.send(&fits).unwrap();
    assert_eq!(answers(&socket), [frame(0x81, &[b'x'; 15])]);
    for more in [1, 100, 5000, 60_000] {
        let bytes = [&fits[..], &vec![0; more]].concat();
        socket.send(&bytes).unwrap();
        assert!(answers(&socket).is_empty());
    }
}

/// The answers to closed ports come back as errors on some systems.
fn gone() {
    let (mut server, addr) = udp_server(&[]);
    for _ in 0..100 {
        talk(addr).send(&frame(1, b"hi")).unwrap();
    }
    let socket = talk(addr);
    assert!(answers(&socket).is_empty());
    assert!(server.is_running());
}

/// What does not fit into the buffer of its socket is lost, as the last
/// exercise says. A sender is not told, and not slowed down.
fn stopped() {
    let (server, addr) = udp_server(&["--verbose"]);
    let socket = talk(addr);
    signal(server.id(), "-STOP");
    for _ in 0..1000 {
        socket.send(&frame(1, &[b'x'; 1195])).unwrap();
    }
    signal(server.id(), "-CONT");
    // It may not fit either, so it is sent until it is answered.
    let last = frame(1, b"the last one");
    wait_until("the last one", || {
        socket.send(&last).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut buffer = [0; 2000];
        let received = std::iter::from_fn(|| socket.recv(&mut buffer).ok());
        received.into_iter().any(|n| n == last.len())
    });
    let text = server.wait_for("echoes 12 bytes");
    let echoed = text.matches("echoes 1195 bytes").count();
    assert!((1..900).contains(&echoed), "{echoed} of 1000");
}

fn taken() {
    let (_server, addr) = udp_server(&[]);
    let addr = addr.to_string();
    let second = Program::start("udp", &["server", "--addr", &addr]).finish();
    assert_eq!(second.code, Some(1));
    let start = format!("error: cannot listen on {addr} (try another");
    assert!(second.stderr.starts_with(&start), "{}", second.stderr);
}

fn six() {
    let Err(error) = UdpSocket::bind("[::1]:0").map(drop) else {
        let args = ["server", "--addr", "[::1]:0"];
        let server = Program::start("udp", &args);
        let addr = server.addr().to_string();
        let args = ["client", "--addr", &addr, "hi"];
        let ended = Program::start("udp", &args).finish();
        assert_eq!(ended.stdout, b"hi\n", "{}", ended.stderr);
        return;
    };
    assert_ne!(error.kind(), ErrorKind::AddrInUse); // this system has none
}

/// More clients than the road remembers, one after another.
fn ways() {
    let (_server, to) = udp_server(&[]);
    let (road, addr) = road(to, &[]);
    let clients: Vec<UdpSocket> = (0..200).map(|_| talk(addr)).collect();
    for client in &clients {
        assert!(answers(client).is_empty());
    }
    if cfg!(target_os = "linux") {
        let open = std::fs::read_dir(format!("/proc/{}/fd", road.id()));
        let open = open.unwrap().count();
        assert!((64..100).contains(&open), "{open} descriptors");
    }
    // The first ones are forgotten by now, and get a new way.
    for client in clients.iter().chain(&clients) {
        assert!(answers(client).is_empty());
    }
}

fn no_server() {
    let (held, to) = closed();
    let (mut road, addr) = road(to, &[]);
    let client = talk(addr);
    for _ in 0..100 {
        client.send(&frame(1, b"hi")).unwrap();
    }
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(again(|| client.recv(&mut [0; 10])).is_err());
    assert!(road.is_running());
    // Now there is one, and the same way leads to it and back.
    drop(held);
    let server = UdpSocket::bind(to).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 10];
    wait_until("an answer", || {
        client.send(&frame(1, b"hi")).unwrap();
        if let Ok((n, way)) = server.recv_from(&mut buffer) {
            server.send_to(&buffer[..n], way).unwrap();
        }
        client.recv(&mut buffer).is_ok()
    });
}

fn too_bad() {
    let args = ["--addr", "127.0.0.1:0", "--loss", "60%", "--late", "60%"];
    let args = [&["road"], &args[..]].concat();
    let ended = Program::start("udp", &args).finish();
    assert_eq!(ended.code, Some(1));
    let end = "may have 100% in all, and have 120%\n";
    assert!(ended.stderr.ends_with(end), "{}", ended.stderr);
}

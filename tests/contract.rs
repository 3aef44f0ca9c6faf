//! The contract of steps 1 to 5, tried over real sockets.
//!
//! A case is a function that takes the name of the step to try, and names the
//! rule it tries. `cases!` makes a test of each pair of case and step, such as
//! `step2::s2_03`. Servers: S1-… to S5-…; clients: C1-… to C5-….

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use support::wire::*;
use support::{DEADLINE, Program, bin, signal, wait_until};

macro_rules! cases {
    ($($step:ident: $($case:ident)*, linux: $($linux:ident)*;)*) => {
        $(mod $step {
            $(#[test]
            fn $case() {
                super::$case(stringify!($step));
            })*
            $(#[test]
            #[cfg_attr(not(target_os = "linux"), ignore = "needs /proc")]
            fn $linux() {
                super::$linux(stringify!($step));
            })*
        })*
    };
}

// Step 3 keeps every promise of step 2, and all of them start and stop alike.
// From step 4 on the bytes are in frames; what speaks raw bytes ends there.
cases! {
    step1: s1_01 s1_02 s1_03 s1_04 s1_05 s1_06
        c1_01 c1_02 c1_03 c1_04 c1_05 c1_06, linux:;
    step2: s1_04 s1_05 s1_06 s2_01 s2_02 s2_03 s2_04 s2_05 s2_07 s2_09 s2_10
        c1_01 c1_02 c1_03 c1_04 c1_05 c1_06 c2_01 c2_02,
        linux: s2_06 s2_08;
    step3: s1_04 s1_05 s1_06 s2_01 s2_02 s2_03 s2_04 s2_05 s2_07 s2_10
        s3_01 s3_02 s3_04 s3_05
        c1_01 c1_02 c1_03 c1_04 c1_05 c1_06 c2_01 c2_02,
        linux: s2_06 s2_08 s3_03 s3_06;
    step4: s1_04 s1_05 s1_06 s2_01 s2_04 s2_05 s2_07
        s3_01 s3_02 s3_04 s3_05
        s4_01 s4_02 s4_03 s4_04 s4_05 s4_06 s4_07 s4_08 s4_09 s4_10 s4_11
        s4_12 s4_13 s4_14 s4_15 s4_16 s4_17 s4_18 s4_19
        c1_02 c1_06 c4_01 c4_02 c4_03 c4_04 c4_05 c4_06 c4_07,
        linux: s2_06 s2_08 s3_03 s3_06 s4_20;
    step5: s1_04 s1_05 s1_06 s2_01 s2_04 s2_05 s2_07
        s3_01 s3_02 s3_04 s3_05
        s4_01 s4_02 s4_03 s4_04 s4_05 s4_06 s4_07 s4_08 s4_09 s4_10 s4_11
        s4_12 s4_13 s4_14 s4_15 s4_16 s4_17 s4_18 s4_19
        s5_01 s5_02 s5_03 s5_04 s5_05 s5_06 s5_07 s5_08 s5_09
        c1_02 c1_06 c4_01 c4_02 c4_04 c4_05 c4_06
        c5_01 c5_03 c5_04 c5_05 c5_06 c5_07 c5_08 c5_09 c5_10 c5_11 c5_12
        c5_13 c5_14 c5_15 c5_16 c5_17 c5_18 c5_20 c5_21 c5_22 c5_23,
        linux: s2_06 s2_08 s3_03 s3_06 s4_20 c5_02 c5_19;
}

// ---- Step 1: bind and accept

/// A greeting and the end of the stream.
fn s1_01(step: &str) {
    let (_server, addr) = Program::server(step);
    assert_eq!(ask(addr, b"Hello, Server!"), b"Hello, client!");
}

/// Twenty clients, one after another.
fn s1_02(step: &str) {
    let (server, addr) = Program::server(step);
    for i in 0..20 {
        let text = format!("I am client {i}");
        assert_eq!(ask(addr, text.as_bytes()), b"Hello, client!");
        server.wait_for(&format!("{text:?}")); // it prints what came
    }
}

/// Twenty clients that reset at once, then a normal one.
fn s1_03(step: &str) {
    let (_server, addr) = Program::server(step);
    for _ in 0..20 {
        reset(connect(addr));
    }
    assert_eq!(ask(addr, b"still there?"), b"Hello, client!");
}

/// The port is taken: exit code 1, and a message that names the address.
fn s1_04(step: &str) {
    let (_server, addr) = Program::server(step);
    let start = Instant::now();
    let second = Program::start(step, &["server", "--addr", &text(addr)]);
    let ended = second.finish();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.is_empty());
    assert!(ended.stderr.contains(&text(addr)), "{}", ended.stderr);
    assert!(start.elapsed() < Duration::from_secs(2), "took too long");
}

/// A port that was used a moment ago can be used again: the server closes
/// first here, so that its side of the connection stays in TIME_WAIT.
fn s1_05(step: &str) {
    let (mut server, addr) = Program::server(step);
    let mut client = connect(addr);
    if step == "step1" {
        client.write_all(b"hello").unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
    } else {
        exchange(step, &mut client, b"hello");
    }
    server.kill();
    drop(client);
    let again = Program::start(step, &["server", "--addr", &text(addr)]);
    assert_eq!(again.addr(), addr);
}

/// Nobody reads what the server prints: it serves all the same.
fn s1_06(step: &str) {
    let mut server = Killed::start(step, &["server", "--addr", "127.0.0.1:0"]);
    let mut stdout = server.0.stdout.take().unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    drop(stdout);
    let line = String::from_utf8(line).unwrap();
    let addr = line.trim().rsplit_once(' ').unwrap().1.parse().unwrap();
    let hi = if has_frames(step) { frame(ECHO, b"hi") } else { b"hi".into() };
    let answers = (0..3).map(|_| ask(addr, &hi).len()).collect::<Vec<_>>();
    assert!(answers.iter().all(|&n| n > 0), "{answers:?}");
}

// ---- Step 2: echo

/// Two bytes without a newline, and the stream stays open.
fn s2_01(step: &str) {
    let (_server, addr) = Program::server(step);
    let start = Instant::now();
    let mut client = connect(addr);
    exchange(step, &mut client, b"hi");
    assert!(start.elapsed() < Duration::from_secs(1), "took too long");
}

/// All 256 byte values, then the end.
fn s2_02(step: &str) {
    let (_server, addr) = Program::server(step);
    let all: Vec<u8> = (0..=255).cycle().take(8 * 256).collect();
    assert!(ask(addr, &all) == all, "the echo differs");
}

/// 3 MB in both directions at once.
fn s2_03(step: &str) {
    let (_server, addr) = Program::server(step);
    let data = noise(3_000_000);
    let mut client = connect(addr);
    let mut writer = client.try_clone().unwrap();
    let sent = data.clone();
    let sender = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut echo = Vec::new();
    client.read_to_end(&mut echo).unwrap();
    sender.join().unwrap();
    assert!(echo == data, "the echo differs");
}

/// The end at once: the end comes back.
fn s2_04(step: &str) {
    let (_server, addr) = Program::server(step);
    assert_eq!(ask(addr, b""), b"");
}

/// One byte after another.
fn s2_05(step: &str) {
    let (_server, addr) = Program::server(step);
    let mut client = connect(addr);
    for byte in b"slow" {
        exchange(step, &mut client, &[*byte]);
    }
}

/// The client ends its stream and keeps the socket: the server must not read
/// the end again and again.
fn s2_06(step: &str) {
    let (server, addr) = Program::server(step);
    let mut client = connect(addr);
    exchange(step, &mut client, b"hi");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_idle(&server);
}

/// A reset in the middle of an echo, then a new client.
fn s2_07(step: &str) {
    let (server, addr) = Program::server(step);
    let mut client = connect(addr);
    exchange(step, &mut client, b"hello");
    client.write_all(b"\0\0\0\x09\x01half").unwrap(); // of a frame, too
    reset(client);
    visit(step, addr, b"next");
    server.wait_for("cannot "); // it was reported
}

/// 1000 tiny connections, and no descriptor stays open.
fn s2_08(step: &str) {
    let (server, addr) = Program::server(step);
    visit(step, addr, b"warm");
    let before = descriptors(&server);
    for i in 0..1000 {
        let text = format!("{i}");
        visit(step, addr, text.as_bytes());
    }
    server.wait_for_times("ended", 1001);
    wait_until("the descriptors", || descriptors(&server) <= before);
}

/// One client at a time: the second is served when the first has ended.
fn s2_09(step: &str) {
    let (server, addr) = Program::server(step);
    let mut first = connect(addr);
    exchange(step, &mut first, b"1");
    let mut second = connect(addr);
    second.write_all(b"2").unwrap();
    for _ in 0..10 {
        exchange(step, &mut first, b"1");
    }
    second.set_nonblocking(true).unwrap();
    let early = second.read(&mut [0]).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    second.set_nonblocking(false).unwrap();
    drop(first);
    second.read_exact(&mut [0]).unwrap();
    let lines = server.wait_for_times("connected", 2);
    let ended = lines.find("ended").expect("the first has ended");
    assert!(ended < lines.rfind("connected").unwrap(), "{lines}");
}

/// A client that does not read until nothing moves any more, and then reads
/// all: whatever part of a write the system takes, nothing is lost.
fn s2_10(step: &str) {
    let (_server, addr) = Program::server(step);
    let data = noise(30_000_000);
    let mut client = connect(addr);
    let sent = write_until_stalled(&mut client, &data);
    client.shutdown(Shutdown::Write).unwrap();
    let mut echo = Vec::new();
    client.read_to_end(&mut echo).unwrap();
    assert!(echo == data[..sent], "the echo differs");
}

// ---- Step 3: many clients

/// A silent client delays nobody.
fn s3_01(step: &str) {
    let (_server, addr) = Program::server(step);
    let _silent = connect(addr);
    let start = Instant::now();
    exchange(step, &mut connect(addr), b"!");
    assert!(start.elapsed() < Duration::from_secs(1), "took too long");
}

/// Sixty clients, whose answers are read in reverse order.
fn s3_02(step: &str) {
    let (_server, addr) = Program::server(step);
    let mut clients: Vec<_> = (0..60u8).map(|i| (i, connect(addr))).collect();
    for (i, client) in &mut clients {
        say(step, client, &[*i; 100]);
    }
    for (i, client) in clients.iter_mut().rev() {
        hear(step, client, &[*i; 100]);
    }
}

/// 200 clients come and go, half of them by reset.
fn s3_03(step: &str) {
    let (server, addr) = Program::server(step);
    visit(step, addr, b"warm");
    let before = descriptors(&server);
    for i in 0..100 {
        visit(step, addr, format!("client {i}").as_bytes());
        reset(connect(addr));
    }
    wait_until("the descriptors", || descriptors(&server) <= before + 5);
}

/// One client sends 30 MB and never reads; another is served.
fn s3_04(step: &str) {
    let (_server, addr) = Program::server(step);
    let mut greedy = connect(addr);
    let data = match has_frames(step) {
        true => frame(ECHO, &[b'x'; 60_000]).repeat(500),
        false => vec![b'x'; 30_000_000],
    };
    let sent = write_until_stalled(&mut greedy, &data);
    assert!(sent < 30_000_000, "the server keeps what nobody reads");
    exchange(step, &mut connect(addr), b"!");
}

/// 1000 clients in one burst, all there at the same time. On Linux the server
/// is stopped meanwhile: all of them must find room in the queue of its
/// listening socket, where else they would knock again after a second.
fn s3_05(step: &str) {
    rlimit::increase_nofile_limit(4096).unwrap(); // the server inherits it
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn");
    let most = most.map_or(4096, |n| n.trim().parse().unwrap());
    assert!(most >= 1000, "net.core.somaxconn is {most}; 1000 are needed");
    let (server, addr) = Program::server(step);
    if cfg!(target_os = "linux") {
        signal(server.id(), "-STOP");
    }
    let sockets: Vec<Socket> = (0..1000).map(|_| knock(addr)).collect();
    wait_until("1000 connections", || {
        sockets.iter().all(|socket| socket.peer_addr().is_ok())
    });
    if cfg!(target_os = "linux") {
        signal(server.id(), "-CONT");
    }
    let mut clients: Vec<_> =
        sockets.into_iter().map(TcpStream::from).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        say(step, client, format!("{i:04}").as_bytes());
    }
    for (i, client) in clients.iter_mut().enumerate() {
        hear(step, client, format!("{i:04}").as_bytes());
    }
}

/// At the descriptor limit the server neither ends nor spins, and serves
/// again as soon as there is room.
fn s3_06(step: &str) {
    let script =
        format!("ulimit -n 20; exec {} server --addr 127.0.0.1:0", bin(step));
    let mut sh = Command::new("sh");
    let server = Program::spawn(sh.arg("-c").arg(script), false);
    let addr = server.addr();
    let mut clients: Vec<_> = (0..30).map(|_| connect(addr)).collect();
    server.wait_for("cannot accept");
    assert_idle(&server);
    exchange(step, &mut clients[0], b"in");
    let mut last = clients.pop().unwrap();
    drop(clients);
    let start = Instant::now();
    exchange(step, &mut last, b"me too");
    assert!(start.elapsed() < Duration::from_secs(2), "took too long");
}

// ---- Step 4: frames

/// An echo.
fn s4_01(step: &str) {
    let (_server, addr) = Program::server(step);
    let answer = ask(addr, b"\x00\x00\x00\x06\x01hello");
    assert_eq!(answer, b"\x00\x00\x00\x06\x81hello");
}

/// An empty echo, N = 1.
fn s4_02(step: &str) {
    let (_server, addr) = Program::server(step);
    exchange(step, &mut connect(addr), b"");
}

/// The largest frame, N = 65 536: the limit is inclusive.
fn s4_03(step: &str) {
    let (_server, addr) = Program::server(step);
    exchange(step, &mut connect(addr), &noise(65_535));
}

/// One byte more, with its payload.
fn s4_04(step: &str) {
    fatal(step, &frame(ECHO, &noise(65_536)), 1);
}

/// The largest length there is, and nothing behind it.
fn s4_05(step: &str) {
    fatal(step, &[0xff; 4], 1);
}

/// A length that is negative for those who forget that it has no sign.
fn s4_06(step: &str) {
    fatal(step, &[0x80, 0, 0, 0], 1);
}

/// A length of nothing.
fn s4_07(step: &str) {
    fatal(step, &[0, 0, 0, 0], 2);
}

/// One byte in each write.
fn s4_08(step: &str) {
    let (_server, addr) = Program::server(step);
    let mut client = connect(addr);
    for byte in frame(ECHO, b"slowly") {
        client.write_all(&[byte]).unwrap();
        thread::sleep(Duration::from_millis(3)); // a packet of its own
    }
    hear(step, &mut client, b"slowly");
}

/// 100 frames in one write.
fn s4_09(step: &str) {
    let (_server, addr) = Program::server(step);
    let numbers: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let frames = numbers.iter().flat_map(|n| frame(ECHO, n.as_bytes()));
    let mut client = connect(addr);
    client.write_all(&frames.collect::<Vec<_>>()).unwrap();
    for number in numbers {
        hear(step, &mut client, number.as_bytes());
    }
}

/// A frame and seven bytes of the next; later the rest.
fn s4_10(step: &str) {
    let (_server, addr) = Program::server(step);
    let mut client = connect(addr);
    let both = [frame(ECHO, b"first"), frame(ECHO, b"second")].concat();
    let (early, late) = both.split_at(10 + 7);
    client.write_all(early).unwrap();
    hear(step, &mut client, b"first");
    client.write_all(late).unwrap();
    hear(step, &mut client, b"second");
}

/// A whole frame, then one that is cut, and the end.
fn s4_11(step: &str) {
    let (_server, addr) = Program::server(step);
    for cut in [1, 2, 3, 4, 5, 8] {
        let next = frame(ECHO, b"never answered");
        let bytes = [&frame(ECHO, b"whole"), &next[..cut]].concat();
        assert_eq!(ask(addr, &bytes), frame(ECHO_REPLY, b"whole"));
    }
}

/// Other protocols, which a stranger may speak to any port.
fn s4_12(step: &str) {
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n",
    ] {
        fatal(step, bytes, 1);
    }
}

/// A kind that nobody knows: an error, and the connection goes on.
fn s4_13(step: &str) {
    unknown_kind(step, 0x55);
}

/// Random frames in random slices.
fn s4_14(step: &str) {
    let (_server, addr) = Program::server(step);
    let sizes = noise(60);
    let payload = |size: &u8| noise(usize::from(*size) * 20);
    let bytes = sizes.iter().flat_map(|size| frame(ECHO, &payload(size)));
    let bytes: Vec<u8> = bytes.collect();
    let mut client = connect(addr);
    client.set_nodelay(true).unwrap();
    let mut writer = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let mut rest = &bytes[..];
        for cut in noise(100_000).iter().cycle() {
            let cut = rest.len().min(1 + usize::from(*cut) * 8);
            writer.write_all(&rest[..cut]).unwrap();
            rest = &rest[cut..];
            if rest.is_empty() {
                break;
            }
        }
    });
    for size in &sizes {
        hear(step, &mut client, &payload(size));
    }
    sender.join().unwrap();
}

/// 50 requests and the end: all are answered.
fn s4_15(step: &str) {
    let (_server, addr) = Program::server(step);
    let answer = ask(addr, &frame(ECHO, b"again").repeat(50));
    assert_eq!(answer, frame(ECHO_REPLY, b"again").repeat(50));
}

/// One client breaks the rules; the other one does not notice.
fn s4_16(step: &str) {
    let (_server, addr) = Program::server(step);
    let mut good = connect(addr);
    exchange(step, &mut good, b"before");
    let mut bad = connect(addr);
    bad.write_all(&[0xff; 4]).unwrap();
    read_error(&mut bad, 1);
    exchange(step, &mut good, b"after");
}

/// After a fatal error nothing is a frame, also if it looks like one.
fn s4_17(step: &str) {
    let hidden = frame(ECHO, b"hidden");
    let large = frame(ECHO, &hidden.repeat(65_536 / hidden.len() + 1));
    fatal(step, &large, 1);
}

/// 8 MB are on their way when the server refuses: the ERROR can be read, and
/// the end of the stream is a FIN.
fn s4_18(step: &str) {
    let (_server, addr) = Program::server(step);
    let mut client = connect(addr);
    let mut writer = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        writer.write_all(&[0xff; 8_000_000]).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    sender.join().unwrap();
    read_error(&mut client, 1);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

/// Kinds that only a server sends.
fn s4_19(step: &str) {
    unknown_kind(step, ECHO_REPLY);
    unknown_kind(step, 0x7f);
}

/// 200 clients that claim a large frame, and do not send it, cost nothing.
fn s4_20(step: &str) {
    let (server, addr) = Program::server(step);
    visit(step, addr, b"warm");
    let Some(before) = resident(&server) else { return };
    let mut clients: Vec<_> = (0..200).map(|_| connect(addr)).collect();
    for client in &mut clients {
        say(step, client, b"hello");
        client.write_all(&65_536u32.to_be_bytes()).unwrap();
    }
    for client in &mut clients {
        hear(step, client, b"hello");
    }
    let grown = resident(&server).unwrap() - before;
    assert!(grown < 200 * 64, "{grown} KB for 200 claims of 64 KB");
}

/// Sends `bytes`, which must be refused by the error `code` and nothing else,
/// within a second; then the server ends, and lives.
#[track_caller]
fn fatal(step: &str, bytes: &[u8], code: u8) {
    let (_server, addr) = Program::server(step);
    let mut client = connect(addr);
    client.write_all(bytes).unwrap();
    let start = Instant::now();
    read_error(&mut client, code);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "nothing follows");
    assert!(start.elapsed() < Duration::from_secs(1), "took too long");
    visit(step, addr, b"next");
}

fn unknown_kind(step: &str, kind: u8) {
    let (_server, addr) = Program::server(step);
    let mut client = connect(addr);
    client.write_all(&frame(kind, b"\x01?")).unwrap();
    read_error(&mut client, 3);
    exchange(step, &mut client, b"go on");
}

// ---- Step 5: time limits

/// "Within a limit" means: not before nine tenths of it, and not later than
/// this. Far more than it takes, for machines that are busy.
const SLACK: Duration = Duration::from_secs(3);

/// A client that is silent, before a frame and between two: cut when its time
/// is over.
fn s5_01(step: &str) {
    let limits = [("TCP_IDLE_MS", 600)];
    for frames in [0, 1] {
        let (_server, addr) = limited_server(step, &limits);
        let mut client = connect(addr);
        for _ in 0..frames {
            exchange(step, &mut client, b"hi");
        }
        cut_after(&mut client, Duration::from_millis(600));
    }
}

/// A byte every 100 ms, which would take 6.5 s: cut when the time for a frame
/// is over, however lively it looks ("slowloris").
fn s5_02(step: &str) {
    let limits = [("TCP_FRAME_MS", 600)];
    let (_server, addr) = limited_server(step, &limits);
    let mut client = connect(addr);
    let mut writer = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        for byte in frame(ECHO, &[b'x'; 60]) {
            // It fails when the server has cut us.
            if writer.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    cut_after(&mut client, Duration::from_millis(600));
    drop(client);
    sender.join().unwrap();
}

/// Requests with pauses that are shorter than the limit, longer than it
/// together: all are answered.
fn s5_03(step: &str) {
    let limits = [("TCP_IDLE_MS", 1500), ("TCP_FRAME_MS", 1500)];
    let (_server, addr) = limited_server(step, &limits);
    let mut client = connect(addr);
    for i in 0..4 {
        exchange(step, &mut client, &[i]);
        thread::sleep(Duration::from_millis(600));
    }
}

/// A frame in three pieces, with pauses that are longer than the time between
/// two frames: no timer threw a piece away, and none fired.
fn s5_04(step: &str) {
    let limits = [("TCP_IDLE_MS", 300)];
    let (_server, addr) = limited_server(step, &limits);
    let mut client = connect(addr);
    let bytes = frame(ECHO, b"hello");
    for piece in [&bytes[..2], &bytes[2..7], &bytes[7..]] {
        client.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(450));
    }
    hear(step, &mut client, b"hello");
}

/// Forty clients that send half a header and stay, and one that is normal.
fn s5_05(step: &str) {
    let limits = [("TCP_FRAME_MS", 600)];
    let (_server, addr) = limited_server(step, &limits);
    let mut slow: Vec<_> = (0..40).map(|_| connect(addr)).collect();
    for client in &mut slow {
        client.write_all(&[0, 0]).unwrap();
    }
    visit(step, addr, b"normal");
    for client in &mut slow {
        read_error(client, TIMEOUT);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}

/// A client that sends and never reads: cut when no byte has gone out for the
/// time of a write, and until then the server took in little.
fn s5_06(step: &str) {
    let limits = [("TCP_WRITE_MS", 600)];
    let (server, addr) = limited_server(step, &limits);
    let mut client = connect(addr);
    let data = frame(ECHO, &[b'x'; 60_000]);
    let mut sent = 0;
    let error = loop {
        match client.write(&data) {
            Ok(n) => sent += n,
            Err(error) => break error,
        }
        assert!(sent < 64_000_000, "the server keeps what nobody reads");
    };
    let cut = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(cut.contains(&error.kind()), "{error}");
    server.wait_for("a write stood still for 600ms");
}

/// A client that reads slowly and steadily is not cut, although the server has
/// more for it than all buffers hold.
fn s5_07(step: &str) {
    let limits = [("TCP_WRITE_MS", 1000)];
    let (_server, addr) = limited_server(step, &limits);
    let mut client = connect(addr);
    let mut writer = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let data = frame(ECHO, &[b'x'; 60_000]).repeat(700);
        let _ = writer.write_all(&data); // until we have seen enough
    });
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        let n = client.read(&mut [0; 32_000]).expect("not cut");
        assert_ne!(n, 0, "cut after {:?}", start.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    client.shutdown(Shutdown::Both).unwrap();
    sender.join().unwrap();
}

/// While the server waits for a client to take replies, it does not read, and
/// the time of the frame that comes next does not run.
fn s5_08(step: &str) {
    let limits = [("TCP_FRAME_MS", 600), ("TCP_IDLE_MS", 600)];
    let (_server, addr) = limited_server(step, &limits);
    let mut client = connect(addr);
    let one = frame(ECHO, &[b'x'; 60_000]);
    let data = one.repeat(500);
    // For a second nothing moves; then the client reads, and sends the rest.
    let sent = write_until_stalled(&mut client, &data);
    let mut writer = client.try_clone().unwrap();
    writer.set_write_timeout(Some(DEADLINE)).unwrap();
    let rest = (data.len() - sent) % one.len(); // to the end of a frame
    let sender = thread::spawn(move || {
        writer.write_all(&data[sent..sent + rest]).unwrap();
    });
    let mut replies = vec![0; sent + rest];
    client.read_exact(&mut replies).unwrap();
    sender.join().unwrap();
}

/// The limits as options.
fn s5_09(step: &str) {
    let args = ["server", "--addr", "127.0.0.1:0", "--idle-ms", "300"];
    let server = Program::start(step, &args);
    let mut client = connect(server.addr());
    cut_after(&mut client, Duration::from_millis(300));
    let args = ["server", "--idle-ms", "0"];
    let ended = Program::start(step, &args).finish();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--idle-ms"), "{}", ended.stderr);
}

/// Waits for the ERROR about time, and the end, at `limit` from now.
#[track_caller]
fn cut_after(client: &mut TcpStream, limit: Duration) {
    let start = Instant::now();
    read_error(client, TIMEOUT);
    let taken = start.elapsed();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "nothing follows");
    assert!(taken > limit * 9 / 10, "too early: {taken:?}");
    assert!(taken < limit + SLACK, "too late: {taken:?}");
}

fn limited_server(step: &str, limits: &[Limit]) -> (Program, SocketAddr) {
    let mut command = Command::new(bin(step));
    command.args(["server", "--addr", "127.0.0.1:0"]);
    let server = Program::spawn(set(&mut command, limits), false);
    let addr = server.addr();
    (server, addr)
}

/// An environment variable, and its value.
type Limit = (&'static str, u32);

fn set<'a>(command: &'a mut Command, limits: &[Limit]) -> &'a mut Command {
    let limits = limits.iter().map(|(name, value)| (name, value.to_string()));
    command.envs(limits)
}

// ---- Clients

/// The answer comes in pieces of one byte: all of it is printed, and nothing
/// else. The request arrives whole, with an end.
fn c1_01(step: &str) {
    let (addr, server) = play(|mut stream| {
        let mut request = Vec::new();
        stream.read_to_end(&mut request).unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in b"Hello, client!" {
            stream.write_all(&[*byte]).unwrap();
            thread::sleep(Duration::from_millis(3)); // a packet of its own
        }
        request
    });
    let ended = Program::client(step, addr, Some("Hello, Server!")).finish();
    assert_eq!(server.join().unwrap(), b"Hello, Server!");
    assert_eq!(ended.stdout, b"Hello, client!");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

/// Refused: exit code 1, and a message that says what and where.
fn c1_02(step: &str) {
    let (_socket, addr) = refusing();
    let start = Instant::now();
    let ended = Program::client(step, addr, Some("hi")).finish();
    assert!(start.elapsed() < Duration::from_millis(2500), "took too long");
    let code = if step >= "step5" { NOT_EXECUTED } else { 1 };
    assert_eq!(ended.code, Some(code));
    assert!(ended.stdout.is_empty());
    assert!(ended.stderr.contains(&text(addr)), "{}", ended.stderr);
    assert!(ended.stderr.contains("is the server running?"));

    // Nobody reads the message: the exit code says it all the same.
    let mut client =
        Killed::start(step, &["client", "--addr", &text(addr), "hi"]);
    drop(client.0.stderr.take());
    assert_eq!(client.code(), Some(code));
}

/// The server answers half and resets: the half is printed, the exit code
/// is 1, and the message says what could not be done.
fn c1_03(step: &str) {
    let (addr, server) = play(|mut stream| {
        stream.read_exact(&mut [0; 2]).unwrap();
        stream.write_all(b"Hello, cl").unwrap();
        // Only when the client's FIN is here can it have read the half.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        reset(stream);
    });
    let ended = Program::client(step, addr, Some("hi")).finish();
    server.join().unwrap();
    assert_eq!(ended.code, Some(1));
    if cfg!(target_os = "linux") {
        // Elsewhere a reset may throw away what was not read yet.
        assert_eq!(ended.stdout, b"Hello, cl");
    }
    assert!(ended.stderr.contains("cannot receive"), "{}", ended.stderr);
}

/// Nobody reads what the client prints: an error, not a panic.
fn c1_04(step: &str) {
    let (addr, server) = play(|mut stream| {
        stream.read_to_end(&mut Vec::new()).unwrap();
        let _ = stream.write_all(&[b'x'; 1_000_000]);
    });
    let mut client =
        Killed::start(step, &["client", "--addr", &text(addr), "hi"]);
    drop(client.0.stdout.take());
    let mut stderr = String::new();
    client.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(client.code(), Some(1), "{stderr}");
    assert!(stderr.contains("print"), "{stderr}");
    server.join().unwrap();
}

/// The server answers the first bytes and resets, while the client goes on
/// sending: the answer is printed, and then the error.
fn c1_05(step: &str) {
    let (addr, server) = play(|mut stream| {
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(&[b'x'; 20_000]).unwrap();
        stream.peek(&mut [0]).unwrap(); // a close with bytes unread resets
    });
    let mut client = Program::client(step, addr, None);
    client.feed(noise(6_000_000));
    let ended = client.finish();
    server.join().unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    if cfg!(target_os = "linux") {
        // Elsewhere a reset may throw away what was not read yet.
        assert_eq!(ended.stdout.len(), 20_000, "{}", ended.stderr);
    }
}

/// stdin cannot be read: an error, and the exit code 1.
fn c1_06(step: &str) {
    let (_server, addr) = Program::server(step);
    let mut command = Command::new(bin(step));
    command.args(["client", "--addr", &text(addr)]);
    let folder = fs::File::open(support::ROOT);
    let ended = match folder {
        Ok(folder) => Program::spawn_from(&mut command, folder.into()).finish(),
        Err(_) => return, // Windows opens no folders
    };
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot read"), "{}", ended.stderr);
}

/// 16 MB through stdin and stdout, more than all buffers between the two ends
/// hold together: no deadlock, and nothing is changed.
fn c2_01(step: &str) {
    let (_server, addr) = Program::server(step);
    let data = noise(16_000_000);
    let mut client = Program::client(step, addr, None);
    client.feed(data.clone());
    let ended = client.finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout == data, "the echo differs");
}

/// The server ends while stdin is still open: the client shows what came, and
/// ends when its input does.
fn c2_02(step: &str) {
    let (addr, server) = play(|mut stream| {
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(b"bye").unwrap();
    });
    let mut client = Program::client(step, addr, None);
    client.write(b"one\n");
    server.join().unwrap();
    client.wait_for("bye");
    assert!(client.is_running());
    assert_eq!(client.finish().code, Some(0));
}

/// A reply whose length cannot be true: refused at once, nothing printed.
fn c4_01(step: &str) {
    for length in [0, u32::MAX] {
        let (addr, server) = play(move |mut stream| {
            read_frame(&mut stream);
            stream.write_all(&length.to_be_bytes()).unwrap();
            // Stay: the client must not wait for us to end.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let ended = Program::client(step, addr, Some("hi")).finish();
        server.join().unwrap();
        let code = if step >= "step5" { PROTOCOL } else { 1 };
        assert_eq!(ended.code, Some(code));
        assert!(ended.stdout.is_empty());
        assert!(ended.stderr.contains("length"), "{}", ended.stderr);
    }
}

/// Replies that are merged and sliced: all printed, in order.
fn c4_02(step: &str) {
    let (addr, server) = play(|mut stream| {
        stream.set_nodelay(true).unwrap();
        let mut replies = Vec::new();
        for _ in 0..3 {
            replies.extend(frame(ECHO_REPLY, &read_frame(&mut stream).1));
        }
        for slice in replies.chunks(7) {
            stream.write_all(slice).unwrap();
            thread::sleep(Duration::from_millis(3)); // a packet of its own
        }
    });
    let mut client = Program::client(step, addr, None);
    client.write(b"one\ntwo\n\n");
    let ended = client.finish();
    server.join().unwrap();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout, b"one\ntwo\n\n");
}

/// The server ends before it has answered all, or in the middle of a reply.
fn c4_03(step: &str) {
    for cut in [0, 6] {
        let (addr, server) = play(move |mut stream| {
            let reply = frame(ECHO_REPLY, &read_frame(&mut stream).1);
            read_frame(&mut stream);
            stream.write_all(&reply).unwrap();
            stream.write_all(&reply[..cut]).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        });
        let mut client = Program::client(step, addr, None);
        client.write(b"one\ntwo\n");
        let ended = client.finish();
        server.join().unwrap();
        assert_eq!(ended.code, Some(1));
        assert_eq!(ended.stdout, b"one\n");
        let stderr = ended.stderr;
        let wanted = match cut {
            0 => "1 replies to 2 messages",
            _ => "in the middle of a reply",
        };
        assert!(stderr.contains(wanted), "{stderr}");
    }
}

/// The server refuses: its text is shown, and cannot command the terminal.
fn c4_04(step: &str) {
    let (addr, server) = play(|mut stream| {
        read_frame(&mut stream);
        stream.write_all(&frame(0x7f, b"\x03no\x1b[2J")).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let ended = Program::client(step, addr, Some("hi")).finish();
    server.join().unwrap();
    let code = if step >= "step5" { REJECTED } else { 1 };
    assert_eq!(ended.code, Some(code));
    let stderr = ended.stderr;
    assert!(stderr.contains("error 3: \"no\\u{1b}[2J\""), "{stderr}");
}

/// A line that is too long for a frame: an error, and no wrong frame.
fn c4_05(step: &str) {
    let (_server, addr) = Program::server(step);
    let mut client = Program::client(step, addr, None);
    client.feed([&[b'x'; 65_535][..], b"\n", &[b'y'; 100_000]].concat());
    let ended = client.finish();
    assert_eq!(ended.code, Some(1));
    let stderr = ended.stderr;
    assert!(stderr.contains("is larger than 65535 bytes"), "{stderr}");
    assert_eq!(ended.stdout.len(), 65_535 + 1); // message 1 was answered
}

/// A reply that nobody asked for, and one that can never come any more: errors
/// at once, also while stdin is open.
fn c4_07(step: &str) {
    for (n, wanted) in [(2, "a reply to no message"), (0, "0 replies to 1")] {
        let (addr, server) = play(move |mut stream| {
            let reply = frame(ECHO_REPLY, &read_frame(&mut stream).1);
            stream.write_all(&reply.repeat(n)).unwrap();
        });
        let mut client = Program::client(step, addr, None);
        client.write(b"one\n");
        client.wait_end(); // stdin is still open
        server.join().unwrap();
        let ended = client.finish();
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(wanted), "{}", ended.stderr);
    }
}

/// 3 MB of lines through stdin and stdout: no deadlock, nothing is changed.
fn c4_06(step: &str) {
    let (_server, addr) = Program::server(step);
    let lines: String = (0..300_000).map(|i| format!("{i:09}\n")).collect();
    let mut client = Program::client(step, addr, None);
    client.feed(lines.clone().into_bytes());
    let ended = client.finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout == lines.as_bytes(), "the echo differs");
}

// The exit codes of the client, from step 5 on.
const NOT_EXECUTED: i32 = 3;
const UNKNOWN: i32 = 4;
const PROTOCOL: i32 = 5;
const REJECTED: i32 = 6;

/// Refused each time: certainly not executed.
fn c5_01(step: &str) {
    let (_socket, addr) = refusing();
    let ended = limited_client(step, addr, &FAST).finish();
    assert_eq!(ended.code, Some(NOT_EXECUTED));
    assert!(ended.stdout.is_empty());
    let stderr = ended.stderr;
    assert!(stderr.contains(&format!("cannot connect to {addr}")), "{stderr}");
    assert!(
        stderr.ends_with("not executed after 5 of 5 attempts\n"),
        "{stderr}"
    );
}

/// A black hole: the SYN is never answered.
fn c5_02(step: &str) {
    let (_socket, _first, addr) = black_hole();
    let limits = [("TCP_CONNECT_MS", 300), ("TCP_ATTEMPTS", 2)];
    let start = Instant::now();
    let ended = limited_client(step, addr, &limits).finish();
    assert_eq!(ended.code, Some(NOT_EXECUTED), "{}", ended.stderr);
    assert!(ended.stderr.contains("no answer within 300ms"));
    assert!(start.elapsed() < Duration::from_millis(700) + SLACK);
}

/// The server accepts and never answers.
fn c5_03(step: &str) {
    let stage = Stage::new(|_, mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let limits = [("TCP_REQUEST_MS", 300), ("TCP_ATTEMPTS", 2)];
    let ended = limited_client(step, stage.addr, &limits).finish();
    assert_eq!(ended.code, Some(UNKNOWN), "{}", ended.stderr);
    assert!(ended.stderr.contains("no whole reply in time"));
    assert_eq!(stage.attempts().len(), 2);
}

/// The server drops the first two attempts, and answers the third.
fn c5_04(step: &str) {
    let stage = Stage::new(|n, mut stream| {
        let (_, payload) = read_frame(&mut stream);
        if n == 3 {
            stream.write_all(&frame(ECHO_REPLY, &payload)).unwrap();
        }
    });
    let ended = limited_client(step, stage.addr, &FAST).finish();
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &b"hi\n"[..]));
    assert_eq!(stage.attempts().len(), 3);
}

/// The server drops all attempts: five, with waits that are random and no
/// longer than their ceilings.
fn c5_05(step: &str) {
    let stage = Stage::new(|_, mut stream| {
        read_frame(&mut stream);
    });
    let ended = limited_client(step, stage.addr, &[]).finish();
    assert_eq!(ended.code, Some(UNKNOWN), "{}", ended.stderr);
    let told = waits(&ended.stderr);
    assert_eq!(told.len(), 4, "{}", ended.stderr);
    let ceilings = [100, 200, 400, 800];
    let fits = told.iter().zip(ceilings).all(|(wait, most)| *wait <= most);
    assert!(fits, "{told:?}");
    assert!(told.iter().sum::<u32>() > 50, "no pause: {told:?}");
    // And it really waited as long as it says.
    let attempts = stage.attempts();
    assert_eq!(attempts.len(), 5);
    for (pair, told) in attempts.windows(2).zip(&told) {
        let wait = pair[1] - pair[0];
        let told = Duration::from_millis((*told).into());
        assert!(wait + Duration::from_millis(2) >= told, "{wait:?} {told:?}");
        assert!(wait < told + SLACK, "{wait:?} {told:?}");
    }
}

/// A definite error: one attempt.
fn c5_06(step: &str) {
    for code in [1, 2, 3, 4, 7, 9] {
        let stage = Stage::new(move |_, mut stream| {
            read_frame(&mut stream);
            stream.write_all(&frame(0x7f, &[code, b'n', b'o'])).unwrap();
        });
        let ended = limited_client(step, stage.addr, &FAST).finish();
        assert_eq!(ended.code, Some(REJECTED), "{}", ended.stderr);
        assert!(ended.stderr.contains("\"no\""), "{}", ended.stderr);
        assert_eq!(stage.attempts().len(), 1);
    }
}

/// The reply comes byte by byte.
fn c5_07(step: &str) {
    let stage = Stage::new(|_, mut stream| {
        let (_, payload) = read_frame(&mut stream);
        stream.set_nodelay(true).unwrap();
        for byte in frame(ECHO_REPLY, &payload) {
            stream.write_all(&[byte]).unwrap();
            thread::sleep(Duration::from_millis(3)); // a packet of its own
        }
    });
    let ended = limited_client(step, stage.addr, &[]).finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout, b"hi\n");
}

/// The server breaks the rules: no second attempt, and nothing is printed.
fn c5_08(step: &str) {
    for bytes in [
        &[0xff; 4][..],
        &[0; 4],
        &frame(0x55, b"?"),
        &frame(0x7f, b""),
        &frame(0x7f, &[99]),
        &frame(ECHO_REPLY, b"Hi"),
        &frame(ECHO_REPLY, &[b'x'; 60_000]),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        let bytes = bytes.to_owned();
        let stage = Stage::new(move |_, mut stream| {
            read_frame(&mut stream);
            stream.write_all(&bytes).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let ended = limited_client(step, stage.addr, &[]).finish();
        assert_eq!(ended.code, Some(PROTOCOL), "{}", ended.stderr);
        assert!(ended.stdout.is_empty());
        assert_eq!(stage.attempts().len(), 1);
    }
}

/// A reply that is cut short is none.
fn c5_09(step: &str) {
    let stage = Stage::new(|n, mut stream| {
        let (_, payload) = read_frame(&mut stream);
        let reply = frame(ECHO_REPLY, &payload);
        stream.write_all(&reply[..reply.len() - n]).unwrap();
    });
    let ended = limited_client(step, stage.addr, &FAST).finish();
    assert_eq!(ended.code, Some(UNKNOWN), "{}", ended.stderr);
    assert!(ended.stdout.is_empty());
    assert_eq!(stage.attempts().len(), 5);
}

/// The deadline ends everything, however many attempts are left.
fn c5_10(step: &str) {
    let stage = Stage::new(|_, mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let limits = [
        ("TCP_DEADLINE_MS", 1200),
        ("TCP_REQUEST_MS", 400),
        ("TCP_ATTEMPTS", 50),
    ];
    let start = Instant::now();
    let ended = limited_client(step, stage.addr, &limits).finish();
    assert!(start.elapsed() < Duration::from_millis(1200) + SLACK);
    assert_eq!(ended.code, Some(UNKNOWN), "{}", ended.stderr);
    // And a deadline that is shorter than an attempt.
    let limits = [("TCP_DEADLINE_MS", 300), ("TCP_REQUEST_MS", 19_000)];
    let start = Instant::now();
    let ended = limited_client(step, stage.addr, &limits).finish();
    assert!(start.elapsed() < Duration::from_millis(300) + SLACK);
    assert_eq!(ended.code, Some(UNKNOWN), "{}", ended.stderr);
}

/// Eight clients lose the server together: they do not come back together.
fn c5_11(step: &str) {
    let (_socket, addr) = refusing();
    let limits = [("TCP_ATTEMPTS", 5)];
    let clients: Vec<_> =
        (0..8).map(|_| limited_client(step, addr, &limits)).collect();
    let all: Vec<Vec<u32>> =
        clients.into_iter().map(|c| waits(&c.finish().stderr)).collect();
    for n in [2, 3] {
        let nth = all.iter().map(|waits| waits[n]);
        let spread = nth.clone().max().unwrap() - nth.min().unwrap();
        assert!(spread > 60, "wait {}: {all:?}", n + 1);
    }
}

/// One attempt may have been executed, and no later one was: that it is
/// unknown stays so.
fn c5_12(step: &str) {
    let (addr, server) = play(|mut stream| {
        read_frame(&mut stream);
    }); // then nobody listens any more
    let ended = limited_client(step, addr, &FAST).finish();
    server.join().unwrap();
    assert_eq!(ended.code, Some(UNKNOWN), "{}", ended.stderr);
    assert!(ended.stderr.contains("refused"), "{}", ended.stderr);
}

/// The server is too busy: tried again, and if it stays so, not executed.
fn c5_13(step: &str) {
    for (busy, wanted) in [(2, 0), (9, NOT_EXECUTED)] {
        let stage = Stage::new(move |n, mut stream| {
            let (_, payload) = read_frame(&mut stream);
            let reply = match n <= busy {
                true => frame(0x7f, &[if n == 1 { 6 } else { 8 }]),
                false => frame(ECHO_REPLY, &payload),
            };
            stream.write_all(&reply).unwrap();
        });
        let ended = limited_client(step, stage.addr, &FAST).finish();
        assert_eq!(ended.code, Some(wanted), "{}", ended.stderr);
    }
}

/// A reply comes too late, on a connection that is not used any more; it is
/// not taken for the reply to the next attempt.
fn c5_14(step: &str) {
    let stage = Stage::new(|n, mut stream| {
        let (_, payload) = read_frame(&mut stream);
        if n == 1 {
            // The end means that the client has given up this connection.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
        // It fails the first time, or comes too late.
        let _ = stream.write_all(&frame(ECHO_REPLY, &payload));
    });
    let limits = [("TCP_REQUEST_MS", 500)];
    let ended = limited_client(step, stage.addr, &limits).finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, b"hi\n"); // once
    assert_eq!(stage.attempts().len(), 2);
}

/// Of three requests one is answered, and the connection ends: the others are
/// asked again, and nothing is printed twice.
fn c5_15(step: &str) {
    let stage = Stage::new(|n, mut stream| {
        for _ in 0..if n == 1 { 1 } else { 2 } {
            let (_, payload) = read_frame(&mut stream);
            stream.write_all(&frame(ECHO_REPLY, &payload)).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut command = client_command(step, stage.addr, &FAST);
    command.args(["one", "two", "three"]);
    let ended = Program::spawn(&mut command, false).finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, b"one\ntwo\nthree\n");
    assert_eq!(stage.attempts().len(), 2);
}

/// Between two lines the server ends the connection, with the ERROR about time
/// or without: the next line goes over a new one, and that is no failure.
fn c5_16(step: &str) {
    for goodbye in [&b""[..], &frame(0x7f, b"\x05no frame")] {
        let goodbye = goodbye.to_owned();
        let stage = Stage::new(move |_, mut stream| {
            let (_, payload) = read_frame(&mut stream);
            stream.write_all(&frame(ECHO_REPLY, &payload)).unwrap();
            stream.write_all(&goodbye).unwrap();
        });
        let mut command = client_command(step, stage.addr, &FAST);
        let mut client = Program::spawn(&mut command, true);
        for line in ["one\n", "two\n"] {
            client.write(line.as_bytes());
            client.wait_for(line);
        }
        let ended = client.finish();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
}

/// A reply that nobody asked for breaks the rules.
fn c5_17(step: &str) {
    let stage = Stage::new(|_, mut stream| {
        let (_, payload) = read_frame(&mut stream);
        let reply = frame(ECHO_REPLY, &payload);
        stream.write_all(&reply.repeat(2)).unwrap();
    });
    let ended = limited_client(step, stage.addr, &FAST).finish();
    assert_eq!(ended.code, Some(PROTOCOL), "{}", ended.stderr);
    assert_eq!(ended.stdout, b"hi\n");
}

/// Nobody reads what the client prints, for longer than all its limits: the
/// reply is neither lost nor asked for again.
fn c5_18(step: &str) {
    let (_server, addr) = Program::server(step);
    let limits = [("TCP_REQUEST_MS", 300), ("TCP_DEADLINE_MS", 300)];
    let mut command = client_command(step, addr, &limits);
    let texts: Vec<String> = (0..2000).map(|n| format!("{n:0100}")).collect();
    command.args(&texts).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = Killed(command.spawn().unwrap());
    thread::sleep(Duration::from_millis(900)); // three times its limit
    let mut printed = String::new();
    client.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(client.code(), Some(0));
    assert!(printed.lines().eq(texts.iter()), "lines differ");
}

/// The server is stopped, and goes on when the client has given up: what was
/// asked five times is executed five times.
fn c5_19(step: &str) {
    let (server, addr) = Program::server(step);
    signal(server.id(), "-STOP");
    let limits = [FAST[0], ("TCP_REQUEST_MS", 300)];
    let ended = limited_client(step, addr, &limits).finish();
    assert_eq!(ended.code, Some(UNKNOWN), "{}", ended.stderr);
    signal(server.id(), "-CONT");
    server.wait_for_times("connected", 5);
    server.wait_for_times("ended after 1 frames", 5);
}

/// All is answered, and then the server says that the connection is over, in
/// the same write, whole or not: the client has what it wanted.
fn c5_20(step: &str) {
    for goodbye in [&b"\x05late"[..], b"\x06busy", b"\x08bye"] {
        for cut in [0, 3] {
            let mut goodbye = frame(0x7f, goodbye);
            goodbye.truncate(goodbye.len() - cut);
            let (addr, server) = play(move |mut stream| {
                let (_, payload) = read_frame(&mut stream);
                let reply = frame(ECHO_REPLY, &payload);
                stream.write_all(&[reply, goodbye].concat()).unwrap();
            }); // then nobody listens any more
            let ended = limited_client(step, addr, &FAST).finish();
            server.join().unwrap();
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
            assert_eq!(ended.stdout, b"hi\n");
        }
    }
}

/// Each reply has its own time, and each request its own attempts.
fn c5_21(step: &str) {
    let texts = ["one", "two", "three", "four", "five", "six"];
    let slow = Stage::new(|_, mut stream| {
        for _ in 0..6 {
            let (_, payload) = read_frame(&mut stream);
            thread::sleep(Duration::from_millis(300));
            stream.write_all(&frame(ECHO_REPLY, &payload)).unwrap();
        }
    });
    let short = Stage::new(|_, mut stream| {
        let (_, payload) = read_frame(&mut stream);
        stream.write_all(&frame(ECHO_REPLY, &payload)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let limits = [FAST[0], ("TCP_REQUEST_MS", 1200), ("TCP_ATTEMPTS", 2)];
    for stage in [slow, short] {
        let mut command = client_command(step, stage.addr, &limits);
        let ended = Program::spawn(command.args(texts), false).finish();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout, b"one\ntwo\nthree\nfour\nfive\nsix\n");
    }
}

/// All texts together have one deadline.
fn c5_22(step: &str) {
    let stage = Stage::new(|_, mut stream| {
        loop {
            let (_, payload) = read_frame(&mut stream);
            thread::sleep(Duration::from_millis(200));
            let reply = frame(ECHO_REPLY, &payload);
            if stream.write_all(&reply).is_err() {
                return;
            }
        }
    });
    let limits = [("TCP_DEADLINE_MS", 900), ("TCP_ATTEMPTS", 50)];
    let mut command = client_command(step, stage.addr, &limits);
    let large = "x".repeat(60_000); // one of them is more than half a batch
    command.args(vec![large; 20]);
    let start = Instant::now();
    let ended = Program::spawn(&mut command, false).finish();
    assert_eq!(ended.code, Some(UNKNOWN), "{}", ended.stderr);
    assert!(start.elapsed() < Duration::from_millis(900) + SLACK);
    assert!(ended.stdout.len() < 10 * 60_001, "it took far longer");
}

/// Between two lines the server sends what nobody asked for.
fn c5_23(step: &str) {
    let (sent, is_sent) = std::sync::mpsc::channel();
    let stage = Stage::new(move |_, mut stream| {
        let (_, payload) = read_frame(&mut stream);
        stream.write_all(&frame(ECHO_REPLY, &payload)).unwrap();
        stream.set_nodelay(true).unwrap();
        thread::sleep(Duration::from_millis(100)); // after the reply is read
        stream.write_all(&frame(ECHO_REPLY, b"extra")).unwrap();
        sent.send(()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut command = client_command(step, stage.addr, &FAST);
    let mut client = Program::spawn(&mut command, true);
    client.write(b"one\n");
    client.wait_for("one\n");
    is_sent.recv_timeout(DEADLINE).unwrap();
    thread::sleep(Duration::from_millis(100)); // for the client's runtime
    client.write(b"two\n");
    let ended = client.finish();
    assert_eq!(ended.code, Some(PROTOCOL), "{}", ended.stderr);
    assert_eq!(ended.stdout, b"one\n");
}

/// Limits for tests that are not about time: no long waits.
const FAST: [Limit; 1] = [("TCP_BACKOFF_CAP_MS", 5)];

fn client_command(step: &str, addr: SocketAddr, limits: &[Limit]) -> Command {
    let mut command = Command::new(bin(step));
    command.args(["client", "--addr", &text(addr)]);
    set(&mut command, limits);
    command
}

/// The client of a step with the text `hi` and these limits.
fn limited_client(step: &str, addr: SocketAddr, limits: &[Limit]) -> Program {
    let mut command = client_command(step, addr, limits);
    Program::spawn(command.arg("hi"), false)
}

/// The waits that a client tells on stderr, in ms.
fn waits(stderr: &str) -> Vec<u32> {
    let lines = stderr.lines().filter_map(|line| line.strip_prefix("waits "));
    let wait = |line: &str| {
        let (wait, _) = line.split_once(" (").unwrap();
        match wait.strip_suffix("ms") {
            Some(ms) => ms.parse().unwrap(),
            None => 0, // less than one, in µs
        }
    };
    lines.map(wait).collect()
}

/// Plays a server for as many clients as come, one after another.
struct Stage {
    addr: SocketAddr,
    attempts: Arc<Mutex<Vec<Instant>>>,
}

impl Stage {
    /// `script` gets the number of the attempt, from 1, and its connection.
    fn new(script: impl Fn(usize, TcpStream) + Send + 'static) -> Stage {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&attempts);
        thread::spawn(move || {
            for n in 1.. {
                let (stream, _) = listener.accept().unwrap();
                list.lock().unwrap().push(Instant::now());
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.set_write_timeout(Some(DEADLINE)).unwrap();
                script(n, stream);
            }
        });
        Stage { addr, attempts }
    }

    /// When each attempt came.
    fn attempts(&self) -> Vec<Instant> {
        self.attempts.lock().unwrap().clone()
    }
}

// ---- What the cases share

fn text(addr: SocketAddr) -> String {
    addr.to_string()
}

/// A program whose pipes are ours, and that is killed at the end.
struct Killed(Child);

impl Killed {
    fn start(name: &str, args: &[&str]) -> Killed {
        let mut command = Command::new(bin(name));
        command.args(args).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Killed(command.spawn().unwrap())
    }

    /// Waits until it ends by itself.
    fn code(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the program's end", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Begins to connect, and does not wait for it.
fn knock(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _ = socket.connect(&addr.into()); // an error: "in progress"
    socket
}

/// Sends `payload` as the step does: as it is, or from step 4 on in a frame.
fn say(step: &str, stream: &mut TcpStream, payload: &[u8]) {
    match has_frames(step) {
        true => stream.write_all(&frame(ECHO, payload)).unwrap(),
        false => stream.write_all(payload).unwrap(),
    }
}

/// Reads the echo of `payload`; the stream stays open.
fn hear(step: &str, stream: &mut TcpStream, payload: &[u8]) {
    let expected = match has_frames(step) {
        true => frame(ECHO_REPLY, payload),
        false => payload.to_owned(),
    };
    let mut echo = vec![0; expected.len()];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(echo, expected);
}

fn exchange(step: &str, stream: &mut TcpStream, payload: &[u8]) {
    say(step, stream, payload);
    hear(step, stream, payload);
}

/// One client that comes, gets its echo, and goes.
fn visit(step: &str, addr: SocketAddr, payload: &[u8]) {
    let mut stream = connect(addr);
    exchange(step, &mut stream, payload);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(to_end(stream), b"");
}

fn has_frames(step: &str) -> bool {
    step >= "step4"
}

const TIMEOUT: u8 = 5; // the code of an ERROR

/// Bytes without a pattern that a bug could preserve (xorshift).
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// Open descriptors of a program; 0 where the system does not tell.
fn descriptors(program: &Program) -> usize {
    let folder = format!("/proc/{}/fd", program.id());
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Resident memory in KB, where the system tells (proc(5)).
fn resident(program: &Program) -> Option<usize> {
    let path = format!("/proc/{}/status", program.id());
    let status = fs::read_to_string(path).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Asserts that over half a second a program uses less than 15 % of a core.
fn assert_idle(program: &Program) {
    let Some(before) = cpu_ticks(program) else { return };
    thread::sleep(Duration::from_millis(500)); // measured, not waited for
    let used = cpu_ticks(program).unwrap() - before;
    assert!(used < 8, "spins: {used} of 50 ticks of processor time");
}

/// User and system time in ticks of 10 ms: fields 14 and 15 of
/// `/proc/PID/stat` (proc(5)), counted after the name in parentheses.
fn cpu_ticks(program: &Program) -> Option<u64> {
    let path = format!("/proc/{}/stat", program.id());
    let stat = fs::read_to_string(path).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    Some(ticks(14)? + ticks(15)?)
}

/// The measure sees a program that spins: on an idle machine after 80 ms.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /proc")]
fn a_spinning_program_is_not_idle() {
    let mut sh = Command::new("sh");
    let spin = Program::spawn(sh.arg("-c").arg("while :; do :; done"), false);
    let before = cpu_ticks(&spin).unwrap();
    wait_until("8 ticks", || cpu_ticks(&spin).unwrap() - before >= 8);
}

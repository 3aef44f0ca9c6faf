//! Clients that mean no good, and those that are only unlucky.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use libtest_mimic::Trial;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use crate::support::{DEADLINE, Program, refusing, signal, trial};
use crate::{ask, certificates, config, folder, run_with, server};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    let unix = (!cfg!(unix)).then_some("needs kill");
    vec![
        trial("attacks::handshakes that never end", None, silent),
        trial("attacks::a handshake takes a place", None, places),
        trial("attacks::refusals have a limit", None, refusals),
        trial("attacks::half handshakes take little memory", linux, memory),
        trial("attacks::what is no handshake", None, garbage),
        trial("attacks::a record that is too large", None, too_large),
        trial("attacks::one client too many", None, too_many),
        trial("attacks::a slow reader gets all of it", None, slow_reader),
        trial("attacks::half a record, and silence", None, half_record),
        trial("attacks::one direction may end first", None, half_close),
        trial("attacks::an end without close_notify", None, torn),
        trial("attacks::told to stop", unix, told_to_stop),
        trial("attacks::not yet valid", None, not_yet),
        trial("attacks::what the client tries again", None, retries),
    ]
}

/// What may not come before a limit has passed, comes after this part of it.
const EARLY: f64 = 0.9;

/// Far more than a limit of these tests, and less than ours without options.
const LATE: Duration = Duration::from_secs(5);

const DAY: Duration = Duration::from_secs(86_400);

const HI: &[u8] = b"\0\0\0\x03\x01hi";
const REPLY: &[u8] = b"\0\0\0\x03\x81hi";

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A client that trusts the CA in `folder`, before its handshake.
fn tls(folder: &Path, addr: SocketAddr) -> Tls {
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(config(folder), name).unwrap();
    StreamOwned::new(session, connect(addr))
}

/// The bytes of a ClientHello.
fn hello(folder: &Path, addr: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    tls(folder, addr).conn.write_tls(&mut bytes).unwrap();
    bytes
}

/// Reads until the end, however it comes. Returns the bytes and how long it
/// took.
fn until_end(stream: &mut TcpStream) -> (Vec<u8>, Duration) {
    let start = Instant::now();
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    let slow = end.is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
    assert!(!slow, "nothing ends this connection");
    (bytes, start.elapsed())
}

/// Does the server serve? If a place is just about to come back, soon.
fn works(folder: &Path, addr: SocketAddr) {
    let addr = addr.to_string();
    let args = ["client", "--addr", &addr, "hello"];
    let asked = run_with(folder, &args, &[]).finish();
    assert_eq!(asked.code, Some(0), "{asked:?}");
}

/// A place is taken for as long as a handshake may take, and not longer, even
/// if a byte comes all the time.
fn silent() {
    let folder = folder();
    let limit = Duration::from_millis(800);
    let set = [("TCP_HANDSHAKE_MS", "800"), ("TCP_MAX_CONNS", "3")];
    let (server, addr) = server(folder.path(), &[], &set);
    // Not from our server, so that it has all its places.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let hello = hello(folder.path(), other.local_addr().unwrap());
    let start = Instant::now();
    let mut clients: Vec<_> = (0..3).map(|_| connect(addr)).collect();
    clients[1].write_all(&hello[..hello.len() / 2]).unwrap();
    let mut drips = clients[2].try_clone().unwrap();
    thread::spawn(move || {
        for byte in hello {
            thread::sleep(Duration::from_millis(50));
            if drips.write_all(&[byte]).is_err() {
                return;
            }
        }
    });
    server.wait_for_times("connected", 3);
    for client in &mut clients {
        until_end(client);
        assert!(start.elapsed() >= limit.mul_f64(EARLY));
    }
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
    server.wait_for_times("no whole handshake", 3);
    works(folder.path(), addr);
}

// ANCHOR: places
/// A client takes a place as soon as it connects, not when it has proved
/// that it can shake hands.
fn places() {
    let folder = folder();
    let set = [("TCP_HANDSHAKE_MS", "60000"), ("TCP_MAX_CONNS", "1")];
    let (server, addr) = server(folder.path(), &[], &set);
    let silent = connect(addr);
    server.wait_for("connected");
    let full = ask(folder.path(), addr, &["hello"]);
    assert_eq!(full.code, Some(3), "{full:?}");
    assert!(full.stderr.contains("error 6"), "{full:?}");
    drop(silent);
    server.wait_for("no handshake");
    works(folder.path(), addr);
}
// ANCHOR_END: places

/// Whoever is one too many has a second for a handshake, even if others have
/// longer; and only so many at once are told, the rest is dropped.
fn refusals() {
    const MANY: usize = 300; // of which 256 have a place to be refused
    let folder = folder();
    let set = [("TCP_HANDSHAKE_MS", "60000"), ("TCP_MAX_CONNS", "1")];
    let (server, addr) = server(folder.path(), &[], &set);
    let _first = connect(addr);
    server.wait_for("connected");
    for round in 1.. {
        let clients: Vec<_> = (0..MANY).map(|_| connect(addr)).collect();
        for mut client in clients {
            until_end(&mut client); // long before the 60 s
        }
        let mut last = connect(addr); // its line comes after all others
        let peer = last.local_addr().unwrap();
        server.wait_for(&format!("{peer} is one too many"));
        until_end(&mut last);
        let text = String::from_utf8(server.texts().0).unwrap();
        let told = text.matches("one too many").count();
        if told < round * (MANY + 1) {
            return;
        }
        // On a busy machine the first may be gone when the last one comes.
        assert!(round < 10, "all {told} were told");
    }
}

fn memory() {
    const CLIENTS: usize = 200;
    let folder = folder();
    let set = [("TCP_HANDSHAKE_MS", "60000")];
    let (server, addr) = server(folder.path(), &[], &set);
    let before = resident(&server);
    // A ClientHello of 60 000 bytes that never ends, in four records.
    let mut long = vec![0x16, 3, 1, 0x3a, 0x98, 1, 0, 0xea, 0x60, 3, 3];
    long.resize(5 + 15_000, 0);
    let record = [&[0x16, 3, 1, 0x3a, 0x98][..], &[0; 15_000]].concat();
    for _ in 0..3 {
        long.extend(&record);
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = connect(addr);
        let _ = client.write_all(&long);
        clients.push(client);
    }
    server.wait_for_times("connected", CLIENTS);
    let grown = (resident(&server) - before) / CLIENTS as u64;
    assert!(grown < 128 * 1024, "{grown} bytes for each");
    drop(clients);
    server.wait_for_times("no handshake", CLIENTS);
    works(folder.path(), addr);
}

/// The memory of a process, in bytes (proc(5)).
fn resident(program: &Program) -> u64 {
    let path = format!("/proc/{}/status", program.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kb: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kb * 1024
}

/// Each is told so with an alert, at once, and the server lives.
fn garbage() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    let cases: [&[u8]; 7] = [
        HI,
        // More than it reads at once: it must not close with bytes unread.
        &[0xff; 100_000],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0xff; 100],
        // A handshake record that holds no ClientHello.
        &[0x16, 3, 1, 0, 4, 0x63, 0, 0, 0],
        // An alert before anything else.
        &[0x15, 3, 1, 0, 2, 2, 80],
        // Application data before the handshake.
        &[0x17, 3, 3, 0, 1, 0],
    ];
    for (n, bytes) in cases.into_iter().enumerate() {
        let mut client = connect(addr);
        client.write_all(bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let start = Instant::now();
        let mut said = Vec::new();
        client.read_to_end(&mut said).expect("no reset");
        let bytes = &bytes[..bytes.len().min(20)];
        let is_alert = said.first() == Some(&0x15);
        // Nobody answers an alert with an alert.
        assert_eq!(is_alert, bytes[0] != 0x15, "{bytes:?}: {said:?}");
        assert!(start.elapsed() < LATE, "{bytes:?}");
        server.wait_for_times("no handshake", n + 1);
    }
    works(folder.path(), addr);
}

/// RFC 9846 section 5.2: at most 2^14 bytes, and 256 for what encryption adds
/// (rustls takes the 2048 of TLS 1.2). The header is enough to refuse it.
fn too_large() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    let mut client = connect(addr);
    client.write_all(&[0x16, 3, 1, 0xff, 0xff]).unwrap();
    let (said, time) = until_end(&mut client);
    assert_eq!(said[0], 0x15, "an alert: {said:?}");
    assert!(time < LATE);
    let mut client = tls(folder.path(), addr);
    client.write_all(HI).unwrap();
    client.read_exact(&mut [0; REPLY.len()]).unwrap();
    client.sock.write_all(&[0x17, 3, 3, 0xff, 0xff]).unwrap();
    until_end(&mut client.sock);
    server.wait_for("cannot read");
    works(folder.path(), addr);
}

/// The contract of step 8: ERROR 6. That it comes within a second, the
/// checker tries (S8-01, in relay.rs).
fn too_many() {
    let folder = folder();
    let set = [("TCP_MAX_CONNS", "1")];
    let (_server, addr) = server(folder.path(), &[], &set);
    let mut first = tls(folder.path(), addr);
    first.write_all(HI).unwrap();
    first.read_exact(&mut [0; REPLY.len()]).unwrap();
    let mut second = tls(folder.path(), addr);
    let mut said = Vec::new();
    second.read_to_end(&mut said).unwrap(); // it says goodbye, too
    assert_eq!(said[4..6], [0x7f, 6], "{said:?}");
}

/// Far more replies than the kernels keep, taken late: all bytes come, and
/// once. (That the last ones need no PING behind them, only a pipe of a known
/// size can show: `the_last_bytes_do_not_wait_for_the_next_write`.)
fn slow_reader() {
    const ECHOES: usize = 200; // 12 MB
    let folder = folder();
    let set = [("TCP_HEARTBEAT_MS", "60000"), ("TCP_WRITE_MS", "60000")];
    let (_server, addr) = server(folder.path(), &[], &set);
    let mut client = tls(folder.path(), addr);
    while client.conn.is_handshaking() {
        client.conn.complete_io(&mut client.sock).unwrap();
    }
    let mut echo = vec![0, 0, 0xea, 0x61, 1];
    echo.resize(5 + 60_000, 7);
    client.conn.set_buffer_limit(None);
    client.conn.writer().write_all(&echo.repeat(ECHOES)).unwrap();
    let mut bytes = Vec::new();
    while client.conn.wants_write() {
        client.conn.write_tls(&mut bytes).unwrap();
    }
    let mut sock = client.sock.try_clone().unwrap();
    let writes = thread::spawn(move || sock.write_all(&bytes).unwrap());
    thread::sleep(Duration::from_millis(300)); // it is the client that is slow
    let mut heard = vec![0; ECHOES * echo.len()];
    for piece in heard.chunks_mut(20_000) {
        client.read_exact(piece).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    echo[4] = 0x81;
    assert!(heard == echo.repeat(ECHOES), "other bytes");
    writes.join().unwrap();
}

/// The server counts plaintext, so this is a client that is silent.
fn half_record() {
    let folder = folder();
    let set = [("TCP_HEARTBEAT_MS", "300")];
    let (server, addr) = server(folder.path(), &[], &set);
    let mut client = tls(folder.path(), addr);
    let start = Instant::now();
    client.write_all(HI).unwrap();
    client.read_exact(&mut [0; REPLY.len()]).unwrap();
    client.sock.write_all(&[0x17, 3, 3, 0x40, 0]).unwrap();
    let mut drips = client.sock.try_clone().unwrap();
    thread::spawn(move || {
        while drips.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    server.wait_for("no sign of life");
    let time = start.elapsed().as_secs_f64();
    assert!((0.9 * EARLY..LATE.as_secs_f64()).contains(&time), "{time}");
}

/// RFC 9846 section 6.1: unlike in TLS 1.2, the other direction goes on.
fn half_close() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    let mut client = tls(folder.path(), addr);
    let work = b"\0\0\0\x09\x05\0\0\x01\x2cdone"; // a WORK of 300 ms
    client.write_all(work).unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"\0\0\0\x05\x85done");
    server.wait_for("ended after 1 frames");
}

/// A FIN is an error without `close_notify`, whoever has sent it.
fn torn() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    let mut client = tls(folder.path(), addr);
    client.write_all(HI).unwrap();
    client.read_exact(&mut [0; REPLY.len()]).unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    server.wait_for("an end without close_notify");
    let text = server.texts().0;
    assert!(!String::from_utf8(text).unwrap().contains("ended after"));
}

/// What has arrived is answered, then comes the goodbye of TLS, then FIN.
fn told_to_stop() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    let mut client = tls(folder.path(), addr);
    client.write_all(b"\0\0\0\x09\x05\0\0\x02\xbcdone").unwrap();
    server.wait_for("speaks");
    signal(server.id(), "-TERM");
    let mut said = Vec::new();
    client.read_to_end(&mut said).unwrap();
    let (goodbye, done) = (b"\0\0\0\x02\x04\x01", b"\0\0\0\x05\x85done");
    let first = [&goodbye[..], done].concat();
    let late = [&done[..], goodbye].concat(); // if the machine is busy
    assert!([first, late].contains(&said), "{said:?}");
    drop(client);
    assert_eq!(server.finish().code, Some(0));
}

fn not_yet() {
    let folder = folder();
    let soon = SystemTime::now() + Duration::from_secs(3 * 3600 + 60);
    let names = ["127.0.0.1".to_owned()];
    let made = certificates::make(&names, soon, soon + DAY).unwrap();
    made.write(&folder.path().join("target/tls"), true).unwrap();
    let (_server, addr) = server(folder.path(), &[], &[]);
    let asked = ask(folder.path(), addr, &["hello"]);
    assert_eq!(asked.code, Some(6), "{asked:?}");
    let text = "its certificate is valid in 3 hours";
    assert!(asked.stderr.contains(text), "{}", asked.stderr);
}

/// What may be different the next time is tried again; what TLS says is not.
fn retries() {
    let folder = folder();
    let three = [("TCP_ATTEMPTS", "3"), ("TCP_BACKOFF_BASE_MS", "1")];
    let asked = |addr: SocketAddr, more: &[&str]| {
        let addr = addr.to_string();
        let args = [&["client", "--addr", &addr, "hello"], more].concat();
        run_with(folder.path(), &args, &three).finish()
    };
    let (_socket, refuses) = refusing();
    let ended = asked(refuses, &[]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("after 3 of 3"), "{}", ended.stderr);
    // A server that closes at once: not a word of TLS.
    let closes = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = closes.local_addr().unwrap();
    thread::spawn(move || closes.incoming().for_each(drop));
    let ended = asked(addr, &[]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("after 3 of 3"), "{}", ended.stderr);
    let (_server, addr) = server(folder.path(), &[], &[]);
    let ended = asked(addr, &["--name", "bank.example"]);
    assert_eq!(ended.code, Some(6), "{ended:?}");
    assert!(!ended.stderr.contains("attempt"), "{}", ended.stderr);
    // A server that is silent costs one connect limit for each attempt.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap();
    let ended = asked(addr, &["--connect-ms", "200"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("within 200ms"), "{}", ended.stderr);
}

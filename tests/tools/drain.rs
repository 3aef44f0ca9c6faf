//! A server that is full, and one that has to stop, with clients all around.
//!
//! They need Linux: they look into `/proc`, and send signals.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::load::{herd, restarts, stuck};
use crate::support::{DEADLINE, Program, signal, trial};
use libtest_mimic::Trial;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let missing = (!cfg!(target_os = "linux")).then_some("needs Linux");
    vec![
        trial("drain::a restart loses no request", missing, restart),
        trial("drain::a kill loses none that may be repeated", missing, kill),
        trial("drain::who has not been accepted yet", missing, queue),
        trial("drain::twenty clients and five slots", missing, twenty),
        trial("drain::a client that does not read", missing, unread_replies),
    ]
}

/// Ten attempts, because the waits before five may be too short by chance.
fn restart() {
    let seen = restarts(3, "-TERM", 8, "10");
    assert_eq!(seen.failed, 0, "{seen:?}");
    assert_eq!(seen.codes, [Some(0); 3]);
}

fn kill() {
    let seen = restarts(3, "-KILL", 8, "10");
    assert_eq!(seen.failed, 0, "{seen:?}");
    assert_eq!(seen.codes, [None; 3]);
    assert!(seen.unknown > 0, "nobody was in the middle: {seen:?}");
}

/// The kernel let a client in while the server was frozen: when it is told to
/// stop, it answers that one, too.
fn queue() {
    let (server, addr) = Program::server("step8");
    signal(server.id(), "-STOP");
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"\0\0\0\x03\x01hi").unwrap();
    signal(server.id(), "-TERM");
    signal(server.id(), "-CONT");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    let reply = answer.windows(3).any(|bytes| bytes == b"\x81hi");
    assert!(reply, "{answer:?}");
    assert_eq!(server.finish().code, Some(0));
}

/// The server is full for most of them, and then for fewer and fewer.
fn twenty() {
    let attempts = herd("100");
    let all: Option<Vec<usize>> = attempts.iter().copied().collect();
    let all = all.unwrap_or_else(|| panic!("gave up: {attempts:?}"));
    assert!(all.iter().any(|&n| n > 1), "none was refused");
}

/// The server stops reading, so that its memory stays small, and the kernel
/// stops the client.
fn unread_replies() {
    let (server, addr) = Program::server("step8");
    let (_client, stuck) = stuck(&server);
    assert!(stuck.taken < 256_000_000, "{stuck:?}");
    assert!(stuck.grown < 2_000_000, "{stuck:?}");
    let mut other = TcpStream::connect(addr).unwrap();
    other.write_all(b"\0\0\0\x03\x01hi").unwrap();
    other.read_exact(&mut [0; 7]).unwrap();
}

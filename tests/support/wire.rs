//! Bytes and sockets for tests that are themselves one end of a connection.
//! The frame is written here once more, from the contract, as a peer in
//! another language would write it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::DEADLINE;

pub const ECHO: u8 = 0x01;
pub const ECHO_REPLY: u8 = 0x81;
pub const ERROR: u8 = 0x7f;

pub fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = 1 + payload.len() as u32;
    [&length.to_be_bytes(), &[kind][..], payload].concat()
}

/// Reads one frame: its kind and its payload.
pub fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut body = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut body).unwrap();
    let payload = body.split_off(1);
    (body[0], payload)
}

/// Reads an ERROR with this code, whose text contains nothing of ours.
pub fn read_error(stream: &mut TcpStream, code: u8) {
    let (kind, payload) = read_frame(stream);
    assert_eq!((kind, payload[0]), (ERROR, code));
    assert!(payload.len() <= 201);
    String::from_utf8(payload).unwrap();
}

/// A connection on which each write is a packet of its own, and none takes
/// longer than the deadline.
pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    prepare(&stream);
    stream.set_nodelay(true).unwrap();
    stream
}

/// A connection that waits for the deadline, and not longer.
pub fn prepare(stream: &TcpStream) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
}

/// Sends `request`, ends the stream, and reads to the end.
pub fn ask(addr: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(addr);
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    to_end(stream)
}

/// Reads to the end of the stream.
pub fn to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

/// Closes with RST in place of FIN.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Writes until a second passes without progress; returns how much it wrote.
pub fn write_until_stalled(stream: &mut TcpStream, data: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut sent = 0;
    while sent < data.len() {
        match stream.write(&data[sent..]) {
            Ok(n) => sent += n,
            Err(error) => {
                let stalled = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                assert!(stalled.contains(&error.kind()), "{error}");
                break;
            }
        }
    }
    sent
}

/// A socket that is bound to a free port and does not listen: it refuses for
/// sure, and nobody can take its port.
pub fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let addr = bind(&socket);
    (socket, addr)
}

fn bind(socket: &Socket) -> SocketAddr {
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.local_addr().unwrap().as_socket().unwrap()
}

/// A socket that listens, with room for one connection that nobody accepts,
/// and this connection: on Linux, the SYNs of others are ignored.
pub fn black_hole() -> (Socket, TcpStream, SocketAddr) {
    let (socket, addr) = refusing();
    socket.listen(0).unwrap();
    let first = connect(addr);
    (socket, first, addr)
}

/// Listens on a port that stays ours when the listener is gone: from then on
/// it refuses, and nobody else can take it. A second socket is bound to it
/// (where systems allow that) until the test's process ends.
pub fn listen_and_keep_the_port() -> TcpListener {
    if cfg!(windows) {
        return TcpListener::bind("127.0.0.1:0").unwrap();
    }
    let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    holder.set_reuse_address(true).unwrap();
    let addr = bind(&holder);
    std::mem::forget(holder);
    TcpListener::bind(addr).unwrap() // it sets SO_REUSEADDR, too
}

/// Plays a server for one client; who comes later is refused.
pub fn play<T: Send + 'static>(
    script: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    play_on(listen_and_keep_the_port(), script)
}

/// The same with a listener of one's own.
pub fn play_on<T: Send + 'static>(
    listener: TcpListener,
    script: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    // On Linux also the limit of `accept`.
    SockRef::from(&listener).set_read_timeout(Some(DEADLINE)).unwrap();
    let addr = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        prepare(&stream);
        script(stream)
    });
    (addr, server)
}

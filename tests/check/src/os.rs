//! What differs from system to system. We run the checker on Linux; on macOS it
//! does without what only Linux has.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};
use tempfile::{TempDir, tempdir};

/// Does the kernel tell us about processes (proc(5)), and have prlimit(2)?
pub const IS_LINUX: bool = cfg!(target_os = "linux");

/// The next connection, if one comes within the limit. A receive timeout
/// (SO_RCVTIMEO) would do on Linux, but does not limit accept(2) on macOS.
pub fn accept_within(
    listener: &TcpListener,
    limit: Duration,
) -> Option<TcpStream> {
    let end = Instant::now() + limit;
    // A client may give up between poll and accept: then accept must not wait.
    listener.set_nonblocking(true).ok()?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok()?;
        let mut listeners = [PollFd::new(listener, PollFlags::IN)];
        let is_ready = poll(&mut listeners, Some(&left));
        if is_ready.is_ok_and(|ready| ready > 0)
            && let Ok((stream, _)) = listener.accept()
        {
            // On macOS a connection inherits this from its listener.
            return stream.set_nonblocking(false).ok().map(|()| stream);
        }
        if Instant::now() >= end {
            return None;
        }
    }
}

/// Makes a listener, and a second socket that keeps the port when the listener
/// is gone: then the kernel refuses clients there, and no other program can
/// take the port. Linux allows two sockets
/// there while one of them does not listen (socket(7), SO_REUSEADDR); other
/// systems want SO_REUSEPORT.
///
/// # Errors
/// No port is left, or the kernel does not allow two sockets there.
pub fn kept_port(addr: SocketAddr) -> io::Result<(Socket, TcpListener)> {
    let keeper = shared_socket(addr)?;
    let addr = keeper.local_addr()?;
    let listener = shared_socket(addr.as_socket().ok_or_else(no_address)?)?;
    listener.listen(128)?;
    Ok((keeper, listener.into()))
}

fn shared_socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if !IS_LINUX {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn no_address() -> io::Error {
    io::Error::other("the kernel names no address")
}

/// A peer that sends a frame in two writes would otherwise wait 40 ms for each
/// (Nagle's algorithm and a delayed acknowledgement). Holds until the next
/// read (tcp(7), TCP_QUICKACK).
pub fn acknowledge_at_once(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_quickack(true);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Processes that lose their parent become ours, so that we find and end them,
/// even those that made a session of their own (prctl(2),
/// PR_SET_CHILD_SUBREAPER). On other systems we find only the
/// program's process group.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    let _ =
        rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1));
}

/// A program that dies leaves no copy of its memory on the disk.
pub fn forbid_core(pid: i32) {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let _ = prlimit(Pid::from_raw(pid), Resource::Core, none);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = pid;
}

/// Raises the number of descriptors that we, and the programs we start, may
/// open, and returns what the kernel allows.
pub fn allow_descriptors(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let is_enough = |most: Option<u64>| most.is_none_or(|n| n >= wanted as u64);
    if !is_enough(limit.current) {
        let most = limit.maximum.unwrap_or(wanted as u64).min(wanted as u64);
        limit.current = Some(most);
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let most = getrlimit(Resource::Nofile).current;
    most.map_or(wanted, |most| wanted.min(most as usize))
}

/// Makes a folder for a journal: in memory, if there is such a place, because
/// the checker can kill a program but cannot cut the power, so it never sees
/// what a sync is good for, and should not wait for one.
///
/// # Errors
/// There is no room, or the system allows none.
pub fn folder() -> io::Result<TempDir> {
    match cfg!(target_os = "linux") {
        true => tempfile::tempdir_in("/dev/shm").or_else(|_| tempdir()),
        false => tempdir(),
    }
}

/// Holds back what is written, until the end of the direction: then both leave
/// in one packet (tcp(7), TCP_CORK).
pub fn send_with_the_end(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_cork(true);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// From now on the process may have no more than `most` descriptors.
pub fn limit_descriptors(pid: i32, most: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let most = Some(most as u64);
        let limit = Rlimit { current: most, maximum: most };
        let _ = prlimit(Pid::from_raw(pid), Resource::Nofile, limit);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (pid, most);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn any() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    #[test]
    fn accept_has_a_limit() {
        let listener = TcpListener::bind(any()).unwrap();
        let start = Instant::now();
        let limit = Duration::from_millis(30);
        assert!(accept_within(&listener, limit).is_none());
        assert!(start.elapsed() >= limit);
        let addr = listener.local_addr().unwrap();
        let _client = TcpStream::connect(addr).unwrap();
        let limit = Duration::from_secs(10);
        assert!(accept_within(&listener, limit).is_some());
    }

    #[test]
    fn a_kept_port_refuses_when_its_listener_is_gone() {
        let (_keeper, listener) = kept_port(any()).unwrap();
        let addr = listener.local_addr().unwrap();
        TcpStream::connect(addr).unwrap();
        drop(listener);
        let error = TcpStream::connect(addr).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

//! What a process has used, as Linux tells it in `/proc` (proc(5)).

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// Linux counts the CPU time in `/proc/PID/stat` in hundredths of a second
/// (`USER_HZ`), on each processor that it runs on.
const TICKS: f64 = 100.0;

/// Returns the proportional set size (PSS) of a process, in KiB: a page that it
/// shares with other processes counts in part. Kernel memory, such as the
/// buffers of sockets, is not in it.
pub fn memory(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let rollup = rollup.ok()?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the CPU time that a process has used, in seconds: user and system
/// time of all its threads, also of those that have ended.
pub fn cpu(pid: u32) -> Option<f64> {
    times(&pid.to_string())
}

/// Returns the CPU time that this program has used, in seconds.
pub fn own_cpu() -> f64 {
    times("self").unwrap_or(0.0)
}

fn times(pid: &str) -> Option<f64> {
    used(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields 14 and 15; the name before them may contain spaces.
fn used(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// Returns the process that listens on `addr`, if that is on this machine and
/// may be seen.
pub fn listener(addr: SocketAddr) -> Option<u32> {
    if !addr.ip().is_loopback() {
        return None;
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().find_map(|line| inode(line, addr))
    })?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids: Vec<u32> = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter().find(|pid| has(*pid, &socket))
}

/// The inode in a line of `/proc/net/tcp` if its socket listens on `addr`, or
/// on the port of `addr` of all addresses. A server may take IPv4 connections
/// on an IPv6 socket, as Java does.
fn inode(line: &str, addr: SocketAddr) -> Option<String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = columns.get(1)?.split_once(':')?;
    let is_ip = ip == hex(addr.ip()) || ip == hex(mapped(addr.ip()));
    let is_all = ip.bytes().all(|digit| digit == b'0');
    let is_port = u16::from_str_radix(port, 16) == Ok(addr.port());
    let listens = *columns.get(3)? == "0A";
    let is_right = (is_ip || is_all) && is_port && listens;
    is_right.then(|| columns.get(9).map(|inode| (*inode).to_owned()))?
}

/// An IPv4 address as an IPv6 socket has it.
fn mapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        ip => ip,
    }
}

/// Four bytes at a time, in the order of this machine.
fn hex(ip: IpAddr) -> String {
    let bytes = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (words, _) = bytes.as_chunks();
    let words = words.iter().map(|word| u32::from_ne_bytes(*word));
    words.map(|word| format!("{word:08X}")).collect()
}

fn has(pid: u32, socket: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut descriptors = descriptors.flatten();
    descriptors.any(|entry| {
        fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == socket)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Is a socket found that listens on `ip`, as `/proc` writes it?
    fn found(ip: &str, state: &str, addr: &str) -> bool {
        let line = format!(
            "   0: {ip}:22B8 00000000:0000 {state} 00000000:00000000 \
             00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0"
        );
        let inode = inode(&line, addr.parse().unwrap());
        assert!(inode.is_none() || inode.as_deref() == Some("4711"));
        inode.is_some()
    }

    #[test]
    fn user_and_system_time_count() {
        let stat = "7 (a )b) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 9 9 20 0 1";
        assert_eq!(used(stat), Some(1.75));
        assert_eq!(used("7 (a) S 1"), None);
    }

    #[test]
    fn the_listener_of_an_address() {
        let v4 = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
        let one = format!("{:08X}", u32::from_ne_bytes([0, 0, 0, 1]));
        let words = [0, 0, u32::from_ne_bytes([0, 0, 255, 255])];
        let words = words.map(|word| format!("{word:08X}")).concat();
        let mapped = format!("{words}{v4}");
        let v6 = format!("{}{one}", "0".repeat(24));
        for ip in [&v4, &mapped, "00000000", &"0".repeat(32)] {
            assert!(found(ip, "0A", "127.0.0.1:8888"), "{ip}");
            assert!(!found(ip, "0A", "127.0.0.1:8889"), "{ip}");
            assert!(!found(ip, "01", "127.0.0.1:8888"), "{ip}");
        }
        assert!(found(&v6, "0A", "[::1]:8888"));
        assert!(!found(&v6, "0A", "127.0.0.1:8888"));
        assert!(!found(&v4, "0A", "127.0.0.2:8888"));
    }
}

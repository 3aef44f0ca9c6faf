//! What a process has used, as Linux tells it in `/proc` (proc(5)).

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// Linux counts the CPU time in `/proc/PID/stat` in hundredths of a second
/// (`USER_HZ`), on each processor that it runs on.
const TICKS: f64 = 100.0;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time of all its threads, in seconds; threads that have
    /// ended count, too.
    pub cpu_seconds: f64,
    /// Its proportional set size (PSS), in KiB: a page that it shares with
    /// other processes counts in part. Kernel memory, such as the buffers of
    /// sockets, is not in it.
    pub memory_kb: u64,
}

/// Returns `None` if the process cannot be seen.
pub fn usage(pid: u32) -> Option<Usage> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let rollup = rollup.ok()?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
    let memory_kb = line.split_whitespace().nth(1)?.parse().ok()?;
    let cpu_seconds = cpu(&pid.to_string())?;
    Some(Usage { cpu_seconds, memory_kb })
}

/// The CPU time that this program has used, in seconds.
pub fn own_cpu() -> f64 {
    cpu("self").unwrap_or(0.0)
}

/// Fields 14 and 15; the name before them may contain spaces.
fn cpu(pid: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// The process that listens on `addr`, if that is on this machine and may be
/// seen.
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
/// on the port of `addr` of all addresses.
fn inode(line: &str, addr: SocketAddr) -> Option<String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = columns.get(1)?.split_once(':')?;
    let is_right = ip == hex(addr.ip()) || ip.bytes().all(|c| c == b'0');
    let is_port = u16::from_str_radix(port, 16) == Ok(addr.port());
    let listens = *columns.get(3)? == "0A";
    (is_right && is_port && listens)
        .then(|| columns.get(9).copied())?
        .map(str::to_owned)
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

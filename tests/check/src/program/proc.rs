//! What Linux tells about processes, from `/proc` (proc(5)). Elsewhere there
//! is no `/proc`, and each answer is empty.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::Duration;

/// All processes of the machine.
pub fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

/// A process, its children, their children and so on.
pub fn tree(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        for task in tasks(pid) {
            let path = format!("/proc/{pid}/task/{task}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            let pids = children.split_whitespace().flat_map(str::parse::<i32>);
            found.extend(pids);
        }
    }
    found
}

fn tasks(pid: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).collect()
}

/// The fields of `/proc/PID/stat` after the name, which may contain anything;
/// so the first is field 3, the state.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Is it there, and more than a corpse that waits for its parent?
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
}

pub fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.get(1)?.parse().ok()
}

pub fn group(pid: i32) -> Option<i32> {
    stat(pid)?.get(2)?.parse().ok()
}

/// Does the environment that it was started with contain this?
pub fn has_mark(pid: i32, mark: &str) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
}

/// Resident memory in bytes.
pub fn resident(pid: i32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The same, where memory of several processes counts in parts.
pub fn share(pid: i32) -> Option<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with("Pss:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Processor time used so far by these processes, user and system: fields 14
/// and 15, in ticks of 10 ms.
pub fn cpu_time(pids: &[i32]) -> Duration {
    let ticks = pids.iter().filter_map(|&pid| {
        let fields = stat(pid)?;
        let ticks = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
        Some(ticks(14)? + ticks(15)?)
    });
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// How many descriptors these processes have open.
pub fn descriptors(pids: &[i32]) -> usize {
    let folders = pids.iter().map(|pid| format!("/proc/{pid}/fd"));
    folders.map(|dir| fs::read_dir(dir).map_or(0, Iterator::count)).sum()
}

/// How long each thread has waited for a processor so far, in nanoseconds:
/// field 2 of `schedstat`.
pub type Waits = HashMap<(i32, i32), u64>;

pub fn waits(pids: &[i32]) -> Waits {
    let waits_of = |&pid: &i32| {
        tasks(pid).into_iter().filter_map(move |task| wait_of(pid, task))
    };
    pids.iter().flat_map(waits_of).collect()
}

/// The same of the thread that asks.
pub fn own_waits() -> Waits {
    let own = fs::read_link("/proc/thread-self").unwrap_or_default();
    let task = own.file_name().and_then(|name| name.to_str()?.parse().ok());
    let (pid, task) = (std::process::id() as i32, task.unwrap_or(0));
    wait_of(pid, task).into_iter().collect()
}

fn wait_of(pid: i32, task: i32) -> Option<((i32, i32), u64)> {
    let path = format!("/proc/{pid}/task/{task}/schedstat");
    let text = fs::read_to_string(path).ok()?;
    let wait = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(((pid, task), wait))
}

/// The longest that one thread has waited since `before`.
pub fn waited(before: &Waits, after: &Waits) -> Duration {
    let grown = after.iter().map(|(thread, wait)| {
        wait.saturating_sub(before.get(thread).copied().unwrap_or(0))
    });
    Duration::from_nanos(grown.max().unwrap_or(0))
}

/// The TCP ports on which these processes listen: the sockets among their
/// descriptors, found again in the tables of listening sockets.
pub fn listening(pids: &[i32]) -> Vec<u16> {
    let sockets: HashSet<String> =
        pids.iter().flat_map(|&p| sockets(p)).collect();
    let mut ports: Vec<u16> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| listeners(table))
        .filter(|(_, inode)| sockets.contains(inode))
        .map(|(port, _)| port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn sockets(pid: i32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let links = entries.flatten().flat_map(|e| fs::read_link(e.path()));
    let inode = |link: std::path::PathBuf| {
        let link = link.to_str()?.strip_prefix("socket:[")?;
        Some(link.trim_end_matches(']').to_owned())
    };
    links.filter_map(inode).collect()
}

/// Port and inode of each listening socket (state 0A) of a table.
fn listeners(table: &str) -> Vec<(u16, String)> {
    let table = fs::read_to_string(table).unwrap_or_default();
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let port = columns.get(1)?.rsplit_once(':')?.1;
        let listens = *columns.get(3)? == "0A";
        let port = u16::from_str_radix(port, 16).ok()?;
        listens.then_some((port, (*columns.get(9)?).to_owned()))
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// Returns how many bytes wait in the kernel to be sent from one port of this
/// machine to another, whether a program still has the connection or not.
pub fn unsent(from: u16, to: u16) -> u64 {
    connection(from, to).map_or(0, |(unsent, _)| unsent)
}

/// Has no program the connection between these ports any more?
pub fn is_orphan(from: u16, to: u16) -> bool {
    connection(from, to).is_some_and(|(_, inode)| inode == 0)
}

/// Of the end at `from`: the bytes in its send queue, and its inode.
fn connection(from: u16, to: u16) -> Option<(u64, u64)> {
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let port = |column: usize| {
            let (_, port) = columns.get(column)?.rsplit_once(':')?;
            u16::from_str_radix(port, 16).ok()
        };
        let is_it = port(1)? == from && port(2)? == to;
        let (unsent, _) = columns.get(4)?.split_once(':')?;
        let unsent = u64::from_str_radix(unsent, 16).ok()?;
        let inode = columns.get(9)?.parse().ok()?;
        is_it.then_some((unsent, inode))
    };
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(table).unwrap_or_default();
        text.lines().skip(1).find_map(row)
    })
}

/// Returns how many connections the kernel lets wait in a listener's queue.
pub fn longest_queue() -> usize {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn");
    text.ok().and_then(|n| n.trim().parse().ok()).unwrap_or(usize::MAX)
}

/// The ports of the clients that wait at this port until somebody accepts them.
pub fn not_accepted(port: u16) -> Vec<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let clients = tables.iter().flat_map(|table| {
        let table = fs::read_to_string(table).unwrap_or_default();
        let rows = table.lines().skip(1).map(|row| waiting(row, port));
        rows.flatten().collect::<Vec<u16>>()
    });
    clients.collect()
}

/// A connection gets its inode when it is accepted. One that has none, and was
/// not closed on that side (01 is open, 08 has the client's FIN), waits.
fn waiting(row: &str, port: u16) -> Option<u16> {
    let columns: Vec<&str> = row.split_whitespace().collect();
    let port_in = |column: usize| {
        let (_, port) = columns.get(column)?.rsplit_once(':')?;
        u16::from_str_radix(port, 16).ok()
    };
    let is_open = ["01", "08"].contains(columns.get(3)?);
    let is_it = port_in(1)? == port && *columns.get(9)? == "0";
    (is_open && is_it).then(|| port_in(2)).flatten()
}

#[cfg(all(test, target_os = "linux"))] // the tables are Linux's
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_waits_until_it_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let client = TcpStream::connect(addr).unwrap();
        let port = client.local_addr().unwrap().port();
        assert_eq!(not_accepted(addr.port()), [port]);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(not_accepted(addr.port()), [port]);
        let (server, _) = listener.accept().unwrap();
        assert!(not_accepted(addr.port()).is_empty());
        drop(server);
        assert!(not_accepted(addr.port()).is_empty());
    }
}

//! How many calls a server makes for a frame. Time differs from machine to
//! machine and from run to run; these numbers do not.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use libtest_mimic::Trial;
use regex::Regex;

use crate::calls::{Traced, whole_lines};
use crate::support::{
    DEADLINE, Program, again, bin, is_installed, snapshot, trial,
};

/// The steps, and a server that makes a write for each frame, as a program
/// does that flushes too often: it shows that a mistake would be seen.
const SERVERS: [&str; 5] = ["step3", "step4", "step5", "step8", PLANTED];
const PLANTED: &str = "write-each";

/// Frames in one write of the client, and how often it writes.
const ONE_AT_A_TIME: (usize, usize) = (1, 100);
const BURSTS: (usize, usize) = (16, 10);

/// An ECHO with 64 bytes of payload. To step 3 it is 69 bytes like any others.
const SIZE: u8 = 64;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let strace = cfg!(target_os = "linux") && is_installed("strace", "-V");
    let missing = (!strace).then_some("needs strace");
    vec![trial("speed::calls per frame", missing, calls_per_frame)]
}

/// Whole frames that arrive together need one read and one write.
fn calls_per_frame() {
    let mut text = "            100 × 1 frame 10 × 16 frames\n\
                    server      reads writes  reads writes\n"
        .to_owned();
    for server in SERVERS {
        let [single, bursts] =
            [ONE_AT_A_TIME, BURSTS].map(|(frames, times)| {
                let calls = calls(server, frames, times);
                let writes =
                    if server == PLANTED { frames * times } else { times };
                assert_eq!(
                    calls,
                    (times, writes),
                    "reads and writes of {server}"
                );
                calls
            });
        text += &format!(
            "{server:11} {:5} {:6}  {:5} {:6}\n",
            single.0, single.1, bursts.0, bursts.1
        );
    }
    snapshot("speed-calls", text.trim_end());
}

/// Sends `frames` frames in one write and waits for the replies, as often as
/// `times` says. Returns how many reads and writes the server made for that.
fn calls(server: &str, frames: usize, times: usize) -> (usize, usize) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=accept4,recvfrom,sendto", "-o"]);
    strace.arg(file.path()).arg(bin(server));
    if server != PLANTED {
        strace.args(["server", "--addr"]);
    }
    let traced = Traced(Program::spawn(strace.arg("127.0.0.1:0"), false));
    let mut client = TcpStream::connect(traced.0.addr()).unwrap();
    client.set_read_timeout(Some(3 * DEADLINE)).unwrap();
    let of_kind = |kind| [&[0, 0, 0, 1 + SIZE, kind], &[b'x'; 64][..]].concat();
    let request = of_kind(0x01).repeat(frames);
    let reply = if server == "step3" { 0x01 } else { 0x81 };
    let reply = of_kind(reply).repeat(frames);
    for _ in 0..times {
        client.write_all(&request).unwrap();
        let mut received = vec![0; reply.len()];
        client.read_exact(&mut received).unwrap();
        assert!(received == reply, "a wrong reply from {server}");
    }
    client.shutdown(Shutdown::Write).unwrap();
    let n = again(|| client.read(&mut [0])).unwrap();
    assert_eq!(n, 0); // it has seen our end
    traced.stop();
    traced.0.wait_end();
    count(&fs::read_to_string(file.path()).unwrap())
}

/// Counts the calls that received or sent bytes on the accepted connection.
/// How often the server looked in vain, or slept, depends on the scheduler.
fn count(trace: &str) -> (usize, usize) {
    let accept = Regex::new(r"accept4\(.* = (\d+)$").unwrap();
    let call = Regex::new(r"(recvfrom|sendto)\((\d+), .* = [1-9]\d*$").unwrap();
    let lines = whole_lines(trace);
    let client = lines.iter().find_map(|line| accept.captures(line)).unwrap();
    let calls = lines.iter().filter_map(|line| call.captures(line));
    let calls: Vec<_> = calls.filter(|c| c[2] == client[1]).collect();
    let reads = calls.iter().filter(|c| &c[1] == "recvfrom").count();
    (reads, calls.len() - reads)
}

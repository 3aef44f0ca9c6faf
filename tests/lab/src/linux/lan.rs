//! Two machines and a cable.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Protocol, Socket, Type};

use super::machine::{DEADLINE, Machine, check, lock, print};
use super::router::hurry;
use crate::ladder;
use crate::road::{Crossing, MOST, Side};
use crate::segment::Segment;

const SERVER: &str = "10.0.0.1";
const CLIENT: &str = "10.0.0.2";
const ALL_INTERFACES: &str = "0.0.0.0:8888";
const ETH_P_ALL: u16 = 3; // packet(7): each packet, in and out

/// How many bytes of packets may wait for us while this machine is busy.
const ROOM: usize = 8 << 20;

/// How many bytes of each packet are kept: its headers.
const SNAP: usize = 96;

/// Runs both ends of a step, and prints what they print and each packet.
///
/// # Errors
/// A machine cannot be made, or a program fails to start or to end.
pub fn run(step: &str, texts: &[String]) -> Result<()> {
    let server = Machine::this("server")?;
    let client = Machine::another("client")?;
    server.join(&client, [SERVER, CLIENT])?;
    let capture = Capture::start(&server)?;

    let words = [step, "server", "--addr", ALL_INTERFACES];
    let running = server.start(&words.map(str::to_owned), "")?;
    running.wait_for("listening on ")?;
    let addr = format!("{SERVER}:8888");
    let words = [step, "client", "--addr", &addr].map(str::to_owned);
    let mut asking = client.start(&[&words, texts].concat(), "")?;
    let ended = asking.ends_within(DEADLINE)?;
    let packets = capture.finish();
    let table = ladder::table(&packets);
    print(&format!("\nat the server's end of the cable:\n{table}"));
    let sockets = server.run("ss -0nmO").unwrap_or_default();
    print(&missing(&packets, &sockets));
    check(ended, DEADLINE, "which line of the table did it wait after?")
}

/// What is missing in the table. The kernel counts the packets that found no
/// room, and ss(8) prints the number behind a `d`: `skmem:(r0,rb212992,…,d0)`.
/// Some kernels do not tell.
fn missing(packets: &[Crossing], sockets: &str) -> String {
    let number = |line: &str| -> Option<u64> {
        line.trim_end().strip_suffix(')')?.rsplit_once(",d")?.1.parse().ok()
    };
    let count = sockets.lines().filter_map(number).sum::<u64>();
    if packets.len() == MOST {
        return format!("lab keeps {MOST} packets, not the later ones\n");
    }
    match count {
        0 if !ladder::has_gap(packets) => String::new(),
        0 => "some packets were not captured: try again\n".to_owned(),
        n => format!("{n} packets were not captured: try again\n"),
    }
}

/// The packets that one machine sent and received.
struct Capture {
    packets: Arc<Mutex<Vec<Crossing>>>,
}

impl Capture {
    fn start(machine: &Machine) -> Result<Capture> {
        let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = machine.inside(|| {
            Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))
        })?;
        let socket = socket.context("cannot capture packets")?;
        // Beyond the system's limit if we may, or else up to it.
        if set_socket_recv_buffer_size_force(&socket, ROOM).is_err() {
            socket.set_recv_buffer_size(ROOM).context("no room")?;
        }
        let packets = Arc::default();
        let all = Arc::clone(&packets);
        thread::spawn(move || collect(socket, &all));
        Ok(Capture { packets })
    }

    /// Waits until both ends are closed, or nothing comes any more.
    fn finish(self) -> Vec<Crossing> {
        let pause = Duration::from_millis(300);
        let end = Instant::now() + DEADLINE;
        let (mut seen, mut since) = (0, Instant::now());
        while since.elapsed() < pause && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
            let now = lock(&self.packets).len();
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
        }
        lock(&self.packets).clone()
    }
}

/// Reads packets until the process ends.
fn collect(mut socket: Socket, packets: &Mutex<Vec<Crossing>>) {
    hurry();
    let start = Instant::now();
    let mut buffer = vec![0; 65_536];
    while let Ok(n) = socket.read(&mut buffer) {
        let Some(segment) = Segment::read(&buffer[..n]) else { continue };
        let from = match segment.ports {
            (8888, _) => Side::Server,
            _ => Side::Client,
        };
        let sent = start.elapsed();
        let bytes = buffer[..n.min(SNAP)].to_vec();
        let (arrived, lost) = (Some(sent), false); // within a fraction of 1 ms
        let mut packets = lock(packets);
        if packets.len() < MOST {
            packets.push(Crossing {
                from,
                sent,
                arrived,
                lost,
                copy: false,
                bytes,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn what_was_not_captured_is_counted() {
        let ss = |drops| {
            format!("Netid\np_dgr  skmem:(r0,rb425984,t0,bl0,d{drops})  \n")
        };
        assert_eq!(missing(&[], &ss(0)), "");
        assert!(missing(&[], &ss(12)).starts_with("12 packets"));
    }
}

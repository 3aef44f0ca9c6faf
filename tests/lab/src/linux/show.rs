//! Plays a scene.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::machine::{DEADLINE, Machine, check, print};
use super::router::Router;
use crate::road::{Conditions, Crossing, Road, Side};
use crate::scenes::{DELAY, Scene};
use crate::{capture, ladder};

/// How long a scene waits for one more packet: longer than a round trip and
/// the shortest timer of TCP.
const PAUSE: Duration = Duration::from_millis(500);

/// How many bytes of each packet are kept: its headers, and a short message.
const SNAP: usize = 96;

/// Plays a scene, prints it, and writes its packets to two files in the folder
/// `keep`.
///
/// # Errors
/// A machine cannot be made, a program fails, or a file cannot be written.
pub fn run(scene: &Scene, keep: Option<&Path>) -> Result<()> {
    print(&format!("# {}: {}\n", scene.name, scene.title));
    let machines = [Machine::this("server")?, Machine::another("client")?];
    for machine in &machines {
        // Room for all that is on its way: how the kernel makes more of it
        // differs from run to run.
        machine.set("ipv4/tcp_rmem", "4096 4194304 6291456")?;
    }
    let conditions = Conditions { delay: DELAY, ..Conditions::default() };
    let road = Road::new(conditions, Some((scene.fault)()));
    let [server, client] = &machines;
    let router = Router::start([server, client], road)?;

    let running = server.start(&words(scene.server), "")?;
    running.wait_for("listening on ")?;
    let mut asking = client.start(&words(scene.client), scene.typed)?;
    let lasts = scene.lasts.unwrap_or(DEADLINE);
    let mut seen = String::new();
    if let Some((side, when)) = scene.look {
        router.wait_until(lasts, when);
        seen = look(&machines[side as usize])?;
    }
    if scene.lasts.is_none() {
        let ended = asking.ends_within(DEADLINE)?;
        check(ended, DEADLINE, "is this machine busy? try again")?;
        router.wait_for_quiet(PAUSE, DEADLINE);
    } else if scene.look.is_none() {
        asking.ends_within(lasts)?;
    }
    let log = router.log();
    print(&format!("{seen}\n{}", ladder::ladder(&log)));
    keep.map_or(Ok(()), |folder| write(scene, &log, folder))
}

/// Splits a command into words; `{N}` becomes N letters.
fn words(command: &str) -> Vec<String> {
    let words = command.split(' ').map(|word| {
        let inner = word.strip_prefix('{').and_then(|w| w.strip_suffix('}'));
        let size = inner.and_then(|n| n.parse().ok());
        size.map_or(word.to_owned(), |n| "x".repeat(n))
    });
    words.collect()
}

/// What ss(8) says about the connections of a machine.
fn look(machine: &Machine) -> Result<String> {
    let command = "ss -tinOH sport = 8888 or dport = 8888";
    let wanted = ["rto", "backoff", "cwnd", "ssthresh", "retrans"];
    let mut text = String::from("\n$ ss -tin\n");
    for line in machine.run(command)?.lines() {
        let words = line.split_whitespace().enumerate().filter(|(i, word)| {
            *i < 5
                || word.split_once(':').is_some_and(|w| wanted.contains(&w.0))
        });
        let words: Vec<&str> = words.map(|(_, word)| word).collect();
        text += &format!("{}\n", words.join("  "));
    }
    Ok(text)
}

fn write(scene: &Scene, log: &[Crossing], folder: &Path) -> Result<()> {
    for (side, name) in [(Side::Client, "client"), (Side::Server, "server")] {
        let path = folder.join(format!("wan-{}-{name}.pcap", scene.name));
        fs::write(&path, capture::write(log, side, SNAP))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

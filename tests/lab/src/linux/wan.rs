//! Two machines and a long road.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::machine::{Machine, Program, check, print};
use super::router::{ADDRESSES, Router};
use crate::ladder;
use crate::road::{Conditions, Crossing, MOST, Road};

/// How long a client may take on a bad road.
const LIMIT: Duration = Duration::from_secs(120);

/// How long the road may stay without a packet before we say so.
const SILENCE: Duration = Duration::from_secs(10);

/// How long the last packets may take: longer than the worst road.
const END: Duration = Duration::from_secs(60);

/// Runs both ends of a step, and prints what they print and each packet.
///
/// # Errors
/// A machine cannot be made, or a program fails to start or to end.
pub fn run(step: &str, texts: &[String], conditions: Conditions) -> Result<()> {
    let server = Machine::this("server")?;
    let client = Machine::another("client")?;
    client.set("ipv4/ip_local_port_range", "50001 50999")?; // for retries
    // A round trip, and the shortest timer of TCP.
    let pause = conditions.delay * 4 + Duration::from_millis(500);
    let road = Road::new(conditions, None);
    let router = Router::start([&server, &client], road)?;

    let addr = format!("{}:8888", ADDRESSES[0]);
    let words = [step, "server", "--addr", &addr].map(str::to_owned);
    let running = server.start(&words, "")?;
    running.wait_for("listening on ")?;
    let words = [step, "client", "--addr", &addr].map(str::to_owned);
    let mut asking = client.start(&[&words, texts].concat(), "")?;
    let ended = wait(&mut asking, &router)?;
    if ended.is_some() {
        router.wait_for_quiet(pause, END);
    }
    let log = router.log();
    print(&format!("\n{}\n{}", ladder::ladder(&log), summary(&log)));
    ensure!(
        log.len() < MOST,
        "cannot carry more packets: lab keeps {MOST} of them (send less)"
    );
    check(ended, LIMIT, "less --loss, fewer texts, or a step that gives up")
}

/// Waits for the client's end, and says when nothing arrives for long. Nothing
/// if it has not ended.
fn wait(client: &mut Program, router: &Router) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    let (mut arrived, mut since, mut silence) = (0, start, SILENCE);
    while start.elapsed() < LIMIT && router.count(|_| true) < MOST {
        let ended = client.ends_within(Duration::from_secs(1))?;
        if ended.is_some() {
            return Ok(ended);
        }
        let now = router.count(|packet| packet.arrived.is_some());
        if now > arrived {
            (arrived, since, silence) = (now, Instant::now(), SILENCE);
        } else if since.elapsed() >= silence {
            eprintln!(
                "lab: no packet has arrived for {silence:?} (the client has \
                 {LIMIT:?} in all)"
            );
            silence += SILENCE;
        }
    }
    Ok(None)
}

fn summary(log: &[Crossing]) -> String {
    let count = |is: fn(&&Crossing) -> bool| log.iter().filter(is).count();
    let copies = count(|packet| packet.copy);
    let lost = count(|packet| packet.lost);
    let all = log.len() - copies;
    let mut text = format!("{all} packets, {lost} lost");
    let steps = ladder::steps(log);
    if !steps.is_empty() {
        let again = steps.iter().filter(|step| step.again).count();
        text += &format!(", {again} sent again");
    }
    if copies > 0 {
        text += &format!(", {copies} arrived twice");
    }
    let way = count(|packet| packet.arrived.is_none() && !packet.lost);
    if way > 0 {
        text += &format!(", {way} still on the way");
    }
    text + "\n"
}

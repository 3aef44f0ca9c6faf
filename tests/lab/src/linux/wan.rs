//! Two machines and a long road.

use std::time::Duration;

use anyhow::Result;

use super::machine::{Machine, print};
use super::router::{ADDRESSES, Router};
use crate::ladder::{self, Step};
use crate::road::{Conditions, Crossing, Road};

/// How long a client may take on a bad road.
const LIMIT: Duration = Duration::from_secs(120);

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
    let asking = client.start(&[&words, texts].concat(), "")?;
    asking.ends_within(LIMIT);
    router.wait_for_quiet(pause, LIMIT);
    let log = router.log();
    print(&format!("\n{}\n{}", ladder::ladder(&log), summary(&log)));
    asking.succeeds()
}

fn summary(log: &[Crossing]) -> String {
    let steps = ladder::steps(log);
    let count = |is: fn(&Step) -> bool| steps.iter().filter(|s| is(s)).count();
    let lost = count(|step| step.lost);
    let again = count(|step| step.again);
    let all = steps.len();
    let mut text = format!("{all} packets, {lost} lost, {again} sent again");
    let way = count(|step| step.arrived.is_none() && !step.lost);
    if way > 0 {
        text += &format!(", {way} still on the way");
    }
    text + "\n"
}

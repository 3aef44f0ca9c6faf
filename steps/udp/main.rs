//! UDP: frames in datagrams.
//!
//! A datagram is one frame, whole. It may get lost, arrive twice, or arrive
//! behind a later one, so the client asks again, under the identity of step 7.
//!
//! Both ends in one process, and a bad road between them:
//!
//!     cargo run -p udp
//!
//! The same in three terminals:
//!
//!     cargo run -p udp -- server --verbose
//!     cargo run -p udp -- road --loss 20% --twice 20% --late 20%
//!     cargo run -p udp -- client --addr 127.0.0.1:8889 --add 5 --add 7

mod client;
#[allow(dead_code)] // the kinds that only TCP needs
#[path = "../step7/frame.rs"]
mod frame;
#[path = "../step7/ledger.rs"]
mod ledger;
mod limits;
#[path = "../step7/messages.rs"]
mod messages;
#[path = "../step7/retry.rs"]
mod retry;
mod road;
mod server;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::iter::repeat_n;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};
use tokio::io::{BufReader, stdin};

use client::{Client, Request};
use ledger::Operation;
use limits::{ClientLimits, DATAGRAM};
use messages::Messages;
use retry::Outcome;
use road::Fate::{self, Late, Lose, Pass, Twice};
use road::{Fates, Road};

// ANCHOR: args
/// UDP: a server and a client that ask and answer in datagrams
///
/// Without a command it plays a demo: both ends in one process, on free ports.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Answer datagrams; stop with Ctrl-C
    Server {
        #[command(flatten)]
        address: Address,
        /// Print a line for each datagram
        #[arg(long)]
        verbose: bool,
    },
    /// Send messages or operations to the server and print the replies
    Client {
        #[command(flatten)]
        address: Address,
        /// What to send, a message each; without any, each line of stdin
        #[arg(value_name = "TEXT")]
        texts: Vec<OsString>,
        #[command(flatten)]
        adds: Adds,
        #[command(flatten)]
        limits: ClientLimits,
    },
    /// Carry datagrams to a server, badly
    Road {
        #[command(flatten)]
        faults: Faults,
        /// Print a line for each fault
        #[arg(long)]
        verbose: bool,
    },
}

#[derive(clap::Args)]
struct Address {
    /// The server's address (to listen: 0.0.0.0 is all, port 0 a free one)
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
    addr: SocketAddr,
    /// The most bytes in a datagram; a larger one is not sent, or not answered
    #[arg(long, value_name = "BYTES", default_value_t = DATAGRAM)]
    #[arg(value_parser = at_least(5))] // the smallest frame
    datagram: usize,
}

/// Operations: what they add, and the identity that they keep when they are
/// sent again.
#[derive(clap::Args)]
struct Adds {
    /// Add this to your total, instead; you may repeat the option
    #[arg(long, value_name = "AMOUNT", conflicts_with = "texts")]
    #[arg(allow_hyphen_values = true)]
    add: Vec<i64>,
    /// Repeat all of it N times
    #[arg(long, value_name = "N", default_value = "1", requires = "add")]
    #[arg(conflicts_with = "texts", value_parser = at_least(1))]
    times: usize,
    /// Whose total it is; without it, a random one
    #[arg(long, value_name = "ID", env = "TCP_CLIENT_ID")]
    client_id: Option<u64>,
    /// The number of the first operation; each further one has a higher number
    #[arg(long, value_name = "N", env = "TCP_SEQ", default_value = "1")]
    seq: u64,
    /// Give each attempt a new number (wrong: it may be done many times)
    #[arg(long, requires = "add", conflicts_with = "texts")]
    forgetful: bool,
}

#[derive(clap::Args)]
struct Faults {
    /// Where clients send to
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8889")]
    addr: SocketAddr,
    /// The server
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
    to: SocketAddr,
    /// How many get lost, in each direction
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    #[arg(value_parser = percent)]
    loss: f64,
    /// How many arrive two times
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    #[arg(value_parser = percent)]
    twice: f64,
    /// How many arrive behind the next one
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    #[arg(value_parser = percent)]
    late: f64,
}

/// Accepts numbers from `least` on.
fn at_least(least: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..)
}

fn percent(text: &str) -> Result<f64> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
    let share = number.context("write 20%")? / 100.0;
    ensure!((0.0..=1.0).contains(&share), "from 0% to 100%");
    Ok(share)
}
// ANCHOR_END: args

// ANCHOR: main
#[tokio::main]
async fn main() {
    let outcome = match Args::parse().command {
        None => demo().await,
        Some(Command::Server { address, verbose }) => {
            run_server(address, verbose).await
        }
        Some(Command::Client { address, texts, adds, limits }) => {
            let Address { addr, datagram } = address;
            let forgetful = adds.forgetful;
            let client = Client { addr, datagram, limits, forgetful };
            run_client(client, texts, adds).await
        }
        Some(Command::Road { faults, verbose }) => {
            run_road(faults, verbose).await
        }
    };
    if let Err(error) = outcome {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        // Exit instead of returning: dropping the runtime would wait for a
        // pending read of stdin.
        std::process::exit(Outcome::of(&error).map_or(1, |o| o as i32));
    }
}

async fn run_server(address: Address, verbose: bool) -> Result<()> {
    let Address { addr, datagram } = address;
    let socket = server::bind(addr).await?;
    say(format!("listening on {}", socket.local_addr()?));
    say("no journal: a restart forgets all totals");
    server::run(socket, datagram, teller("server", verbose)).await;
    Ok(())
}

async fn run_road(faults: Faults, verbose: bool) -> Result<()> {
    let socket = server::bind(faults.addr).await?;
    say(format!("listening on {}", socket.local_addr()?));
    let Faults { loss, twice, late, .. } = faults;
    let all = (loss + twice + late) * 100.0;
    ensure!(
        all < 100.01, // such numbers are not exact
        "--loss, --twice and --late may have 100% in all, and have {all:.0}%"
    );
    let fates = || -> Fates {
        Box::new(move || match rand::random::<f64>() {
            dice if dice < loss => Lose,
            dice if dice < loss + twice => Twice,
            dice if dice < loss + twice + late => Late,
            _ => Pass,
        })
    };
    let fates = [fates(), fates()];
    Road::new(socket, faults.to, fates, teller("road", verbose)).run().await;
    Ok(())
}

async fn run_client(
    client: Client,
    texts: Vec<OsString>,
    adds: Adds,
) -> Result<()> {
    ensure!(client.addr.port() > 0, "give the server's port with --addr");
    if adds.add.is_empty() {
        run_echoes(client, texts).await
    } else {
        run_adds(client, adds).await
    }
}

async fn run_echoes(client: Client, texts: Vec<OsString>) -> Result<()> {
    let mut messages = if texts.is_empty() {
        Messages::Lines(BufReader::new(stdin()))
    } else {
        Messages::Given(texts.into_iter())
    };
    let (mut message, mut n) = (Vec::new(), 0);
    while messages.next(&mut message).await? {
        n += 1;
        let reply = client.ask(Request::Echo(&message), complain).await;
        print(reply.with_context(|| format!("message {n}"))?)?;
    }
    Ok(())
}

async fn run_adds(client: Client, adds: Adds) -> Result<()> {
    let id = adds.client_id.unwrap_or_else(rand::random);
    // Room for the numbers that a forgetful client uses up.
    let step = if adds.forgetful { client.limits.attempts.into() } else { 1 };
    let mut next = Some(adds.seq);
    for amount in repeat_n(&adds.add, adds.times).flatten() {
        let seq = next.context("the numbers are used up")?;
        let operation = Operation { client: id, seq, amount: *amount };
        let total = client.ask(Request::Add(operation), complain).await;
        print(
            total.with_context(|| format!("operation {seq} of client {id}"))?,
        )?;
        next = seq.checked_add(step);
    }
    Ok(())
}

/// Prints what went wrong with an attempt.
fn complain(line: String) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn print(mut line: Vec<u8>) -> Result<()> {
    line.push(b'\n');
    let printed = std::io::stdout().write_all(&line);
    printed.context("cannot print the reply")
}

/// Prints one line. If its reader is gone (as in `server | head -1`), the line
/// is lost and the program carries on, where `println!` would panic. If its
/// reader is there and does not read, printing waits, and the program with it.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Returns what prints a line behind a name, or nothing.
fn teller(name: &'static str, verbose: bool) -> impl Fn(String) {
    move |line| {
        if verbose {
            say(format!("{name}: {line}"));
        }
    }
}
// ANCHOR_END: main

// ANCHOR: demo
const LIMITS: ClientLimits = ClientLimits {
    connect: Duration::ZERO,
    request: Duration::from_secs(1),
    deadline: Duration::from_secs(30),
    attempts: 10,
    base: Duration::from_millis(100),
    cap: Duration::from_secs(1),
};

/// A request is lost, then a reply, then a request arrives twice and the first
/// reply is late.
const REQUESTS: [Fate; 4] = [Lose, Pass, Pass, Twice];
const REPLIES: [Fate; 4] = [Lose, Pass, Late, Pass];

/// A client that adds 5 and 7 over a road with a fault of each kind.
async fn demo() -> Result<()> {
    let datagram = DATAGRAM;
    let addr = both().await?;
    let client = Client { addr, datagram, limits: LIMITS, forgetful: false };
    for (seq, amount) in [(1, 5), (2, 7)] {
        say(format!("client: asks to add {amount}, as operation {seq}"));
        let operation = Operation { client: 1, seq, amount };
        let tell = |line: String| {
            let is_random = line.starts_with("waits");
            if !is_random {
                say(format!("client: {line}"));
            }
        };
        let total = client.ask(Request::Add(operation), tell).await?;
        say(format!("client: the total is {}", String::from_utf8(total)?));
    }

    say("\nNow you, in three terminals:");
    say("  cargo run -p udp -- server --verbose");
    say("  cargo run -p udp -- road --loss 20% --twice 20% --late 20%");
    say("  cargo run -p udp -- client --addr 127.0.0.1:8889 --add 5 --add 7");
    Ok(())
}

/// Starts a server and a road to it. Returns where the road begins.
async fn both() -> Result<SocketAddr> {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = server::bind(free).await?;
    let road = server::bind(free).await?;
    let (to, addr) = (server.local_addr()?, road.local_addr()?);
    let fates = [REQUESTS, REPLIES].map(|script| -> Fates {
        let mut script = script.into_iter();
        Box::new(move || script.next().unwrap_or(Pass))
    });
    tokio::spawn(server::run(server, DATAGRAM, teller("server", true)));
    tokio::spawn(Road::new(road, to, fates, teller("road", true)).run());
    Ok(addr)
}
// ANCHOR_END: demo

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_in_its_range() {
        for text in ["", "x", "-1%", "100.1%", "nan", "inf"] {
            assert!(percent(text).is_err(), "{text}");
        }
        assert_eq!(percent("20%").unwrap(), 0.2);
        assert_eq!(percent("100").unwrap(), 1.0);
        for wrong in [
            "client --datagram 4 hi",
            "client --add 1 --times 0",
            "client --forgetful",
            "client --forgetful hi",
            "client --times 2 hi",
            "road --late 101%",
        ] {
            let words = ["udp"].into_iter().chain(wrong.split(' '));
            assert!(Args::try_parse_from(words).is_err(), "{wrong}");
        }
    }
}

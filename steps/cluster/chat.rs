//! More than one machine: the chat's rooms in several processes.
//!
//! The server of `steps/chat` with another engine. Whichever process a page
//! has found, it hears what is posted at any of them, in the same order.
//!
//!     redis-server --dir "$(mktemp -d)" --appendonly yes --appendfsync always
//!     cargo run -p cluster --bin cluster-chat -- \
//!         --engine redis://127.0.0.1:6379
//!     cargo run -p cluster --bin cluster-chat -- \
//!         --engine redis://127.0.0.1:6379 --addr 127.0.0.1:8889
//!
//! With its rooms in memory, it is `cargo run -p chat -- server`.

#[path = "../chat/connection.rs"]
mod connection;
#[path = "../step8/drain.rs"]
mod drain;
#[allow(dead_code)] // of step 8's protocol, we use nothing
#[path = "../step8/frame.rs"]
mod frame;
#[path = "../step8/heartbeat.rs"]
mod heartbeat;
#[allow(dead_code)] // it also reads bodies
#[cfg_attr(test, allow(clippy::too_many_lines))] // its tests are tables
#[path = "../web/http.rs"]
mod http;
#[allow(dead_code)] // a page has its limits in JavaScript
#[path = "../step8/limits.rs"]
mod limits;
#[path = "../step8/listener.rs"]
mod listener;
mod redis;
#[allow(dead_code)] // only its waits
#[path = "../step8/retry.rs"]
mod retry;
#[path = "../chat/room.rs"]
mod room;
#[path = "../chat/server.rs"]
mod server;
#[path = "../chat/site.rs"]
mod site;
mod streams;
#[path = "../chat/talk.rs"]
mod talk;
#[path = "../chat/words.rs"]
mod words;
#[path = "../chat/ws.rs"]
mod ws;

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::select;
use tokio::sync::mpsc;

use drain::Stops;
use limits::{PeerLimits, ServerLimits};
use streams::Place;
use talk::Hub;

// ANCHOR: args
/// The chat, in as many processes as you like, with its rooms in Redis
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where the rooms are: redis://IP:PORT
    #[arg(long, env = "TCP_ENGINE", value_parser = redis_at)]
    engine: SocketAddr,
    /// Where to listen: 0.0.0.0 is all addresses, port 0 a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
    addr: SocketAddr,
    /// A name that browsers may call this server by; you may repeat it
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    #[command(flatten)]
    limits: PeerLimits,
    #[command(flatten)]
    own: ServerLimits,
}

fn redis_at(text: &str) -> Result<SocketAddr> {
    let addr = text.strip_prefix("redis://").map(str::parse);
    addr.and_then(Result::ok).context("give redis://IP:PORT")
}
// ANCHOR_END: args

// ANCHOR: main
/// How many posts may wait for the engine.
const WAITING: usize = 1024;

/// How long Redis may take.
const LIMIT: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    if let Err(error) = run(Args::parse()).await {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        std::process::exit(1);
    }
}

async fn run(args: Args) -> Result<()> {
    let mut stops = Stops::new()?; // before we say that we listen
    let place = Place { addr: args.engine, limit: LIMIT };
    let (rooms, last) = select! {
        opened = place.open() => opened?,
        () = stops.next() => return Ok(()),
    };
    let listener = listener::bind(args.addr)?;
    let addr = listener.local_addr()?;
    say(format!("listening on {addr}"));
    say(format!("open http://{addr}/"));
    let (posts, inbox) = mpsc::channel(WAITING);
    tokio::spawn(place.post(inbox));
    tokio::spawn(place.read(rooms.clone(), last));
    let hub = Hub { rooms, posts, hosts: args.hosts.into() };
    drain::serve(listener, args.limits, hub, args.own, stops).await
}

/// Prints one line. If its reader is gone, the line is lost and the program
/// carries on.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
// ANCHOR_END: main

//! Real time: a room in the browser, in which several people write, and each
//! moves a dot.
//!
//! It is the server of step 8 with another frame: WebSocket, on top of HTTP.
//! A text must arrive, once and in order, so it is acknowledged, sent again,
//! and read again after a reconnect. Where a dot was is worth nothing as soon
//! as there is a newer place, so that is overwritten. A reader that is too slow
//! for the texts is dropped, comes back, and hears what it has missed.
//!
//! Both ends in one process, to see what happens and in which order:
//!
//!     cargo run -p chat
//!
//! The real thing, in a terminal and in as many browser tabs as you like:
//!
//!     cargo run -p chat -- server

mod connection;
mod demo;
#[path = "../step8/drain.rs"]
mod drain;
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
mod memory;
mod room;
mod server;
mod site;
mod talk;
mod words;
mod ws;

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::sync::mpsc;

use drain::Stops;
use limits::{PeerLimits, ServerLimits};
use room::{Id, Rooms};
use talk::Hub;

// ANCHOR: args
/// A room in the browser: WebSocket on top of the web server
///
/// Without a command it plays a demo: both ends in one process, on a free port.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Wait for browsers; Ctrl-C stops it, twice at once
    Server {
        /// The server's address (to listen: 0.0.0.0 is all, port 0 a free one)
        #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
        addr: SocketAddr,
        /// A name that browsers may call this server by, besides its address
        /// and localhost; you may repeat the option
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
        #[command(flatten)]
        limits: PeerLimits,
        #[command(flatten)]
        own: ServerLimits,
    },
}
// ANCHOR_END: args

// ANCHOR: main
/// How many posts may wait for the engine. When there are more, the clients
/// are told to come back later.
const WAITING: usize = 1024;

#[tokio::main]
async fn main() {
    let outcome = match Args::parse().command {
        None => demo::run().await,
        Some(Command::Server { addr, hosts, limits, own }) => {
            run_server(addr, hosts, limits, own).await
        }
    };
    if let Err(error) = outcome {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        std::process::exit(1);
    }
}

async fn run_server(
    addr: SocketAddr,
    hosts: Vec<String>,
    limits: PeerLimits,
    own: ServerLimits,
) -> Result<()> {
    let stops = Stops::new()?; // before we say that we listen
    let listener = listener::bind(addr)?;
    let addr = listener.local_addr()?;
    say(format!("listening on {addr}"));
    say(format!("open http://{addr}/"));
    drain::serve(listener, limits, hub(hosts), own, stops).await
}

/// Where all conversations meet, with the engine that keeps all in memory.
fn hub(hosts: Vec<String>) -> Hub {
    let rooms = Arc::new(Rooms::new(Id(room::now(), 0)));
    let (posts, inbox) = mpsc::channel(WAITING);
    tokio::spawn(memory::run(Arc::clone(&rooms), inbox));
    Hub { rooms, posts, hosts: hosts.into() }
}

/// Prints one line. If its reader is gone, the line is lost and the program
/// carries on.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
// ANCHOR_END: main

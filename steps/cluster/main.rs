//! More than one machine: several servers, one ledger.
//!
//! Each process of step 8 has a ledger of its own. Here several processes have
//! one together, in Redis. Any of them answers any client, so one of them may
//! be gone.
//!
//! To see the trouble with two ledgers, and one engine behind two servers:
//!
//!     cargo run -p cluster
//!
//! The same with Redis, in four terminals:
//!
//!     redis-server --dir "$(mktemp -d)" --appendonly yes --appendfsync always
//!     cargo run -p cluster -- server --engine redis://127.0.0.1:6379
//!     cargo run -p cluster -- server --engine redis://127.0.0.1:6379 \
//!         --addr 127.0.0.1:8889
//!     cargo run -p cluster -- client --add 5 --addr 127.0.0.1:8888 \
//!         --addr 127.0.0.1:8889

#[allow(dead_code)] // of step 8's client, we use a part
#[path = "../step8/client.rs"]
mod client;
#[path = "../step8/connection.rs"]
mod connection;
#[path = "../step8/drain.rs"]
mod drain;
mod engine;
#[allow(dead_code)]
#[path = "../step8/frame.rs"]
mod frame;
#[path = "../step8/heartbeat.rs"]
mod heartbeat;
#[allow(dead_code)] // we keep no file
#[path = "../step8/journal.rs"]
mod journal;
#[path = "../step8/ledger.rs"]
mod ledger;
#[path = "../step8/limits.rs"]
mod limits;
#[path = "../step8/listener.rs"]
mod listener;
mod redis;
#[path = "../step8/replies.rs"]
mod replies;
#[path = "../step8/retry.rs"]
mod retry;
#[path = "../step8/server.rs"]
mod server;
mod servers;

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::select;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use client::Request;
use drain::{Drain, Stops};
use engine::{Engine, Shared};
use ledger::{Ledger, Operation};
use limits::{ClientLimits, PeerLimits, ServerLimits};
use retry::Outcome;
use server::Requests;
use servers::Servers;

// ANCHOR: args
/// More than one machine: several servers, one ledger
///
/// Without a command it plays a demo, on free ports and without Redis.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Wait for clients; Ctrl-C stops it, twice at once
    Server {
        /// Where to listen: 0.0.0.0 is all addresses, port 0 a free one
        #[arg(long, value_name = "IP:PORT", default_value = ADDR)]
        addr: SocketAddr,
        #[command(flatten)]
        engine: EngineArgs,
        #[command(flatten)]
        limits: PeerLimits,
        #[command(flatten)]
        own: ServerLimits,
    },
    /// Send operations to the servers, and print the totals after them
    Client {
        /// A server's address; repeat the option for several
        #[arg(long, value_name = "IP:PORT", default_value = ADDR)]
        addr: Vec<SocketAddr>,
        #[command(flatten)]
        adds: Adds,
        #[command(flatten)]
        limits: ClientLimits,
        #[command(flatten)]
        peer: PeerLimits,
    },
}

const ADDR: &str = "127.0.0.1:8888";

#[derive(clap::Args)]
struct EngineArgs {
    /// Where to remember: memory, or redis://IP:PORT
    #[arg(long, env = "TCP_ENGINE", default_value = "memory")]
    engine: Engine,
    /// How long Redis may take to be connected, or to answer, in ms
    #[arg(long, value_name = "MS", env = "TCP_ENGINE_MS")]
    #[arg(default_value = "1000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400_000))]
    engine_ms: u32,
}

/// Operations, and the identity that they keep when they are sent again.
#[derive(clap::Args)]
struct Adds {
    /// Add this to your total; you may repeat the option
    #[arg(long, value_name = "AMOUNT", required = true)]
    #[arg(allow_hyphen_values = true)]
    add: Vec<i64>,
    /// Whose total it is; without it, a random one
    #[arg(long, value_name = "ID", env = "TCP_CLIENT_ID")]
    client_id: Option<u64>,
    /// The number of the first operation; the next one has the next number
    #[arg(long, value_name = "N", env = "TCP_SEQ", default_value = "1")]
    seq: u64,
}
// ANCHOR_END: args

#[tokio::main]
async fn main() {
    let outcome = match Args::parse().command {
        None => demo().await,
        Some(Command::Server { addr, engine, limits, own }) => {
            run_server(addr, engine, limits, own).await
        }
        Some(Command::Client { addr, adds, limits, peer }) => {
            run_adds(Servers::new(&addr, limits, peer), adds).await
        }
    };
    let code = match outcome {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            Outcome::of(&error).map_or(1, |o| o as i32)
        }
    };
    std::process::exit(code);
}

// ANCHOR: server
/// How many operations may wait for the engine: a few batches, so that a slow
/// Redis is found out before a client's own limit. When there are more, their
/// connections wait, too, and neither read nor write meanwhile.
const WAITING: usize = 4 * 1024;

/// Starts the engine. Returns where to send requests, its task, and a note.
async fn start(
    args: EngineArgs,
) -> Result<(Requests, JoinHandle<Result<()>>, String)> {
    let (requests, receiver) = mpsc::channel(WAITING);
    let limit = Duration::from_millis(args.engine_ms.into());
    let (task, note) = match args.engine {
        Engine::Memory => {
            let ledger = Ledger::default();
            let task = tokio::spawn(journal::run(ledger, None, receiver));
            (task, "the engine is memory: of this process alone".to_owned())
        }
        Engine::Redis(addr) => {
            let (shared, note) = Shared::open(addr, limit).await?;
            (tokio::spawn(engine::run(shared, receiver)), note)
        }
    };
    Ok((requests, task, note))
}

async fn run_server(
    addr: SocketAddr,
    engine: EngineArgs,
    limits: PeerLimits,
    own: ServerLimits,
) -> Result<()> {
    let mut stops = Stops::new()?; // before we say that we listen
    let (requests, task, note) = select! {
        started = start(engine) => started?,
        () = stops.next() => return Ok(()),
    };
    let listener = listener::bind(addr)?;
    say(format!("listening on {}", listener.local_addr()?));
    say(note);
    select! {
        biased; // an error of the engine comes first: it tells why
        end = task => end?,
        end = drain::serve(listener, limits, requests, own, stops) => end,
    }
}
// ANCHOR_END: server

async fn run_adds(mut servers: Servers, adds: Adds) -> Result<()> {
    let report = |line| drop(writeln!(std::io::stderr(), "{line}"));
    let id = adds.client_id.unwrap_or_else(rand::random);
    for (n, amount) in (0..).zip(adds.add) {
        let seq = adds.seq.checked_add(n).context("the numbers are used up")?;
        let operation = Operation { client: id, seq, amount };
        let total = servers.ask(Request::Add(operation), report).await;
        let name = || format!("operation {seq} of client {id}");
        let total = total.with_context(name)?;
        let total = String::from_utf8_lossy(&total);
        let printed = writeln!(std::io::stdout(), "{total}");
        printed.context("cannot print the reply")?;
    }
    Ok(())
}

/// Prints one line. If its reader is gone, the line is lost and the program
/// carries on, where `println!` would panic.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

// ANCHOR: demo
const SECOND: Duration = Duration::from_secs(1);

const LIMITS: ClientLimits = ClientLimits {
    connect: SECOND,
    request: SECOND,
    deadline: Duration::from_secs(30),
    attempts: 5,
    base: Duration::from_millis(1),
    cap: SECOND,
};

const PEER: PeerLimits =
    PeerLimits { heartbeat: SECOND, frame: SECOND, write: SECOND };

/// Two servers, first with a ledger each, then with one engine behind both.
async fn demo() -> Result<()> {
    say("two servers, and each has a ledger of its own:");
    let [a, b] = [(); 2].map(|()| EngineArgs::memory());
    let (a, _task, _) = start(a).await?;
    let (b, _task, _) = start(b).await?;
    play(&a, &b).await?;
    say("\ntwo servers, and one engine behind both:");
    let (both, _task, _) = start(EngineArgs::memory()).await?;
    play(&both, &both).await?;

    say("\nNow you, with Redis, which many processes can share:");
    say("  redis-server --dir \"$(mktemp -d)\" --appendonly yes \\");
    say("    --appendfsync always");
    say("  cargo run -p cluster -- server --engine redis://127.0.0.1:6379");
    say("  cargo run -p cluster -- client --add 5");
    Ok(())
}

impl EngineArgs {
    fn memory() -> EngineArgs {
        EngineArgs { engine: Engine::Memory, engine_ms: 1000 }
    }
}

/// A client adds at server A, and moves on to server B when A has stopped.
async fn play(a: &Requests, b: &Requests) -> Result<()> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (first, second) = (listener::bind(any)?, listener::bind(any)?);
    let addrs = [first.local_addr()?, second.local_addr()?];
    let mut client = Servers::new(&addrs, LIMITS, PEER);
    say(format!("server A listens on {}", addrs[0]));
    say(format!("server B listens on {}", addrs[1]));
    serve(first, a, async { add(&mut client, 1, 5).await }).await?;
    say("server A has stopped");
    serve(second, b, async {
        add(&mut client, 2, 7).await?;
        add(&mut client, 1, 5).await?;
        drop(client);
        Ok(())
    })
    .await
}

/// Serves until `conversation` is over, and stops.
async fn serve(
    listener: TcpListener,
    requests: &Requests,
    conversation: impl Future<Output = Result<()>>,
) -> Result<()> {
    let drain = Drain::new(ServerLimits { connections: 9, drain: SECOND });
    select! {
        () = server::run(&listener, PEER, requests, &drain) => {}
        end = conversation => end?,
    }
    drop(listener);
    drain.drain().await;
    Ok(())
}

async fn add(client: &mut Servers, seq: u64, amount: i64) -> Result<()> {
    say(format!("client: operation {seq}, add {amount}"));
    let report = |line| say(format!("client: {line}"));
    let operation = Operation { client: 7, seq, amount };
    let total = client.ask(Request::Add(operation), report).await?;
    say(format!("client: the total is {}", String::from_utf8(total)?));
    Ok(())
}
// ANCHOR_END: demo

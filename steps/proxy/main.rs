//! A proxy: a bad network in a program.
//!
//! It stands between any client and any server, relays what they send, and
//! delays it, slows it down, tears it, stops it or breaks the connection, as
//! you tell it.
//!
//! It never drops bytes in the middle of a stream. TCP promises a stream with
//! no holes, and a lost packet comes again, later; so a program that met a
//! hole would have met something that no network can do to it. To lose
//! packets, go one floor down, where there are packets:
//!
//!     cargo run -p lab -- wan --loss 5%
//!
//! A client, the proxy and a server in one process, to see what happens:
//!
//!     cargo run --bin proxy
//!
//! The same in three terminals:
//!
//!     cargo run --bin step4 -- server
//!     cargo run --bin proxy -- --to 127.0.0.1:8888 'down delay 1s'
//!     cargo run --bin step4 -- client --addr 127.0.0.1:9999 one two

mod direction;
mod faults;
mod listener;
mod plan;
mod printer;
mod queue;
mod relay;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy, stdin};
use tokio::join;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use faults::Rule;
use plan::{FAULTS, Rules};
use printer::say;
use relay::Shared;

/// A bad network, between any client and any server
///
/// Without arguments it plays a demo: a client, the proxy and a server in one
/// process, on free ports.
#[derive(Parser)]
#[command(version, after_help = faults::GRAMMAR)]
struct Args {
    /// Where the server is
    #[arg(long, value_name = "IP:PORT")]
    to: Option<SocketAddr>,
    /// The proxy's own address (0.0.0.0 is all, port 0 a free one)
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9999")]
    #[arg(requires = "to")]
    addr: SocketAddr,
    /// Where the dice of `jitter` and `corrupt` start
    #[arg(long, value_name = "N", default_value = "1", requires = "to")]
    seed: u64,
    /// What goes wrong, such as 'down delay 100ms'; you may give many
    #[arg(value_name = "FAULT", requires = "to")]
    faults: Vec<Rule>,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    printer::start();
    let outcome = match args.to {
        None => demo().await,
        Some(to) => run(args, to).await,
    };
    printer::finish();
    if let Err(error) = outcome {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        std::process::exit(1);
    }
}

async fn run(args: Args, to: SocketAddr) -> Result<()> {
    let n = args.faults.len();
    ensure!(n <= FAULTS, "cannot use {n} faults: {FAULTS} are the most");
    let (sender, rules) = watch::channel(Rules::default());
    for rule in args.faults {
        sender.send_modify(|rules| rules.add(rule));
    }
    ensure!(
        to != args.addr,
        "cannot relay to {to}: the proxy itself listens there (try another \
         --addr)"
    );
    let listener = listener::bind(args.addr)?;
    say(format!("listening on {}", listener.local_addr()?));
    let shared = Shared { to, seed: args.seed, rules };
    let commands = async {
        let input = BufReader::new(stdin());
        if let Err(error) = listener::obey(input, &sender).await {
            say(format!("cannot read stdin: {error:#}"));
        }
    };
    join!(listener::run(listener, shared), commands);
    Ok(())
}

/// What goes wrong in the demo.
const DEMO: [&str; 4] = [
    "conn 2 up slice 5",
    "conn 2 up rate 10",
    "conn 3 down cut after 5 bytes",
    "conn 4 down reset after 5 bytes",
];

/// Each client tells what it saw after its connection has ended, so the lines
/// come in the same order in every run.
async fn demo() -> Result<()> {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = listener::bind(anywhere)?;
    let proxy = listener::bind(anywhere)?;
    let (to, addr) = (server.local_addr()?, proxy.local_addr()?);
    let (sender, rules) = watch::channel(Rules::default());
    let shared = Arc::new(Shared { to, seed: 1, rules });
    say(format!("listening on {addr}, before an echo server, with:"));
    for fault in DEMO {
        say(format!("    {fault}"));
        let rule = fault.parse()?;
        sender.send_modify(|rules| rules.add(rule));
    }
    tokio::spawn(echo(server));
    for number in 1..=4 {
        say(format!("client {number}: sends \"Hello, Server!\""));
        let client = TcpStream::connect(addr).await?;
        let (accepted, _) = proxy.accept().await?;
        let relay = relay::run(number, accepted, Arc::clone(&shared));
        let ((), seen) = join!(relay, ask(client));
        say(format!("client {number}: received {seen}"));
    }
    say("\nNow you, in three terminals:");
    say("  cargo run --bin step4 -- server");
    say("  cargo run --bin proxy -- --to 127.0.0.1:8888 'down delay 1s'");
    say("  cargo run --bin step4 -- client --addr 127.0.0.1:9999 one two");
    Ok(())
}

async fn echo(server: TcpListener) -> Result<()> {
    loop {
        let (mut stream, _) = server.accept().await?;
        let (mut from, mut to) = stream.split();
        let _ = copy(&mut from, &mut to).await; // the client tells
    }
}

/// Sends, and returns what each read returned.
async fn ask(mut stream: TcpStream) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    // If one of these fails, the read says it, too.
    let _ = stream.write_all(b"Hello, Server!").await;
    let _ = stream.shutdown().await;
    let end = loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break "the end".to_owned(),
            Ok(n) => seen.push(format!("\"{}\"", buffer[..n].escape_ascii())),
            Err(error) => break error.to_string(),
        }
    };
    format!("{}, then {end}", seen.join(" "))
}

//! What is tried: from the command line to a program that starts.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cli::options::{How, Options};
use crate::harness::lab::{Setup, Target};
use crate::program::file;
use crate::program::running::Template;
use crate::program::start::{Trouble, reachable};
use crate::report::Obstacle;
use crate::run;
use crate::traits::Side;

/// What the command line names.
///
/// # Errors
/// It names nothing, or the command lacks what this side needs.
pub fn named(side: Side, options: &Options) -> Result<Target> {
    match (&options.cmd, &options.addr) {
        (Some(cmd), _) => command(side, cmd, None, options.how.memory),
        (_, Some(addr)) => attach(addr, options.remote),
        _ if side == Side::Client => bail!("what is to be tried? --cmd"),
        _ => bail!("what is to be tried? --cmd or --addr"),
    }
}

/// A server that runs already: an address, or a name of this machine.
fn attach(text: &str, may_be_remote: bool) -> Result<Target> {
    let named = text.to_socket_addrs().with_context(|| {
        format!(
            "--addr is IP:PORT or NAME:PORT, such as 127.0.0.1:8888, and not \
             {text:?}"
        )
    })?;
    let named: Vec<SocketAddr> = named.map(reachable).collect();
    if let Some(other) = named.iter().find(|addr| !addr.ip().is_loopback()) {
        ensure!(
            may_be_remote,
            "{} is another machine. The cases send floods, resets, and what no \
             protocol allows; if the server there is yours, add --remote",
            other.ip()
        );
    }
    // A name may mean ::1 and 127.0.0.1; the server may listen on one.
    let limit = Duration::from_secs(3);
    let answers =
        |addr: &&SocketAddr| TcpStream::connect_timeout(addr, limit).is_ok();
    let addr = match &named[..] {
        [] => bail!("{text:?} names no address"),
        [addr] => addr,
        [first, ..] => named.iter().find(answers).unwrap_or(first),
    };
    Ok(Target::Address(*addr))
}

/// A program that is started by us, in this folder.
///
/// # Errors
/// The command is none, or lacks what this side needs.
pub fn command(
    side: Side,
    cmd: &str,
    dir: Option<PathBuf>,
    megabytes: u64,
) -> Result<Target> {
    let template = Template::parse(cmd, dir, megabytes << 20)?;
    let mut missing = Vec::new();
    if !template.has_addr() {
        missing.push("{addr} (where it connects to)");
    }
    if !cmd.contains("{text}") {
        missing.push("{text} (what it sends)");
    }
    // A server without {addr} skips the cases that need it.
    ensure!(
        side == Side::Server || missing.is_empty(),
        "the command of a client needs {}; write for example \
         --cmd 'python3 client.py {{addr}} {{text}}'. A client that takes its \
         text from stdin only is not supported.",
        missing.join(" and ")
    );
    Ok(Target::Command(template))
}

/// Tries to start the program before any case. Returns how many cases may run
/// beside each other.
///
/// # Errors
/// It did not come up: each case would say the same.
pub fn try_start(
    side: Side,
    setup: &Setup,
    how: &How,
    cmd: &str,
) -> std::result::Result<usize, Obstacle> {
    let jobs = jobs(setup, how);
    let template = match &setup.target {
        Target::Command(template) => template,
        Target::Address(addr) => return knock(*addr).map(|()| jobs),
    };
    let tried = match side {
        Side::Client => run::probe_client(template).map(|()| true),
        Side::Server => run::probe(template),
    };
    let heeds = tried.map_err(|why| not_started(side, template, cmd, why))?;
    if heeds {
        return Ok(jobs);
    }
    let _ = writeln!(
        std::io::stderr(),
        "note: asked for port 0 twice, it took the same port: it does not \
         heed {{addr}}. Cases run one after another."
    );
    Ok(1)
}

fn knock(addr: SocketAddr) -> std::result::Result<(), Obstacle> {
    let tried = TcpStream::connect_timeout(&addr, Duration::from_secs(3));
    tried.map(drop).map_err(|error| Obstacle {
        what: format!("nobody answers at {addr}"),
        command: String::new(),
        why: vec![format!("{error}. Is the server running?")],
    })
}

fn not_started(
    side: Side,
    template: &Template,
    cmd: &str,
    mut why: Trouble,
) -> Obstacle {
    why.extend(file::flaw(cmd, template.dir.as_deref()));
    let what = format!("the {} did not start", side.name());
    Obstacle { what, command: cmd.to_owned(), why }
}

/// How many cases run beside each other: one, if the program always takes the
/// same port.
fn jobs(setup: &Setup, how: &How) -> usize {
    let processors = std::thread::available_parallelism();
    let wanted = how.jobs.unwrap_or(processors.map_or(2, |n| n.get().min(8)));
    match &setup.target {
        Target::Address(_) => 1,
        Target::Command(t) if wanted > 1 && !t.has_addr() => 1,
        Target::Command(_) => wanted.max(1),
    }
}

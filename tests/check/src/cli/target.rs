//! What is tried: from the command line to a session.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cli::options::{How, Options};
use crate::harness::machine::Machine;
use crate::program::start::reachable;
use crate::report::Obstacle;
use crate::session::Session;
use crate::traits::Side;

/// What the command line names.
///
/// # Errors
/// It names nothing, or the command lacks what this side needs.
pub fn named(side: Side, options: &Options) -> Result<Session> {
    match (&options.cmd, &options.addr) {
        (Some(cmd), _) => Session::new(side, options.step, cmd),
        (_, Some(addr)) => {
            let addr = attach(addr, options.remote)?;
            Ok(Session::attached(options.step, addr))
        }
        _ if side == Side::Client => bail!("what is to be tried? --cmd"),
        _ => bail!("what is to be tried? --cmd or --addr"),
    }
}

/// A server that runs already: an address, or a name of this machine.
fn attach(text: &str, may_be_remote: bool) -> Result<SocketAddr> {
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
    Ok(*addr)
}

/// A session, set as the command line says.
pub fn set(session: Session, how: &How, machine: &Machine) -> Session {
    let session = session.memory(how.memory).on(machine);
    match how.jobs {
        Some(jobs) => session.jobs(jobs),
        None => session,
    }
}

/// Tries to start the program before any case.
///
/// # Errors
/// It did not come up: each case would say the same.
pub fn try_start(session: &mut Session) -> std::result::Result<(), Obstacle> {
    if !session.probe()? {
        let _ = writeln!(
            std::io::stderr(),
            "note: asked for port 0 twice, it took the same port: it does not \
             heed {{addr}}. Cases run one after another."
        );
    }
    Ok(())
}

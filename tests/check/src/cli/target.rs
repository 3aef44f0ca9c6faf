//! From the command line to a session: which program to try.

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
            let harm = "the cases send floods, resets, and bytes that no \
                        protocol allows; add --remote only if the server \
                        there is yours";
            let addr = attach(addr, options.remote, harm)?;
            Ok(Session::attached(options.step, addr))
        }
        _ if side == Side::Client => bail!(
            "cannot tell what to try: add --cmd with the command that starts \
             your client"
        ),
        _ => bail!(
            "cannot tell what to try: add --cmd with the command that starts \
             your server, or --addr with the address of one that is running"
        ),
    }
}

/// A server that runs already: an address, or a name of this machine.
///
/// # Errors
/// It is no address, or the one of another machine. `harm` says what we would
/// do there, and when that is fine.
pub fn attach(
    text: &str,
    may_be_remote: bool,
    harm: &str,
) -> Result<SocketAddr> {
    let named = text.to_socket_addrs().with_context(|| {
        format!(
            "cannot use the address {text:?}: it is IP:PORT or NAME:PORT, \
             such as 127.0.0.1:8888"
        )
    })?;
    let named: Vec<SocketAddr> = named.map(reachable).collect();
    if let Some(other) = named.iter().find(|addr| !addr.ip().is_loopback()) {
        ensure!(
            may_be_remote,
            "cannot try {} without --remote: it is another machine, and \
             {harm}",
            other.ip()
        );
    }
    // A name may mean ::1 and 127.0.0.1; the server may listen on one.
    let limit = Duration::from_secs(3);
    let answers =
        |addr: &&SocketAddr| TcpStream::connect_timeout(addr, limit).is_ok();
    let addr = match &named[..] {
        [] => bail!("cannot use the address {text:?}: the name has no address"),
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
            "note: your server ignores {{addr}}: it took the same port twice \
             when the checker asked for any free port, so the cases run one \
             after another"
        );
    }
    Ok(())
}

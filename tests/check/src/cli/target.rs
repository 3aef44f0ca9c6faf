//! What is tried: from the command line to a session.

use std::io::Write;

use anyhow::{Result, bail};

use crate::cli::options::{How, Options};
use crate::harness::machine::Machine;
use crate::report::Obstacle;
use crate::session::Session;
use crate::traits::Side;

/// What the command line names.
///
/// # Errors
/// It names nothing, or the command lacks what this side needs.
pub fn named(side: Side, options: &Options) -> Result<Session> {
    match (&options.cmd, options.addr) {
        (Some(cmd), _) => Session::new(side, options.step, cmd),
        (_, Some(addr)) => Ok(Session::attached(options.step, addr)),
        _ if side == Side::Client => bail!("what is to be tried? --cmd"),
        _ => bail!("what is to be tried? --cmd or --addr"),
    }
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

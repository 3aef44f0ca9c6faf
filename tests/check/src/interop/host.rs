//! A server among others: how it is started, and started again.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::harness::lab::any_port;
use crate::program::running::{Program, Template, describe};
use crate::program::start::{self, Trouble};

/// A server, and where it comes from.
pub struct Server {
    pub name: String,
    pub from: Source,
}

/// Where a server comes from.
pub enum Source {
    /// The checker starts it.
    Command(Template),
    /// Somebody has started it.
    Running(SocketAddr),
    /// There is none, for these reasons.
    Nowhere(Vec<String>),
}

/// A server for one row of the matrix.
pub struct Host<'a> {
    server: &'a Server,
    /// The one that runs, and where.
    live: Option<(Program, SocketAddr)>,
    /// Why it does not start. Then it is not tried again.
    trouble: Option<Trouble>,
}

impl Host<'_> {
    pub fn new(server: &Server) -> Host<'_> {
        Host { server, live: None, trouble: None }
    }

    pub fn name(&self) -> &str {
        &self.server.name
    }

    /// Starts it, if it does not run. Returns its address.
    ///
    /// # Errors
    /// It does not start, or does not run any more.
    pub fn up(&mut self) -> Result<SocketAddr, Trouble> {
        if let Some(trouble) = &self.trouble {
            return Err(trouble.clone());
        }
        if let Some((_, addr)) = &self.live {
            return Ok(*addr);
        }
        let started = match &self.server.from {
            Source::Nowhere(why) => Err(why.clone()),
            Source::Running(addr) => return knock(*addr).map(|()| *addr),
            Source::Command(template) => begin(template),
        };
        match started {
            Ok((program, addr)) => {
                self.live = Some((program, addr));
                Ok(addr)
            }
            Err(trouble) => {
                self.trouble = Some(trouble.clone());
                Err(trouble)
            }
        }
    }

    /// How it ended, if it has, in a sentence.
    pub fn ended(&mut self) -> Option<String> {
        let (program, _) = self.live.as_mut()?;
        let moment = Duration::from_millis(50);
        let status = program.wait(moment)?;
        program.wait_output();
        let end = match program.excess() {
            Some(excess) => {
                format!("The checker ended the server: {}.", excess.what)
            }
            None => format!("The server ended: {}.", describe(status)),
        };
        let words = program.last_words();
        let words = words.iter().map(|line| format!(" It printed: {line}"));
        Some(words.fold(end, |end, line| end + &line))
    }

    /// Ends it. Says what that means for the next client.
    pub fn down(&mut self) -> &'static str {
        self.live = None;
        match self.server.from {
            Source::Running(_) => {
                "The checker cannot start it again: its owner has to."
            }
            _ => "The checker started it again for the next client.",
        }
    }
}

fn begin(template: &Template) -> Result<(Program, SocketAddr), Trouble> {
    let mut program = template
        .start(any_port(), &[], &[], None)
        .map_err(|error| vec![format!("{error:#}.")])?;
    let addr = start::wait_ready(&mut program)?;
    start::stays(&mut program)?;
    start::knock(&program, addr)?;
    Ok((program, addr))
}

fn knock(addr: SocketAddr) -> Result<(), Trouble> {
    let limit = Duration::from_secs(3);
    let tried = TcpStream::connect_timeout(&addr, limit);
    tried
        .map(drop)
        .map_err(|error| vec![format!("No server answers at {addr}: {error}.")])
}

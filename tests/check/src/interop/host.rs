//! A server among others: how it is started, and started again.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::harness::lab::any_port;
use crate::interop::ask::ask;
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
    step: u8,
    /// The one that runs, and where.
    live: Option<(Program, SocketAddr)>,
    /// What was wrong with its reply to the checker before any client came.
    flaw: Option<String>,
    is_known: bool,
    /// Why it does not start. Then it is not tried again.
    trouble: Option<Trouble>,
}

impl Host<'_> {
    pub fn new(server: &Server, step: u8) -> Host<'_> {
        let (live, flaw, is_known, trouble) = Default::default();
        Host { server, step, live, flaw, is_known, trouble }
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
            Source::Running(addr) => {
                knock(*addr)?;
                self.meet(*addr);
                return Ok(*addr);
            }
            Source::Command(template) => begin(template),
        };
        match started {
            Ok((program, addr)) => {
                self.meet(addr);
                self.live = Some((program, addr));
                Ok(addr)
            }
            Err(trouble) => {
                self.trouble = Some(trouble.clone());
                Err(trouble)
            }
        }
    }

    /// As if it had started.
    #[cfg(test)]
    pub fn run(&mut self, program: Program, addr: SocketAddr) {
        self.live = Some((program, addr));
    }

    /// Asks it before any client comes, once.
    fn meet(&mut self, addr: SocketAddr) {
        if !self.is_known {
            self.flaw = ask(self.step, addr, "hello").err();
            self.is_known = true;
        }
    }

    /// Asks it. One that did not understand the checker before any client came
    /// is not asked again.
    ///
    /// # Errors
    /// It does not serve any more. Says so in a sentence.
    pub fn serves(&self, addr: SocketAddr, text: &str) -> Result<(), String> {
        match &self.flaw {
            Some(_) => Ok(()),
            None => ask(self.step, addr, text),
        }
    }

    /// Whose fault is it that a client failed, as far as we can tell?
    pub fn hint(&self) -> String {
        match &self.flaw {
            None => "Right after it, the server gave the checker the right \
                     reply, so look at the client first."
                .to_owned(),
            Some(flaw) => format!(
                "The checker had asked the server before any client came, \
                 and {flaw} So look at the server first."
            ),
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
        (self.live, self.trouble) = (None, None);
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

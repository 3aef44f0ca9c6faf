// ANCHOR: servers
//! A client of several servers: any of them may answer any request.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep};

use crate::client::{Client, Request};
use crate::limits::{ClientLimits, PeerLimits};
use crate::retry::Outcome::{self, NotExecuted, Unknown};
use crate::retry::{ceiling, full_jitter};

/// A client of step 8 for each server, of which one is in use.
pub struct Servers {
    clients: Vec<Client>,
    addrs: Vec<SocketAddr>,
    at: usize,
    limits: ClientLimits, // for one attempt
    attempts: u32,
    peer: PeerLimits,
}

impl Servers {
    /// A client of the servers at `addrs`. It starts with the first of them.
    pub fn new(
        addrs: &[SocketAddr],
        limits: ClientLimits,
        peer: PeerLimits,
    ) -> Servers {
        let (attempts, addrs) = (limits.attempts, addrs.to_vec());
        let limits = ClientLimits { attempts: 1, ..limits };
        let client = |&addr| Client::new(addr, limits, peer);
        let clients = addrs.iter().map(client).collect();
        Servers { clients, addrs, at: 0, limits, attempts, peer }
    }

    /// Sends `request` and returns the reply. After each failure that another
    /// attempt may repair, it waits and moves on to the next server.
    ///
    /// # Errors
    /// As of [`Client::ask`].
    pub async fn ask(
        &mut self,
        request: Request<'_>,
        mut report: impl FnMut(String),
    ) -> Result<Vec<u8>> {
        let deadline = Instant::now() + self.limits.deadline;
        let most = self.attempts;
        let (mut outcome, mut n) = (NotExecuted, 1);
        loop {
            let mut why = String::new();
            let left = deadline - Instant::now();
            let is_short = left < self.limits.connect + self.limits.request;
            let mut last = is_short.then(|| self.with_only(left));
            let client = last.as_mut().unwrap_or(&mut self.clients[self.at]);
            let asked = client.ask(request, |line| why = line).await;
            let Err(error) = asked else { return asked };
            // The same rules as for one server: any of them may have done it.
            match Outcome::of(&error) {
                Some(NotExecuted) => {}
                Some(Unknown) => outcome = Unknown,
                _ if outcome == Unknown => return Err(error.context(Unknown)),
                _ => return Err(error),
            }
            let why = why.trim_start_matches("attempt 1: ");
            report(format!("attempt {n}: {why}"));
            let wait = full_jitter(ceiling(&self.limits, n));
            if n == most || Instant::now() + wait >= deadline {
                let error = anyhow!("gave up after {n} of {most} attempts");
                return Err(error.context(outcome));
            }
            self.at = (self.at + 1) % self.clients.len();
            sleep(wait).await;
            n += 1;
        }
    }

    /// A client of the server whose turn it is, for one attempt of this time.
    fn with_only(&self, left: Duration) -> Client {
        let limits = ClientLimits { deadline: left, ..self.limits };
        Client::new(self.addrs[self.at], limits, self.peer)
    }
}
// ANCHOR_END: servers

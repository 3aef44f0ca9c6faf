// ANCHOR: servers
//! A client of several servers: any of them may answer any request.

use std::net::SocketAddr;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Client, Request};
use crate::limits::{ClientLimits, PeerLimits};
use crate::retry::Outcome::{self, NotExecuted, Unknown};
use crate::retry::{ceiling, full_jitter};

/// A client of step 8 for each server, of which one is in use.
pub struct Servers {
    clients: Vec<Client>,
    at: usize,
    limits: ClientLimits,
}

impl Servers {
    /// A client of the servers at `addrs`. It starts with the first of them.
    pub fn new(
        addrs: &[SocketAddr],
        limits: ClientLimits,
        peer: PeerLimits,
    ) -> Servers {
        let once = ClientLimits { attempts: 1, ..limits };
        let client = |&addr| Client::new(addr, once, peer);
        let clients = addrs.iter().map(client).collect();
        Servers { clients, at: 0, limits }
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
        let most = self.limits.attempts;
        let (mut outcome, mut n) = (NotExecuted, 1);
        loop {
            let mut why = "the deadline has passed".to_owned();
            let client = &mut self.clients[self.at];
            let asked = client.ask(request, |line| why = line);
            let late = |_| Err(anyhow!("no reply").context(Unknown));
            let asked = timeout_at(deadline, asked).await.unwrap_or_else(late);
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
}
// ANCHOR_END: servers

//! Step 7, as a run needs it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Error, Result};
use tokio::sync::mpsc;

use super::client::{Client, Request};
use super::journal::{self, Journal};
use super::ledger::{Ledger, Operation};
use super::limits::{ClientLimits, PeerLimits};
use super::retry::Outcome;
use super::{listener, server};
use crate::run::{self, Ask, Failure, Step};

pub struct This;

const PEER: PeerLimits = PeerLimits {
    heartbeat: run::HEARTBEAT,
    frame: run::FRAME,
    write: run::WRITE,
};

impl Step for This {
    const NUMBER: u32 = 7;
    const PATIENCE: Duration = Duration::from_millis(4_500);
    const TASKS: usize = 1;
    type Client = Client;

    fn client() -> Client {
        let limits = ClientLimits {
            connect: run::CONNECT,
            request: run::REQUEST,
            deadline: run::DEADLINE,
            attempts: run::ATTEMPTS,
            base: run::BASE,
            cap: run::CAP,
        };
        Client::new(run::SERVER, limits, PEER)
    }

    async fn ask(
        client: &mut Client,
        ask: &Ask,
        report: impl FnMut(String) + Send,
    ) -> Result<Vec<u8>, Failure> {
        let request = match ask {
            Ask::Echo(text) => Request::Echo(text),
            &Ask::Add(client, seq, amount) => {
                Request::Add(Operation { client, seq, amount })
            }
        };
        client.ask(request, report).await.map_err(failure)
    }

    async fn rest(client: &mut Client, time: Duration) {
        let lost = |line: String| crate::visit::lost(&line);
        client.meanwhile(tokio::time::sleep(time), lost).await;
    }

    async fn serve() -> Result<()> {
        let mut ledger = Ledger::default();
        // A path that exists: the journal looks for its folder on a real disk.
        let (journal, _) = Journal::open(Path::new("/"), &mut ledger)?;
        let listener = listener::bind(run::SERVER)?;
        let (requests, receiver) = mpsc::channel(1024);
        tokio::spawn(server::run(listener, PEER, requests));
        journal::run(ledger, Some(journal), receiver).await
    }
}

fn failure(error: Error) -> Failure {
    let code = Outcome::of(&error).map_or(1, |outcome| outcome as i32);
    (code, format!("{error:#}"))
}

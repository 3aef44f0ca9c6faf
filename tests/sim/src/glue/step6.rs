//! Step 6, as a run needs it.

use std::time::Duration;

use anyhow::{Error, Result};

use super::client::Client;
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
    const NUMBER: u32 = 6;
    const PATIENCE: Duration = Duration::from_millis(4_500);
    const TASKS: usize = 0;
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
        let Ask::Echo(text) = ask else {
            return Err((2, "step 6 knows no ADD".to_owned()));
        };
        client.ask(text, report).await.map_err(failure)
    }

    async fn rest(client: &mut Client, time: Duration) {
        let lost = |line: String| crate::visit::lost(&line);
        client.meanwhile(tokio::time::sleep(time), lost).await;
    }

    async fn serve() -> Result<()> {
        server::run(listener::bind(run::SERVER)?, PEER).await;
        Ok(())
    }
}

fn failure(error: Error) -> Failure {
    let code = Outcome::of(&error).map_or(1, |outcome| outcome as i32);
    (code, format!("{error:#}"))
}

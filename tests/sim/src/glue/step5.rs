//! Step 5, as a run needs it.

use std::time::Duration;

use anyhow::{Error, Result};

use super::client::Client;
use super::limits::{ClientLimits, ServerLimits};
use super::retry::Outcome;
use super::{listener, server};
use crate::run::{self, Ask, Failure, Step};

pub struct This;

impl Step for This {
    const NUMBER: u32 = 5;
    const PATIENCE: Duration = Duration::from_millis(9_500);
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
        Client::new(run::SERVER, limits)
    }

    async fn ask(
        client: &mut Client,
        ask: &Ask,
        report: impl FnMut(String) + Send,
    ) -> Result<Vec<u8>, Failure> {
        let Ask::Echo(text) = ask else {
            return Err((2, "step 5 knows only ECHO".to_owned()));
        };
        client.ask(text, report).await.map_err(failure)
    }

    async fn rest(_: &mut Client, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn serve() -> Result<()> {
        let limits = ServerLimits {
            idle: run::IDLE,
            frame: run::FRAME,
            write: run::WRITE,
        };
        server::run(listener::bind(run::SERVER)?, limits).await;
        Ok(())
    }
}

fn failure(error: Error) -> Failure {
    let code = Outcome::of(&error).map_or(1, |outcome| outcome as i32);
    (code, format!("{error:#}"))
}

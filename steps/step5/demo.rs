// ANCHOR: demo
//! The demo: a client that fails twice, and then does not.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::net::TcpSocket;

use crate::client::Client;
use crate::frame::{self, ECHO};
use crate::limits::{ClientLimits, ServerLimits};
use crate::{say, server};

const SECOND: Duration = Duration::from_secs(1);

const CLIENT: ClientLimits = ClientLimits {
    connect: SECOND,
    request: Duration::from_millis(300),
    deadline: Duration::from_secs(30),
    attempts: 5,
    base: Duration::from_millis(100),
    cap: SECOND,
    seed: Some(9), // so that the waits are the same in each run
};

const SERVER: ServerLimits =
    ServerLimits { idle: SECOND, frame: SECOND, write: SECOND };

/// At first nobody listens; then somebody does, and never answers; then the
/// server is there. Each change comes when the client tells of a failure.
pub async fn demo() -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = socket.local_addr()?;
    let mut client = Client::new(addr, CLIENT);

    say(format!("client: asks {addr}, where nobody listens yet"));
    let (mut socket, mut server) = (Some(socket), None);
    let report = |line| {
        say(format!("client: {line}"));
        let Some(socket) = socket.take() else { return };
        say("server: listens, and leaves its first client alone");
        server = Some(tokio::spawn(second_only(socket)));
    };
    let mut request = Vec::new();
    frame::encode(ECHO, b"hello", &mut request)?;
    let mut reply = Vec::new();
    let outcome = client.ask(&request, &mut reply, report).await;
    outcome.map_err(|failure| anyhow!("{failure}"))?;
    drop(client); // which closes its connection
    server.context("the first attempt failed")?.await??;
    say(format!("client: received {:?}", String::from_utf8(reply)?));

    say("\nNow you, in two terminals:");
    say("  cargo run --bin step5 -- server");
    say("  cargo run --bin step5 -- client one two three");
    Ok(())
}

/// Accepts two clients and serves only the second.
async fn second_only(socket: TcpSocket) -> Result<()> {
    let listener = socket.listen(8)?;
    let _stalled = listener.accept().await?;
    let (stream, peer) = listener.accept().await?;
    server::serve(stream, peer, SERVER).await;
    Ok(())
}
// ANCHOR_END: demo

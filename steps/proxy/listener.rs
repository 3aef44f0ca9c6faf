//! The listening socket, and the faults that come while the proxy runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::faults::Rule;
use crate::plan::Rules;
use crate::relay::{self, Shared};
use crate::say;

/// How many connections are relayed at once; more of them wait in the kernel's
/// queue. Each needs two descriptors, of which many systems give 1024, and at
/// most 160 KiB: two directions, each with a full queue and a read.
const CONNECTIONS: usize = 400;

/// How long the proxy pauses after `accept` has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds a socket to `addr` and listens. Port 0 means any free port.
///
/// # Errors
/// The address is in use, is not an address of this machine, or is reserved.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| {
        format!("cannot listen on {addr} (try another with --addr)")
    })
}

/// Relays the connections of `listener`, counted from 1. It never returns.
pub async fn run(listener: TcpListener, shared: Shared) {
    let shared = Arc::new(shared);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut number = 0;
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let (client, peer) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                // Such as too many open files: that may last, and without a
                // pause this loop would spin.
                say(format!("cannot accept: {error}"));
                sleep(PAUSE).await;
                continue;
            }
        };
        number += 1;
        say(format!("{number}: {peer} connected"));
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            relay::run(number, client, shared).await;
            drop(place);
        });
    }
}

/// Adds each fault that is typed. A wrong one is reported, and the proxy
/// carries on; so it does when `input` ends.
pub async fn obey(
    mut input: impl AsyncBufRead + Unpin,
    rules: &watch::Sender<Rules>,
) -> Result<()> {
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).await? > 0 {
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        line.clear();
        match text.parse::<Rule>() {
            Ok(rule) => {
                say(format!("from now on: {text}"));
                rules.send_modify(|rules| rules.add(rule));
            }
            Err(_) if text.is_empty() => {}
            Err(error) => say(format!("cannot use {text:?}: {error:#}")),
        }
    }
    Ok(())
}

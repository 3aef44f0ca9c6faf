//! The listening socket, and the faults that come while the proxy runs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::faults::Rule;
use crate::plan::{FAULTS, Rules};
use crate::relay::{self, Shared};
use crate::say;

/// How many connections are relayed at once, and how many may wait for that in
/// the kernel's queue. Each needs two descriptors and at most 224 KiB: two
/// directions, each with 64 KiB of bytes, 32 of notes and 16 for a read.
const CONNECTIONS: u16 = 1024;

/// How many bytes of a line are read.
const LINE: u64 = 1024;

/// How long the proxy pauses after `accept` has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds a socket to `addr` and listens. Port 0 means any free port.
///
/// # Errors
/// The address is in use, is not an address of this machine, or is reserved.
pub fn bind(addr: SocketAddr) -> Result<TcpListener> {
    listen(addr).with_context(|| {
        format!("cannot listen on {addr} (try another with --addr)")
    })
}

/// As in the steps, with a queue that is long enough for a burst of clients.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if cfg!(not(windows)) {
        socket.set_reuseaddr(true)?; // in spite of TIME_WAIT
    }
    socket.bind(addr)?;
    socket.listen(CONNECTIONS.into())
}

/// Relays the connections of `listener`, counted from 1. It never returns.
pub async fn run(listener: TcpListener, shared: Shared) {
    let shared = Arc::new(shared);
    let places = Arc::new(Semaphore::new(CONNECTIONS.into()));
    let mut number = 0;
    loop {
        if places.available_permits() == 0 {
            say(format!("{CONNECTIONS} connections: the next one waits"));
        }
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
    let mut is_rest = false; // of a line that is too long
    loop {
        line.clear();
        let mut piece = (&mut input).take(LINE);
        if piece.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let is_long = piece.limit() == 0 && !line.ends_with(b"\n");
        match (is_rest, is_long) {
            (true, _) => {}
            (_, true) => say(format!("skips a line of over {LINE} bytes")),
            _ => add(String::from_utf8_lossy(&line).trim(), rules),
        }
        is_rest = is_long;
    }
}

fn add(text: &str, rules: &watch::Sender<Rules>) {
    match text.parse::<Rule>() {
        Ok(rule) if !rules.borrow().has_room_for(&rule) => {
            say(format!(
                "cannot use {text:?}: there are {FAULTS} faults (type `clear`)"
            ));
        }
        Ok(rule) => {
            say(format!("from now on: {text}"));
            rules.send_modify(|rules| rules.add(rule));
        }
        Err(_) if text.is_empty() => {}
        Err(error) => say(format!("cannot use {text:?}: {error:#}")),
    }
}

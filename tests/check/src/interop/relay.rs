//! Stands between a client and a server, so that we see what they say: a
//! program that prints what it was told to send needs no server.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::take;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many connections a client may have at the same time; a correct one has
/// one.
const MOST: usize = 8;

/// How often a thread looks whether the client's turn is over.
const MOMENT: Duration = Duration::from_millis(20);

/// How long a server may take nothing, and how long the last bytes may travel.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// How much of what one side says on a connection is kept, and of how many
/// connections; a correct client says less, and has fewer.
const KEPT: usize = 1 << 16;
const CONNECTIONS: usize = 64;

/// What was said between a client and a server.
#[derive(Default)]
pub struct Seen {
    /// How many connections there were.
    pub came: usize,
    /// What the client said, connection by connection.
    pub asked: Vec<Vec<u8>>,
    /// What the server said.
    pub answered: Vec<Vec<u8>>,
}

/// A relay for one client, on this machine.
pub struct Relay {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seen: Seen,
    /// How many connections there are.
    open: usize,
    /// When nothing more can come: the client's turn is over.
    end: Option<Instant>,
}

impl Relay {
    /// Waits for a client, and hands on what it says to the server.
    ///
    /// # Errors
    /// This machine has no port, or no descriptor, left.
    pub fn to(server: SocketAddr) -> io::Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::spawn(move || ours.accept(&listener, server));
        Ok(Relay { addr, shared })
    }

    /// Ends the client's turn: what comes within `patience` still arrives.
    /// Returns what was said.
    pub fn end(self, patience: Duration) -> Seen {
        self.shared.state().end = Some(Instant::now() + patience);
        // It wakes the thread that accepts.
        drop(TcpStream::connect_timeout(&self.addr, PATIENCE));
        let state = self.shared.state();
        let wait =
            self.shared
                .changed
                .wait_timeout_while(state, PATIENCE, |state| state.open > 0);
        take(&mut wait.unwrap_or_else(PoisonError::into_inner).0.seen)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection after the other, until the turn is over.
    fn accept(self: &Arc<Self>, listener: &TcpListener, server: SocketAddr) {
        for client in listener.incoming() {
            let mut state = self.state();
            if state.end.is_some() {
                return;
            }
            let Ok(client) = client else {
                drop(state);
                thread::sleep(MOMENT); // no descriptor is left, for example
                continue;
            };
            state.seen.came += 1;
            if state.open < MOST {
                state.open += 1;
                let ours = Arc::clone(self);
                thread::spawn(move || {
                    // Whatever goes wrong here, the client sees an end.
                    let _ = ours.join(&client, server);
                    ours.state().open -= 1;
                    ours.changed.notify_all();
                });
            }
        }
    }

    fn join(&self, client: &TcpStream, server: SocketAddr) -> io::Result<()> {
        let server = &TcpStream::connect_timeout(&server, PATIENCE)?;
        for stream in [client, server] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(MOMENT))?;
            stream.set_write_timeout(Some(PATIENCE))?;
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let asked = self.pass(client, server);
                keep(&mut self.state().seen.asked, asked);
            });
            let answered = self.pass(server, client);
            keep(&mut self.state().seen.answered, answered);
        });
        Ok(())
    }

    /// Has what was said last had the time to arrive?
    fn is_late(&self) -> bool {
        self.state().end.is_some_and(|end| end <= Instant::now())
    }

    /// Hands on what one side says, and its end. Returns how it began.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream) -> Vec<u8> {
        let (mut buffer, mut kept) = (vec![0; 1 << 14], Vec::new());
        loop {
            let n = match from.read(&mut buffer) {
                Err(error) if is_moment(&error) && !self.is_late() => {
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    continue;
                }
                done => done,
            };
            match n {
                Ok(0) => {
                    let _ = to.shutdown(Shutdown::Write);
                    return kept;
                }
                Ok(n) if !self.is_late() => {
                    let room = n.min(KEPT - kept.len());
                    kept.extend_from_slice(&buffer[..room]);
                    // A server may have answered and closed already.
                    let _ = to.write_all(&buffer[..n]);
                }
                _ => {
                    let _ = to.shutdown(Shutdown::Both);
                    let _ = from.shutdown(Shutdown::Both);
                    return kept;
                }
            }
        }
    }
}

fn keep(all: &mut Vec<Vec<u8>>, said: Vec<u8>) {
    if all.len() < CONNECTIONS {
        all.push(said);
    }
}

/// Was there nothing to read for a moment?
fn is_moment(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_hands_on_both_directions_and_keeps_what_was_said() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::to(server.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect(relay.addr).unwrap();
        let (mut served, _) = server.accept().unwrap();
        client.write_all(b"hi").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        served.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"hi");
        served.write_all(b"ho").unwrap();
        drop(served);
        got.clear();
        client.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"ho");
        drop(client);
        let seen = relay.end(PATIENCE);
        assert_eq!(
            (seen.came, seen.asked, seen.answered),
            (1, vec![b"hi".to_vec()], vec![b"ho".to_vec()],)
        );
        let relay = Relay::to(server.local_addr().unwrap()).unwrap();
        assert_eq!(relay.end(PATIENCE).came, 0);
    }

    #[test]
    fn a_server_that_never_stops_is_cut_off_with_the_client() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::to(server.local_addr().unwrap()).unwrap();
        let client = TcpStream::connect(relay.addr).unwrap();
        let (mut served, _) = server.accept().unwrap();
        served.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        let flood =
            thread::spawn(
                move || {
                    while served.write_all(&[b'x'; 1 << 16]).is_ok() {}
                },
            );
        drop(client);
        assert_eq!(relay.end(Duration::ZERO).came, 1);
        let end = Instant::now() + Duration::from_secs(30);
        while !flood.is_finished() {
            assert!(Instant::now() < end, "it is still heard");
            thread::sleep(MOMENT);
        }
    }
}

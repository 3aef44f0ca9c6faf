//! Stands between a client and a server, so that we see whether the client
//! comes at all: a program that prints what it was told to send needs no server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many connections a client may have at the same time; a correct one has
/// one.
const MOST: usize = 64;

/// How often a thread looks whether the client's turn is over.
const MOMENT: Duration = Duration::from_millis(20);

/// How long a server may take nothing, and how long the last bytes may travel.
const PATIENCE: Duration = Duration::from_secs(3);

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
    /// How many connections there were.
    came: usize,
    /// How many there are.
    open: usize,
    is_over: bool,
}

impl Relay {
    /// Waits for a client, and hands on what it says to the server.
    ///
    /// # Errors
    /// This machine has no port, or no descriptor, left.
    pub fn to(server: SocketAddr) -> io::Result<Relay> {
        let ip: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let listener = TcpListener::bind((ip, 0))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::spawn(move || ours.accept(&listener, server));
        Ok(Relay { addr, shared })
    }

    /// Ends the client's turn: what it said last still arrives. Returns how
    /// many connections it made.
    pub fn end(self) -> usize {
        self.shared.state().is_over = true;
        // It wakes the thread that accepts.
        drop(TcpStream::connect_timeout(&self.addr, PATIENCE));
        let state = self.shared.state();
        let wait =
            self.shared
                .changed
                .wait_timeout_while(state, PATIENCE, |state| state.open > 0);
        wait.unwrap_or_else(PoisonError::into_inner).0.came
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
            if state.is_over {
                return;
            }
            let Ok(client) = client else {
                drop(state);
                thread::sleep(MOMENT); // no descriptor is left, for example
                continue;
            };
            state.came += 1;
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
            scope.spawn(|| self.pass(client, server));
            self.pass(server, client);
        });
        Ok(())
    }

    /// Hands on what one side says, and its end.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = vec![0; 1 << 14];
        loop {
            let n = match from.read(&mut buffer) {
                Err(error) if is_moment(&error) && !self.state().is_over => {
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    continue;
                }
                done => done,
            };
            match n.and_then(|n| to.write_all(&buffer[..n]).map(|()| n)) {
                Ok(0) => {
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
                Ok(_) => {}
                Err(_) => {
                    let _ = to.shutdown(Shutdown::Both);
                    let _ = from.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
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
    fn a_relay_hands_on_both_directions_and_counts() {
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
        assert_eq!(relay.end(), 1);
        let relay = Relay::to(server.local_addr().unwrap()).unwrap();
        assert_eq!(relay.end(), 0);
    }
}

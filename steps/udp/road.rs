// ANCHOR: road
//! A bad road: it carries datagrams between clients and a server, and does to
//! them what a network may do.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::client::connect;
use crate::limits::ROOM;
use crate::server::survive;

/// How many clients have a way back; a new one takes that of the oldest.
const CLIENTS: usize = 64;

/// What happens to a datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Pass,
    /// It never arrives.
    Lose,
    /// It arrives two times.
    Twice,
    /// It arrives behind the next one.
    Late,
}

/// Decides about each datagram of one direction.
pub type Fates = Box<dyn FnMut() -> Fate + Send>;

/// One direction: what leaves when a datagram, `T`, comes.
pub struct Lane<T> {
    fates: Fates,
    held: Option<T>, // at most one
}

impl<T: Clone> Lane<T> {
    pub fn new(fates: Fates) -> Lane<T> {
        Lane { fates, held: None }
    }

    /// Takes a datagram. Returns what arrives now, in order, and its fate.
    pub fn take(&mut self, datagram: T) -> (Vec<T>, Fate) {
        let fate = (self.fates)();
        let mut arrives = match fate {
            Fate::Late if self.held.is_none() => {
                self.held = Some(datagram);
                return (Vec::new(), fate);
            }
            Fate::Pass | Fate::Late => vec![datagram],
            Fate::Lose => return (Vec::new(), fate),
            Fate::Twice => vec![datagram.clone(), datagram],
        };
        arrives.extend(self.held.take());
        (arrives, fate)
    }
}
// ANCHOR_END: road

// ANCHOR: relay
/// Where a road leads, what happens on it, and who is told.
pub struct Road<R> {
    socket: UdpSocket, // that clients know
    server: SocketAddr,
    up: Mutex<Lane<(Vec<u8>, Arc<UdpSocket>)>>,
    down: Mutex<Lane<(Vec<u8>, SocketAddr)>>,
    report: R,
}

impl<R: Fn(String) + Send + Sync + 'static> Road<R> {
    /// Makes a road from `socket` to `server`, with the fates of requests and
    /// those of replies.
    pub fn new(
        socket: UdpSocket,
        server: SocketAddr,
        [up, down]: [Fates; 2],
        report: R,
    ) -> Arc<Road<R>> {
        let (up, down) = (Lane::new(up).into(), Lane::new(down).into());
        Arc::new(Road { socket, server, up, down, report })
    }

    /// Carries what comes. It never returns.
    pub async fn run(self: Arc<Self>) {
        let mut ways = VecDeque::new();
        let mut datagram = vec![0; ROOM];
        loop {
            match self.socket.recv_from(&mut datagram).await {
                Ok((n, client)) => match self.way(&mut ways, client).await {
                    Ok(way) => self.carry(datagram[..n].to_vec(), way).await,
                    Err(error) => (self.report)(format!("{error:#}")),
                },
                Err(error) => survive("road", error).await,
            }
        }
    }

    /// Carries a request, or an earlier one, or both.
    async fn carry(&self, datagram: Vec<u8>, way: Arc<UdpSocket>) {
        for (bytes, way) in self.take(&self.up, (datagram, way), "request") {
            let _ = way.send(&bytes).await; // a road may lose it
        }
    }

    /// Returns the socket of this client towards the server. Each client has
    /// its own, so that the answers find the way back.
    ///
    /// # Errors
    /// The system gives us no socket towards the server.
    async fn way(
        self: &Arc<Self>,
        ways: &mut VecDeque<(SocketAddr, Arc<UdpSocket>, AbortHandle)>,
        client: SocketAddr,
    ) -> Result<Arc<UdpSocket>> {
        if let Some(way) = ways.iter().find(|way| way.0 == client) {
            return Ok(Arc::clone(&way.1));
        }
        if ways.len() == CLIENTS
            && let Some((_, _, oldest)) = ways.pop_front()
        {
            oldest.abort();
        }
        let way = Arc::new(connect(self.server).await?);
        let back = Arc::clone(self).back(client, Arc::clone(&way));
        let task = tokio::spawn(back).abort_handle();
        ways.push_back((client, Arc::clone(&way), task));
        Ok(way)
    }

    /// Carries the answers to one client.
    async fn back(self: Arc<Self>, client: SocketAddr, way: Arc<UdpSocket>) {
        let mut datagram = vec![0; ROOM];
        loop {
            match way.recv(&mut datagram).await {
                Ok(n) => {
                    let datagram = (datagram[..n].to_vec(), client);
                    let arrives = self.take(&self.down, datagram, "reply");
                    for (bytes, client) in arrives {
                        let _ = self.socket.send_to(&bytes, client).await;
                    }
                }
                Err(error) => survive("road", error).await,
            }
        }
    }

    /// Lets a lane take a datagram, and reports what happens to it.
    fn take<T: Clone>(
        &self,
        lane: &Mutex<Lane<T>>,
        datagram: T,
        what: &str,
    ) -> Vec<T> {
        let lane = &mut lane.lock().unwrap_or_else(PoisonError::into_inner);
        let (arrives, fate) = lane.take(datagram);
        let report = &self.report;
        match (fate, arrives.len()) {
            (Fate::Lose, _) => report(format!("loses a {what}")),
            (Fate::Twice, _) => report(format!("delivers a {what} twice")),
            (_, 2) => report(format!("lets a {what} overtake another")),
            _ => {}
        }
        arrives
    }
}
// ANCHOR_END: relay

#[cfg(test)]
mod tests {
    use super::*;
    use Fate::{Late, Lose, Pass, Twice};

    /// What arrives, in order, of datagrams that are numbered from 1.
    fn arrivals(fates: &[Fate]) -> Vec<Vec<usize>> {
        let count = fates.len();
        let mut script = VecDeque::from_iter(fates.iter().copied());
        let fates: Fates = Box::new(move || script.pop_front().unwrap());
        let mut lane = Lane::new(fates);
        (1..=count).map(|n| lane.take(n).0).collect()
    }

    #[test]
    fn each_fate_does_what_it_says() {
        let all = arrivals(&[Pass, Lose, Twice, Late, Pass]);
        assert_eq!(all, [vec![1], vec![], vec![3, 3], vec![], vec![5, 4]]);
    }

    #[test]
    fn one_datagram_is_late_at_a_time() {
        let all = arrivals(&[Late, Lose, Late, Late, Twice]);
        let expected = [vec![], vec![], vec![3, 1], vec![], vec![5, 5, 4]];
        assert_eq!(all, expected);
    }
}

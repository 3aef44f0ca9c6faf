//! `tokio::net`, as far as the steps use it, on a network in memory.
//!
//! It shows a program what TCP shows it: bytes in order, late, in pieces of
//! any size; connections that are refused, ignored, reset or simply silent.

use std::collections::{HashMap, VecDeque};
use std::future::{pending, poll_fn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use real::io::{AsyncRead, AsyncWrite, ReadBuf};
use real::time::{Instant, sleep_until};

use crate::world::{WHO, World, with};

/// The two ends of a connection.
pub const CLIENT: usize = 0;
/// The end that was accepted.
pub const SERVER: usize = 1;

/// More calls than any run needs: a program that makes more is spinning.
const MOST_CALLS: u64 = 1_000_000;

/// All connections of a run, and who listens.
#[derive(Default)]
pub struct Net {
    /// All connections so far.
    pub conns: Vec<Conn>,
    listeners: HashMap<SocketAddr, Backlog>,
    calls: u64,
    /// Is the server's machine without power?
    pub is_off: bool,
    /// Has the run ended, so that nothing is sent any more?
    pub is_over: bool,
}

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<usize>,
    acceptor: Option<Waker>,
}

/// One connection.
#[derive(Default)]
pub struct Conn {
    /// The client's end and the server's.
    pub ends: [End; 2],
    /// Whose it is; none for a guest.
    pub who: Option<u64>,
    /// Has the server's machine lost it in a power cut?
    is_lost: bool,
    opened: Option<Instant>,
    closed: Option<Instant>, // by the server
}

impl Conn {
    /// Returns how long the server has kept it.
    pub fn time(&self) -> Duration {
        let closed = self.closed.unwrap_or_else(Instant::now);
        self.opened.map_or(Duration::ZERO, |opened| closed - opened)
    }
}

/// One end of a connection.
#[derive(Default)]
pub struct End {
    incoming: VecDeque<(Instant, Vec<u8>)>, // an empty one is the FIN
    unread: usize,
    reset: Option<Instant>, // when a RST arrives
    has_finished: bool,     // has sent a FIN
    /// Has the program closed it?
    pub is_closed: bool,
    has_no_linger: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// All that the program wrote.
    pub sent: Vec<u8>,
}

impl End {
    fn is_reset(&self) -> bool {
        self.reset.is_some_and(|at| at <= Instant::now())
    }

    fn wake(&mut self) {
        let wakers = [self.reader.take(), self.writer.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl World {
    fn arrival(&mut self, side: usize, start: Instant) -> Instant {
        self.weather.arrival(&mut self.chance, side, start)
    }

    // ANCHOR: send
    /// Sends `bytes` from `side`; none are a FIN. They arrive behind what was
    /// sent before, and then the reader at the other end wakes up.
    fn send(&mut self, id: usize, side: usize, bytes: &[u8]) {
        let at = self.arrival(side, Instant::now());
        let peer = &mut self.net.conns[id].ends[1 - side];
        peer.unread += bytes.len();
        match peer.incoming.back_mut() {
            Some((last, segment)) if at <= *last && !bytes.is_empty() => {
                segment.extend_from_slice(bytes); // it is the next in line
            }
            last => {
                let at = last.map_or(at, |(last, _)| at.max(*last));
                peer.incoming.push_back((at, bytes.to_vec()));
                self.wake_at(id, 1 - side, at);
            }
        }
    }
    // ANCHOR_END: send

    /// Sends a RST from `side` at `start`. Whatever the other end has not read
    /// when it arrives is lost.
    fn reset(&mut self, id: usize, side: usize, start: Instant) {
        let at = self.arrival(side, start);
        let peer = &mut self.net.conns[id].ends[1 - side];
        peer.reset.get_or_insert(at);
        self.wake_at(id, 1 - side, at);
    }

    fn wake_at(&self, id: usize, side: usize, at: Instant) {
        if self.net.is_over {
            return;
        }
        real::spawn(async move {
            sleep_until(at).await;
            with(|world| world.net.conns[id].ends[side].wake());
        });
    }

    fn count_call(&mut self) {
        self.net.calls += 1;
        if self.net.calls == MOST_CALLS {
            self.wrong("spin", "a task reads or writes without end");
        }
        assert!(self.net.calls < MOST_CALLS, "spinning");
    }

    // ANCHOR: read
    /// Reads from `side`: a part of the first segment that has arrived. How
    /// much of it, the seed decides.
    fn read(
        &mut self,
        (id, side): (usize, usize),
        cx: &mut Context,
        into: &mut ReadBuf,
    ) -> Poll<io::Result<()>> {
        self.count_call();
        let [end, peer] = self.net.ends(id, side);
        if end.is_reset() {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let arrived =
            end.incoming.front_mut().filter(|(at, _)| *at <= Instant::now());
        let Some((_, bytes)) = arrived else {
            end.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let slice = 1 + self.chance.below(self.weather.slice) as usize;
        let n = bytes.len().min(into.remaining()).min(slice);
        into.put_slice(&bytes[..n]);
        bytes.drain(..n);
        if bytes.is_empty() && n > 0 {
            end.incoming.pop_front(); // a FIN stays
        }
        end.unread -= n;
        peer.wake(); // it has room for more
        Poll::Ready(Ok(()))
    }
    // ANCHOR_END: read

    // ANCHOR: write
    /// Writes to `side`: a part of `bytes`, and none while the window is full.
    fn write(
        &mut self,
        (id, side): (usize, usize),
        cx: &mut Context,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.count_call();
        let [end, peer] = self.net.ends(id, side);
        if end.is_reset() || end.has_finished {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let room = self.weather.window().saturating_sub(peer.unread);
        if room == 0 {
            end.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let slice = 1 + self.chance.below(self.weather.slice) as usize;
        let n = bytes.len().min(room).min(slice);
        end.sent.extend_from_slice(&bytes[..n]);
        let peer_is_gone = peer.is_closed;
        self.send(id, side, &bytes[..n]);
        let now = Instant::now();
        if self.chance.hits(self.weather.reset) {
            self.log("network", format_args!("resets {}", port(id)));
            self.reset(id, side, now);
            self.reset(id, 1 - side, now);
        } else if peer_is_gone && !self.is_unreachable(id, side) {
            let there = self.arrival(side, now);
            self.reset(id, 1 - side, there); // the other kernel's answer
        }
        Poll::Ready(Ok(n))
    }
    // ANCHOR_END: write

    fn is_unreachable(&self, id: usize, side: usize) -> bool {
        side == CLIENT && self.net.conns[id].is_lost && self.net.is_off
    }

    fn finish(&mut self, (id, side): (usize, usize)) {
        let [end, _] = self.net.ends(id, side);
        if !std::mem::replace(&mut end.has_finished, true) && !end.is_reset() {
            self.send(id, side, b"");
        }
    }

    /// Closes an end: with a FIN, or with a RST if bytes are unread.
    fn close(&mut self, id: usize, side: usize) {
        let now = Instant::now();
        let conn = &mut self.net.conns[id];
        let end = &mut conn.ends[side];
        end.is_closed = true;
        let mut unread = end.incoming.iter().filter(|(_, b)| !b.is_empty());
        let unread = unread.next().map(|(at, _)| *at);
        let is_abrupt = end.has_no_linger || unread.is_some_and(|at| at <= now);
        if side == SERVER {
            conn.closed = Some(now);
        }
        if self.net.is_over || side == SERVER && conn.is_lost {
            return;
        }
        if is_abrupt {
            return self.reset(id, side, now);
        }
        self.finish((id, side));
        if let Some(at) = unread {
            self.reset(id, side, at); // these bytes will find nobody
        }
    }

    /// Cuts the server's power: all its connections fall silent.
    pub fn cut_net(&mut self) {
        self.net.is_off = true;
        for conn in &mut self.net.conns {
            conn.is_lost |= !conn.ends[SERVER].is_closed;
        }
    }
}

impl Net {
    /// The end at `side`, and the other.
    fn ends(&mut self, id: usize, side: usize) -> [&mut End; 2] {
        let [client, server] = &mut self.conns[id].ends;
        if side == CLIENT { [client, server] } else { [server, client] }
    }
}

/// The client's port of a connection.
fn port(id: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 40_000 + id as u16))
}

/// One end of a connection, as the program holds it.
pub struct TcpStream {
    id: usize,
    side: usize,
    server: SocketAddr,
}

/// What becomes of a SYN.
enum Syn {
    Ignored,
    Refused,
    Accepted(TcpStream),
}

impl TcpStream {
    // ANCHOR: connect
    /// Connects: a SYN goes to `server`, and an answer comes back, or none.
    ///
    /// # Errors
    /// The connection is refused.
    pub async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
        let there = with(|world| {
            world.note_connect();
            world.arrival(CLIENT, Instant::now())
        });
        sleep_until(there).await;
        let syn = with(|world| world.syn(server));
        let back = with(|world| world.arrival(SERVER, there));
        match syn {
            Syn::Ignored => pending().await,
            Syn::Refused => {
                sleep_until(back).await;
                Err(ErrorKind::ConnectionRefused.into())
            }
            Syn::Accepted(stream) => {
                sleep_until(back).await;
                Ok(stream)
            }
        }
    }
    // ANCHOR_END: connect

    /// Returns the address of the other end.
    ///
    /// # Errors
    /// There are none here.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let is_client = self.side == CLIENT;
        Ok(if is_client { self.server } else { port(self.id) })
    }

    /// Returns the address of this end.
    ///
    /// # Errors
    /// There are none here.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let is_client = self.side == CLIENT;
        Ok(if is_client { port(self.id) } else { self.server })
    }

    /// Makes no difference here.
    ///
    /// # Errors
    /// There are none here.
    pub fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    /// Makes the close a RST.
    ///
    /// # Errors
    /// There are none here.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        with(|world| {
            world.net.conns[self.id].ends[self.side].has_no_linger = true;
        });
        Ok(())
    }

    /// Waits until there is something to read, and leaves it there. Here it
    /// tells only whether there is.
    ///
    /// # Errors
    /// The connection is reset.
    pub async fn peek(&self, _: &mut [u8]) -> io::Result<usize> {
        let mut none = [];
        let mut none = ReadBuf::new(&mut none);
        let at = (self.id, self.side);
        poll_fn(|cx| with(|world| world.read(at, cx, &mut none))).await?;
        Ok(1)
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        with(|world| world.close(self.id, self.side));
    }
}

impl World {
    fn note_connect(&mut self) {
        let Ok(who) = WHO.try_with(|who| *who) else { return };
        let Some((since, most)) = self.waits.remove(&who) else { return };
        let wait = since.elapsed();
        if wait > most + Duration::from_millis(2) {
            self.wrong("backoff", format!("client {who} waited {wait:.0?}"));
        }
    }

    fn syn(&mut self, server: SocketAddr) -> Syn {
        let is_ignored = self.chance.hits(self.weather.swallow);
        let is_refused = self.chance.hits(self.weather.refuse);
        let id = self.net.conns.len();
        if is_ignored || self.net.is_off {
            return Syn::Ignored;
        }
        let Some(backlog) = self.net.listeners.get_mut(&server) else {
            return Syn::Refused;
        };
        if is_refused {
            return Syn::Refused;
        }
        backlog.waiting.push_back(id);
        backlog.acceptor.take().into_iter().for_each(Waker::wake);
        let who = WHO.try_with(|who| *who).ok();
        let opened = Some(Instant::now());
        self.net.conns.push(Conn { who, opened, ..Conn::default() });
        Syn::Accepted(TcpStream { id, side: CLIENT, server })
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context,
        into: &mut ReadBuf,
    ) -> Poll<io::Result<()>> {
        with(|world| world.read((self.id, self.side), cx, into))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        with(|world| world.write((self.id, self.side), cx, bytes))
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        _: &mut Context,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        _: &mut Context,
    ) -> Poll<io::Result<()>> {
        with(|world| world.finish((self.id, self.side)));
        Poll::Ready(Ok(()))
    }
}

/// A socket before it listens.
#[derive(Default)]
pub struct TcpSocket(Mutex<Option<SocketAddr>>);

impl TcpSocket {
    /// Returns a socket.
    ///
    /// # Errors
    /// There are none here.
    pub fn new_v4() -> io::Result<TcpSocket> {
        Ok(TcpSocket::default())
    }

    /// Returns a socket.
    ///
    /// # Errors
    /// There are none here.
    pub fn new_v6() -> io::Result<TcpSocket> {
        Ok(TcpSocket::default())
    }

    /// Makes no difference here.
    ///
    /// # Errors
    /// There are none here.
    pub fn set_reuseaddr(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    /// Makes no difference here.
    ///
    /// # Errors
    /// There are none here.
    pub fn set_send_buffer_size(&self, _: u32) -> io::Result<()> {
        Ok(())
    }

    /// Chooses the address.
    ///
    /// # Errors
    /// There are none here.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        *self.0.lock().map_err(|_| ErrorKind::Other)? = Some(addr);
        Ok(())
    }

    /// Listens.
    ///
    /// # Errors
    /// The address is in use.
    pub fn listen(self, _: u32) -> io::Result<TcpListener> {
        let addr = self.0.into_inner().map_err(|_| ErrorKind::Other)?;
        let addr = addr.ok_or(ErrorKind::InvalidInput)?;
        let backlog = Backlog::default();
        match with(|world| world.net.listeners.insert(addr, backlog)) {
            Some(_) => Err(ErrorKind::AddrInUse.into()),
            None => Ok(TcpListener { addr }),
        }
    }
}

/// A socket that listens.
pub struct TcpListener {
    addr: SocketAddr,
}

impl TcpListener {
    /// Waits for the next connection.
    ///
    /// # Errors
    /// There are none here.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let id = poll_fn(|cx| {
            with(|world| {
                let listeners = &mut world.net.listeners;
                let backlog = listeners.entry(self.addr).or_default();
                backlog.acceptor = Some(cx.waker().clone());
                backlog.waiting.pop_front().map_or(Poll::Pending, Poll::Ready)
            })
        })
        .await;
        let server = self.addr;
        Ok((TcpStream { id, side: SERVER, server }, port(id)))
    }

    /// Returns the address.
    ///
    /// # Errors
    /// There are none here.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl Drop for TcpListener {
    /// Resets the connections that nobody has accepted.
    fn drop(&mut self) {
        with(|world| {
            let backlog = world.net.listeners.remove(&self.addr);
            for id in backlog.unwrap_or_default().waiting {
                world.net.conns[id].ends[SERVER].has_no_linger = true;
                world.close(id, SERVER);
            }
        });
    }
}

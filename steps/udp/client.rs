// ANCHOR: client
//! The client: it asks until it is answered, or until a limit is reached.

use std::future::pending;
use std::io;
use std::io::ErrorKind::{
    ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, ensure};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use crate::frame::{ADD, ADD_REPLY, ECHO, ECHO_REPLY, ERROR, Frame};
use crate::frame::{MAX_TEXT, decode, encode};
use crate::ledger::Operation;
use crate::limits::{ClientLimits, ROOM};
use crate::retry::Outcome::{self, NotExecuted, Unknown};
use crate::retry::{ceiling, full_jitter};

/// What the client asks for.
#[derive(Clone, Copy)]
pub enum Request<'a> {
    Echo(&'a [u8]),
    Add(Operation),
}

/// A client of the server at `addr`, with one request in flight: the simplest
/// limit for a sender whom no TCP slows down (RFC 8085, section 3.1).
pub struct Client {
    pub addr: SocketAddr,
    pub datagram: usize, // the most bytes in one
    pub limits: ClientLimits,
    /// Give each attempt a number of its own, as if it were a new operation.
    pub forgetful: bool,
}
// ANCHOR_END: client

impl Client {
    // ANCHOR: ask
    /// Sends `request` and returns the reply. If none comes, tells `report`
    /// and sends it again, until the attempts are used up or the deadline is
    /// near.
    ///
    /// # Errors
    /// There is no reply. The error has an [`Outcome`], unless the datagram
    /// cannot be sent at all.
    pub async fn ask(
        &self,
        request: Request<'_>,
        mut report: impl FnMut(String),
    ) -> Result<Vec<u8>> {
        let mut deadline = Instant::now() + self.limits.deadline;
        let most = self.limits.attempts;
        let (mut outcome, mut n) = (NotExecuted, 1); // of all attempts, so far
        let mut socket = None; // for all attempts, as long as it is silent
        loop {
            let request = self.named(request, n);
            let attempt = self.attempt(&mut socket, request, deadline).await;
            let Err(error) = attempt else { return attempt };
            let error = again(&mut outcome, error)?;
            let ceiling = ceiling(&self.limits, n);
            let wait = full_jitter(ceiling);
            let now = Instant::now();
            report(format!("attempt {n}: {error:#}"));
            if n == most || now + wait >= deadline {
                let error = anyhow!("gave up after {n} of {most} attempts");
                return Err(error.context(outcome));
            }
            report(format!("waits {wait:.0?} (at most {ceiling:?})"));
            deadline += now.elapsed(); // a slow terminal is our own fault
            if let Some(reply) = wait_for(wait, socket.as_ref(), request).await
            {
                return Ok(reply);
            }
            n += 1;
        }
    }

    /// Returns the request as attempt `n` sends it: the same each time, unless
    /// the client is forgetful.
    fn named<'a>(&self, request: Request<'a>, n: u32) -> Request<'a> {
        match request {
            Request::Add(add) if self.forgetful => {
                let seq = add.seq.saturating_add(u64::from(n) - 1);
                Request::Add(Operation { seq, ..add })
            }
            request => request,
        }
    }
    // ANCHOR_END: ask

    // ANCHOR: attempt
    /// Asks once. The socket is kept only if no word came: an answer to this
    /// attempt may still arrive, and must not be mistaken for one to the next
    /// request, which has a socket, and so a port, of its own.
    async fn attempt(
        &self,
        socket: &mut Option<UdpSocket>,
        request: Request<'_>,
        deadline: Instant,
    ) -> Result<Vec<u8>> {
        let limit = self.limits.request.min(deadline - Instant::now());
        let open = match socket.take() {
            Some(silent) => silent,
            None => connect(self.addr).await.context(NotExecuted)?,
        };
        self.send(&open, request).await?;
        match timeout(limit, receive(&open, request)).await {
            Ok(reply) => reply,
            Err(_) => {
                *socket = Some(open);
                let error = anyhow!("no reply within {limit:.0?}");
                Err(error.context(Unknown))
            }
        }
    }
    // ANCHOR_END: attempt

    /// Hands the request to the kernel, as one datagram.
    async fn send(
        &self,
        socket: &UdpSocket,
        request: Request<'_>,
    ) -> Result<()> {
        let mut datagram = Vec::new();
        match request {
            Request::Echo(message) => encode(ECHO, message, &mut datagram)?,
            Request::Add(add) => encode(ADD, &add.to_bytes(), &mut datagram)?,
        }
        let (size, most) = (datagram.len(), self.datagram);
        ensure!(
            size <= most,
            "cannot send {size} bytes in a datagram: --datagram says {most}"
        );
        let sent = socket.send(&datagram).await;
        sent.map_err(|error| explained(error, "send to", self.addr, None))?;
        Ok(())
    }
}

// ANCHOR: again
/// Takes note of what is known after one more failure. Returns the error if it
/// may help to ask again.
///
/// # Errors
/// It will not help. What an earlier attempt may have done stays unknown.
fn again(outcome: &mut Outcome, error: Error) -> Result<Error> {
    match Outcome::of(&error) {
        Some(NotExecuted) => Ok(error),
        // Ask again, only because a second ECHO does no harm, and a second ADD
        // has the identity of the first.
        Some(Unknown) => {
            *outcome = Unknown;
            Ok(error)
        }
        _ if *outcome == Unknown => Err(error.context(Unknown)),
        _ => Err(error),
    }
}
// ANCHOR_END: again

// ANCHOR: connect
/// Opens a socket on a free port and connects it. On UDP, connect(2) sends
/// nothing: the kernel notes the address, drops what comes from any other, and
/// tells us when it hears that a datagram was refused (udp(7)).
///
/// # Errors
/// This system has no route to `addr`, or no descriptor left.
pub async fn connect(addr: SocketAddr) -> Result<UdpSocket> {
    let any: SocketAddr = match addr {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.context("cannot get a port")?;
    let connected = socket.connect(addr).await;
    connected.with_context(|| format!("cannot connect to {addr}"))?;
    Ok(socket)
}
// ANCHOR_END: connect

// ANCHOR: receive
/// Waits for the reply to `request`. Whatever else arrives is dropped: it may
/// be late, and anybody may have sent it, before the socket was connected.
///
/// # Errors
/// The server answered with an ERROR, or a machine on the way refused one of
/// the datagrams that left this socket.
async fn receive(socket: &UdpSocket, request: Request<'_>) -> Result<Vec<u8>> {
    let addr = socket.peer_addr()?;
    let mut datagram = vec![0; ROOM];
    loop {
        let received = socket.recv_from(&mut datagram).await;
        let (n, from) = received
            .map_err(|e| explained(e, "receive from", addr, Some(Unknown)))?;
        let mut rest = &datagram[..n];
        let Ok(Some(frame)) = decode(&mut rest) else { continue };
        if !rest.is_empty() || from != addr {
            continue;
        }
        if let Some(reply) = answer(frame, request)? {
            return Ok(reply);
        }
    }
}

/// Returns what the reply to `request` says, or `None` if this is none. An ADD
/// has a name. An ECHO has only its payload, but if the reply to another one
/// says the same, you cannot tell the two apart, and need not.
fn answer(frame: Frame, request: Request) -> Result<Option<Vec<u8>>> {
    match (frame.kind, frame.payload, request) {
        (ECHO_REPLY, reply, Request::Echo(message)) if reply == message => {
            Ok(Some(reply.to_vec()))
        }
        (ADD_REPLY, payload, Request::Add(add)) => {
            let reply = Operation::from_bytes(payload);
            let name = |it: &Operation| (it.client, it.seq);
            let ours = reply.filter(|reply| name(reply) == name(&add));
            Ok(ours.map(|reply| reply.amount.to_string().into_bytes()))
        }
        (ERROR, [code, text @ ..], _) => {
            // {:?} escapes what a terminal would obey.
            let text =
                String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
            let error =
                anyhow!("the server answered with error {code} {text:?}");
            Err(error.context(Outcome::of_code(*code)))
        }
        _ => Ok(None),
    }
}
// ANCHOR_END: receive

// ANCHOR: explained
/// Says what an error of the socket means. A refusal (an ICMP message: port
/// unreachable) is about a datagram that left before. If only one did, no
/// program got it (unless the network has made a copy). If more did, an
/// earlier attempt has left its outcome unknown. `otherwise` is what any other
/// error means; `None`: our own end failed, and asking again would not help.
fn explained(
    error: io::Error,
    what: &str,
    addr: SocketAddr,
    otherwise: Option<Outcome>,
) -> Error {
    let (outcome, hint) = match error.kind() {
        ConnectionRefused | ConnectionReset | HostUnreachable
        | NetworkUnreachable => (Some(NotExecuted), " (no server?)"),
        _ => (otherwise, ""),
    };
    let error =
        Error::new(error).context(format!("cannot {what} {addr}{hint}"));
    match outcome {
        Some(outcome) => error.context(outcome),
        None => error,
    }
}
// ANCHOR_END: explained

/// Waits before the next attempt. Meanwhile, a late reply is still a reply. An
/// ERROR is not: the next attempt asks again.
async fn wait_for(
    wait: Duration,
    socket: Option<&UdpSocket>,
    request: Request<'_>,
) -> Option<Vec<u8>> {
    let late = async {
        match socket {
            Some(socket) => loop {
                if let Ok(reply) = receive(socket, request).await {
                    break reply;
                }
            },
            None => pending().await,
        }
    };
    timeout(wait, late).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(kind, payload, &mut bytes).unwrap();
        bytes
    }

    /// The next attempt need not be sent, and an ERROR is no reply.
    #[tokio::test]
    async fn a_late_reply_ends_the_wait() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = connect(server.local_addr().unwrap()).await.unwrap();
        let client = socket.local_addr().unwrap();
        for bytes in [frame(ERROR, b"\x06text"), frame(ECHO_REPLY, b"hi")] {
            server.send_to(&bytes, client).await.unwrap();
        }
        let wait = Duration::from_secs(60);
        let late = wait_for(wait, Some(&socket), Request::Echo(b"hi")).await;
        assert_eq!(late.as_deref(), Some(&b"hi"[..]));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_socket_the_wait_is_a_wait() {
        let (start, wait) = (Instant::now(), Duration::from_secs(20));
        assert_eq!(wait_for(wait, None, Request::Echo(b"")).await, None);
        assert!(start.elapsed() >= wait);
    }

    /// A connected socket keeps what came before it was connected.
    #[tokio::test]
    async fn an_early_stranger_is_not_heard() {
        let any = "127.0.0.1:0";
        let socket = UdpSocket::bind(any).await.unwrap();
        let client = socket.local_addr().unwrap();
        let add = Operation { client: 7, seq: 3, amount: 5 };
        for amount in [13, 42] {
            let sender = UdpSocket::bind(any).await.unwrap();
            let total = Operation { amount, ..add }.to_bytes();
            let total = frame(ADD_REPLY, &total);
            if amount == 42 {
                let server = sender.local_addr().unwrap();
                socket.connect(server).await.unwrap();
            }
            sender.send_to(&total, client).await.unwrap();
        }
        let minute = Duration::from_secs(60);
        let reply = timeout(minute, receive(&socket, Request::Add(add)));
        assert_eq!(reply.await.unwrap().unwrap(), b"42");
    }

    /// A datagram that was too large for a road further on may have arrived in
    /// another copy; one that was too large for `send` has not left.
    #[test]
    fn an_error_that_comes_later_leaves_the_outcome_open() {
        let outcome = |kind: io::ErrorKind, otherwise| {
            let addr = ([127, 0, 0, 1], 8888).into();
            let error = explained(kind.into(), "test", addr, otherwise);
            Outcome::of(&error)
        };
        let other = io::ErrorKind::Other; // as std calls EMSGSIZE, so far
        assert_eq!(outcome(other, Some(Unknown)), Some(Unknown));
        assert_eq!(outcome(other, None), None);
        for otherwise in [None, Some(Unknown)] {
            let refused = outcome(ConnectionRefused, otherwise);
            assert_eq!(refused, Some(NotExecuted));
        }
    }

    /// A client of a server that says nothing, and three attempts.
    fn in_vain(server: &std::net::UdpSocket) -> Client {
        let limits = ClientLimits {
            connect: Duration::ZERO,
            request: Duration::from_secs(1),
            deadline: Duration::from_secs(5),
            attempts: 3,
            base: Duration::from_millis(1),
            cap: Duration::from_millis(1),
        };
        let addr = server.local_addr().unwrap();
        Client { addr, datagram: 1200, limits, forgetful: false }
    }

    #[tokio::test(start_paused = true)]
    async fn between_attempts_it_waits() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut client = in_vain(&server);
        client.limits.attempts = 11;
        client.limits.deadline = Duration::from_secs(10_000);
        (client.limits.base, client.limits.cap) =
            (Duration::from_secs(100), Duration::from_secs(100));
        let start = Instant::now();
        client.ask(Request::Echo(b"hi"), drop).await.unwrap_err();
        // Ten waits of 50 s on average: the chance of less than 50 s in all
        // is below 1 in 10^9.
        assert!(start.elapsed() > Duration::from_secs(11 + 50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_terminal_does_not_count() {
        use std::future::Future;
        use std::task::{Context, Waker};
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let slow = |_| {
            let hour = tokio::time::advance(Duration::from_secs(3600));
            let mut context = Context::from_waker(Waker::noop());
            let _ = std::pin::pin!(hour).poll(&mut context);
        };
        let client = in_vain(&server);
        let asked = client.ask(Request::Echo(b"hi"), slow).await;
        let error = format!("{:#}", asked.unwrap_err());
        assert!(error.ends_with("gave up after 3 of 3 attempts"), "{error}");
    }
}

//! What our server does with a client that has several requests, or unusual
//! standard streams.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::diagnosis::evidence::End;
use crate::harness::lab::any_port;
use crate::harness::peer::Peer;
use crate::harness::stage::{START, Stage, no_port};
use crate::os;
use crate::program::running::{Input, Streams};
use crate::verdict::{Check, Stop};
use crate::wire::reply;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A listener whose connections hold little, on both sides. The smallest
/// window there is, and segments that hardly fit into it, keep the kernel from
/// setting megabytes aside.
pub fn small_listener() -> Check<TcpListener> {
    let made = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|s| {
        s.set_recv_buffer_size(1)?;
        s.set_send_buffer_size(4096)?;
        s.set_tcp_mss(1400)?;
        s.bind(&any_port().into())?;
        s.listen(8)?;
        Ok(s.into())
    });
    made.map_err(|error| no_port(&error))
}

impl<'a> Stage<'a> {
    /// Starts a client with other streams than usual.
    pub fn start_with(&self, texts: &[&str], streams: Streams) -> Check {
        let texts: Vec<String> = texts.iter().map(|&t| t.into()).collect();
        let client = self.lab.start(self.addr, &texts, streams)?;
        self.lab.keep(client);
        Ok(())
    }

    /// The next request: on this connection, or on a new one. Says which.
    pub fn next_request(
        &self,
        peer: Option<Peer<'a>>,
        text: &str,
        limit: Duration,
    ) -> Check<(Peer<'a>, bool)> {
        let until = self.lab.until(limit);
        let mut old = peer;
        while let Some(mut peer) = old.take() {
            match peer.peeks(ms(10)) {
                Some(End::Open) => {
                    peer.request(text)?;
                    return Ok((peer, false));
                }
                Some(End::Fin | End::Reset) => break,
                None if Instant::now() > until => break,
                None => old = Some(peer),
            }
            if let Some(stream) = self.accept_within(ms(1)) {
                let mut new = Peer::new(self.lab, stream, "");
                new.request(text)?;
                return Ok((new, true));
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        let mut new = self.accept(left.max(ms(1)))?;
        new.request(text)?;
        Ok((new, true))
    }

    /// The first connection of a client with several TEXTs, with its request
    /// read. One that takes no more than one is not tried: C4-02 says so.
    pub fn first_of(&self, texts: &[&str]) -> Check<Peer<'a>> {
        self.start(texts)?;
        self.first_connection()?.asks(texts[0])
    }

    /// The same without its request.
    pub fn first_connection(&self) -> Check<Peer<'a>> {
        let first = self.accept(START);
        let code = self.lab.client_ended().and_then(|status| status.code());
        match first {
            Err(_) if code == Some(2) => skip("it takes one TEXT only"),
            first => first.inspect(|_| self.lab.open_window()),
        }
    }

    /// Starts a client that has its messages from this stdin, and waits until
    /// it begins to send, if it does within the limit. One that takes them
    /// from the command line only is not tried.
    pub fn first_from(
        &self,
        stdin: Input,
        limit: Duration,
    ) -> Check<Option<Peer<'a>>> {
        self.start_with(&[], Streams { stdin, ..Streams::default() })?;
        let until = self.lab.until(limit);
        let mut came = None;
        while Instant::now() < until {
            came = came.or_else(|| self.accept_within(ms(20)));
            let is_over = self.lab.client_ended().is_some();
            let mut peer = match came.take() {
                Some(stream) => Peer::new(self.lab, stream, ""),
                None if is_over => return skip("it sends nothing from stdin"),
                None => continue,
            };
            match peer.peeks(ms(20)) {
                Some(End::Open) => {
                    self.lab.note("it connected");
                    self.lab.open_window();
                    return Ok(Some(peer));
                }
                None => came = Some(peer.stream),
                Some(_) => return skip("it sends nothing from stdin"),
            }
        }
        Ok(None)
    }
}

fn skip<T>(why: &str) -> Check<T> {
    Err(Box::new(Stop::Skip(why.to_owned())))
}

impl Peer<'_> {
    /// The same, when its request has been read.
    fn asks(mut self, text: &str) -> Check<Self> {
        self.request(text)?;
        Ok(self)
    }
}

/// Sends the reply, the goodbye and FIN in one packet, so that the client
/// cannot see one without the other.
pub fn answer_and_end(client: &mut Peer, text: &str, goodbye: &[u8]) {
    os::send_with_the_end(&client.stream);
    client.send_anyway(&[&reply(text.as_bytes()), goodbye].concat());
    client.fin();
}

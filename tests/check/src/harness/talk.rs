//! What our server does with a client of several requests, or with one whose
//! streams are not as usual.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::diagnosis::evidence::End;
use crate::harness::lab::any_port;
use crate::harness::peer::Peer;
use crate::harness::stage::{Stage, no_port};
use crate::os;
use crate::program::running::{Input, Streams};
use crate::verdict::{Check, Stop};
use crate::wire::reply;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A listener whose connections hold little, on both sides. The smallest
/// window there is, and segments that hardly fit into it, keep the system from
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
        while let Some(peer) = &mut old {
            match peer.peeks(ms(10)) {
                None if Instant::now() > until => break,
                None => {
                    if let Some(stream) = self.accept_within(ms(1)) {
                        let mut new = Peer::new(self.lab, stream, "");
                        new.request(text)?;
                        return Ok((new, true));
                    }
                }
                Some(End::Open) => {
                    peer.request(text)?;
                    return old.map(|peer| (peer, false)).ok_or_else(gone);
                }
                Some(End::Fin | End::Reset) => old = None,
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        let mut new = self.accept(left.max(ms(1)))?;
        new.request(text)?;
        Ok((new, true))
    }
}

fn gone() -> Box<Stop> {
    Box::new(Stop::Unknown("a connection was lost".into()))
}

impl Peer<'_> {
    /// What is there to be read: `Open` if bytes are, and nothing if neither
    /// bytes nor the end have come within the limit.
    pub fn peeks(&mut self, limit: Duration) -> Option<End> {
        let _ = self.stream.set_read_timeout(Some(limit));
        match self.stream.peek(&mut [0]) {
            Ok(0) => Some(End::Fin),
            Ok(_) => Some(End::Open),
            Err(error) => {
                use ErrorKind::{TimedOut, WouldBlock};
                let is_late = [WouldBlock, TimedOut].contains(&error.kind());
                (!is_late).then_some(End::Reset)
            }
        }
    }
}

/// Starts a client with a line on its stdin, which stays open, and waits 4 s
/// for its connection. From step 4 on a client may take its messages from the
/// command line only: then the case is skipped.
pub fn from_stdin<'a>(
    stage: &Stage<'a>,
    line: &str,
) -> Check<Option<Peer<'a>>> {
    let lab = stage.lab;
    let open = Streams { stdin: Input::Open, ..Streams::default() };
    stage.start_with(&[], open)?;
    lab.with_last(|client| client.feed(format!("{line}\n").as_bytes()));
    let until = lab.until(ms(4000));
    while Instant::now() < until {
        if let Some(stream) = stage.accept_within(ms(50)) {
            lab.note("it connected");
            lab.open_window();
            return Ok(Some(Peer::new(lab, stream, "")));
        }
        if lab.client_ended().is_some() {
            let why = "it sends nothing from stdin".to_owned();
            return Err(Box::new(Stop::Skip(why)));
        }
    }
    Ok(None)
}

/// The reply, what is said with it, and FIN: all in one packet, so that the
/// client cannot see one without the other.
pub fn answer_and_end(client: &mut Peer, text: &str, goodbye: &[u8]) {
    os::send_with_the_end(&client.stream);
    client.send_anyway(&[&reply(text.as_bytes()), goodbye].concat());
    client.fin();
}

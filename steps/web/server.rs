//! The server: it answers requests within limits, each client in its own task.

use std::future::ready;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::io::{copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::drain::{Drain, Slot};
use crate::files::{self, Found};
use crate::http::{self, Head, Refused};
use crate::limits::{PeerLimits, TooSlow, within};
use crate::{listener, say};

/// How long a client may take to read why it was refused.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client may take to close when all is said.
const GOODBYE: Duration = Duration::from_millis(300);

/// Room for received bytes, and how much of a file is sent at a time.
const BUFFER: usize = 4 * 1024;
const PIECE: usize = 64 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";
const ALLOW: (&str, &str) = ("Allow", "GET, HEAD, OPTIONS");
const FULL: Refused =
    Refused("503 Service Unavailable", "too many connections");
const LATE: Refused =
    Refused("408 Request Timeout", "the request was not whole in time");

// ANCHOR: run
type Fields<'a> = &'a [(&'a str, &'a str)];

/// What all clients ask for: the files below this folder (its canonical path).
pub type Requests = Arc<PathBuf>;

/// Serves the clients of `listener`. It never returns.
pub async fn run(
    listener: &TcpListener,
    limits: PeerLimits,
    root: &Requests,
    drain: &Drain,
) {
    loop {
        let (stream, peer) = listener::accept(listener).await;
        // Otherwise Nagle's algorithm would hold the end of an answer back.
        let _ = stream.set_nodelay(true);
        let mut client = Client::new(stream, limits);
        if let Some(slot) = drain.slot() {
            tokio::spawn(serve(client, peer, Arc::clone(root), slot));
        } else if let Some(place) = drain.refusal() {
            say(format!("server: {peer} is one too many"));
            tokio::spawn(async move {
                let _place = place;
                client.refuse(FULL).await;
            });
        } // otherwise there is no time even for that: the stream is dropped
    }
}

/// Serves one client. An error of its connection is reported and ends here.
async fn serve(
    mut client: Client<TcpStream>,
    peer: SocketAddr,
    root: Requests,
    mut slot: Slot,
) {
    say(format!("server: {peer} connected"));
    match client.answer(&root, &mut slot).await {
        Ok(total) => {
            say(format!("server: {peer} ended after {total} requests"));
            client.end(GOODBYE).await;
        }
        Err(error) => {
            say(format!("server: {peer}: {error:#}"));
            client.give_up(&error).await;
        }
    }
}
// ANCHOR_END: run

/// A connection, and what has come on it that no request has used yet.
struct Client<S> {
    stream: S,
    input: Vec<u8>,
    limits: PeerLimits,
    wants_no_body: bool, // the last request was a HEAD
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S, limits: PeerLimits) -> Client<S> {
        Client { stream, input: Vec::new(), limits, wants_no_body: false }
    }

    // ANCHOR: answer
    /// Answers each request, until the client or the server wants no more.
    /// Returns how many.
    async fn answer(
        &mut self,
        root: &Requests,
        slot: &mut Slot,
    ) -> Result<usize> {
        let mut total = 0;
        while let Some(head) = self.next(slot).await? {
            total += 1;
            let is_leaving = select! {
                biased;
                () = slot.sign() => true,
                () = ready(()) => false,
            };
            // HTTP's goodbye stands in an answer (RFC 9112 section 9.6).
            let fields: &[_] = match is_leaving || !head.may_stay() {
                true => &[("Connection", "close")],
                false => &[],
            };
            self.reply(&head, root, fields).await?;
            if !fields.is_empty() {
                break;
            }
        }
        Ok(total)
    }

    /// Reads the next request: its head, and its body, which is not used.
    /// `None` says that there is none: the client has ended, was silent for too
    /// long, or was silent when the server had to stop.
    async fn next(&mut self, slot: &mut Slot) -> Result<Option<Head>> {
        if self.input.is_empty() && !self.starts(slot).await? {
            return Ok(None);
        }
        // A request has started. No later piece of it buys more time.
        let limit = (Instant::now() + self.limits.request, TooSlow::Frame);
        within(limit, async {
            let head = http::read_head(&mut self.stream, &mut self.input);
            let Some(head) = head.await? else { return Ok(None) };
            self.wants_no_body = head.method == "HEAD";
            let length = head.body_length()?;
            if length > 0 && head.has("expect", "100-continue") {
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            http::skip_body(&mut self.stream, &mut self.input, length).await?;
            Ok(Some(head))
        })
        .await?
    }

    /// Waits for the first byte of a request. `false` says that none comes.
    async fn starts(&mut self, slot: &mut Slot) -> Result<bool> {
        self.input = Vec::with_capacity(BUFFER); // a large head is over
        let limit = (Instant::now() + self.limits.idle, TooSlow::Idle);
        select! {
            biased; // what has come is answered, even if the server stops
            n = within(limit, self.stream.read_buf(&mut self.input)) => {
                let Ok(n) = n else { return Ok(false) };
                Ok(n.context("cannot read")? > 0)
            }
            () = slot.sign() => Ok(false),
        }
    }
    // ANCHOR_END: answer

    // ANCHOR: reply
    async fn reply(
        &mut self,
        head: &Head,
        root: &Requests,
        fields: Fields<'_>,
    ) -> Result<()> {
        match &head.method[..] {
            "GET" | "HEAD" => self.get(&head.target, root, fields).await,
            "OPTIONS" => {
                self.tell("200 OK", &[ALLOW], fields, "see Allow").await
            }
            _ => {
                let status = "405 Method Not Allowed";
                self.tell(status, &[ALLOW], fields, "read only").await
            }
        }
    }

    async fn get(
        &mut self,
        target: &str,
        root: &Requests,
        fields: Fields<'_>,
    ) -> Result<()> {
        let (root, name) = (Arc::clone(root), target.to_owned());
        let found = spawn_blocking(move || files::find(&root, &name)).await?;
        match found {
            Ok(Found::File(file, length, kind)) => {
                self.send(file.into(), length, kind, fields).await
            }
            Ok(Found::Folder) => {
                let status = "301 Moved Permanently";
                let to = files::with_slash(target);
                let to = [("Location", &to[..])];
                self.tell(status, &to, fields, "it is a folder").await
            }
            Ok(Found::Nothing) => {
                self.tell("404 Not Found", &[], fields, "nothing here").await
            }
            Err(error) => {
                say(format!("server: cannot open {target}: {error}"));
                let status = "500 Internal Server Error";
                self.tell(status, &[], fields, "cannot open it").await
            }
        }
    }

    /// Sends an answer whose body is one line of text.
    async fn tell(
        &mut self,
        status: &str,
        fields: Fields<'_>,
        more: Fields<'_>,
        line: &str,
    ) -> Result<()> {
        let text = format!("{status}: {line}\n");
        let length = text.len().to_string();
        let own = [("Content-Type", TEXT), ("Content-Length", &length)];
        let mut bytes = http::head(status, &[&own, fields, more].concat());
        if !self.wants_no_body {
            bytes.extend(text.bytes());
        }
        self.write(&bytes).await
    }
    // ANCHOR_END: reply

    // ANCHOR: send
    /// Sends a file piece by piece, so that a large one needs no more room than
    /// a small one, and the first piece together with the head.
    async fn send(
        &mut self,
        mut file: File,
        length: u64,
        kind: &str,
        fields: Fields<'_>,
    ) -> Result<()> {
        // The type is what we say it is, whatever the file looks like.
        let size = length.to_string();
        let own = [
            ("Content-Type", kind),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Length", &size),
        ];
        let mut bytes = http::head("200 OK", &[&own, fields].concat());
        let mut left = if self.wants_no_body { 0 } else { length };
        loop {
            bytes.reserve(left.min(PIECE as u64) as usize);
            while left > 0 && bytes.len() < PIECE {
                // No more than we have announced, even if the file grows now.
                let mut rest = (&mut file).take(left);
                let n = rest.read_buf(&mut bytes).await;
                let n = n.context("cannot read the file")?;
                ensure!(n > 0, "the file has become too short meanwhile");
                left -= n as u64;
            }
            self.write(&bytes).await?;
            bytes.clear();
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// Writes all of `bytes`. Each part that the kernel takes buys new time.
    async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let limit = (Instant::now() + self.limits.write, TooSlow::Write);
            let taken = within(limit, self.stream.write(bytes)).await?;
            bytes = &bytes[taken.context("cannot write")?..];
        }
        Ok(())
    }
    // ANCHOR_END: send
}

// ANCHOR: end
impl Client<TcpStream> {
    /// Ends a connection after `error`, and tells a client that broke a rule or
    /// sent too slowly. One that does not read gets a reset.
    async fn give_up(&mut self, error: &Error) {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            self.refuse(*refused).await;
        }
        match error.downcast_ref() {
            Some(TooSlow::Frame) => self.refuse(LATE).await,
            Some(TooSlow::Write) => drop(self.stream.set_zero_linger()),
            // The answer is told, or the stream is broken.
            Some(TooSlow::Idle) | None => {}
        }
    }

    /// Tells the client what it did wrong, and closes. What follows a broken
    /// request is never read as a request.
    async fn refuse(&mut self, Refused(status, why): Refused) {
        let close = [("Connection", "close"), ("Retry-After", "1")];
        let n = if status == FULL.0 { 2 } else { 1 };
        let told = self.tell(status, &close[..n], &[], why).await.is_ok();
        if !(told && self.end(LINGER).await) {
            let _ = self.stream.set_zero_linger();
        }
    }

    /// Sends FIN, then reads on until the client closes. To close with bytes
    /// unread would send RST at once, and the client might lose our answer (RFC
    /// 9112 section 9.6). Returns whether the client has closed in time.
    async fn end(&mut self, limit: Duration) -> bool {
        let end = async {
            self.stream.shutdown().await?;
            copy(&mut self.stream, &mut sink()).await
        };
        matches!(timeout(limit, end).await, Ok(Ok(_)))
    }
}
// ANCHOR_END: end

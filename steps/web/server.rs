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
    wants_body: bool, // the request is no HEAD
    is_last: bool,    // no other request will be answered
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S, limits: PeerLimits) -> Client<S> {
        let input = Vec::with_capacity(BUFFER);
        Client { stream, input, limits, wants_body: true, is_last: false }
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
        while !self.is_last {
            let Some(head) = self.next(slot).await? else { break };
            let is_leaving = select! {
                biased;
                () = slot.sign() => true,
                () = ready(()) => false,
            };
            self.is_last = is_leaving || !head.may_stay();
            self.reply(&head, root).await?;
            total += 1;
        }
        Ok(total)
    }

    /// Reads the next request: its head, and its body, which is not used.
    /// `None` says that there is none: the client has ended, was silent for too
    /// long, or was silent when the server had to stop.
    async fn next(&mut self, slot: &mut Slot) -> Result<Option<Head>> {
        if !self.starts(slot).await? {
            return Ok(None);
        }
        self.wants_body = true; // until we know better
        // A request has started. No later piece of it buys more time.
        let limit = (Instant::now() + self.limits.request, TooSlow::Frame);
        within(limit, async {
            let head = http::read_head(&mut self.stream, &mut self.input);
            let Some(head) = head.await? else { return Ok(None) };
            self.wants_body = head.method != "HEAD";
            let length = head.body_length()?;
            if length > 0 && head.waits_for_us() {
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            http::skip_body(&mut self.stream, &mut self.input, length).await?;
            Ok(Some(head))
        })
        .await
        .unwrap_or_else(|_| Err(LATE.into()))
    }

    /// Waits for the first byte of a request. `false` says that none comes.
    async fn starts(&mut self, slot: &mut Slot) -> Result<bool> {
        self.input.shrink_to(BUFFER); // a large head is over
        let limit = (Instant::now() + self.limits.idle, TooSlow::Idle);
        // One empty line too many starts nothing, see `read_head`.
        while b"\r\n".starts_with(&self.input) {
            select! {
                biased; // what has come is answered, even if we have to stop
                n = within(limit, self.stream.read_buf(&mut self.input)) => {
                    let Ok(n) = n else { return Ok(false) };
                    if n.context("cannot read")? == 0 {
                        return Ok(false);
                    }
                }
                () = slot.sign() => return Ok(false),
            }
        }
        Ok(true)
    }
    // ANCHOR_END: answer

    // ANCHOR: reply
    async fn reply(&mut self, head: &Head, root: &Requests) -> Result<()> {
        match &head.method[..] {
            "GET" | "HEAD" => self.get(&head.target, root).await,
            "OPTIONS" => self.tell("200 OK", &[ALLOW], "see Allow").await,
            "POST" | "PUT" | "PATCH" | "DELETE" | "TRACE" => {
                let status = "405 Method Not Allowed";
                self.tell(status, &[ALLOW], "read only").await
            }
            // RFC 9110 section 9.1
            _ => self.tell("501 Not Implemented", &[], "which method?").await,
        }
    }

    async fn get(&mut self, target: &str, root: &Requests) -> Result<()> {
        let (root, name) = (Arc::clone(root), target.to_owned());
        let found = spawn_blocking(move || files::find(&root, &name)).await?;
        match found {
            Ok(Found::File(file, length, kind)) => {
                self.send(file.into(), length, kind).await
            }
            Ok(Found::Folder) => {
                let to = ("Location", &files::with_slash(target)[..]);
                let status = "301 Moved Permanently";
                self.tell(status, &[to], "it is a folder").await
            }
            Ok(Found::Nothing) => {
                self.tell("404 Not Found", &[], "nothing here").await
            }
            Err(error) => {
                say(format!("server: cannot open {target}: {error}"));
                let status = "500 Internal Server Error";
                self.tell(status, &[], "cannot open it").await
            }
        }
    }

    /// Sends an answer whose body is one line of text.
    async fn tell(
        &mut self,
        status: &str,
        fields: Fields<'_>,
        line: &str,
    ) -> Result<()> {
        let text = format!("{status}: {line}\n");
        let mut bytes = self.head(status, TEXT, text.len() as u64, fields);
        if self.wants_body {
            bytes.extend(text.bytes());
        }
        self.write(&bytes).await
    }

    /// The head of an answer whose body has `length` bytes of this type.
    fn head(
        &self,
        status: &str,
        kind: &str,
        length: u64,
        fields: Fields<'_>,
    ) -> Vec<u8> {
        let length = length.to_string();
        let mut all = vec![
            ("Content-Type", kind),
            // It is what we say it is, whatever it looks like to a browser.
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Length", &length),
        ];
        all.extend(fields);
        if self.is_last {
            // HTTP's goodbye is part of an answer (RFC 9112 section 9.6).
            all.push(("Connection", "close"));
        }
        http::head(status, &all)
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
    ) -> Result<()> {
        let mut bytes = self.head("200 OK", kind, length, &[]);
        let mut left = if self.wants_body { length } else { 0 };
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
        } else if error.is::<TooSlow>() {
            // It does not read, so an answer would not reach it either.
            let _ = self.stream.set_zero_linger();
        } // otherwise the stream is broken, or the file was
    }

    /// Tells the client what it did wrong, and closes. What follows a broken
    /// request is never read as a request.
    async fn refuse(&mut self, refused: Refused) {
        self.is_last = true;
        let later = [("Retry-After", "1")];
        let fields = if refused == FULL { &later[..] } else { &[] };
        match self.tell(refused.0, fields, refused.1).await {
            // A reset would take away what it has not read yet: the answers
            // to earlier requests, too. So this only drops the stream.
            Ok(()) => self.end(LINGER).await,
            Err(_) => drop(self.stream.set_zero_linger()),
        }
    }

    /// Sends FIN, then reads on until the client closes. To close with bytes
    /// unread would send RST at once, and the client might lose our answer (RFC
    /// 9112 section 9.6).
    async fn end(&mut self, limit: Duration) {
        let end = async {
            self.stream.shutdown().await?;
            copy(&mut self.stream, &mut sink()).await
        };
        let _ = timeout(limit, end).await;
    }
}
// ANCHOR_END: end

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::future::pending;

    use tempfile::TempDir;
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    use crate::limits::ServerLimits;

    const LIMITS: PeerLimits = PeerLimits {
        idle: Duration::from_secs(60),
        request: Duration::from_secs(10),
        write: Duration::from_secs(7),
    };
    const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    const BODY: &str = "\r\n\r\nabc";

    /// How a conversation ended, and when. In these tests time stands still,
    /// and jumps when every task waits for it.
    type Server = JoinHandle<(Result<usize>, Duration)>;

    /// A server at the other end of a pipe that holds `size` bytes. The file
    /// `a` holds `abc`.
    fn server(size: usize) -> (DuplexStream, Server, TempDir) {
        server_until(size, pending())
    }

    /// The same, and it is told to stop when `stop` is done.
    fn server_until(
        size: usize,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> (DuplexStream, Server, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "abc").unwrap();
        let root = Arc::new(files::root(folder.path()).unwrap());
        let (client, end) = duplex(size);
        let start = Instant::now();
        let server = tokio::spawn(async move {
            let mut server = Client::new(end, LIMITS);
            let drain = LIMITS.write;
            let drain = Drain::new(ServerLimits { connections: 1, drain });
            let mut slot = drain.slot().unwrap();
            let stops = async {
                stop.await;
                drain.drain().await;
                pending().await
            };
            select! {
                end = server.answer(&root, &mut slot) => {
                    (end, start.elapsed())
                }
                () = stops => unreachable!(),
            }
        });
        (client, server, folder)
    }

    async fn send(client: &mut DuplexStream, text: &str) {
        client.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until what has come ends in `end`.
    async fn hear(client: &mut DuplexStream, end: &str) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(end.as_bytes()) {
            let n = client.read_buf(&mut heard).await.unwrap();
            let has_more = n > 0 && heard.len() < 1_000_000;
            assert!(has_more, "only {:?}", String::from_utf8_lossy(&heard));
        }
        String::from_utf8(heard).unwrap()
    }

    async fn ms(n: u64) {
        sleep(Duration::from_millis(n)).await;
    }

    /// Asserts how the conversation ended, after `after` ms. Each look of the
    /// clock may be two milliseconds late, and none early.
    async fn assert_ended(server: Server, after: u64) -> Result<usize> {
        let (outcome, time) = server.await.unwrap();
        let late = time.checked_sub(Duration::from_millis(after));
        let late = late.unwrap_or_else(|| panic!("early: {time:?}"));
        assert!(late <= Duration::from_millis(5), "{time:?}");
        outcome
    }

    async fn assert_late(server: Server, after: u64) {
        let error = assert_ended(server, after).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&LATE), "{error:#}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_asks_and_one_that_asks_no_more() {
        let (_client, end, _folder) = server(1000);
        assert_eq!(assert_ended(end, 60_000).await.unwrap(), 0);
        let (mut client, end, _folder) = server(1000);
        ms(59_000).await;
        send(&mut client, GET).await;
        hear(&mut client, BODY).await;
        assert_eq!(assert_ended(end, 119_000).await.unwrap(), 1);
    }

    /// No line buys more time, nor does a byte of a body.
    #[tokio::test(start_paused = true)]
    async fn a_line_each_second_and_a_byte_of_a_body_each_second() {
        let length = "Content-Length: 99\r\n\r\n";
        for (start, more) in [("", "X: 1\r\n"), (length, "x")] {
            let (mut client, server, _folder) = server(1000);
            ms(3_000).await;
            let line = format!("GET /a HTTP/1.1\r\nHost: a\r\n{start}");
            send(&mut client, &line).await;
            for _ in 0..9 {
                ms(1_000).await;
                send(&mut client, more).await;
            }
            assert_late(server, 13_000).await;
        }
    }

    /// The next request has its own time.
    #[tokio::test(start_paused = true)]
    async fn a_request_and_the_start_of_the_next() {
        let (mut client, server, _folder) = server(1000);
        send(&mut client, "GET").await;
        ms(8_000).await;
        send(&mut client, &GET[3..]).await;
        send(&mut client, "GET").await;
        hear(&mut client, BODY).await;
        assert_late(server, 18_000).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_and_one_that_takes_a_little() {
        let (mut client, end, _folder) = server(10);
        send(&mut client, &GET[..9]).await;
        ms(1_000).await;
        send(&mut client, &GET[9..]).await;
        let error = assert_ended(end, 8_000).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&TooSlow::Write), "{error:#}");
        let (mut client, end, _folder) = server(64);
        send(&mut client, GET).await;
        let mut heard = Vec::new();
        while !heard.ends_with(BODY.as_bytes()) {
            ms(6_000).await;
            let mut piece = [0; 30];
            let n = client.read(&mut piece).await.unwrap();
            heard.extend(&piece[..n]);
        }
        drop(client);
        assert_eq!(end.await.unwrap().0.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_come_in_order_and_the_connection_stays() {
        let (mut client, server, folder) = server(10_000);
        fs::create_dir(folder.path().join("b")).unwrap();
        let ask = |method: &str, target: &str, more: &str| {
            format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n")
        };
        let requests = [
            ask("GET", "/none", ""),
            ask("POST", "/a", "Content-Length: 30\r\n"),
            GET.to_owned(), // the first 30 bytes are the body of that POST
            "..".to_owned(),
            ask("HEAD", "/none", ""),
            ask("HEAD", "/a", ""),
            ask("GET", "/b", ""),
            ask("OPTIONS", "*", ""),
            ask("get", "/a", ""),
            GET.to_owned(),
        ];
        send(&mut client, &requests.concat()).await;
        let heard = hear(&mut client, BODY).await;
        let answers = heard.split("HTTP/1.1 ").skip(1);
        let statuses: String = answers.map(|answer| &answer[..4]).collect();
        assert_eq!(statuses, "404 405 404 200 301 200 501 200 ");
        assert_eq!(heard.matches("Content-Length: 3\r\n").count(), 2);
        assert_eq!(heard.matches("abc").count(), 1);
        assert_eq!(heard.matches("nothing").count(), 1);
        assert_eq!(heard.matches("Allow: GET, HEAD, OPTIONS\r\n").count(), 2);
        assert!(heard.contains("Location: /b/\r\n"));
        assert!(!heard.contains("Connection: close"));
        drop(client);
        assert_eq!(server.await.unwrap().0.unwrap(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_wants_no_more() {
        for (version, fields) in [("1.1", "Connection: close\r\n"), ("1.0", "")]
        {
            let (mut client, server, _folder) = server(1000);
            let one =
                format!("GET /a HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
            send(&mut client, &(one + GET)).await;
            let heard = hear(&mut client, BODY).await;
            assert!(heard.contains("\r\nConnection: close\r\n"));
            assert_eq!(server.await.unwrap().0.unwrap(), 1);
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
    }

    /// A client that has asked with HEAD before: the next answer has a body.
    #[tokio::test]
    async fn a_refusal_after_a_head() {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listener::bind(local).unwrap();
        let addr = listener.local_addr().unwrap();
        let limits = ServerLimits { connections: 1, drain: LINGER };
        let drain = Drain::new(limits);
        let root = Arc::new(files::root(".".as_ref()).unwrap());
        let ask = async {
            let mut client = TcpStream::connect(addr).await.unwrap();
            let head = GET.replace("GET", "HEAD");
            client.write_all((head + "\n").as_bytes()).await.unwrap();
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            heard
        };
        let heard = select! {
            () = run(&listener, LIMITS, &root, &drain) => unreachable!(),
            heard = ask => heard,
        };
        let (first, second) = heard.split_once("\r\n\r\n").unwrap();
        assert!(first.starts_with("HTTP/1.1 404 "), "{first}");
        assert!(second.starts_with("HTTP/1.1 400 "), "{second}");
        assert!(second.ends_with("bare LF\n"), "{second}");
    }

    /// While a client hears that it is one too many, it holds its place.
    #[tokio::test]
    async fn a_refusal_holds_its_place() {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listener::bind(local).unwrap();
        let addr = listener.local_addr().unwrap();
        let limits = ServerLimits { connections: 1, drain: LINGER };
        let drain = Drain::new(limits);
        let root = Arc::new(files::root(".".as_ref()).unwrap());
        let _slot = drain.slot().unwrap();
        let places = || std::iter::from_fn(|| drain.refusal()).collect();
        let ask = async {
            // On a machine that stands still, a try may take a second.
            for _ in 0..10 {
                let mut all: Vec<_> = places();
                all.pop(); // room for one
                let mut client = TcpStream::connect(addr).await.unwrap();
                let n = client.read(&mut [0]).await.unwrap();
                if n == 1 && drain.refusal().is_none() {
                    return true;
                }
            }
            false
        };
        let held = select! {
            () = run(&listener, LIMITS, &root, &drain) => unreachable!(),
            held = ask => held,
        };
        assert!(held);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_before_it_sends_a_body() {
        let (mut client, server_task, _folder) = server(1000);
        let lines = "Expect: 100-Continue\r\nContent-Length: 2\r\n";
        let head = GET.replace("a\r\n\r\n", &format!("a\r\n{lines}\r\n"));
        send(&mut client, &head).await;
        hear(&mut client, "HTTP/1.1 100 Continue\r\n\r\n").await;
        send(&mut client, "xx").await;
        hear(&mut client, BODY).await;
        let old = head.replace("HTTP/1.1", "HTTP/1.0") + "xx";
        send(&mut client, &old).await;
        let heard = hear(&mut client, BODY).await;
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
        assert_eq!(server_task.await.unwrap().0.unwrap(), 2);
        let (mut client, server, _folder) = server(1000);
        send(&mut client, &head.replace("h: 2", "h: 65537")).await;
        let error = server.await.unwrap().0.unwrap_err();
        assert!(error.to_string().starts_with("413"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_what_is_idle_at_once() {
        let (_client, end, _folder) = server_until(1000, ms(100));
        assert_eq!(assert_ended(end, 100).await.unwrap(), 0);
        let (mut client, end, _folder) = server_until(1000, ms(100));
        send(&mut client, GET).await;
        assert!(!hear(&mut client, BODY).await.contains("close"));
        assert_eq!(assert_ended(end, 100).await.unwrap(), 1);
    }

    /// An old client may send it after a body. It starts no request.
    #[tokio::test(start_paused = true)]
    async fn an_empty_line_starts_nothing() {
        let asked = GET.to_owned() + "\r\n";
        let (mut client, end, _folder) = server_until(1000, ms(100));
        send(&mut client, &asked).await;
        assert_eq!(assert_ended(end, 100).await.unwrap(), 1);
        let (mut client, end, _folder) = server(1000);
        send(&mut client, &asked).await;
        ms(50_000).await;
        send(&mut client, GET).await;
        ms(1_000).await;
        send(&mut client, "\r").await;
        ms(9_000).await;
        send(&mut client, "\n").await;
        assert_eq!(assert_ended(end, 110_000).await.unwrap(), 2);
    }

    /// Two writes would be two packets.
    #[tokio::test(start_paused = true)]
    async fn a_small_file_comes_together_with_its_head() {
        let (mut client, _server, _folder) = server(1000);
        send(&mut client, GET).await;
        let mut heard = [0; 1000];
        let n = client.read(&mut heard).await.unwrap();
        assert!(heard[..n].ends_with(BODY.as_bytes()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_a_request_that_has_started_be_answered() {
        let (mut client, server, _folder) = server_until(1000, ms(100));
        send(&mut client, "G").await;
        ms(5_000).await;
        send(&mut client, &(GET[1..].to_owned() + GET)).await;
        let heard = hear(&mut client, BODY).await;
        assert!(heard.contains("\r\nConnection: close\r\n"));
        assert_eq!(assert_ended(server, 5_000).await.unwrap(), 1);
    }

    /// It would keep a server that only looks between its requests.
    #[tokio::test(start_paused = true)]
    async fn a_stop_is_heard_by_a_client_that_never_pauses() {
        let (mut client, server, _folder) = server_until(1_000, ms(100));
        let flood = tokio::spawn(async move {
            let mut heard = vec![0; 1000];
            for n in 0.. {
                send(&mut client, &GET.repeat(2)).await;
                ms(1).await;
                if client.read(&mut heard).await.unwrap() == 0 {
                    return n;
                }
            }
            unreachable!()
        });
        let total = assert_ended(server, 100).await.unwrap();
        assert!(total > 50, "{total}");
        flood.abort();
    }

    /// Otherwise the client would take the next answer for the rest of this file.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_becomes_shorter_or_longer_meanwhile() {
        for (size, is_whole) in [(100_000, false), (1_000_000, true)] {
            let (mut client, server, folder) = server(1000);
            let path = folder.path().join("big.txt");
            fs::write(&path, vec![b'x'; 500_000]).unwrap();
            send(&mut client, &GET.replace("/a", "/big.txt")).await;
            let head = hear(&mut client, "x").await;
            assert!(head.contains("Content-Length: 500000\r\n"));
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(size).unwrap();
            drop(client_end(client, is_whole).await);
            let outcome = server.await.unwrap().0;
            assert_eq!(outcome.is_ok(), is_whole, "{outcome:?}");
        }
    }

    /// Reads on: to the end, or until the next answer follows the file.
    async fn client_end(mut client: DuplexStream, asks: bool) -> DuplexStream {
        if asks {
            send(&mut client, GET).await;
            hear(&mut client, BODY).await;
        } else {
            let mut rest = (&mut client).take(1_000_000);
            rest.read_to_end(&mut Vec::new()).await.unwrap();
        }
        client
    }
}

// ANCHOR: demo
//! Both ends in one process: scripted clients in one room.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::select;

use super::drain::Drain;
use super::limits::{PeerLimits, ServerLimits};
use super::ws::{self, CLOSE, Decoder, Message, TEXT};
use super::{hub, listener, say, server};

const SECOND: Duration = Duration::from_secs(1);

/// More than fits into the buffers on the way to a client that does not read,
/// and fewer than may wait in its mailbox.
const TEXTS: u64 = 60;
const DOTS: u64 = 50;

/// Texts, dots, a reader that is too slow, and its return.
pub async fn run() -> Result<()> {
    let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = listener.local_addr()?;
    let limits = PeerLimits {
        heartbeat: 60 * SECOND,
        frame: 5 * SECOND,
        write: 60 * SECOND, // bob's mailbox is full long before that
    };
    let drain = Drain::new(ServerLimits { connections: 9, drain: SECOND });
    let hub = hub(Vec::new());
    select! {
        () = server::run(&listener, limits, &hub, &drain) => {}
        end = script(addr) => end?,
    }
    say("\nNow you: start the server, and open its page in two browser tabs.");
    say("  cargo run -p chat -- server");
    Ok(())
}

async fn script(addr: SocketAddr) -> Result<()> {
    let mut ann = Client::join(addr, "ann", 1, "0-0").await?;
    let mut bob = Client::join(addr, "bob", 2, "0-0").await?;
    say("\nann does not get the ack, as far as she knows:");
    ann.says("say 1 hello").await?;
    bob.hears("message").await?;
    ann.says("say 1 hello").await?;
    ann.hears("ack 1").await?;
    ann.says("say 2 still there?").await?;
    let last = bob.hears("message").await?;
    be_slow(&mut ann, &mut bob).await?;
    say("\nbob comes back, and hears what the room remembers:");
    let mut bob = Client::join(addr, "bob", 2, &last).await?;
    bob.hears("gone").await?;
    ann.leave().await?;
    bob.leave().await
}

/// A slow reader, twice.
async fn be_slow(ann: &mut Client, bob: &mut Client) -> Result<()> {
    say("\nbob is busy and does not read:");
    say(format!("ann: sends {TEXTS} texts, and moves her dot {DOTS} times"));
    for n in 1..=TEXTS {
        ann.post(2 + n).await?;
    }
    for n in 1..=DOTS {
        ann.send(&format!("dot {n} 500")).await?;
    }
    ann.send("ping").await?;
    ann.wait("pong").await?; // so the server has all that was before it
    let (texts, dot) = bob.catch_up().await?;
    say(format!("bob: hears {texts} texts, and only {dot:?}"));

    say("\nbob does not read again, and ann does not stop:");
    let mut seq = 2 + TEXTS;
    while !ann.has_heard_left {
        seq += 1;
        ann.post(seq).await?;
    }
    say("ann: hears \"left 2\"; she never had to wait for bob");
    Ok(())
}
// ANCHOR_END: demo

/// A page without a browser.
struct Client {
    name: &'static str,
    stream: TcpStream,
    input: Vec<u8>,
    decoder: Decoder,
    has_heard_left: bool,
}

impl Client {
    async fn join(
        addr: SocketAddr,
        name: &'static str,
        id: u64,
        last: &str,
    ) -> Result<Client> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?; // the sooner it is full
        let mut stream = socket.connect(addr).await?;
        let key = ws::base64(&rand::random::<[u8; 16]>());
        let request = format!(
            "GET /room HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head)?;
        ensure!(head.contains(&ws::accept(&key)), "no WebSocket: {head}");
        let (input, decoder) = (Vec::new(), Decoder::new(false));
        let has_heard_left = false;
        let mut client =
            Client { name, stream, input, decoder, has_heard_left };
        client.says(&format!("join lobby {name} {last} {id:016x}")).await?;
        client.hears("welcome").await?;
        Ok(client)
    }

    async fn says(&mut self, line: &str) -> Result<()> {
        say(format!("{}: sends {line:?}", self.name));
        self.send(line).await
    }

    async fn send(&mut self, line: &str) -> Result<()> {
        let (mut frame, key) = (Vec::new(), rand::random());
        ws::encode(TEXT, line.as_bytes(), Some(key), &mut frame);
        self.stream.write_all(&frame).await.context("cannot write")
    }

    /// Waits for a line that begins with `word`, and returns its second word.
    async fn hears(&mut self, word: &str) -> Result<String> {
        let line = self.wait(word).await?;
        say(format!("{}: hears {line:?}", self.name));
        Ok(line.split(' ').nth(1).unwrap_or("").to_owned())
    }

    /// Posts a long text and waits for its acknowledgement.
    async fn post(&mut self, seq: u64) -> Result<()> {
        self.send(&format!("say {seq} {}", "x".repeat(900))).await?;
        self.wait(&format!("ack {seq}")).await?;
        Ok(())
    }

    /// Says goodbye, and waits for the same.
    async fn leave(mut self) -> Result<()> {
        let mut frame = Vec::new();
        ws::encode(CLOSE, &1000_u16.to_be_bytes(), Some([0; 4]), &mut frame);
        self.stream.write_all(&frame).await?;
        while self.line().await.is_ok() {}
        Ok(())
    }

    /// Reads until a dot comes, which is behind all texts.
    async fn catch_up(&mut self) -> Result<(usize, String)> {
        let mut texts = 0;
        loop {
            match self.line().await? {
                line if line.starts_with("dot") => return Ok((texts, line)),
                line => texts += usize::from(line.starts_with("message")),
            }
        }
    }

    async fn wait(&mut self, word: &str) -> Result<String> {
        loop {
            let line = self.line().await?;
            if line.starts_with(word) {
                return Ok(line);
            }
            self.has_heard_left |= line.starts_with("left");
        }
    }

    /// The next line that the server sends.
    async fn line(&mut self) -> Result<String> {
        loop {
            let mut rest = &self.input[..];
            let message = self.decoder.decode(&mut rest)?;
            self.input = rest.to_vec();
            match message {
                Some(Message::Text(line)) => return Ok(line),
                Some(Message::Close(code)) => bail!("closed: {code:?}"),
                Some(Message::Ping(_) | Message::Pong) => {}
                None => {
                    let n = self.stream.read_buf(&mut self.input).await?;
                    ensure!(n > 0, "the server ended the connection");
                }
            }
        }
    }
}

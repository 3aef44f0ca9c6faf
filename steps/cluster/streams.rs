// ANCHOR: streams
//! The engine that keeps the rooms of the chat in Redis: one stream of all
//! messages, which each process reads for itself from where it was.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::redis::{Redis, Reply, encode};
use super::retry::full_jitter;
use super::room::{Id, Message, Post, Rooms};
use super::say;

/// Drops a copy, or gives a post its place; see there.
const POST: &str = include_str!("post.lua");

/// Messages of all rooms: one line after another.
const STREAM: &str = "chat";

/// How many messages the stream keeps, of all rooms together.
const LENGTH: &str = "20000";

/// How long a client's last number is remembered, in seconds. A copy that
/// comes later would be a second message.
const REMEMBER: &str = "3600";

/// How many messages we read at once, and how many posts we send.
const BATCH: usize = 100;

/// How long Redis waits for a new message before it answers that there is
/// none, in ms. So we learn that it is still there.
const BLOCK: &str = "2000";

/// How long we wait before we connect again, at most.
const PAUSE: Duration = Duration::from_millis(200);

/// Where Redis is, and how long it may take.
#[derive(Clone, Copy)]
pub struct Place {
    pub addr: SocketAddr,
    pub limit: Duration,
}
// ANCHOR_END: streams

// ANCHOR: post
impl Place {
    /// Takes posts until no one can send any more.
    pub async fn post(self, mut posts: mpsc::Receiver<Post>) {
        let (mut link, mut batch) = (None, Vec::new());
        while posts.recv_many(&mut batch, BATCH).await > 0 {
            let done =
                timeout(self.limit, self.post_all(&mut link, &mut batch));
            if let Err(error) = done.await.unwrap_or_else(|e| Err(e.into())) {
                say(format!("engine: cannot post: {error:#}"));
                link = None;
                while posts.try_recv().is_ok() {} // they waited as long
            }
            batch.clear(); // without a reply, a page posts again
        }
    }

    async fn post_all(
        self,
        link: &mut Option<(Redis, Vec<u8>)>,
        batch: &mut Vec<Post>,
    ) -> Result<()> {
        link.take_if(|(redis, _)| redis.has_ended());
        let (redis, script) = match link {
            Some(link) => link,
            None => link.insert(self.connect().await?),
        };
        let mut commands = Vec::new();
        for post in batch.iter() {
            command(post, script, &mut commands);
        }
        redis.send(&commands).await?;
        for post in batch.drain(..) {
            match redis.receive().await? {
                Reply::Text(_) => drop(post.reply.send(())),
                other => bail!("Redis says {other:?}"),
            }
        }
        Ok(())
    }

    async fn connect(self) -> Result<(Redis, Vec<u8>)> {
        let mut redis = Redis::connect(self.addr).await?;
        match redis.ask(&[b"SCRIPT", b"LOAD", POST.as_bytes()]).await? {
            Reply::Text(script) => Ok((redis, script)),
            _ => bail!("Redis takes no scripts"),
        }
    }
}

fn command(post: &Post, script: &[u8], output: &mut Vec<u8>) {
    let client = format!("chat:{:016x}", post.client);
    let seq = format!("{:020}", post.seq);
    let keys = ["2", &client, STREAM];
    let values = [&seq, &post.room, &post.name, &post.text, LENGTH, REMEMBER];
    let mut words = vec![b"EVALSHA", script];
    words.extend(keys.iter().chain(&values).map(|word| word.as_bytes()));
    encode(&words, output);
}
// ANCHOR_END: post

// ANCHOR: history
impl Place {
    /// Reads what the stream remembers. Returns the rooms, and the id of the
    /// last message.
    ///
    /// # Errors
    /// Redis cannot be reached within the limit, or does not know streams.
    pub async fn open(self) -> Result<(Arc<Rooms>, Id)> {
        let addr = self.addr;
        let opened = timeout(self.limit, self.history()).await;
        let opened = opened.unwrap_or_else(|error| Err(error.into()));
        opened.with_context(|| format!("cannot use the engine redis://{addr}"))
    }

    async fn history(self) -> Result<(Arc<Rooms>, Id)> {
        let mut redis = Redis::connect(self.addr).await?;
        let words = ["XRANGE", STREAM, "-", "+", "COUNT", "1"];
        let first = redis.ask(&words.map(str::as_bytes)).await?;
        let first = entries(first)?.first().map(|(id, _)| *id);
        // Whoever heard a message before the first may have missed others.
        let rooms = Arc::new(Rooms::new(first.unwrap_or_default()));
        let mut last = Id(0, 0);
        while self.read_some(&mut redis, &rooms, &mut last, None).await? > 0 {}
        Ok((rooms, last))
    }
}
// ANCHOR_END: history

// ANCHOR: read
impl Place {
    /// Delivers all that is newer than `last`, forever. A new connection goes
    /// on where the one before was.
    pub async fn read(self, rooms: Arc<Rooms>, mut last: Id) {
        loop {
            if let Err(error) = self.read_on(&rooms, &mut last).await {
                say(format!("engine: cannot read: {error:#}"));
            }
            sleep(full_jitter(PAUSE)).await;
        }
    }

    async fn read_on(self, rooms: &Rooms, last: &mut Id) -> Result<()> {
        let redis = timeout(self.limit, Redis::connect(self.addr)).await;
        let mut redis = redis??;
        loop {
            self.read_some(&mut redis, rooms, last, Some(BLOCK)).await?;
        }
    }

    /// Delivers the next messages behind `last`, and returns how many. With
    /// `block`, waits that many ms for one.
    async fn read_some(
        self,
        redis: &mut Redis,
        rooms: &Rooms,
        last: &mut Id,
        block: Option<&str>,
    ) -> Result<usize> {
        let (count, id) = (BATCH.to_string(), last.to_string());
        let mut words = vec!["XREAD", "COUNT", &count];
        words.extend(block.iter().flat_map(|ms| ["BLOCK", ms]));
        words.extend(["STREAMS", STREAM, &id]);
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        let most = Duration::from_millis(block.unwrap_or("0").parse()?);
        let asked = timeout(self.limit + most, redis.ask(&words)).await;
        let entries = match asked.context("no answer in time")?? {
            Reply::None => return Ok(0), // none has come
            Reply::Array(mut streams) => match streams.pop() {
                Some(Reply::Array(mut pair)) => {
                    entries(pair.pop().context("a stream without messages")?)?
                }
                _ => bail!("a stream without a name"),
            },
            other => bail!("Redis says {other:?}"),
        };
        for (id, message) in &entries {
            if let Some((room, message)) = message {
                // If there is no room, none of our clients is in it.
                rooms.open(room).inspect(|room| room.deliver(message));
            }
            *last = *id;
        }
        Ok(entries.len())
    }
}
// ANCHOR_END: read

// ANCHOR: entries
/// An entry's id, its room and its message; None: somebody else wrote it.
type Entry = (Id, Option<(String, Message)>);

/// The entries in Redis' reply.
fn entries(reply: Reply) -> Result<Vec<Entry>> {
    let Reply::Array(entries) = reply else { bail!("no entries") };
    entries.iter().map(|e| entry(e).context("no entry")).collect()
}

/// An id, and an array of words.
fn entry(entry: &Reply) -> Option<Entry> {
    let Reply::Array(parts) = entry else { return None };
    let [id, Reply::Array(words)] = &parts[..] else { return None };
    let id = text_of(id)?.parse().ok()?;
    Some((id, message(id, words)))
}

/// The words that `post.lua` gave to XADD.
fn message(id: Id, words: &[Reply]) -> Option<(String, Message)> {
    let [_, room, _, name, _, text] = words else { return None };
    let [room, name, text] = [room, name, text].map(text_of);
    Some((room?, Message { id, name: name?, text: text? }))
}

fn text_of(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Text(text) => String::from_utf8(text.clone()).ok(),
        _ => None,
    }
}
// ANCHOR_END: entries

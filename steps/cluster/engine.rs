// ANCHOR: engine
//! The engine behind the ledger: this process' memory, or Redis, which any
//! number of processes share.

use std::fmt;
use std::mem::take;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::frame::{BAD_PAYLOAD, CONFLICT, STALE_SEQ};
use crate::journal::Request;
use crate::ledger::{Answer, CLIENTS, Full, Operation, WINDOW};
use crate::redis::{Redis, Reply, encode};
use crate::retry::full_jitter;
use crate::say;

/// Where operations are remembered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Engine {
    Memory,
    Redis(SocketAddr),
}

impl FromStr for Engine {
    type Err = Error;

    fn from_str(text: &str) -> Result<Engine> {
        let what = || anyhow!("give memory, or redis://IP:PORT");
        match text.strip_prefix("redis://") {
            Some(addr) => Ok(Engine::Redis(addr.parse().map_err(|_| what())?)),
            None if text == "memory" => Ok(Engine::Memory),
            None => Err(what()),
        }
    }
}
// ANCHOR_END: engine

// ANCHOR: open
/// Looked up, added and remembered at once; see there.
const ADD: &str = include_str!("add.lua");

/// Whose data this is: a random text that the first process writes.
const NAME: &[u8] = b"ledger:name";

/// How many clients are remembered.
const COUNT: &[u8] = b"ledger:clients";

/// The longest first wait before we connect again, and the longest of all; it
/// doubles each time.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSES: Duration = Duration::from_millis(500);

/// The ledger in Redis.
pub struct Shared {
    addr: SocketAddr,
    limit: Duration,
    name: Option<Vec<u8>>, // once we know it
    link: Option<Link>,
    said: String, // what went wrong with the last batch
}

/// A connection over which Redis knows the script.
struct Link {
    redis: Redis,
    script: Vec<u8>, // its SHA-1, in digits
    name: Vec<u8>,
}

/// Redis has not the data that it had: it was emptied, or replaced.
#[derive(Debug)]
struct OtherData;

impl fmt::Display for OtherData {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Redis has lost what it acknowledged, or is another one")
    }
}

impl std::error::Error for OtherData {}

impl Shared {
    /// Uses the Redis at `addr`. A batch of operations may take until `limit`,
    /// and has to wait for the one before. Also returns what to say of Redis.
    ///
    /// # Errors
    /// There is no such Redis within the limit.
    pub async fn open(
        addr: SocketAddr,
        limit: Duration,
    ) -> Result<(Shared, String)> {
        let (name, link, said) = (None, None, String::new());
        let mut shared = Shared { addr, limit, name, link, said };
        let deadline = Instant::now() + limit;
        let ready = shared.ready(deadline).await;
        ready
            .with_context(|| format!("cannot use the engine redis://{addr}"))?;
        let link = shared.link.as_mut().context("not connected")?;
        let told = timeout_at(deadline, promise(&mut link.redis)).await;
        let note = told.ok().flatten().unwrap_or_else(|| {
            shared.link = None; // a late answer must not meet a batch
            "it does not tell what its answers are worth".to_owned()
        });
        Ok((shared, format!("the engine is Redis at {addr}: {note}")))
    }

    /// Connects unless we are connected, as often as it takes.
    ///
    /// # Errors
    /// It takes longer than `deadline`, or the data are others.
    async fn ready(&mut self, deadline: Instant) -> Result<()> {
        self.link.take_if(|link| link.redis.has_ended());
        let (mut pause, mut why) = (PAUSE, anyhow!("no answer in time"));
        while self.link.is_none() {
            match timeout_at(deadline, self.connect()).await {
                Ok(Ok(link)) => self.link = Some(link),
                Ok(Err(error)) if error.is::<OtherData>() => return Err(error),
                Ok(Err(error)) => why = error,
                Err(_) => return Err(why), // why it failed the time before
            }
            if self.link.is_none() {
                // A connect may fail at once, before `timeout_at` looks.
                ensure!(Instant::now() < deadline, why);
                let wake = Instant::now() + full_jitter(pause);
                sleep_until(wake.min(deadline)).await;
                pause = (pause * 2).min(PAUSES);
            }
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<Link> {
        let mut redis = Redis::connect(self.addr).await?;
        let mut name = redis.ask(&[b"GET", NAME]).await?;
        if name == Reply::None {
            // The first process of all chooses it; NX: if there is none.
            let new = format!("{:016x}", rand::random::<u64>());
            redis.ask(&[b"SET", NAME, new.as_bytes(), b"NX"]).await?;
            name = redis.ask(&[b"GET", NAME]).await?;
        }
        let Reply::Text(name) = name else { bail!("Redis keeps no name") };
        ensure!(*self.name.get_or_insert(name.clone()) == name, OtherData);
        match redis.ask(&[b"SCRIPT", b"LOAD", ADD.as_bytes()]).await? {
            Reply::Text(script) => Ok(Link { redis, script, name }),
            _ => bail!("Redis takes no scripts"),
        }
    }
}
// ANCHOR_END: open

// ANCHOR: promise
// ANCHOR: settings
/// Settings without which Redis may forget what it has acknowledged: at a
/// crash, at a power cut, and when its memory is full.
const SETTINGS: [[&str; 2]; 4] = [
    ["appendonly", "yes"],
    ["appendfsync", "always"],
    ["no-appendfsync-on-rewrite", "no"],
    ["maxmemory-policy", "noeviction"],
];
// ANCHOR_END: settings

/// Returns what an acknowledgement of this Redis means, if it tells.
async fn promise(redis: &mut Redis) -> Option<String> {
    for [name, good] in SETTINGS {
        let asked = redis.ask(&[b"CONFIG", b"GET", name.as_bytes()]).await;
        let Reply::Array(pair) = asked.ok()? else { return None };
        let [_, Reply::Text(value)] = &pair[..] else { return None };
        if value != good.as_bytes() {
            let value = String::from_utf8_lossy(value);
            return Some(format!(
                "its {name} is {value}, so it may lose what it has answered"
            ));
        }
    }
    Some("what it answers is on disk".to_owned())
}
// ANCHOR_END: promise

// ANCHOR: run
/// At most this many operations go to Redis at once.
const BATCH: usize = 1024;

/// Answers `requests` until all senders are gone: what `journal::run` does,
/// with Redis instead of a file. While a batch waits for Redis, the next one
/// gathers in the channel.
///
/// # Errors
/// Redis has other data than before. The server has to stop.
pub async fn run(
    mut shared: Shared,
    mut requests: mpsc::Receiver<Request>,
) -> Result<()> {
    let mut batch = Vec::new();
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let deadline = Instant::now() + shared.limit;
        match shared.ready(deadline).await {
            Err(error) if error.is::<OtherData>() => return Err(error),
            Err(error) => {
                let waiting = requests.len();
                requests.recv_many(&mut batch, waiting).await;
                let n = batch.len();
                say(format!("engine: refused {n} operations: {error:#}"));
                refuse(&mut batch);
            }
            Ok(()) => shared.apply(take(&mut batch), deadline).await?,
        }
    }
    Ok(())
}

/// Says no to operations that Redis has never seen: no doubt is left.
fn refuse(batch: &mut Vec<Request>) {
    for request in batch.drain(..) {
        let _ = request.reply.send(Err(Full)); // its client may have left
    }
}
// ANCHOR_END: run

// ANCHOR: apply
impl Shared {
    /// Has Redis apply `batch`, and answers. From here on, Redis may have done
    /// what it does not answer. So whatever fails, the rest of the batch is
    /// dropped: its connections are closed, and its clients ask again.
    async fn apply(
        &mut self,
        batch: Vec<Request>,
        deadline: Instant,
    ) -> Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let applied = timeout_at(deadline, link.apply(batch)).await;
        let late = |_| Err(anyhow!("Redis did not answer in time"));
        match applied.unwrap_or_else(late) {
            Ok(()) => self.said.clear(),
            Err(error) if error.is::<OtherData>() => return Err(error),
            Err(error) => {
                self.link = None; // a late answer must not meet the next batch
                let line = format!("engine: has to connect again: {error:#}");
                if line != self.said {
                    say(&line); // once, however long it lasts
                    self.said = line;
                }
            }
        }
        Ok(())
    }
}

impl Link {
    async fn apply(&mut self, batch: Vec<Request>) -> Result<()> {
        let mut commands = Vec::new();
        for request in &batch {
            add(&self.script, &self.name, request.operation, &mut commands);
        }
        self.redis.send(&commands).await?;
        let mut refused = None;
        for request in batch {
            let reply = self.redis.receive().await?;
            match answer(&reply) {
                Some(answer) => drop(request.reply.send(answer)),
                None if reply == Reply::Text(b"other".into()) => {
                    bail!(OtherData)
                }
                None => bail!("an unknown answer: {reply:?}"),
            }
            if let Reply::Error(text) = reply {
                refused = Some(text);
            }
        }
        // Connect again: this may be a replica by now, or want the script.
        refused.map_or(Ok(()), |text| Err(anyhow!("Redis says {text:?}")))
    }
}
// ANCHOR_END: apply

// ANCHOR: answer
/// Appends the command for one ADD.
fn add(script: &[u8], name: &[u8], operation: Operation, output: &mut Vec<u8>) {
    let Operation { client, seq, amount } = operation;
    let key = format!("ledger:{client}");
    let newest = seq.saturating_add(WINDOW - 1);
    let seq_and_newest = [seq, newest].map(|n| format!("{n:020}"));
    let [seq, newest] = &seq_and_newest;
    let slot = (operation.seq % WINDOW).to_string();
    let (amount, most) = (amount.to_string(), CLIENTS.to_string());
    let words: [&[u8]; 12] = [
        b"EVALSHA",
        script,
        b"3", // keys
        key.as_bytes(),
        COUNT,
        NAME,
        name,
        seq.as_bytes(),
        newest.as_bytes(),
        slot.as_bytes(),
        amount.as_bytes(),
        most.as_bytes(),
    ];
    encode(&words, output);
}

// ANCHOR: refused
/// Errors with which Redis refuses a command or a script's first write. Any
/// other may come from the middle of a script, which Redis does not roll back.
const REFUSED: [&str; 9] = [
    "NOSCRIPT",   // it was restarted, and knows no scripts yet
    "LOADING",    // it was restarted, and reads its files
    "READONLY",   // it is a replica by now
    "MASTERDOWN", // it is one that has lost its primary
    "NOREPLICAS", // it has lost its replicas, and was told to want some
    "MISCONF",    // it cannot write to its disk
    "OOM",        // its memory is full
    "BUSY",       // a script does not end
    "NOAUTH",     // it wants a password
];
// ANCHOR_END: refused

/// Says what Redis' reply to an ADD means: the same as the ledger says. None:
/// we cannot tell.
fn answer(reply: &Reply) -> Option<Result<Answer, Full>> {
    let text = match reply {
        Reply::Text(text) => std::str::from_utf8(text).ok()?,
        Reply::Error(text) => {
            let code = text.split(' ').next()?;
            return REFUSED.contains(&code).then_some(Err(Full));
        }
        _ => return None,
    };
    Some(Ok(match text {
        "full" => return Some(Err(Full)),
        "stale" => {
            Answer::Error(STALE_SEQ, "so old that its answer is forgotten")
        }
        "conflict" => {
            Answer::Error(CONFLICT, "the same number, another amount")
        }
        "overflow" => Answer::Error(BAD_PAYLOAD, "the total would not fit"),
        total => Answer::Total(total.parse().ok()?),
    }))
}
// ANCHOR_END: answer

// ANCHOR: talk
//! The conversation with one page: what it says goes to the room and to the
//! engine, and what the room has for it goes to the page.

use std::fmt;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::select;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::room::{Ended, Post, Posts, Rooms, Seat};
use super::words::{self, Line};
use super::ws::Message;

/// Where all conversations meet.
#[derive(Clone)]
pub struct Hub {
    pub rooms: Arc<Rooms>,
    pub posts: Posts,
    /// Names that this server may be called by, besides addresses.
    pub hosts: Arc<[String]>,
}

/// Why a conversation ends: the code for the CLOSE, and a reason.
#[derive(Debug, PartialEq)]
pub struct End(pub u16, pub &'static str);

pub const GOING_AWAY: u16 = 1001;
pub const POLICY: u16 = 1008;
pub const TRY_AGAIN_LATER: u16 = 1013;
/// From 4000 on, codes are an application's own (RFC 6455 section 7.4.2).
pub const REPLACED: u16 = 4001;

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({})", self.1, self.0)
    }
}

impl std::error::Error for End {}

/// How long a client may take to enter a room.
const JOIN: Duration = Duration::from_secs(10);

/// How long we stay after the sign to leave, reading nothing more: what others
/// posted just before it is in all mailboxes by then. What a page posts later
/// gets no acknowledgement, so it comes again.
const LEAVE: Duration = Duration::from_millis(200);

/// Talks until the page says goodbye, and returns its code.
///
/// # Errors
/// What makes us close: an [`End`], or what [`Connection::receive`] says.
pub async fn talk(
    client: &mut Connection<impl AsyncRead + AsyncWrite + Unpin>,
    guest: &mut Guest,
    hub: &Hub,
    sign: impl Future<Output = ()>,
) -> Result<Option<u16>> {
    let mut sign = pin!(sign);
    let join_end = Instant::now() + JOIN;
    loop {
        let pause = guest.pace.pause(Instant::now());
        client.is_paused = pause.is_some() || guest.is_busy();
        let join = guest.seat.is_none().then_some(join_end);
        select! {
            biased; // the room before the page: to hear is not limited
            () = sign.as_mut(), if guest.leave.is_none() => guest.leave(),
            ack = acknowledged(&mut guest.posted) => client.send(&ack?),
            line = heard(&guest.seat, client.has_room()) => {
                client.send(&line?);
            }
            message = client.receive() => match message? {
                Some(Message::Close(code)) => return Ok(code),
                Some(Message::Text(line)) => guest.take(&line, hub, client)?,
                _ => {} // there is room again
            },
            () = at(guest.leave), if guest.posted.is_none() => {
                return end(GOING_AWAY, "stopping");
            }
            () = at(pause) => {} // read on
            () = at(join) => return end(POLICY, "join a room first"),
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

fn end<T>(code: u16, reason: &'static str) -> Result<T> {
    Err(Error::new(End(code, reason)))
}

/// The next line for this member, if there is room for it.
async fn heard(seat: &Option<Seat>, has_room: bool) -> Result<Arc<str>> {
    let Some(seat) = seat else { return pending().await };
    match seat.mailbox.next(has_room).await {
        Ok(line) => Ok(line),
        Err(Ended::TooSlow) => end(TRY_AGAIN_LATER, "you read too slowly"),
        Err(Ended::Replaced) => end(REPLACED, "joined over another connection"),
    }
}

/// The acknowledgement of the post that is with the engine.
async fn acknowledged(posted: &mut Option<Posted>) -> Result<String> {
    let Some(Posted { seq, reply }) = posted else { return pending().await };
    let (seq, reply) = (*seq, reply.await);
    *posted = None;
    match reply {
        Ok(()) => Ok(format!("ack {seq}")),
        Err(_) => end(TRY_AGAIN_LATER, "nobody knows whether that was posted"),
    }
}
// ANCHOR_END: talk

// ANCHOR: guest
struct Posted {
    seq: u64,
    reply: oneshot::Receiver<()>,
}

/// One page, from our side.
#[derive(Default)]
pub struct Guest {
    room: String,
    name: String,
    client: u64,
    seat: Option<Seat>,
    posted: Option<Posted>,
    pace: Pace,
    leave: Option<Instant>,
}

impl Guest {
    /// The sign to leave has come.
    fn leave(&mut self) {
        self.leave = Some(Instant::now() + LEAVE);
    }

    /// Reads nothing now: a post is with the engine, or we are about to leave.
    fn is_busy(&self) -> bool {
        self.posted.is_some() || self.leave.is_some()
    }

    fn take(
        &mut self,
        line: &str,
        hub: &Hub,
        client: &mut Connection<impl AsyncRead + AsyncWrite + Unpin>,
    ) -> Result<()> {
        self.pace.count(Instant::now());
        match (words::parse(line).map_err(|why| End(POLICY, why))?, &self.seat)
        {
            (Line::Join { room, name, last, client }, None) => {
                let full = End(TRY_AGAIN_LATER, "no room for you");
                let found = hub.rooms.open(room);
                let seat = found.and_then(|found| found.join(client, last));
                self.seat = Some(seat.ok_or(full)?);
                self.room = room.to_owned();
                self.name = name.to_owned();
                self.client = client;
            }
            (Line::Say { seq, text }, Some(_)) => self.post(seq, text, hub)?,
            (Line::Dot { x, y }, Some(seat)) => seat.dot(&self.name, x, y),
            (Line::Ping, _) => client.send("pong"),
            _ => return end(POLICY, "join a room first, and once"),
        }
        Ok(())
    }

    fn post(&mut self, seq: u64, text: &str, hub: &Hub) -> Result<()> {
        let (reply, posted) = oneshot::channel();
        let post = Post {
            room: self.room.clone(),
            client: self.client,
            seq,
            name: self.name.clone(),
            text: text.to_owned(),
            reply,
        };
        let full = End(TRY_AGAIN_LATER, "too many posts");
        hub.posts.try_send(post).map_err(|_| full)?;
        self.posted = Some(Posted { seq, reply: posted });
        Ok(())
    }
}
// ANCHOR_END: guest

// ANCHOR: pace
/// How many messages a page may send: one in 10 ms, and 500 at once after a
/// silence. Then we read no more for a while, and its own buffers fill.
const COST: Duration = Duration::from_millis(10);
const BURST: Duration = Duration::from_secs(5);

/// When this page's messages would be paid for.
#[derive(Default)]
struct Pace(Option<Instant>);

impl Pace {
    fn count(&mut self, now: Instant) {
        let paid = self.0.map_or(now, |paid| paid.max(now));
        self.0 = Some(paid + COST);
    }

    /// Until when to read nothing, if it has gone too fast.
    fn pause(&self, now: Instant) -> Option<Instant> {
        let end = self.0?.checked_sub(BURST)?;
        (end > now).then_some(end)
    }
}
// ANCHOR_END: pace

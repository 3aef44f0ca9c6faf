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
use tokio::time::{Instant, sleep_until, timeout_at};

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

/// How long the engine may take for a post. Then the page comes back, and
/// posts it again.
const ENGINE: Duration = Duration::from_secs(10);

/// How long we stay after the sign to leave, reading nothing more: what others
/// posted just before it is in all mailboxes by then. What a page posts later
/// gets no acknowledgement, so it comes again.
const LEAVE: Duration = Duration::from_millis(200);

// ANCHOR: loop
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
            message = client.receive() => match guest.count(message?) {
                Some(Message::Close(code)) => return Ok(code),
                Some(Message::Text(line)) => guest.obey(&line, hub, client)?,
                _ => {} // a sign of life, or there is room again
            },
            () = at(guest.leave), if guest.posted.is_none() => {
                return end(GOING_AWAY, "stopping");
            }
            () = at(pause) => {} // read on
            () = at(join) => return end(POLICY, "join a room first"),
        }
    }
}
// ANCHOR_END: loop

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
    let Some(Posted { seq, end: limit, reply }) = posted else {
        return pending().await;
    };
    let (seq, reply) = (*seq, timeout_at(*limit, reply).await);
    *posted = None;
    match reply {
        Ok(Ok(())) => Ok(format!("ack {seq}")),
        _ => end(TRY_AGAIN_LATER, "nobody knows whether that was posted"),
    }
}
// ANCHOR_END: talk

// ANCHOR: guest
struct Posted {
    seq: u64,
    end: Instant,
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

    fn count(&mut self, message: Option<Message>) -> Option<Message> {
        message.inspect(|_| self.pace.count(Instant::now()))
    }

    fn obey(
        &mut self,
        line: &str,
        hub: &Hub,
        client: &mut Connection<impl AsyncRead + AsyncWrite + Unpin>,
    ) -> Result<()> {
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
        let end = Instant::now() + ENGINE;
        self.posted = Some(Posted { seq, end, reply: posted });
        Ok(())
    }
}
// ANCHOR_END: guest

// ANCHOR: pace
/// How many messages, PINGs and PONGs a page may send: one in 10 ms, and 50 at
/// once after a silence. Then we read no more for a while, and its own buffers
/// fill. It is far less than a mailbox holds, so one page alone cannot fill
/// those of all others at once.
const COST: Duration = Duration::from_millis(10);
const BURST: Duration = Duration::from_millis(500);

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

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::mpsc;

    use super::super::limits::PeerLimits;
    use super::super::room::{Id, Message as Posted};
    use super::super::ws::{TEXT, encode};

    const LIMITS: PeerLimits = PeerLimits {
        heartbeat: Duration::from_secs(60),
        frame: Duration::from_secs(10),
        write: Duration::from_secs(10),
    };

    fn hub(waiting: usize) -> (Hub, mpsc::Receiver<Post>) {
        let (posts, inbox) = mpsc::channel(waiting);
        let rooms = Arc::new(Rooms::new(Id(100, 0)));
        (Hub { rooms, posts, hosts: Vec::new().into() }, inbox)
    }

    /// A page that has sent these lines.
    async fn page(lines: &[&str]) -> (Connection<DuplexStream>, DuplexStream) {
        let (end, mut page) = duplex(1 << 16);
        let mut bytes = Vec::new();
        for line in lines {
            encode(TEXT, line.as_bytes(), Some([7; 4]), &mut bytes);
        }
        page.write_all(&bytes).await.unwrap();
        (Connection::new(end, LIMITS, Vec::new()), page)
    }

    const JOIN_ANN: &str = "join lobby ann 0-0 0000000000000001";

    /// How the conversation ends, if nobody asks for a stop.
    async fn ended(lines: &[&str], hub: &Hub) -> u16 {
        let (mut client, _page) = page(lines).await;
        let mut guest = Guest::default();
        let end = talk(&mut client, &mut guest, hub, pending()).await;
        end.unwrap_err().downcast_ref::<End>().unwrap().0
    }

    async fn ended_at(lines: &[&str], hub: &Hub) -> (u16, Instant) {
        (ended(lines, hub).await, Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_join_has_to_go() {
        let (hub, _inbox) = hub(1);
        let start = Instant::now();
        assert_eq!(ended(&["ping"], &hub).await, POLICY);
        assert_eq!(start.elapsed().as_secs(), JOIN.as_secs());
        assert_eq!(ended(&["say 1 hi"], &hub).await, POLICY);
        assert_eq!(ended(&["dot 1 1"], &hub).await, POLICY);
        assert_eq!(ended(&[JOIN_ANN, JOIN_ANN], &hub).await, POLICY);
    }

    /// No false acknowledgement, and no false refusal: the page asks again.
    #[tokio::test(start_paused = true)]
    async fn an_engine_that_does_not_know() {
        let (hub, mut inbox) = hub(1);
        let lines = [JOIN_ANN, "say 1 hi"];
        let engine = async {
            let post = inbox.recv().await.unwrap();
            assert_eq!((post.client, post.seq, &*post.text), (1, 1, "hi"));
            drop(post);
        };
        let (end, ()) = tokio::join!(ended(&lines, &hub), engine);
        assert_eq!(end, TRY_AGAIN_LATER);
        let start = Instant::now();
        let engine = async {
            let post = inbox.recv().await.unwrap();
            tokio::time::sleep(2 * ENGINE).await; // it hangs
            drop(post);
        };
        let (end, ()) = tokio::join!(ended_at(&lines, &hub), engine);
        assert_eq!(end, (TRY_AGAIN_LATER, start + ENGINE));
        hub.posts.try_send(post()).unwrap(); // now its inbox is full
        assert_eq!(ended(&lines, &hub).await, TRY_AGAIN_LATER);
    }

    fn post() -> Post {
        let (room, name, text) = ("lobby".into(), "bob".into(), "ho".into());
        Post {
            room,
            client: 2,
            seq: 1,
            name,
            text,
            reply: oneshot::channel().0,
        }
    }

    /// Until the first is acknowledged, the second stays where it is.
    #[tokio::test(start_paused = true)]
    async fn one_post_at_a_time() {
        let (hub, mut inbox) = hub(9);
        let lines = [JOIN_ANN, "say 1 one", "say 2 two"];
        let (mut client, _page) = page(&lines).await;
        let mut guest = Guest::default();
        let talk = talk(&mut client, &mut guest, &hub, pending());
        let engine = async {
            let first = inbox.recv().await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(inbox.try_recv().is_err());
            first.reply.send(()).unwrap();
            assert_eq!(inbox.recv().await.unwrap().text, "two");
        };
        select! {
            end = talk => panic!("{end:?}"),
            () = engine => {}
        }
    }

    fn late() -> Posted {
        let (name, text) = ("bob".to_owned(), "late".to_owned());
        Posted { id: Id(101, 0), name, text }
    }

    /// At the stop, a page hears what was posted before, and its own post is
    /// acknowledged, but nothing new is taken.
    #[tokio::test(start_paused = true)]
    async fn a_stop_loses_nothing() {
        let (hub, mut inbox) = hub(9);
        let (mut client, mut page) = page(&[JOIN_ANN, "say 1 one"]).await;
        let mut guest = Guest::default();
        let (stop, sign) = oneshot::channel::<()>();
        let sign = async { drop(sign.await) };
        let talk = talk(&mut client, &mut guest, &hub, sign);
        let others = async {
            let first = inbox.recv().await.unwrap();
            drop(stop);
            tokio::time::sleep(LEAVE / 2).await;
            let mut more = Vec::new();
            encode(TEXT, b"say 2 two", Some([7; 4]), &mut more);
            page.write_all(&more).await.unwrap();
            hub.rooms.open("lobby").unwrap().deliver(&late());
            tokio::time::sleep(LEAVE).await;
            first.reply.send(()).unwrap();
        };
        let both = async { tokio::join!(talk, others) };
        let both = tokio::time::timeout(2 * JOIN, both).await;
        let (end, ()) = both.expect("an end");
        assert_eq!(end.unwrap_err().to_string(), "stopping (1001)");
        assert!(inbox.try_recv().is_err(), "a post after the sign");
        drop(guest);
        client.flush().await.unwrap();
        drop(client);
        let mut heard = Vec::new();
        page.read_to_end(&mut heard).await.unwrap();
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(heard.contains("message 101-0 bob late"), "{heard:?}");
        assert!(heard.contains("ack 1"), "{heard:?}");
    }

    #[test]
    fn a_page_that_is_too_fast_is_not_read() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let burst = 50;
        for _ in 0..burst {
            pace.count(start);
            assert_eq!(pace.pause(start), None);
        }
        assert!(burst * 4 < super::super::room::QUEUE);
        pace.count(start);
        assert_eq!(pace.pause(start), Some(start + COST));
        assert_eq!(pace.pause(start + COST), None);
        pace.count(start + 2 * BURST); // after a silence it starts anew
        assert_eq!(pace.0, Some(start + 2 * BURST + COST));
    }
}

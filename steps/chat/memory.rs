// ANCHOR: memory
//! The engine that keeps everything in this process, and loses it with it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::room::{Id, Message, Post, Rooms, now};

/// How many clients the engine remembers. Beyond that it forgets the one that
/// has been silent longest; a copy of that one's last post would count twice.
const CLIENTS: usize = 10_000;

/// Takes posts until no one can send any more.
pub async fn run(rooms: Arc<Rooms>, mut posts: mpsc::Receiver<Post>) {
    let mut engine = Engine { clients: HashMap::new(), last: Id(now(), 0) };
    while let Some(post) = posts.recv().await {
        engine.take(&rooms, post, now());
    }
}

struct Engine {
    /// Client → the number of its last post, and the id of that.
    clients: HashMap<u64, (u64, Id)>,
    last: Id,
}

impl Engine {
    fn take(&mut self, rooms: &Rooms, post: Post, now: u64) {
        let Post { room, client, seq, name, text, reply } = post;
        let is_copy = self.clients.get(&client).is_some_and(|c| seq <= c.0);
        if !is_copy {
            let Some(room) = rooms.open(&room) else { return };
            // A clock may be set back; an id never goes back.
            let Id(ms, n) = self.last;
            self.last = if now > ms { Id(now, 0) } else { Id(ms, n + 1) };
            room.deliver(&Message { id: self.last, name, text });
            self.remember(client, seq);
        }
        let _ = reply.send(()); // it may have left meanwhile
    }

    fn remember(&mut self, client: u64, seq: u64) {
        self.clients.insert(client, (seq, self.last));
        if self.clients.len() > CLIENTS {
            let oldest = self.clients.iter().min_by_key(|(_, c)| c.1);
            if let Some(oldest) = oldest.map(|(client, _)| *client) {
                self.clients.remove(&oldest);
            }
        }
    }
}
// ANCHOR_END: memory

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    fn engine() -> (Engine, Rooms) {
        let engine = Engine { clients: HashMap::new(), last: Id(100, 0) };
        (engine, Rooms::new(Id(100, 0)))
    }

    /// Posts, and says whether that was acknowledged.
    fn post(e: &mut (Engine, Rooms), client: u64, seq: u64, now: u64) -> bool {
        let (reply, mut acknowledged) = oneshot::channel();
        let text = format!("{client}/{seq}");
        let (room, name) = ("lobby".to_owned(), "ann".to_owned());
        let post = Post { room, client, seq, name, text, reply };
        e.0.take(&e.1, post, now);
        acknowledged.try_recv().is_ok()
    }

    /// All that the room remembers.
    async fn heard(rooms: &Rooms) -> Vec<String> {
        let room = rooms.open("lobby").unwrap();
        let seat = room.join(0, Id::default()).unwrap();
        seat.mailbox.next(true).await.unwrap(); // its welcome
        let mut lines = Vec::new();
        let second = Duration::from_secs(1);
        while let Ok(line) = timeout(second, seat.mailbox.next(true)).await {
            lines.push(line.unwrap().to_string());
        }
        lines
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_is_acknowledged_and_dropped() {
        let mut e = engine();
        for (client, seq, now) in
            [(1, 1, 101), (1, 1, 102), (2, 1, 102), (1, 2, 102), (1, 1, 103)]
        {
            assert!(post(&mut e, client, seq, now));
        }
        let lines = [
            "message 101-0 ann 1/1",
            "message 102-0 ann 2/1",
            "message 102-1 ann 1/2",
        ];
        assert_eq!(heard(&e.1).await, lines);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_goes_back_takes_no_id_along() {
        let mut e = engine();
        for (seq, now) in [(1, 200), (2, 150), (3, 200), (4, 201)] {
            post(&mut e, 1, seq, now);
        }
        let ids = heard(&e.1).await;
        let ids: Vec<_> = ids.iter().map(|l| l.split(' ').nth(1)).collect();
        let expected = ["200-0", "200-1", "200-2", "201-0"].map(Some);
        assert_eq!(ids, expected);
    }

    #[test]
    fn it_forgets_the_client_that_was_silent_longest() {
        let mut e = engine();
        for client in 0..CLIENTS as u64 {
            post(&mut e, client, 1, 1000 + client);
        }
        post(&mut e, 0, 2, 50_000);
        post(&mut e, 1_000_000, 1, 50_001);
        assert_eq!(e.0.clients.len(), CLIENTS);
        assert!(e.0.clients.contains_key(&0));
        assert!(!e.0.clients.contains_key(&1));
    }

    #[test]
    fn a_post_that_finds_no_room_is_not_acknowledged() {
        let mut e = engine();
        let all: Vec<_> = (0..super::super::room::ROOMS)
            .map(|n| e.1.open(&format!("{n}")).unwrap())
            .collect();
        assert!(!post(&mut e, 1, 1, 101));
        drop(all);
        assert!(post(&mut e, 1, 1, 101));
    }
}

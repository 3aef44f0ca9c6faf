// ANCHOR: seam
//! A room: who is in it, what was said, and what each still has to hear.
//!
//! To *post* and to *deliver* are two things, and an engine stands between
//! them. A connection hands its client's text to the engine as a [`Post`]. The
//! engine drops it if it is a copy of an earlier one, gives it an [`Id`], and
//! calls [`Room::deliver`] on each room that shall hear it. `memory.rs` is an
//! engine; one that keeps its texts on another machine has the same two ends.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc, oneshot};

/// The place of a message in its room: when it was posted, in ms since 1970,
/// and a number that tells those of one millisecond apart. Later is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u64, pub u64);

/// The time, as ids count it: in ms since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// A text on its way to the engine.
pub struct Post {
    /// The name of the room.
    pub room: String,
    /// Who posts. The same client counts on after a reconnect, which is why
    /// the engine can tell a copy.
    pub client: u64,
    /// Counts the client's posts. One that is not greater than the last is a
    /// copy, and is acknowledged and dropped.
    pub seq: u64,
    pub name: String,
    pub text: String,
    /// Says that the text is in the room, now or since an earlier copy.
    /// Dropped without a word: the engine does not know.
    pub reply: oneshot::Sender<()>,
}

/// The inbox of an engine.
pub type Posts = mpsc::Sender<Post>;

/// What the engine has given a place.
pub struct Message {
    pub id: Id,
    pub name: String,
    pub text: String,
}
// ANCHOR_END: seam

// ANCHOR: limits
/// How many messages a room remembers.
pub const HISTORY: usize = 200;

/// How many lines a slow reader may be behind. More than [`HISTORY`], so that
/// somebody who joins has room for all of it.
pub const QUEUE: usize = 256;

/// How many rooms there may be, and how many members in each. All histories
/// together stay below 25 MB.
pub const ROOMS: usize = 100;
pub const MEMBERS: usize = 200;
// ANCHOR_END: limits

// ANCHOR: mailbox
/// Why a member gets nothing more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    /// It is more than [`QUEUE`] lines behind.
    TooSlow,
    /// The same client has joined over another connection.
    Replaced,
}

/// What one member still has to hear. To put something in never waits.
#[derive(Default)]
pub struct Mailbox {
    letters: Mutex<Letters>,
    changed: Notify,
}

#[derive(Default)]
struct Letters {
    lines: VecDeque<Arc<str>>, // each must arrive, in this order
    dots: BTreeMap<u64, Arc<str>>, // of each mover, only the newest counts
    ended: Option<Ended>,
}

impl Mailbox {
    /// Queues a line. If too many wait already, drops them all and says so to
    /// the reader: the others must not wait, and memory must not grow.
    fn line(&self, line: &Arc<str>) {
        self.change(|letters| {
            if letters.lines.len() < QUEUE {
                letters.lines.push_back(Arc::clone(line));
            } else {
                letters.end(Ended::TooSlow);
            }
        });
    }

    /// Notes where `who` is now. An older position that has not left yet is
    /// overwritten: nobody needs to know where a dot was.
    fn dot(&self, who: u64, line: &Arc<str>) {
        self.change(|letters| drop(letters.dots.insert(who, Arc::clone(line))));
    }

    fn change(&self, change: impl FnOnce(&mut Letters)) {
        let mut letters = lock(&self.letters);
        if letters.ended.is_none() {
            change(&mut letters);
        }
        drop(letters);
        self.changed.notify_one();
    }

    /// Waits for the next line, lines before dots; without `has_room`, only for
    /// the end. You may drop this future at any time; it takes nothing until it
    /// is done.
    pub async fn next(&self, has_room: bool) -> Result<Arc<str>, Ended> {
        loop {
            if let Some(next) = lock(&self.letters).take(has_room) {
                return next;
            }
            self.changed.notified().await; // or has been since we looked
        }
    }
}

impl Letters {
    fn end(&mut self, ended: Ended) {
        *self = Letters { ended: Some(ended), ..Letters::default() };
    }

    fn take(&mut self, has_room: bool) -> Option<Result<Arc<str>, Ended>> {
        if let Some(ended) = self.ended {
            return Some(Err(ended));
        }
        if !has_room {
            return None;
        }
        let dot = || self.dots.pop_first().map(|(_, line)| line);
        self.lines.pop_front().or_else(dot).map(Ok)
    }
}
// ANCHOR_END: mailbox

// ANCHOR: room
/// A room on this machine.
pub struct Room {
    state: Mutex<State>,
}

struct State {
    /// What is not newer than this is forgotten.
    floor: Id,
    history: VecDeque<(Id, Arc<str>)>,
    members: BTreeMap<u64, Member>,
    next: u64,
}

struct Member {
    client: u64,
    mailbox: Arc<Mailbox>,
    dot: Option<Arc<str>>,
}

/// A place in a room. It is given back when this is dropped.
pub struct Seat {
    room: Arc<Room>,
    pub who: u64,
    pub mailbox: Arc<Mailbox>,
}

impl Room {
    fn new(floor: Id) -> Room {
        let (history, members) = (VecDeque::new(), BTreeMap::new());
        let state = State { floor, history, members, next: 1 };
        Room { state: Mutex::new(state) }
    }

    /// Lets everybody hear a message, and remembers it. It never waits.
    pub fn deliver(&self, message: &Message) {
        let mut state = lock(&self.state);
        let Message { id, name, text } = message;
        let line: Arc<str> = format!("message {id} {name} {text}").into();
        for member in state.members.values() {
            member.mailbox.line(&line);
        }
        state.history.push_back((*id, line));
        if state.history.len() > HISTORY {
            let oldest = state.history.pop_front();
            state.floor = oldest.map_or(state.floor, |(id, _)| id);
        }
    }

    // ANCHOR: join
    /// Joins, and hears all that is newer than `last`, and then what is new.
    /// Both under one lock: nothing is missed between them, nothing comes
    /// twice. `None` if the room is full.
    pub fn join(self: &Arc<Room>, client: u64, last: Id) -> Option<Seat> {
        let mut state = lock(&self.state);
        state.replace(client);
        if state.members.len() >= MEMBERS {
            return None;
        }
        let who = state.next;
        state.next += 1;
        let mailbox = Arc::new(Mailbox::default());
        mailbox.line(&format!("welcome {who}").into());
        let is_ahead = last > state.newest() && last.0 > now();
        if is_ahead || last != Id::default() && last < state.floor {
            mailbox.line(&"gone".into()); // and nobody can say how many
        }
        // An id that is not even due comes from before a clock was set back.
        let last = if is_ahead { Id::default() } else { last };
        let news = state.history.iter().filter(|(id, _)| *id > last);
        news.for_each(|(_, line)| mailbox.line(line));
        for (who, member) in &state.members {
            member.dot.iter().for_each(|dot| mailbox.dot(*who, dot));
        }
        let mine = Arc::clone(&mailbox);
        state.members.insert(who, Member { client, mailbox: mine, dot: None });
        Some(Seat { room: Arc::clone(self), who, mailbox })
    }
    // ANCHOR_END: join
}

impl State {
    /// A client has one seat in a room. If it comes back before we have noticed that its
    /// old connection is dead, the old seat goes.
    fn replace(&mut self, client: u64) {
        let old = self.members.iter().find(|(_, m)| m.client == client);
        if let Some(who) = old.map(|(who, _)| *who) {
            let mailbox = self.leave(who);
            mailbox.inspect(|m| m.change(|l| l.end(Ended::Replaced)));
        }
    }

    fn newest(&self) -> Id {
        self.history.back().map_or(self.floor, |(id, _)| *id)
    }

    fn leave(&mut self, who: u64) -> Option<Arc<Mailbox>> {
        let member = self.members.remove(&who)?;
        let line: Arc<str> = format!("left {who}").into();
        for other in self.members.values() {
            other.mailbox.change(|letters| drop(letters.dots.remove(&who)));
            other.mailbox.line(&line);
        }
        Some(member.mailbox)
    }
}

impl Seat {
    /// Shows the others where this member's dot is now, from 0 to 1000.
    pub fn dot(&self, name: &str, x: u16, y: u16) {
        let mut state = lock(&self.room.state);
        if !state.members.contains_key(&self.who) {
            return; // replaced: nobody would ever take this dot away
        }
        let line: Arc<str> = format!("dot {} {name} {x} {y}", self.who).into();
        for (who, member) in &mut state.members {
            if *who == self.who {
                member.dot = Some(Arc::clone(&line));
            } else {
                member.mailbox.dot(self.who, &line);
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.room.state).leave(self.who);
    }
}
// ANCHOR_END: room

// ANCHOR: rooms
/// All rooms on this machine.
pub struct Rooms {
    rooms: Mutex<(Id, HashMap<String, Arc<Room>>)>,
}

impl Rooms {
    /// Messages that are not newer than `floor` are lost to all rooms.
    pub fn new(floor: Id) -> Rooms {
        Rooms { rooms: Mutex::new((floor, HashMap::new())) }
    }

    /// Finds a room, or opens it. At the limit an empty room makes place, the
    /// one whose last message is oldest. `None` if all are in use.
    pub fn open(&self, name: &str) -> Option<Arc<Room>> {
        let mut rooms = lock(&self.rooms);
        let (floor, rooms) = &mut *rooms;
        if let Some(room) = rooms.get(name) {
            return Some(Arc::clone(room));
        }
        if rooms.len() >= ROOMS {
            // Nobody can join it meanwhile: only we hold it, and the lock.
            let unused =
                rooms.iter().filter(|(_, r)| Arc::strong_count(r) == 1);
            let oldest = unused.min_by_key(|(_, room)| room.newest());
            let (oldest, newest) =
                oldest.map(|(n, r)| (n.clone(), r.newest()))?;
            *floor = newest.max(*floor); // whoever comes back hears `gone`
            rooms.remove(&oldest);
        }
        let room = Arc::new(Room::new(*floor));
        rooms.insert(name.to_owned(), Arc::clone(&room));
        Some(room)
    }
}

impl Room {
    fn newest(&self) -> Id {
        lock(&self.state).newest()
    }
}
// ANCHOR_END: rooms

/// A panic elsewhere leaves what these locks guard as it was: each change is
/// made in one go.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Id, ()> {
        let (ms, n) = text.split_once('-').ok_or(())?;
        let number = |digits: &str| {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number).ok_or(())
        };
        Ok(Id(number(ms)?, number(n)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> Arc<Room> {
        Arc::new(Room::new(Id(100, 0)))
    }

    fn say(room: &Room, ms: u64) {
        let (name, text) = ("ann".to_owned(), format!("text {ms}"));
        room.deliver(&Message { id: Id(ms, 0), name, text });
    }

    /// All that waits in a mailbox.
    fn waiting(seat: &Seat) -> Vec<Result<String, Ended>> {
        let mut letters = lock(&seat.mailbox.letters);
        let mut lines = Vec::new();
        while let Some(next) = letters.take(true) {
            let is_end = next.is_err();
            lines.push(next.map(|line| line.to_string()));
            if is_end {
                break;
            }
        }
        lines
    }

    fn lines(seat: &Seat) -> Vec<String> {
        waiting(seat).into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn who_comes_back_hears_what_is_new() {
        let room = room();
        let seat = room.join(1, Id::default()).unwrap();
        say(&room, 101);
        say(&room, 102);
        let heard = ["welcome 1", "message 101-0 ann text 101"];
        assert_eq!(lines(&seat)[..2], heard);
        drop(seat);
        say(&room, 103);
        let seat = room.join(1, Id(101, 0)).unwrap();
        let heard = [
            "welcome 2",
            "message 102-0 ann text 102",
            "message 103-0 ann text 103",
        ];
        assert_eq!(lines(&seat), heard);
        say(&room, 104);
        assert_eq!(lines(&seat), ["message 104-0 ann text 104"]);
    }

    #[test]
    fn history_is_bounded_and_says_what_it_no_longer_has() {
        let room = room();
        for ms in 101..=101 + HISTORY as u64 {
            say(&room, ms);
        }
        let heard = |last| {
            let seat = room.join(1, last).unwrap();
            let lines = lines(&seat);
            (lines.get(1).is_some_and(|l| l == "gone"), lines.len())
        };
        assert_eq!(heard(Id::default()), (false, 1 + HISTORY)); // a newcomer
        assert_eq!(heard(Id(99, 9)), (true, 2 + HISTORY)); // of another life
        assert_eq!(heard(Id(100, 7)), (true, 2 + HISTORY));
        assert_eq!(heard(Id(101, 0)), (false, 1 + HISTORY));
        assert_eq!(heard(Id(102, 0)), (false, HISTORY));
        // Another machine may have been quicker, but no id is of tomorrow.
        assert_eq!(heard(Id(now(), 0)), (false, 1));
        assert_eq!(heard(Id(now() * 2, 0)), (true, 2 + HISTORY));
    }

    #[test]
    fn a_slow_reader_is_dropped_and_costs_the_others_nothing() {
        let room = room();
        let slow = room.join(1, Id::default()).unwrap();
        let quick = room.join(2, Id::default()).unwrap();
        assert_eq!(lines(&slow), ["welcome 1"]);
        assert_eq!(lines(&quick), ["welcome 2"]);
        for ms in 101..101 + QUEUE as u64 {
            say(&room, ms);
            assert_eq!(lines(&quick).len(), 1);
        }
        assert_eq!(lock(&slow.mailbox.letters).lines.len(), QUEUE);
        say(&room, 999);
        assert_eq!(lines(&quick).len(), 1);
        assert_eq!(waiting(&slow), [Err(Ended::TooSlow)]);
        say(&room, 1000);
        assert_eq!(waiting(&slow), [Err(Ended::TooSlow)]);
        assert!(lock(&slow.mailbox.letters).lines.is_empty());
    }

    #[test]
    fn only_the_newest_position_waits() {
        let room = room();
        let ann = room.join(1, Id::default()).unwrap();
        let bob = room.join(2, Id::default()).unwrap();
        let cid = room.join(3, Id::default()).unwrap();
        let _ = [&ann, &bob, &cid].map(lines);
        for x in 0..10 {
            ann.dot("ann", x, 7);
            bob.dot("bob", 3, x);
        }
        assert_eq!(lines(&cid), ["dot 1 ann 9 7", "dot 2 bob 3 9"]);
        assert_eq!(lines(&ann), ["dot 2 bob 3 9"]);
        let dan = room.join(4, Id::default()).unwrap();
        let all = ["welcome 4", "dot 1 ann 9 7", "dot 2 bob 3 9"];
        assert_eq!(lines(&dan), all);
        ann.dot("ann", 1, 1);
        drop(ann);
        assert_eq!(lines(&dan), ["left 1"]);
    }

    #[test]
    fn a_client_has_one_seat() {
        let room = room();
        let old = room.join(7, Id::default()).unwrap();
        let other = room.join(8, Id::default()).unwrap();
        lines(&other);
        let new = room.join(7, Id::default()).unwrap();
        assert_eq!(waiting(&old), [Err(Ended::Replaced)]);
        old.dot("ann", 1, 1); // no dot of somebody who has left
        assert_eq!(lines(&other), ["left 1"]);
        drop(old);
        assert!(lines(&other).is_empty());
        assert_eq!(lines(&new), ["welcome 3"]);
    }

    #[test]
    fn a_room_is_full_and_a_seat_comes_back() {
        let room = room();
        let join = |client| room.join(client, Id::default());
        let mut seats: Vec<Seat> =
            (0..MEMBERS as u64).map(|n| join(n).unwrap()).collect();
        assert!(join(9999).is_none());
        seats.pop();
        assert!(join(9999).is_some());
    }

    #[test]
    fn an_unused_room_makes_place() {
        let rooms = Rooms::new(Id(100, 0));
        let open = |n: usize| rooms.open(&format!("room-{n}"));
        let all: Vec<_> = (0..ROOMS).map(|n| open(n).unwrap()).collect();
        for (ms, room) in (101..).zip(&all) {
            say(room, ms);
        }
        let seat = all[0].join(1, Id::default()).unwrap();
        assert!(Arc::ptr_eq(&open(0).unwrap(), &all[0]));
        assert!(rooms.open("another").is_none());
        drop(all);
        let another = rooms.open("another"); // room-1 makes place
        assert!(another.is_some());
        let again = open(1).unwrap(); // room-2 makes place
        let back = again.join(2, Id(102, 0)).unwrap();
        assert_eq!(lines(&back), ["welcome 1", "gone"]);
        drop(seat);
        let more = rooms.open("more").unwrap(); // room-0 makes place
        assert_eq!(more.newest(), Id(103, 0)); // what is forgotten stays so
    }

    #[test]
    fn ids_are_text_and_back() {
        for id in [Id(0, 0), Id(1_700_000_000_000, 3), Id(u64::MAX, u64::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "1", "1-", "-1", "+1-0", "1-2-3", "x-1", "1- 2"] {
            assert_eq!(bad.parse::<Id>(), Err(()), "{bad:?}");
        }
        assert!(Id(1, 9) < Id(2, 0) && Id(2, 0) < Id(2, 1));
    }
}

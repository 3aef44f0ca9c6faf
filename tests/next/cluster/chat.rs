//! The chat in several processes: all pages hear all messages once, in one
//! order, whoever is killed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::support::{DEADLINE, Program, again, bin, signal, trial};
use crate::world::{DURABLE, Redis, low_port};
use crate::ws::{self, Decoder, Message, TEXT};

pub fn trials(redis: Option<&str>, both: Option<&str>) -> Vec<Trial> {
    vec![
        trial("chat_in_two_processes_while_all_are_killed", redis, kills),
        trial("chat_says_what_it_no_longer_has", redis, gone),
        trial("chat_goes_on_after_trouble", redis, trouble),
        trial("chat_does_not_wait_for_redis_forever", both, stands_still),
        trial("chat_ends_while_it_starts", both, signalled),
        trial("chat_without_redis", None, no_redis),
    ]
}

fn server_at(redis: &Redis, addr: SocketAddr) -> Program {
    let mut command = Command::new(bin("cluster-chat"));
    command.args(["--engine", &redis.engine(), "--addr", &addr.to_string()]);
    Program::spawn(&mut command, false)
}

/// A server on a port that stays its own.
fn server(redis: &Redis) -> (Program, SocketAddr) {
    loop {
        let addr = low_port();
        let mut program = server_at(redis, addr);
        while program.is_running() {
            if program.texts().0.starts_with(b"listening on ") {
                return (program, addr);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A page without a browser. It moves on to the next address when something
/// fails, and posts again what has no acknowledgement.
struct Page {
    name: &'static str,
    client: u64,
    addrs: Vec<SocketAddr>,
    talk: Option<Talk>,
    last: String,
    heard: Vec<String>, // the messages, with their ids
    is_gone: bool,
}

struct Talk {
    stream: TcpStream,
    input: Vec<u8>,
    decoder: Decoder,
}

impl Page {
    fn new(name: &'static str, client: u64, addrs: &[SocketAddr]) -> Page {
        let (talk, last) = (None, "0-0".to_owned());
        let (addrs, heard) = (addrs.to_vec(), Vec::new());
        Page { name, client, addrs, talk, last, heard, is_gone: false }
    }

    /// Joins the room, and hears what is newer than the last message.
    fn join(&mut self) -> io::Result<&mut Talk> {
        if self.talk.is_none() {
            let mut talk = Talk::open(self.addrs[0])?;
            let (name, last, client) = (self.name, &self.last, self.client);
            talk.send(&format!("join lobby {name} {last} {client:016x}"))?;
            self.talk = Some(talk);
        }
        Ok(self.talk.as_mut().unwrap())
    }

    /// The next line, or None if the connection failed.
    fn line(&mut self) -> Option<String> {
        let line = self.join().and_then(|talk| talk.line());
        let Ok(line) = line else {
            self.move_on();
            return None;
        };
        if let Some(message) = line.strip_prefix("message ") {
            self.last = message.split(' ').next().unwrap().to_owned();
            self.heard.push(message.to_owned());
        }
        self.is_gone |= line == "gone";
        Some(line)
    }

    fn move_on(&mut self) {
        self.talk = None;
        self.addrs.rotate_left(1);
        thread::sleep(Duration::from_millis(5));
    }

    /// Posts until that is acknowledged.
    fn post(&mut self, seq: u64) {
        let end = Instant::now() + DEADLINE;
        let line = format!("say {seq} {}/{seq}", self.name);
        loop {
            assert!(Instant::now() < end, "{} is not heard", self.name);
            if self.join().and_then(|talk| talk.send(&line)).is_err() {
                self.move_on();
                continue;
            }
            while let Some(line) = self.line() {
                if line == format!("ack {seq}") {
                    return;
                }
            }
        }
    }

    /// Hears until there are so many messages, and no more.
    fn hear(&mut self, messages: usize) {
        let end = Instant::now() + DEADLINE;
        while self.heard.len() < messages {
            assert!(Instant::now() < end, "heard {:?}", self.heard);
            self.line();
        }
        self.join().unwrap().send("ping").unwrap();
        while self.line().expect("a pong") != "pong" {}
    }
}

impl Talk {
    fn open(addr: SocketAddr) -> io::Result<Talk> {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let key = ws::base64(&[7; 16]);
        let request = format!(
            "GET /room HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let decoder = Decoder::new(false);
        Ok(Talk { stream, input: Vec::new(), decoder })
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        let mut frame = Vec::new();
        ws::encode(TEXT, line.as_bytes(), Some([1, 2, 3, 4]), &mut frame);
        self.stream.write_all(&frame)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            let mut rest = &self.input[..];
            let message = self.decoder.decode(&mut rest).unwrap();
            self.input = rest.to_vec();
            match message {
                Some(Message::Text(line)) => return Ok(line),
                Some(Message::Close(_)) => {
                    return Err(io::ErrorKind::Other.into());
                }
                Some(_) => continue,
                None => {}
            }
            let mut bytes = [0; 4096];
            let n = again(|| self.stream.read(&mut bytes))?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.extend_from_slice(&bytes[..n]);
        }
    }
}

/// How many texts each of three posts.
const POSTS: u64 = 45;

fn kills() {
    let mut redis = Redis::start(&DURABLE);
    let (mut a, first) = server(&redis);
    let (_b, second) = server(&redis);
    let posters = [
        Page::new("ann", 1, &[first, second]),
        Page::new("bob", 2, &[second, first]),
        Page::new("cid", 3, &[first, second]),
    ];
    let posters = posters.map(|mut page| {
        thread::spawn(move || {
            (1..=POSTS).for_each(|seq| page.post(seq));
            page
        })
    });
    let mut watcher = Page::new("dan", 4, &[second, first]);
    watcher.hear(30);
    a.kill();
    watcher.hear(60);
    redis.restart(); // which kills it first
    a = server_at(&redis, first);
    let pages = posters.map(|page| page.join().unwrap());
    a.wait_for("listening on");
    let late = Page::new("eve", 5, &[first]); // hears only what was
    assert_once(pages.into_iter().chain([watcher, late]).collect());
}

/// All pages have heard all messages once, in one order, and each poster's in
/// its own.
fn assert_once(mut pages: Vec<Page>) {
    pages.iter_mut().for_each(|page| page.hear(3 * POSTS as usize));
    let heard = &pages[0].heard;
    assert!(pages.iter().all(|page| page.heard == *heard), "in one order");
    for name in ["ann", "bob", "cid"] {
        let of = heard.iter().filter_map(|message| {
            let (_, text) = message.split_once(' ').unwrap();
            let (who, text) = text.split_once(' ').unwrap();
            (who == name).then(|| text.to_owned())
        });
        let expected = (1..=POSTS).map(|seq| format!("{name}/{seq}"));
        assert!(of.eq(expected), "{heard:?}");
    }
}

/// After a restart, the servers know what the stream still has.
fn gone() {
    let redis = Redis::start(&DURABLE);
    let (mut a, addr) = server(&redis);
    let mut ann = Page::new("ann", 1, &[addr]);
    ann.hear(0);
    for seq in 1..=3 {
        ann.post(seq);
    }
    ann.hear(3);
    assert_eq!(redis.cli(&["XTRIM", "chat", "MAXLEN", "1"]), "2\n");
    a.kill();
    let server = server_at(&redis, addr);
    server.wait_for("listening on");
    let mut bob = Page::new("bob", 2, &[addr]);
    bob.last = ann.heard[0].split(' ').next().unwrap().to_owned();
    bob.hear(1);
    assert!(bob.is_gone);
    assert_eq!(bob.heard, ann.heard[2..]);
    ann.talk = None;
    ann.hear(3); // it has missed nothing
    assert!(!ann.is_gone);
}

/// A lost script, an entry that is no message, and two clients whose ids differ
/// only in their first digits.
fn trouble() {
    let redis = Redis::start(&DURABLE);
    let (_a, addr) = server(&redis);
    let mut ann = Page::new("ann", 1, &[addr]);
    let mut bob = Page::new("bob", (1 << 32) + 1, &[addr]);
    ann.post(1);
    let seconds = redis.cli(&["TTL", "chat:0000000000000001"]);
    assert!(seconds.trim().parse::<u32>().unwrap() > 3000, "{seconds}");
    bob.post(1);
    assert_eq!(redis.cli(&["SCRIPT", "FLUSH"]), "OK\n");
    ann.post(2);
    redis.cli(&["XADD", "chat", "*", "foo", "bar"]);
    ann.post(3);
    ann.hear(4);
    bob.hear(4);
    assert_eq!(ann.heard, bob.heard);
}

fn stands_still() {
    let redis = Redis::start(&DURABLE);
    let (a, addr) = server(&redis);
    signal(redis.id(), "-STOP");
    a.wait_for("engine: cannot read: no answer in time");
    signal(redis.id(), "-CONT");
    let mut ann = Page::new("ann", 1, &[addr]);
    ann.post(1);
    ann.hear(1);
}

/// Redis says nothing.
fn signalled() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let engine = format!("redis://{}", listener.local_addr().unwrap());
    let program = Program::start("cluster-chat", &["--engine", &engine]);
    let _connection = listener.accept().unwrap();
    signal(program.id(), "-TERM");
    let ended = program.finish();
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""));
}

fn no_redis() {
    let (_free, addr) = crate::support::refusing();
    let engine = format!("redis://{addr}");
    let program = Program::start("cluster-chat", &["--engine", &engine]);
    let ended = program.finish();
    assert_eq!(ended.code, Some(1));
    let why = format!(
        "error: cannot use the engine redis://{addr}: cannot connect to {addr} \
         (is redis-server running?): Connection refused"
    );
    assert!(ended.stderr.starts_with(&why), "{}", ended.stderr);
}

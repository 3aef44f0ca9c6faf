//! The ledger in Redis answers as the ledger in memory does, and what it makes
//! of a Redis that refuses, hangs, dies, or has lost its data.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::frame::{self, OVERLOADED, PING};
use crate::ledger::{CLIENTS, Ledger, Operation};
use crate::redis::{Reply, decode};
use crate::support::{Program, again, signal, trial};
use crate::world::{
    Came, DEFAULTS, DURABLE, Peer, Redis, ask, server_of, server_within,
};

pub fn trials(redis: Option<&str>, both: Option<&str>) -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    vec![
        trial("redis_answers_as_the_ledger_does", redis, same_answers),
        trial("more_clients_than_there_is_room_for", redis, no_room),
        trial("two_copies_at_once_on_two_servers", redis, copies),
        trial("what_redis_refuses_is_refused", None, refused),
        trial("what_redis_may_have_done_has_no_answer", None, in_doubt),
        trial("a_lost_script_comes_back", redis, no_script),
        trial("redis_without_memory_refuses", redis, out_of_memory),
        trial("redis_that_was_emptied_stops_the_server", redis, emptied),
        trial("redis_that_is_emptied_meanwhile_too", redis, flushed),
        trial("a_name_is_chosen_once", None, one_name),
        trial("it_waits_before_it_connects_again", None, no_storm),
        trial("a_late_answer_is_nobodys", None, late_answer),
        trial("a_signal_ends_a_server_that_starts", linux, signalled),
        trial("redis_that_is_gone_and_comes_back", redis, away),
        trial("all_that_wait_are_refused", redis, all_refused),
        trial("redis_that_stands_still", both, stopped),
        trial("what_an_answer_is_worth", redis, worth),
    ]
}

/// How late a busy machine may be with what has a limit.
const SLACK: Duration = Duration::from_secs(2);

fn operation(client: u64, seq: u64, amount: i64) -> Operation {
    Operation { client, seq, amount }
}

// ---- The same answers

/// Two clients, numbers near each other and at both ends and around 2^53, few
/// amounts so that copies and conflicts are common, and totals at both ends.
fn any_operation() -> impl Strategy<Value = Operation> {
    let seq = prop_oneof![
        8 => 0u64..200,
        4 => (u64::MAX - 200)..=u64::MAX,
        2 => (1u64 << 53) - 70..(1 << 53) + 70,
        1 => any::<u64>(),
    ];
    let amount = prop_oneof![
        4 => -2i64..=2,
        1 => Just(i64::MAX),
        1 => Just(i64::MIN),
        1 => Just(1 << 53),
        1 => any::<i64>(),
    ];
    let parts = (0u64..=1, seq, amount);
    parts.prop_map(|(client, seq, amount)| operation(client, seq, amount))
}

/// As a client sends them: numbers that grow, some early, some late, and most
/// of them more than once.
fn any_conversation() -> impl Strategy<Value = Vec<Operation>> {
    vec((0u64..=1, 0u64..100, -3i64..=3), 1..400).prop_map(|parts| {
        let place = |(i, (client, late, amount)): (usize, _)| {
            let seq = (i as u64 / 2).saturating_sub(late);
            operation(client, seq, amount)
        };
        parts.into_iter().enumerate().map(place).collect()
    })
}

/// Byte for byte, from two servers in turn.
fn same_answers() {
    let redis = Redis::start(&DURABLE);
    let servers = [(); 2].map(|()| server_of(&redis.engine()));
    let clients = AtomicU64::new(0); // new ones each time
    let operations = prop_oneof![
        vec(any_operation(), 0..200).boxed(),
        any_conversation().boxed()
    ];
    let config =
        Config { cases: 100, failure_persistence: None, ..Config::default() };
    let tried = TestRunner::new(config).run(&operations, |operations| {
        let client = clients.fetch_add(1, Relaxed);
        let addr = servers[client as usize % 2].1;
        let mut ledger = Ledger::default();
        let mut peer = Peer::new(addr).unwrap();
        let id = |which| if which == 0 { client } else { u64::MAX - client };
        let operations = operations.into_iter();
        let operations: Vec<_> = operations
            .map(|o| Operation { client: id(o.client), ..o })
            .collect();
        peer.send(&operations).unwrap();
        for operation in operations {
            let mut expected = Vec::new();
            let (answer, _) = ledger.apply(operation).unwrap();
            answer.encode(operation, &mut expected).unwrap();
            let frame = peer.frame().unwrap();
            prop_assert_eq!(frame, expected, "{:?}", operation);
        }
        Ok(())
    });
    tried.unwrap();
}

fn no_room() {
    let redis = Redis::start(&DURABLE);
    let (_server, addr) = server_of(&redis.engine());
    let mut peer = Peer::new(addr).unwrap();
    let all: Vec<_> = (1..=CLIENTS as u64).collect();
    for some in all.chunks(500) {
        let some: Vec<_> = some.iter().map(|&c| operation(c, 1, 5)).collect();
        peer.send(&some).unwrap();
        for _ in &some {
            assert_eq!(peer.answer(), Came::Total(5));
        }
    }
    let more = operation(u64::MAX, 1, 5);
    let no = Came::Error(OVERLOADED, "too many clients".to_owned());
    peer.send(&[operation(7, 1, 5), more, operation(7, 2, 5)]).unwrap();
    assert_eq!(peer.answer(), Came::Total(5));
    assert_eq!(peer.answer(), no);
    assert_eq!(peer.answer(), Came::Nothing);
    assert_eq!(ask(addr, 7, 2, 5), Came::Total(10));
}

/// Sixteen connections, eight to each server, bring the same operation.
fn copies() {
    let redis = Redis::start(&DURABLE);
    let servers = [(); 2].map(|()| server_of(&redis.engine()));
    for seq in 1..=20 {
        let each = (0..16).map(|i| {
            let addr = servers[i % 2].1;
            thread::spawn(move || ask(addr, 1, seq, 5))
        });
        for came in each.collect::<Vec<_>>() {
            assert_eq!(came.join().unwrap(), Came::Total(5 * seq as i64));
        }
    }
}

// ---- A Redis that we play ourselves

/// What our Redis does with each ADD.
#[derive(Clone, Copy)]
enum Act {
    Reply(&'static str),
    Close,
    Hang,
}

struct Fake {
    addr: SocketAddr,
    act: Arc<Mutex<Act>>,
}

/// What it says to CONFIG; one that is late comes with the next answer.
#[derive(Clone, Copy)]
enum Told {
    Says(&'static str),
    SaysLate(&'static str),
}

impl Fake {
    fn start(config: Told) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let act = Arc::new(Mutex::new(Act::Close));
        let shared = Arc::clone(&act);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let act = Arc::clone(&shared);
                thread::spawn(move || play(stream.unwrap(), &act, config));
            }
        });
        Fake { addr, act }
    }

    fn engine(&self) -> String {
        format!("redis://{}", self.addr)
    }
}

/// Answers one connection, until it ends.
fn play(mut stream: TcpStream, act: &Mutex<Act>, config: Told) {
    let (mut input, mut bytes) = (Vec::new(), [0; 4096]);
    let (mut name, mut late) = ("$-1\r\n", "");
    while let Ok(n @ 1..) = again(|| stream.read(&mut bytes)) {
        input.extend_from_slice(&bytes[..n]);
        let mut rest = &input[..];
        while let Some(Reply::Array(words)) = decode(&mut rest).unwrap() {
            let Reply::Text(command) = &words[0] else { panic!("{words:?}") };
            let before = std::mem::take(&mut late);
            let reply = match (&command[..], config) {
                (b"SET", _) => set(&words, &mut name),
                (b"GET", _) => name,
                (b"CONFIG", Told::Says(text)) => text,
                (b"CONFIG", Told::SaysLate(text)) => {
                    late = text;
                    ""
                }
                (b"SCRIPT", _) => "$3\r\nsha\r\n",
                _ => match *act.lock().unwrap() {
                    Act::Reply(text) => text,
                    Act::Close => return,
                    Act::Hang => "",
                },
            };
            let reply = [before, reply].concat();
            let Ok(()) = stream.write_all(reply.as_bytes()) else { return };
        }
        input = rest.to_vec();
    }
}

/// Sets the name, which GET answers from now on.
fn set(words: &[Reply], name: &mut &str) -> &'static str {
    assert_eq!(words.last(), Some(&Reply::Text(b"NX".to_vec())));
    *name = "$4\r\nname\r\n";
    "+OK\r\n"
}

/// The server with the fake behind it, and two seconds for it.
fn server_of_fake() -> (Fake, Program, SocketAddr) {
    let fake = Fake::start(Told::Says("*0\r\n"));
    let (server, addr) = server_within(&fake.engine(), "2000");
    (fake, server, addr)
}

/// It is fine again afterwards, over a new connection or the old one.
fn assert_recovers(fake: &Fake, addr: SocketAddr) {
    *fake.act.lock().unwrap() = Act::Reply("$2\r\n12\r\n");
    assert_eq!(ask(addr, 1, 2, 7), Came::Total(12));
}

fn refused() {
    let (fake, _server, addr) = server_of_fake();
    for reply in [
        "-NOSCRIPT No matching script. Please use EVAL.\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
        "-MASTERDOWN Link with MASTER is down\r\n",
        "-NOREPLICAS Not enough good replicas to write.\r\n",
        "-MISCONF Redis is configured to save RDB snapshots\r\n",
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-BUSY Redis is busy running a script.\r\n",
        "-NOAUTH Authentication required.\r\n",
    ] {
        *fake.act.lock().unwrap() = Act::Reply(reply);
        let mut peer = Peer::new(addr).unwrap();
        let came = peer.ask(operation(1, 1, 5));
        let is_no = matches!(came, Came::Error(OVERLOADED, _));
        assert!(is_no, "{reply:?}: {came:?}");
        assert_eq!(peer.answer(), Came::Nothing);
        assert_recovers(&fake, addr);
    }
}

fn in_doubt() {
    let (fake, _server, addr) = server_of_fake();
    for act in [
        Act::Close,
        Act::Hang,
        Act::Reply("-ERR user_script:1: something else\r\n"),
        Act::Reply("-OOMPH\r\n"),
        Act::Reply("$-1\r\n"),
        Act::Reply(":12\r\n"),
        Act::Reply("$3\r\n1.5\r\n"),
        Act::Reply("$19\r\n9223372036854775808\r\n"),
        Act::Reply("$2\r\n1"),
        Act::Reply("$99999999\r\n"),
        Act::Reply("HTTP/1.1 400 Bad Request\r\n"),
    ] {
        *fake.act.lock().unwrap() = act;
        let begin = Instant::now();
        assert_eq!(ask(addr, 1, 1, 5), Came::Nothing);
        assert!(begin.elapsed() < Duration::from_secs(2) + SLACK);
        assert_recovers(&fake, addr);
    }
}

// ---- A Redis in trouble

/// The operation that finds out is refused, and the next one is done.
fn no_script() {
    let redis = Redis::start(&DURABLE);
    let (_server, addr) = server_of(&redis.engine());
    assert_eq!(ask(addr, 1, 1, 5), Came::Total(5));
    assert_eq!(redis.cli(&["SCRIPT", "FLUSH"]), "OK\n");
    assert!(matches!(ask(addr, 1, 2, 7), Came::Error(OVERLOADED, _)));
    assert_eq!(ask(addr, 1, 2, 7), Came::Total(12));
}

/// The first write of the script is refused, so no half of it is done.
fn out_of_memory() {
    let redis = Redis::start(&DURABLE);
    let (_server, addr) = server_of(&redis.engine());
    assert_eq!(ask(addr, 1, 1, 5), Came::Total(5));
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK\n");
    for client in [1, 2] {
        let came = ask(addr, client, 2, 7);
        assert!(matches!(came, Came::Error(OVERLOADED, _)), "{came:?}");
    }
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "0"]), "OK\n");
    assert_eq!(ask(addr, 1, 2, 7), Came::Total(12));
    assert_eq!(ask(addr, 2, 2, 7), Came::Total(7));
    assert_eq!(redis.cli(&["GET", "ledger:clients"]), "2\n");
}

fn emptied() {
    let mut redis = Redis::start(&DEFAULTS);
    let (server, addr) = server_of(&redis.engine());
    assert_eq!(ask(addr, 1, 1, 5), Came::Total(5));
    redis.restart();
    assert_eq!(ask(addr, 1, 2, 7), Came::Nothing);
    let ended = server.finish();
    assert_eq!(ended.code, Some(1));
    let why = "error: Redis has lost what it acknowledged, or is another one\n";
    assert_eq!(ended.stderr, why);
}

/// Without a new connection, too: the script looks at the name.
fn flushed() {
    let redis = Redis::start(&DURABLE);
    let (server, addr) = server_of(&redis.engine());
    assert_eq!(ask(addr, 1, 1, 5), Came::Total(5));
    assert_eq!(redis.cli(&["FLUSHALL"]), "OK\n");
    assert_eq!(ask(addr, 1, 2, 7), Came::Nothing);
    let ended = server.finish();
    assert_eq!(ended.code, Some(1));
    let why = "error: Redis has lost what it acknowledged, or is another one\n";
    assert_eq!(ended.stderr, why);
    assert_eq!(redis.cli(&["DBSIZE"]), "0\n"); // nothing was done
}

/// Of two processes that start at once, the second must not overwrite it: the
/// fake wants NX.
fn one_name() {
    let (fake, server, addr) = server_of_fake();
    server.wait_for("it does not tell what its answers are worth");
    assert_recovers(&fake, addr);
}

/// It accepts, and closes at once.
fn no_storm() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let engine = format!("redis://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        listener.incoming().for_each(|_| {
            count.fetch_add(1, Relaxed);
        });
    });
    let args = ["server", "--engine", &engine, "--engine-ms", "2000"];
    let ended = Program::start("cluster", &args).finish();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let count = counted.load(Relaxed);
    assert!((2..100).contains(&count), "{count} connections");
}

/// The server asks what an answer is worth, and is not told in time. What comes
/// then would look like a no to the first operation.
fn late_answer() {
    let busy = "-BUSY Redis is busy running a script.\r\n";
    let fake = Fake::start(Told::SaysLate(busy));
    let (server, addr) = server_within(&fake.engine(), "2000");
    server.wait_for("it does not tell what its answers are worth");
    assert_recovers(&fake, addr);
}

/// Redis says nothing, and there is patience for an hour.
fn signalled() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let engine = format!("redis://{}", listener.local_addr().unwrap());
    let args = ["server", "--engine", &engine, "--engine-ms", "3600000"];
    let server = Program::start("cluster", &args);
    let _connection = listener.accept().unwrap();
    signal(server.id(), "-TERM");
    let ended = server.finish();
    assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""));
}

/// Those in the channel, too, when the batch before them is.
fn all_refused() {
    let mut redis = Redis::start(&DURABLE);
    let (server, addr) = server_within(&redis.engine(), "5000");
    assert_eq!(ask(addr, 1, 1, 5), Came::Total(5));
    redis.kill();
    let [mut first, mut second] = [(); 2].map(|()| Peer::new(addr).unwrap());
    first.send(&[operation(1, 2, 7)]).unwrap();
    let mut ping = Vec::new();
    frame::encode(PING, b"", &mut ping).unwrap();
    second.0.write_all(&ping).unwrap(); // by its answer, the first has been seen
    assert!(second.frame().is_ok());
    second.send(&[operation(2, 1, 7)]).unwrap();
    assert!(matches!(first.answer(), Came::Error(OVERLOADED, _)));
    assert!(matches!(second.answer(), Came::Error(OVERLOADED, _)));
    server.wait_for("engine: refused 2 operations: ");
}

/// Refused when it was never sent; exact when Redis is back.
fn away() {
    let mut redis = Redis::start(&DURABLE);
    let (server, addr) = server_within(&redis.engine(), "2000");
    assert_eq!(ask(addr, 1, 1, 5), Came::Total(5));
    redis.kill();
    let begin = Instant::now();
    assert!(matches!(ask(addr, 1, 2, 7), Came::Error(OVERLOADED, _)));
    assert!(begin.elapsed() < Duration::from_secs(2) + SLACK);
    server.wait_for("engine: refused 1 operations: cannot connect to ");
    redis.restart();
    assert_eq!(ask(addr, 1, 2, 7), Came::Total(12));
    assert_eq!(ask(addr, 1, 1, 5), Came::Total(5));
}

/// What it may have done has no answer, in time. It does it when it wakes, and
/// the client's second try at the other server finds it done.
fn stopped() {
    let redis = Redis::start(&DURABLE);
    let [(_a, first), (_b, second)] =
        [(); 2].map(|()| server_within(&redis.engine(), "2000"));
    assert_eq!(ask(first, 1, 1, 5), Came::Total(5));
    signal(redis.id(), "-STOP");
    let begin = Instant::now();
    assert_eq!(ask(first, 1, 2, 7), Came::Nothing);
    assert!(begin.elapsed() < Duration::from_secs(2) + SLACK);
    signal(redis.id(), "-CONT");
    assert_eq!(ask(second, 1, 2, 7), Came::Total(12));
    assert_eq!(ask(first, 1, 3, 1), Came::Total(13));
}

fn worth() {
    for (settings, note) in [
        (&DURABLE[..], "what it answers is on disk"),
        (&DEFAULTS[..], "its appendonly is no, so it may lose what it has"),
        (&DURABLE[..2], "its appendfsync is everysec, so it may lose"),
    ] {
        let redis = Redis::start(settings);
        let (server, _) = server_of(&redis.engine());
        let addr = redis.addr;
        server.wait_for(&format!("the engine is Redis at {addr}: {note}"));
    }
    let redis = Redis::start(&DURABLE);
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let (server, _) = server_of(&redis.engine());
    server.wait_for("its maxmemory-policy is allkeys-lru, so it may lose");
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    redis.cli(&["CONFIG", "SET", "no-appendfsync-on-rewrite", "yes"]);
    let (server, _) = server_of(&redis.engine());
    server.wait_for("its no-appendfsync-on-rewrite is yes, so it may lose");
}

//! Draws where bytes and clients wait: the queue of a server, the two pipes of
//! a connection, the four buffers between two programs. Each drawing shows
//! what was counted while real sockets were filled, or in a capture.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use socket2::{Domain, Socket, Type};

use crate::packets::{Packet, SERVER, read};
use crate::panels::{check_deadlock, check_pipes, check_queues};
use crate::support::draw::{Frame, arrow, line, panels, rect, text};
use crate::support::{
    ESTABLISHED, Program, ROOT, ends, is_installed, snapshot, trial, wait_until,
};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let no_linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    let no_ss = (!is_installed("ss", "-V")).then_some("needs ss");
    vec![
        trial("pipes::a queue fills", no_linux.or(no_ss), backlog),
        trial("pipes::half-close", None, half_close),
        trial("pipes::four buffers fill", no_linux, deadlock),
    ]
}

// ---- The queue of connections that the program has not accepted

/// How many connections may wait, as we tell `listen`.
const BACKLOG: i32 = 3;

/// What `ss` says of the queue: how many wait, and how many we asked for.
pub type Queue = [i32; 2];

fn backlog() {
    let (listener, addr) = listen();
    let mut clients = Vec::new();
    let mut queues = Vec::new();
    for more in [0, 2, 2] {
        clients.extend((0..more).map(|_| TcpStream::connect(addr).unwrap()));
        queues.push(queue(addr));
    }
    let late = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    late.set_nonblocking(true).unwrap();
    let start = Instant::now();
    let _ = late.connect(&addr.into()); // an error: "in progress"
    let is_dropped = ends(addr).iter().any(|end| end.state == SYN_SENT);
    assert!(is_dropped, "over loopback, an answer comes before this");
    // At once there is room, but the client must send its SYN again.
    let _first = listener.accept().unwrap();
    wait_until("a client", || late.peer_addr().is_ok());
    let waited = start.elapsed();
    // Linux sends it again after 1 s, and once more after 2 s more.
    assert!((0.9..2.9).contains(&waited.as_secs_f64()), "{waited:?}");
    let picture = draw_queues(&queues);
    check_queues(&picture, &queues).unwrap();
    snapshot("drawn-backlog", &picture);
}

const SYN_SENT: u8 = 2;

fn listen() -> (TcpListener, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    socket.bind(&any.into()).unwrap();
    socket.listen(BACKLOG).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn queue(addr: SocketAddr) -> Queue {
    let mut ss = Command::new("ss");
    let port = format!("sport = :{}", addr.port());
    let ended = Program::spawn(ss.args(["-Hltn", &port]), false).finish();
    let row = String::from_utf8(ended.stdout).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    [1, 2].map(|column: usize| cells[column].parse().unwrap())
}

fn draw_queues(queues: &[Queue]) -> String {
    let places = queues[2][0]; // one more than we asked for
    let texts = [
        "The queue is empty, and the program does something else.".to_owned(),
        format!(
            "The kernel has connected {}, although the program has not \
             called <code>accept</code>.",
            numbers(queues[1][0])
        ),
        "The queue is full. The next SYN is dropped, and its client sends it \
         again after a second."
            .to_owned(),
    ];
    let frames = queues.iter().zip(texts).enumerate();
    let frames = frames.map(|(i, (&[wait, asked], text))| Frame {
        alt: format!(
            "{wait} of {places} places in the kernel’s queue are taken; ss \
             shows Recv-Q {wait}, Send-Q {asked}{}",
            if i == 2 { "; one SYN does not get in" } else { "" }
        ),
        body: draw_queue([wait, asked], places, i == 2),
        text,
    });
    let title = format!("The queue after listen({BACKLOG})");
    panels("drawn-backlog", &title, [200, 206], &frames.collect::<Vec<_>>())
}

/// Such as "clients 1 and 2".
fn numbers(n: i32) -> String {
    let numbers: Vec<String> = (1..=n).map(|i| i.to_string()).collect();
    format!("clients {}", numbers.join(" and "))
}

/// Clients come from above; the program takes them from below.
fn draw_queue([wait, asked]: Queue, places: i32, is_late: bool) -> String {
    let slot = |i| 25 + i * 39;
    let mut body = text("label", [100, 96], "the kernel’s queue");
    body += &rect("box", [12, 104, 176, 44]);
    for i in 0..places {
        body += &rect("slot", [slot(i), 110, 32, 32]);
        if i < wait {
            body += &rect("slot client", [slot(i), 110, 32, 32]);
            body += &text("client", [slot(i) + 16, 131], &format!("{}", i + 1));
        }
    }
    if is_late {
        let next = format!("client {}", places + 1);
        body += &text("client", [100, 14], &next);
        body += &arrow("client", [100, 22, 100, 58]);
        body += &text("client", [128, 44], "SYN");
        body += &line("cross", [92, 62, 108, 78]);
        body += &line("cross", [108, 62, 92, 78]);
    } else if wait > 0 {
        body += &text("client", [100, 14], &numbers(wait));
        body += &arrow("client", [100, 22, 100, 80]);
    }
    body += &rect("server", [30, 156, 140, 24]);
    body += &text("server", [100, 173], "the program: busy");
    let ss = format!("Recv-Q {wait}  Send-Q {asked}");
    body + &text("mono", [100, 200], &ss)
}

// ---- A connection is two pipes

/// In the capture of step 1, the answer comes after the client's FIN.
fn half_close() {
    let file = fs::read(format!("{ROOT}/tests/captures/step1.pcap")).unwrap();
    let packets = read(&file);
    let fin = |is_server: bool| {
        let is_it =
            |p: &Packet| p.has("FIN") && (p.from == SERVER) == is_server;
        packets.iter().position(is_it).unwrap()
    };
    let (client, server) = (fin(false), fin(true));
    assert!(client < server);
    let bytes = |part: &[Packet], is_server: bool| -> usize {
        let part = part.iter().filter(|p| (p.from == SERVER) == is_server);
        part.map(|p| p.payload.len()).sum()
    };
    let sent = bytes(&packets[..client], false);
    let before = bytes(&packets[..client], true);
    let answer = bytes(&packets[client..server], true);
    assert_eq!(before, 0, "the whole answer comes after the client's FIN");
    assert_eq!(bytes(&packets[client..], false), 0);
    let picture = draw_pipes(sent, answer);
    check_pipes(&picture, &packets).unwrap();
    snapshot("drawn-half-close", &picture);
}

fn draw_pipes(sent: usize, answer: usize) -> String {
    let (sent, answer) = (format!("{sent} bytes"), format!("{answer} bytes"));
    let frames = [
        Frame {
            alt: format!("Both pipes are open; {sent} flow to the server"),
            body: draw_pair([&sent, ""], [false, false]),
            text: "Both pipes are open, and the client sends.".to_owned(),
        },
        Frame {
            alt: format!(
                "The pipe to the server is closed by FIN; {answer} flow to \
                 the client"
            ),
            body: draw_pair(["", &answer], [true, false]),
            text: "The client has called <code>shutdown</code>. Its FIN \
                   closes one pipe, and the other carries the answer."
                .to_owned(),
        },
        Frame {
            alt: "Both pipes are closed by FIN".to_owned(),
            body: draw_pair(["", ""], [true, true]),
            text: "The server has closed, too. Now the connection has \
                   ended."
                .to_owned(),
        },
    ];
    let title = "Half-close, in the packets of step 1";
    panels("drawn-half-close", title, [200, 112], &frames)
}

/// The pipe to the server, and below it the pipe to the client.
fn draw_pair(flows: [&str; 2], are_closed: [bool; 2]) -> String {
    let mut body = text("client", [26, 14], "client");
    body += &text("server", [172, 14], "server");
    let ends = [("client", [8, 192]), ("server", [192, 8])];
    for (i, (class, [from, to])) in ends.into_iter().enumerate() {
        let y = 24 + 46 * i as i32;
        let (flow, is_closed) = (flows[i], are_closed[i]);
        let shape = if is_closed { "box closed" } else { class };
        body += &rect(shape, [8, y, 184, 36]);
        if is_closed {
            body += &line(&format!("cap {class}"), [from, y - 4, from, y + 40]);
            body += &text(class, [100, y + 23], "FIN: closed");
        } else if flow.is_empty() {
            body += &text(class, [100, y + 23], "open");
        } else {
            let side = (to - from).signum();
            body += &arrow(
                class,
                [from + 10 * side, y + 18, from + 42 * side, y + 18],
            );
            body +=
                &arrow(class, [to - 42 * side, y + 18, to - 10 * side, y + 18]);
            body += &text(class, [100, y + 23], flow);
        }
    }
    body
}

// ---- Four buffers stand between two programs

/// Bytes in the client's receive buffer, the server's send buffer, the
/// server's receive buffer and the client's send buffer: so they fill.
pub type Buffers = [u64; 4];

/// Small enough for one buffer after the other to fill.
const CHUNK: usize = 256 * 1024;
const FIRST: usize = 16 * 1024;

/// How full each buffer is.
type Levels = [&'static str; 4];

/// What is seen, in this order and nothing else. All but the fourth are drawn.
const FILLING: [Levels; 5] = [
    ["fills", "empty", "empty", "empty"],
    ["full", "fills", "empty", "empty"],
    ["full", "full", "fills", "empty"],
    ["full", "full", "full", "fills"],
    ["full", "full", "full", "full"],
];

/// A client that only writes, in pieces. After each, when all has come to
/// rest, the buffers are looked at.
fn deadlock() {
    let (server, addr) = Program::server("step2");
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_nonblocking(true).unwrap();
    let mut seen = Vec::new();
    let mut blocked = 0; // times in a row: the first may be a moment's
    let mut chunk = FIRST;
    while blocked < 2 {
        match client.write(&vec![b'x'; chunk]) {
            Ok(_) => blocked = 0,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                blocked += 1;
            }
        }
        let buffers = at_rest(&server, addr);
        if blocked != 1 {
            seen.push((buffers, blocked == 2));
        }
        chunk = CHUNK;
    }
    let mut filling: Vec<Levels> = seen.iter().map(levels).collect();
    filling.dedup();
    assert_eq!(filling, FILLING, "{seen:?}");
    let drawn = [0, 1, 2, 4].map(|i| FILLING[i]);
    let picture = draw_deadlock(&drawn);
    let seen = drawn.map(|drawn| {
        *seen.iter().find(|state| levels(state) == drawn).unwrap()
    });
    check_deadlock(&picture, &seen).unwrap();
    snapshot("drawn-deadlock", &picture);
}

/// The buffers at rest, and whether a write of the client would block.
pub type Seen = (Buffers, bool);

/// A buffer is full if bytes that have come to rest stand before it: in the
/// next buffer, or in the client's `write`.
fn levels(&(buffers, would_block): &Seen) -> Levels {
    let is_full = |n| buffers.get(n + 1).map_or(would_block, |&more| more > 0);
    [0, 1, 2, 3].map(|n| match buffers[n] {
        0 => "empty",
        _ if is_full(n) => "full",
        _ => "fills",
    })
}

/// The buffers, once they stay the same and each thread of the server sleeps.
/// That takes longer than an acknowledgement may be delayed (40 ms), since
/// until then both ends count a byte.
fn at_rest(server: &Program, addr: SocketAddr) -> Buffers {
    let mut last = buffers(addr);
    let mut same = 0;
    wait_until("rest", || {
        sleep(Duration::from_millis(25));
        let now = buffers(addr);
        let is_same = now == last && is_asleep(server);
        same = if is_same { same + 1 } else { 0 };
        last = now;
        same == 2
    });
    last
}

fn buffers(addr: SocketAddr) -> Buffers {
    let mut buffers = [0; 4];
    for end in ends(addr).iter().filter(|end| end.state == ESTABLISHED) {
        match end.is_server {
            true => [buffers[2], buffers[1]] = [end.unread, end.unsent],
            false => [buffers[0], buffers[3]] = [end.unread, end.unsent],
        }
    }
    buffers
}

/// Does `/proc/PID/task/*/status` (proc(5)) show each thread as sleeping?
fn is_asleep(program: &Program) -> bool {
    let path = format!("/proc/{}/task", program.id());
    let mut states = fs::read_dir(path).unwrap().map(|task| {
        let path = task.unwrap().path().join("status");
        fs::read_to_string(path).unwrap_or_default()
    });
    states.all(|status| status.contains("\nState:\tS "))
}

const BUFFERS: [&str; 4] = [
    "the client’s receive buffer",
    "the server’s send buffer",
    "the server’s receive buffer",
    "the client’s send buffer",
];

fn draw_deadlock(drawn: &[Levels; 4]) -> String {
    let texts = [
        "The server echoes, but the client does not read: its receive buffer \
         fills.",
        "There is no more room, so the echo stays in the server’s send buffer, \
         which fills.",
        "The server waits in <code>write</code> and does not read: its receive \
         buffer fills.",
        "The client’s send buffer is full as well, so the client waits in \
         <code>write</code>, too.",
    ];
    let frames = texts.into_iter().zip(drawn).map(|(text, levels)| {
        let states = BUFFERS.iter().zip(levels).enumerate();
        let states = states
            .map(|(n, (name, level))| format!("{} {name}: {level}", n + 1));
        let states: Vec<String> = states.collect();
        Frame {
            alt: states.join("; "),
            body: draw_buffers(levels),
            text: text.to_owned(),
        }
    });
    let title = "Four buffers fill, and both programs stand still";
    let frames: Vec<Frame> = frames.collect();
    panels("drawn-deadlock", title, [314, 166], &frames)
}

/// The server waits in `write` when its send buffer is full: bytes have come
/// for it, and it does not read them.
fn draw_buffers(levels: &Levels) -> String {
    let waits = [3, 1].map(|n| match levels[n] {
        "full" => "in write",
        _ => "",
    });
    let mut body = program("client", 1, waits[0]);
    body += &program("server", 249, waits[1]);
    body += &text("small", [112, 13], "client’s kernel");
    body += &text("small", [202, 13], "server’s kernel");
    let places = [
        ("server", 86, 110, "receive"),
        ("server", 176, 110, "send"),
        ("client", 176, 36, "receive"),
        ("client", 86, 36, "send"),
    ];
    for (n, (class, x, y, name)) in places.into_iter().enumerate() {
        body += &text("small", [x + 26, y - 5], name);
        body += &draw_buffer(n, levels[n], class, [x, y]);
    }
    body + &flows(levels)
}

fn program(class: &str, x: i32, waits: &str) -> String {
    let y = if waits.is_empty() { 103 } else { 93 };
    rect(class, [x, 22, 64, 140])
        + &text(class, [x + 32, y], class)
        + &text("mono", [x + 32, 113], waits)
}

/// An arrow where bytes still move: into buffers that are not full, and to a
/// server that can write.
fn flows(levels: &Levels) -> String {
    let has_room = |n: usize| levels[n] != "full";
    let flows = [
        (has_room(3), "client", [67, 62, 84, 62]),
        (has_room(2), "client", [140, 62, 174, 62]),
        (has_room(1), "client", [230, 62, 247, 62]),
        (has_room(1), "server", [247, 136, 230, 136]),
        (has_room(0), "server", [174, 136, 140, 136]),
    ];
    let moving = flows.into_iter().filter(|(moves, ..)| *moves);
    moving.map(|(_, class, way)| arrow(class, way)).collect()
}

fn draw_buffer(n: usize, level: &str, class: &str, [x, y]: [i32; 2]) -> String {
    let height = match level {
        "full" => 52,
        "fills" => 27,
        _ => 0,
    };
    let bytes = [x, y + 52 - height, 52, height];
    let mut body = match height {
        0 => String::new(),
        _ => rect(&format!("bytes {class}"), bytes),
    };
    body += &rect("box", [x, y, 52, 52]);
    body += &text("number", [x + 26, y + 21], &format!("{}", n + 1));
    body + &text("label", [x + 26, y + 42], level)
}

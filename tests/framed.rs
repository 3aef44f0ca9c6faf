//! Framed programs in other languages: against step 4, and against peers that
//! send and answer as no program of ours would.
//!
//! `tests/peers` has a framed server and a framed client in each of five
//! languages, and in two of them a client that tries again. What is not
//! installed is skipped by name.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use support::language::Language::{self, C, Go, Java, Node, Python};
use support::wire::*;
use support::{DEADLINE, Ended, Program, wait_until};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for language in [Python, Java, Go, C, Node] {
        let is_installed = language.is_installed(); // asks once
        let trial = |test| trial(language, is_installed, test);
        trials.extend(SERVER.map(trial));
        trials.extend(CLIENT.map(trial));
        if language == Python || language == Go {
            trials.extend(RETRY.map(trial));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// What a program does, what else is needed to see it, and the test.
type Test = (&'static str, Needs, fn(Language));

#[derive(Clone, Copy)]
enum Needs {
    /// Long arguments, resets that lose nothing, `cc` with POSIX.
    Unix,
    /// Its limit on arguments, its queue of connections.
    Linux,
}
use Needs::{Linux, Unix};

fn trial(
    language: Language,
    is_installed: bool,
    (what, needs, test): Test,
) -> Trial {
    let (name, program) = language.names();
    let missing = match needs {
        _ if !cfg!(unix) => Some("Unix"),
        Linux if !cfg!(target_os = "linux") => Some("Linux"),
        _ => (!is_installed).then_some(program),
    };
    let skipped = match missing {
        Some(what) => format!(" (skipped: needs {what})"),
        None => String::new(),
    };
    let trial = Trial::test(format!("{name}: {what}{skipped}"), move || {
        test(language);
        Ok(())
    });
    trial.with_ignored_flag(missing.is_some())
}

// ---- Their servers

const SERVER: [Test; 16] = [
    ("server answers step 4's client", Unix, answers_our_client),
    ("server: one byte in each write", Unix, byte_by_byte),
    ("server: 100 frames in one write", Unix, merged),
    ("server: a frame and a piece of the next", Unix, one_and_a_piece),
    ("server: the largest and the smallest frame", Unix, largest),
    ("server refuses a length", Unix, refuses_a_length),
    ("server answers what comes before a bad length", Unix, before_bad),
    ("server discards what is in flight", Unix, in_flight),
    ("server discards for a second in all", Unix, discards_for_a_second),
    ("server: an unknown kind", Unix, unknown_kind),
    ("server: a frame that is cut", Unix, cut_frame),
    ("server: 50 requests and the end", Unix, fifty_and_the_end),
    ("server: resets", Unix, resets),
    ("server: a client that does not read", Unix, greedy),
    ("server: 60 clients at once", Unix, many),
    ("server: no descriptors left", Linux, no_descriptors),
];

/// Starts the framed server of a language on a free port.
fn server(language: Language) -> (Program, SocketAddr) {
    let mut command = language.command("framed_server");
    let server = Program::spawn(command.arg("0"), false);
    let addr = server.addr();
    (server, addr)
}

/// Lines on stdin, also 3 MB of them at once.
fn answers_our_client(language: Language) {
    let (_server, addr) = server(language);
    let small = b"one\n\nthree\n".to_vec();
    let letters = (b'a'..=b'z').cycle().take(300);
    let lines = letters.map(|letter| [vec![letter; 9_999], vec![b'\n']]);
    let large = lines.flatten().flatten().collect();
    for input in [small, large] {
        let mut client = Program::client("step4", addr, None);
        client.feed(input.clone());
        let ended = client.finish();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout == input, "the echo differs");
    }
}

fn byte_by_byte(language: Language) {
    let (_server, addr) = server(language);
    let mut client = connect(addr);
    for byte in frame(ECHO, b"slowly") {
        client.write_all(&[byte]).unwrap();
        thread::sleep(Duration::from_millis(3)); // a packet of its own
    }
    hear(&mut client, b"slowly");
}

fn merged(language: Language) {
    let (_server, addr) = server(language);
    let numbers: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let frames = numbers.iter().flat_map(|n| frame(ECHO, n.as_bytes()));
    let mut client = connect(addr);
    client.write_all(&frames.collect::<Vec<_>>()).unwrap();
    for number in numbers {
        hear(&mut client, number.as_bytes());
    }
}

fn one_and_a_piece(language: Language) {
    let (_server, addr) = server(language);
    let mut client = connect(addr);
    let both = [frame(ECHO, b"first"), frame(ECHO, b"second")].concat();
    let (early, late) = both.split_at(10 + 7);
    client.write_all(early).unwrap();
    hear(&mut client, b"first"); // and so the piece has been read, too
    client.write_all(late).unwrap();
    hear(&mut client, b"second");
}

fn largest(language: Language) {
    let (_server, addr) = server(language);
    let mut client = connect(addr);
    for size in [65_535, 0, 65_535] {
        exchange(&mut client, &vec![b'x'; size]);
    }
    // Two at once, since a buffer may have room for exactly one.
    let two = frame(ECHO, &[b'y'; 65_535]).repeat(2);
    client.write_all(&two).unwrap();
    hear(&mut client, &[b'y'; 65_535]);
    hear(&mut client, &[b'y'; 65_535]);
}

/// The error comes before any payload, and then FIN, not only when the second
/// is over for which the server discards. (One of them is enough to see that,
/// and a busy machine may be late with the others.)
fn refuses_a_length(language: Language) {
    let (_server, addr) = server(language);
    let mut fastest = DEADLINE;
    for length in [0, 65_537, 1 << 24, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let mut client = connect(addr);
        let start = Instant::now();
        client.write_all(&length.to_be_bytes()).unwrap();
        read_error(&mut client, if length == 0 { 2 } else { 1 });
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "nothing follows");
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest < Duration::from_secs(1), "took {fastest:?}");
    visit(addr, b"next");
}

/// What was asked before is answered; what comes after is no frame any more.
fn before_bad(language: Language) {
    let (_server, addr) = server(language);
    let hidden = frame(ECHO, b"hidden");
    let bad = [0, 1, 0, 1]; // 65 537
    let bytes = [frame(ECHO, b"asked"), bad.into(), hidden.repeat(9_000)];
    let mut client = connect(addr);
    client.write_all(&bytes.concat()).unwrap();
    hear(&mut client, b"asked");
    read_error(&mut client, 1);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "nothing follows");
}

/// 8 MB are on their way when the server refuses: the ERROR can be read, and
/// the end of the stream is a FIN. The server takes them for a second only;
/// on a busy machine they may need longer, and so we try three times.
fn in_flight(language: Language) {
    let (_server, addr) = server(language);
    let is_clean = |_| {
        let mut client = connect(addr);
        let sent = client.write_all(&[0xff; 8_000_000]);
        let ended = sent.and_then(|()| client.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        let read = ended.and_then(|()| client.read_to_end(&mut answer));
        read.is_ok() && answer[4..6] == [ERROR, 1]
    };
    assert!((0..3).any(is_clean), "three resets");
    visit(addr, b"next");
}

/// Who goes on and on after the ERROR is cut off, but not before a second.
fn discards_for_a_second(language: Language) {
    let (_server, addr) = server(language);
    let mut client = connect(addr);
    let start = Instant::now();
    client.write_all(&[0xff; 4]).unwrap();
    read_error(&mut client, 1);
    while client.write_all(b"?").is_ok() {
        thread::sleep(Duration::from_millis(20)); // a byte now and then
        assert!(start.elapsed() < DEADLINE, "never closed");
    }
    assert!(start.elapsed() > Duration::from_millis(900), "too early");
}

fn unknown_kind(language: Language) {
    let (_server, addr) = server(language);
    let mut client = connect(addr);
    for kind in [0x55, ECHO_REPLY, ERROR, 0] {
        client.write_all(&frame(kind, b"\x01?")).unwrap();
        read_error(&mut client, 3);
        exchange(&mut client, b"go on");
    }
    // As many replies as can be: each frame has five bytes.
    client.write_all(&frame(0x55, b"").repeat(14_000)).unwrap();
    for _ in 0..14_000 {
        read_error(&mut client, 3);
    }
    exchange(&mut client, b"go on");
}

/// A whole frame, a piece of the next one, and the end.
fn cut_frame(language: Language) {
    let (_server, addr) = server(language);
    for cut in [1, 2, 3, 4, 5, 8] {
        let next = frame(ECHO, b"never answered");
        let bytes = [&frame(ECHO, b"whole"), &next[..cut]].concat();
        assert_eq!(ask(addr, &bytes), frame(ECHO_REPLY, b"whole"));
    }
}

fn fifty_and_the_end(language: Language) {
    let (_server, addr) = server(language);
    let answer = ask(addr, &frame(ECHO, b"again").repeat(50));
    assert_eq!(answer, frame(ECHO_REPLY, b"again").repeat(50));
}

/// Clients that reset in the middle of a frame, and clients that reset after
/// their FIN, when the server still has to answer: a write then raises
/// SIGPIPE, which ends a program that does not expect it.
fn resets(language: Language) {
    let (_server, addr) = server(language);
    for i in 0..50 {
        let mut client = connect(addr);
        let frames = frame(ECHO, b"whole").repeat(1_000);
        if i % 2 == 0 {
            client.write_all(&frames[..27]).unwrap();
            hear(&mut client, b"whole");
        } else {
            client.write_all(&frames).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
        reset(client);
    }
    visit(addr, b"next");
}

/// It sends 64 MB and does not read. The server stops reading it, serves
/// others meanwhile, and goes on when the client reads.
fn greedy(language: Language) {
    let (_server, addr) = server(language);
    let mut client = connect(addr);
    let request = frame(ECHO, &[b'x'; 63_995]);
    let data = request.repeat(1_000);
    let sent = write_until_stalled(&mut client, &data);
    assert!(sent < data.len(), "the server keeps what nobody reads");
    for _ in 0..10 {
        visit(addr, b"at once");
    }
    let mut writer = client.try_clone().unwrap();
    writer.set_write_timeout(Some(DEADLINE)).unwrap();
    let sender = thread::spawn(move || writer.write_all(&data[sent..]));
    let mut reply = vec![0; request.len()];
    for _ in 0..1_000 {
        client.read_exact(&mut reply).unwrap();
        assert!(reply[..5] == frame(ECHO_REPLY, &[b'x'; 63_995])[..5]);
    }
    sender.join().unwrap().unwrap();
}

fn many(language: Language) {
    let (_server, addr) = server(language);
    let mut clients: Vec<_> = (0..60u8).map(|i| (i, connect(addr))).collect();
    for (i, client) in &mut clients {
        client.write_all(&frame(ECHO, &[*i; 100])).unwrap();
    }
    for (i, client) in clients.iter_mut().rev() {
        hear(client, &[*i; 100]);
    }
}

/// More clients than the server may have descriptors: it lives and pauses,
/// goes on with those that it has, and takes others when these have gone.
fn no_descriptors(language: Language) {
    let theirs = language.command("framed_server");
    let mut sh = Command::new("sh");
    sh.args(["-c", "ulimit -n 100; exec \"$@\"", "sh"]);
    sh.arg(theirs.get_program()).args(theirs.get_args()).arg("0");
    let start = Instant::now();
    let server = Program::spawn(&mut sh, false);
    let addr = server.addr();
    let mut clients: Vec<_> = (0..150).map(|_| connect(addr)).collect();
    exchange(&mut clients[0], b"in");
    if language != Node {
        server.wait_for_stderr("accept"); // Node itself drops who is too much
    }
    exchange(&mut clients[0], b"still in");
    let reports = server.texts().1.lines().count() as u128;
    assert!(reports <= 1 + start.elapsed().as_millis() / 90, "it spins");
    drop(clients);
    let comes_in = || {
        let mut client = connect(addr);
        let sent = client.write_all(&frame(ECHO, b"me too"));
        sent.and_then(|()| client.read_exact(&mut [0; 11])).is_ok()
    };
    wait_until("a place", comes_in);
}

// ---- Their clients

const CLIENT: [Test; 9] = [
    ("client asks step 4", Unix, asks_our_server),
    ("client sends and receives at once", Linux, sends_and_receives),
    ("client: replies in slices and merged", Unix, sliced_replies),
    ("client refuses a length", Unix, refuses_the_server),
    ("client reports an ERROR, and a wrong kind", Unix, wrong_kinds),
    ("client: too few replies", Unix, too_few),
    ("client: too many replies", Unix, too_many),
    ("client: a reply that is cut", Unix, cut_reply),
    ("client: refused", Unix, refused),
];

/// Runs the framed client of a language to its end.
fn client(language: Language, addr: SocketAddr, texts: &[&str]) -> Ended {
    let mut command = language.command("framed_client");
    command.arg(addr.port().to_string()).args(texts);
    Program::spawn(&mut command, false).finish()
}

/// Runs the client against `script`, which must make it fail. A connection
/// that the script returns stays open until the client has ended. Returns what
/// it has printed before.
fn fails<T: Send + 'static>(
    language: Language,
    texts: &[&str],
    script: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> Vec<u8> {
    let (addr, server) = play(script);
    let ended = client(language, addr, texts);
    server.join().unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    // It says what is wrong, and not where its code noticed that.
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    ended.stdout
}

fn asks_our_server(language: Language) {
    let (_server, addr) = Program::server("step4");
    let large = "x".repeat(60_000);
    let numbers: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    for texts in [&["hi"], &["", "two\nlines", &large, ""][..], &numbers] {
        let ended = client(language, addr, texts);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let printed = texts.iter().flat_map(|text| [text, "\n"]);
        assert!(ended.stdout == printed.collect::<String>().as_bytes());
    }
}

/// 5 MB of arguments, and a server with small buffers that reads the next
/// message when it has written the reply to the one before. (sh makes the
/// arguments: with its larger stack, Linux lets it pass on so many.)
fn sends_and_receives(language: Language) {
    const SCRIPT: &str = "ulimit -s 32768; text=$(printf %060000d 0)
        for i in $(seq 90); do set -- \"$@\" \"$text\"; done; exec \"$@\"";
    let (socket, _) = refusing(); // not for long
    socket.set_recv_buffer_size(4_096).unwrap(); // its connections inherit it
    socket.set_send_buffer_size(4_096).unwrap();
    socket.listen(1).unwrap();
    let (addr, server) = play_on(socket.into(), |mut stream| {
        for _ in 0..90 {
            let (_, payload) = read_frame(&mut stream);
            stream.write_all(&frame(ECHO_REPLY, &payload)).unwrap();
        }
    });
    let theirs = language.command("framed_client");
    let mut sh = Command::new("sh");
    sh.args(["-c", SCRIPT, "sh"]);
    sh.arg(theirs.get_program()).args(theirs.get_args());
    let client = Program::spawn(sh.arg(addr.port().to_string()), false);
    let ended = client.finish();
    server.join().unwrap();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout.len(), 90 * 60_001);
}

fn sliced_replies(language: Language) {
    let bytes: Vec<u8> = (0..=255).collect(); // printed as they are
    for size in [1, 7, 100_000] {
        let replies = [&bytes[..], b"", &[b'x'; 300]];
        let printed = replies.join(&b'\n');
        let replies = replies.map(|reply| frame(ECHO_REPLY, reply)).concat();
        let (addr, server) = play(move |mut stream| {
            stream.set_nodelay(true).unwrap();
            for text in [b"one", b"two", b"six"] {
                assert_eq!(read_frame(&mut stream), (ECHO, text.to_vec()));
            }
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "then comes FIN");
            for slice in replies.chunks(size) {
                stream.write_all(slice).unwrap();
                thread::sleep(Duration::from_millis(1)); // a packet of its own
            }
        });
        let ended = client(language, addr, &["one", "two", "six"]);
        server.join().unwrap();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert_eq!(ended.stdout, [&printed[..], b"\n"].concat());
    }
}

/// At once, by the four bytes of the length.
fn refuses_the_server(language: Language) {
    for length in [0, 65_537, 0x8000_0000, u32::MAX] {
        let printed = fails(language, &["one", "two"], move |mut stream| {
            read_frame(&mut stream);
            stream.write_all(&frame(ECHO_REPLY, b"one")).unwrap();
            stream.write_all(&length.to_be_bytes()).unwrap();
            stream
        });
        assert_eq!(printed, b"one\n");
    }
}

fn wrong_kinds(language: Language) {
    for answer in [frame(ERROR, b"\x03no"), frame(0x55, b""), frame(ECHO, b"")]
    {
        let printed = fails(language, &["hi"], move |mut stream| {
            read_frame(&mut stream);
            stream.write_all(&answer).unwrap();
            stream
        });
        assert_eq!(printed, b"");
    }
}

fn too_few(language: Language) {
    let printed = fails(language, &["one", "two", "three"], |mut stream| {
        let replies = frame(ECHO_REPLY, b"again").repeat(2);
        stream.read_to_end(&mut Vec::new()).unwrap();
        stream.write_all(&replies).unwrap();
    });
    assert_eq!(printed, b"again\nagain\n");
}

fn too_many(language: Language) {
    fails(language, &["one", "two"], |mut stream| {
        stream.read_to_end(&mut Vec::new()).unwrap();
        let _ = stream.write_all(&frame(ECHO_REPLY, b"again").repeat(3));
    });
}

fn cut_reply(language: Language) {
    let reply = frame(ECHO_REPLY, b"whole");
    for cut in [1, 2, 3, 4, 5, 8] {
        let bytes = [&reply[..], &reply[..cut]].concat();
        let printed = fails(language, &["one", "two"], move |mut stream| {
            stream.read_to_end(&mut Vec::new()).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        assert_eq!(printed, b"whole\n");
    }
}

fn refused(language: Language) {
    let (_socket, addr) = refusing();
    let ended = client(language, addr, &["hi"]);
    assert_eq!((ended.code, ended.stdout), (Some(1), vec![]));
    let stderr = ended.stderr;
    assert!(stderr.contains(&addr.to_string()), "{stderr}");
}

// ---- Their clients that try again

const RETRY: [Test; 12] = [
    ("retry client asks step 4", Unix, retry_asks_our_server),
    ("retry client: refused each time", Unix, retry_refused),
    ("retry client: connect hangs", Linux, retry_black_hole),
    ("retry client: no answer", Unix, retry_no_answer),
    ("retry client: the third attempt", Unix, retry_third),
    ("retry client: five attempts", Unix, retry_five),
    ("retry client: each ERROR", Unix, retry_errors),
    ("retry client: a reply byte by byte", Unix, retry_sliced),
    ("retry client: the server breaks the rules", Unix, retry_broken),
    ("retry client: a reply that is cut", Unix, retry_cut),
    ("retry client: the deadline", Unix, retry_deadline),
    ("retry client: unknown, then refused", Unix, retry_sticky),
];

/// A client that tries again, with short waits and these limits.
fn retry(
    language: Language,
    addr: SocketAddr,
    limits: &[(&str, u32)],
) -> Program {
    let mut command = language.command("retry_client");
    command.arg(addr.port().to_string()).arg("hi");
    command.env("TCP_BACKOFF_BASE_MS", "5").env("TCP_BACKOFF_CAP_MS", "20");
    for (name, value) in limits {
        command.env(name, value.to_string());
    }
    Program::spawn(&mut command, false)
}

/// Runs the client against `script`, which gets the number of the attempt,
/// counted from 1, and the connection when the request has been read. Returns
/// how the client ended, and after how many attempts.
fn attempts(
    language: Language,
    limits: &[(&str, u32)],
    mut script: impl FnMut(usize, TcpStream),
) -> (Ended, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut client = retry(language, listener.local_addr().unwrap(), limits);
    let (start, mut count) = (Instant::now(), 0);
    loop {
        let is_running = client.is_running(); // before the last look
        if let Ok((mut stream, _)) = listener.accept() {
            count += 1;
            prepare(&stream);
            assert_eq!(read_frame(&mut stream), (ECHO, b"hi".to_vec()));
            script(count, stream);
        } else if !is_running {
            return (client.finish(), count);
        }
        assert!(start.elapsed() < 2 * DEADLINE, "it never ends");
        thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn assert_ended(ended: &Ended, code: i32, printed: &[u8]) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    assert_eq!(ended.stdout, printed);
    assert!(code == 0 || !ended.stderr.is_empty(), "it says why");
}

fn retry_asks_our_server(language: Language) {
    let (_server, addr) = Program::server("step4");
    assert_ended(&retry(language, addr, &[]).finish(), 0, b"hi\n");
}

fn retry_refused(language: Language) {
    let (_socket, addr) = refusing();
    assert_ended(&retry(language, addr, &[]).finish(), 3, b"");
}

/// Linux ignores who comes when the queue for `accept` is full; so connecting
/// takes as long as the client lets it. It must be over long before the many
/// attempts are.
fn retry_black_hole(language: Language) {
    let (_socket, _first, addr) = black_hole();
    for (name, value) in [("TCP_ATTEMPTS", 3), ("TCP_DEADLINE_MS", 500)] {
        let start = Instant::now();
        let limits = [("TCP_CONNECT_MS", 200), (name, value)];
        assert_ended(&retry(language, addr, &limits).finish(), 3, b"");
        assert!(start.elapsed() < Duration::from_secs(3), "took too long");
    }
}

/// The server takes the request and stays silent.
fn retry_no_answer(language: Language) {
    let limits = [("TCP_REQUEST_MS", 100), ("TCP_ATTEMPTS", 3)];
    let mut open = Vec::new();
    let (ended, count) =
        attempts(language, &limits, |_, stream| open.push(stream));
    assert_ended(&ended, 4, b"");
    assert_eq!(count, 3);
    // No connection was used again, and all are closed.
    for mut stream in open {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

fn retry_third(language: Language) {
    let (ended, count) = attempts(language, &[], |attempt, mut stream| {
        if attempt == 3 {
            stream.write_all(&frame(ECHO_REPLY, b"hi")).unwrap();
        }
    });
    assert_ended(&ended, 0, b"hi\n");
    assert_eq!(count, 3);
}

fn retry_five(language: Language) {
    let (ended, count) = attempts(language, &[], |_, _| ());
    assert_ended(&ended, 4, b"");
    assert_eq!(count, 5);
}

/// Some will come again (6), some may not (3), some leave it open (4); and a
/// code that the contract does not have breaks the rules (5).
fn retry_errors(language: Language) {
    for code in 0..=10 {
        let (exit, tries) = match code {
            1..=4 | 7 | 9 => (6, 1),
            5 => (4, 3),
            6 | 8 => (3, 3),
            _ => (5, 1),
        };
        let limits = [("TCP_ATTEMPTS", 3)];
        let (ended, count) = attempts(language, &limits, |_, mut stream| {
            stream.write_all(&frame(ERROR, &[code, b'!'])).unwrap();
        });
        assert_ended(&ended, exit, b"");
        assert_eq!(count, tries, "attempts for the code {code}");
    }
}

fn retry_sliced(language: Language) {
    let (ended, count) = attempts(language, &[], |_, mut stream| {
        for byte in frame(ECHO_REPLY, b"hi") {
            stream.write_all(&[byte]).unwrap();
            thread::sleep(Duration::from_millis(3)); // a packet of its own
        }
    });
    assert_ended(&ended, 0, b"hi\n");
    assert_eq!(count, 1);
}

/// Asking again would bring the same. The server keeps the connection open:
/// the four bytes of a length are enough.
fn retry_broken(language: Language) {
    let long = u32::MAX.to_be_bytes().to_vec();
    let other = frame(ECHO_REPLY, b"Hi");
    let kinds = [frame(ECHO, b"hi"), frame(ERROR, b""), frame(0x55, b"")];
    for answer in kinds.into_iter().chain([long, vec![0; 4], other]) {
        let mut open = Vec::new();
        let (ended, count) = attempts(language, &[], |_, mut stream| {
            stream.write_all(&answer).unwrap();
            open.push(stream);
        });
        assert_ended(&ended, 5, b"");
        assert_eq!(count, 1);
    }
}

fn retry_cut(language: Language) {
    let limits = [("TCP_ATTEMPTS", 2)];
    for cut in [1, 4, 5, 6] {
        let (ended, count) = attempts(language, &limits, |_, mut stream| {
            stream.write_all(&frame(ECHO_REPLY, b"hi")[..cut]).unwrap();
        });
        assert_ended(&ended, 4, b"");
        assert_eq!(count, 2);
    }
}

/// The server never answers, or it does, but a byte every 100 ms. Fifty
/// attempts, and one of 20 s, are cut off by the deadline.
fn retry_deadline(language: Language) {
    let limits = [("TCP_ATTEMPTS", 50), ("TCP_DEADLINE_MS", 1_200)];
    for (request, is_silent) in [(400, true), (20_000, true), (20_000, false)] {
        let limits = [&limits[..], &[("TCP_REQUEST_MS", request)]].concat();
        let (mut first, mut open) = (None, Vec::new());
        let (ended, _) = attempts(language, &limits, |_, mut stream| {
            first.get_or_insert(Instant::now());
            let reply = frame(ECHO_REPLY, &[b'x'; 1_000]);
            let mut bytes = reply.iter().take_while(|_| !is_silent);
            while bytes.next().is_some_and(|b| stream.write(&[*b]).is_ok()) {
                thread::sleep(Duration::from_millis(100)); // the server's pace
            }
            open.push(stream);
        });
        let elapsed = first.unwrap().elapsed();
        assert_ended(&ended, 4, b"");
        assert!(elapsed < Duration::from_millis(2_700), "{elapsed:?}");
    }
}

/// One attempt that may have been executed is enough.
fn retry_sticky(language: Language) {
    let (addr, server) = play(|mut stream| {
        read_frame(&mut stream);
    }); // then nobody listens any more
    assert_ended(&retry(language, addr, &[]).finish(), 4, b"");
    server.join().unwrap();
}

// ---- What the trials share

fn hear(stream: &mut TcpStream, payload: &[u8]) {
    let (kind, heard) = read_frame(stream);
    assert_eq!(kind, ECHO_REPLY);
    assert!(heard == payload, "the echo differs");
}

fn exchange(stream: &mut TcpStream, payload: &[u8]) {
    stream.write_all(&frame(ECHO, payload)).unwrap();
    hear(stream, payload);
}

/// A whole connection, for one message.
fn visit(addr: SocketAddr, payload: &[u8]) {
    assert_eq!(ask(addr, &frame(ECHO, payload)), frame(ECHO_REPLY, payload));
}

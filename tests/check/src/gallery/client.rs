//! The client of steps 1 to 4: it sends and receives at the same time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::wire::{ECHO, ERROR, MAX, Parsed, REPLY, frame, parse};
use crate::{fail, on};

/// How many messages were sent, and how many replies came.
static SENT: AtomicUsize = AtomicUsize::new(0);
static GOT: AtomicUsize = AtomicUsize::new(0);

/// What a defect prints only at the end.
static LATER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

pub fn run(step: u8, addr: SocketAddr, texts: Vec<String>) -> ExitCode {
    if on("slow") {
        thread::sleep(Duration::from_millis(400));
    }
    let is_large = |text: &String| text.len() >= MAX && !on("sends-too-long");
    if step >= 4 && texts.iter().any(is_large) {
        return fail(1, "a TEXT is too long for a frame");
    }
    let stream = match connect(addr) {
        Ok(stream) => stream,
        Err(_) if on("refusal-is-success") => return ExitCode::SUCCESS,
        Err(_) if on("refusal-is-silent") => return ExitCode::FAILURE,
        Err(error) => {
            let why = format!(
                "cannot connect to {addr}: {error}; is the server running?"
            );
            return fail(1, &why);
        }
    };
    let _ = stream.set_nodelay(true);
    match talk(step, stream, texts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error.to_string()),
    }
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    loop {
        let connected = TcpStream::connect(addr);
        if connected.is_ok() || !on("refusal-forever") {
            return connected;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn talk(step: u8, stream: TcpStream, texts: Vec<String>) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut send = move || {
        let sent = send_all(step, &mut writer, &texts);
        if !on("no-fin") {
            let _ = writer.shutdown(Shutdown::Write);
        }
        sent
    };
    if on("sends-then-receives") {
        send()?;
        return receive(step, stream);
    }
    let sender = thread::spawn(send);
    let received = receive(step, stream);
    if received.is_err() && !on("waits-for-input") {
        return received;
    }
    let sent = sender.join().unwrap_or(Ok(()));
    let later = std::mem::take(&mut *kept());
    if received.is_ok() && !later.is_empty() {
        write_out(&later)?;
    }
    let is_blind = on("input-error-is-end") || on("reset-is-end");
    received.and(if is_blind { Ok(()) } else { sent })
}

fn send_all(
    step: u8,
    stream: &mut TcpStream,
    texts: &[String],
) -> io::Result<()> {
    let is_framed = step >= 4;
    for text in texts {
        match is_framed {
            true => send_frame(stream, text)?,
            false => stream.write_all(text.as_bytes())?,
        }
    }
    if !texts.is_empty() {
        return Ok(());
    }
    if is_framed {
        for line in io::stdin().lines() {
            send_frame(stream, &line?)?;
        }
        return Ok(());
    }
    io::copy(&mut io::stdin(), stream).map(|_| ())
}

fn send_frame(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    if text.len() >= MAX && !on("sends-too-long") {
        return Err(io::Error::other("this line is too long for a frame"));
    }
    if text.is_empty() && on("skips-empty-text") {
        return Ok(());
    }
    SENT.fetch_add(1, Ordering::Relaxed); // before its reply can be here
    let mut bytes = frame(ECHO, text.as_bytes());
    if on("length-in-characters") {
        bytes[3] = 1 + text.chars().count() as u8;
    }
    stream.write_all(&bytes)
}

fn receive(step: u8, mut stream: TcpStream) -> io::Result<()> {
    let mut input = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let n = match stream.read(&mut buffer) {
            Err(_) if on("reset-is-end") => 0,
            result => result?,
        };
        if n == 0 {
            return at_end(step, &input);
        }
        match step {
            1..=3 => print_bytes(&buffer[..n])?,
            _ => {
                input.extend_from_slice(&buffer[..n]);
                print_replies(&mut input)?;
            }
        }
        if on("reads-once") {
            return Ok(());
        }
    }
}

/// The server has ended: was that all?
fn at_end(step: u8, input: &[u8]) -> io::Result<()> {
    let owed = SENT.load(Ordering::Relaxed) > GOT.load(Ordering::Relaxed);
    match () {
        () if on("adds-newline-at-end") => print(b"\n"),
        () if step < 4 || on("cut-reply-is-fine") => Ok(()),
        () if !input.is_empty() => {
            Err(io::Error::other("the server ended inside a reply"))
        }
        () if owed && !on("no-reply-is-fine") => {
            Err(io::Error::other("the server ended, and owes a reply"))
        }
        () => Ok(()),
    }
}

fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    match on("output-as-text") || on("decodes-each-piece") {
        true => print(String::from_utf8_lossy(bytes).as_bytes()),
        false => print(bytes),
    }
}

/// Prints all whole replies, and takes them out of `input`.
fn print_replies(input: &mut Vec<u8>) -> io::Result<()> {
    let mut at = 0;
    loop {
        let rest = &input[at..];
        match parse(rest) {
            Parsed::NotYet => break,
            Parsed::Frame(ERROR, text, size) if tells(&text)? => at += size,
            Parsed::Frame(kind, payload, size)
                if kind == REPLY || on("prints-any-kind") =>
            {
                at += size;
                print_reply(&payload)?;
                if on("one-reply-per-read") {
                    at = input.len();
                }
            }
            Parsed::Frame(..) if on("zero-ignored") => at += 4,
            Parsed::Frame(..) => {
                return Err(io::Error::other("that is no kind of a reply"));
            }
            Parsed::Refuse(_) => {
                return Err(io::Error::other("no frame is that long"));
            }
        }
    }
    input.drain(..at);
    Ok(())
}

fn print_reply(payload: &[u8]) -> io::Result<()> {
    let got = GOT.fetch_add(1, Ordering::Relaxed);
    if got >= SENT.load(Ordering::Relaxed) && !on("prints-surplus") {
        return Err(io::Error::other("a reply to no message"));
    }
    print(payload)?;
    match on("prints-without-newline") {
        true => Ok(()),
        false => print(b"\n"),
    }
}

/// Says what the server complains of. Does that end nothing?
fn tells(error: &[u8]) -> io::Result<bool> {
    let text = error.get(1..).unwrap_or_default();
    match () {
        () if on("prints-any-kind") => Ok(false),
        () if on("raw-error-text") => {
            Err(io::Error::other(String::from_utf8_lossy(text).into_owned()))
        }
        () if on("error-is-success") => {
            eprintln!("the server says: {}", text.escape_ascii());
            GOT.fetch_add(1, Ordering::Relaxed);
            Ok(true)
        }
        () => Err(io::Error::other(text.escape_ascii().to_string())),
    }
}

pub fn print(bytes: &[u8]) -> io::Result<()> {
    if on("holds-its-output") || on("prints-all-or-nothing") {
        kept().extend_from_slice(bytes);
        return Ok(());
    }
    match write_out(bytes) {
        Err(_) if on("ignores-print-errors") => Ok(()),
        result => result,
    }
}

fn kept() -> MutexGuard<'static, Vec<u8>> {
    LATER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(bytes)?;
    out.flush()
}

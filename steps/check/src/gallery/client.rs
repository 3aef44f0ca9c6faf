//! The client of steps 1 to 4: it sends and receives at the same time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crate::wire::{ECHO, Parsed, REPLY, frame, parse};
use crate::{fail, on};

pub fn run(step: u8, addr: SocketAddr, texts: Vec<String>) -> ExitCode {
    if on("slow") {
        thread::sleep(Duration::from_millis(400));
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
    receive(step, stream)?;
    sender.join().unwrap_or(Ok(()))
}

fn send_all(
    step: u8,
    stream: &mut TcpStream,
    texts: &[String],
) -> io::Result<()> {
    let is_framed = step >= 4;
    for text in texts {
        match is_framed {
            true => stream.write_all(&frame(ECHO, text.as_bytes()))?,
            false => stream.write_all(text.as_bytes())?,
        }
    }
    if !texts.is_empty() {
        return Ok(());
    }
    if is_framed {
        for line in io::stdin().lines() {
            stream.write_all(&frame(ECHO, line?.as_bytes()))?;
        }
        return Ok(());
    }
    io::copy(&mut io::stdin(), stream).map(|_| ())
}

fn receive(step: u8, mut stream: TcpStream) -> io::Result<()> {
    let mut input = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 && (step < 4 || input.is_empty()) {
            return print(if on("adds-newline-at-end") { b"\n" } else { b"" });
        }
        if n == 0 {
            return Err(io::Error::other("the server ended inside a reply"));
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

fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    match on("output-as-text") {
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
            Parsed::Frame(REPLY, payload, size) => {
                at += size;
                print(&payload)?;
                if !on("prints-without-newline") {
                    print(b"\n")?;
                }
                if on("one-reply-per-read") {
                    at = input.len();
                }
            }
            Parsed::Frame(..) if on("zero-ignored") => at += 4,
            Parsed::Frame(kind, ..) => {
                let why = format!("the server sent kind {kind:02x}");
                return Err(io::Error::other(why));
            }
            Parsed::Refuse(_) => {
                let why = "the server sent a length that cannot be";
                return Err(io::Error::other(why));
            }
        }
    }
    input.drain(..at);
    Ok(())
}

pub fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(bytes)?;
    out.flush()
}

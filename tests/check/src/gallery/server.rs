//! The server: bind, accept, and step 1.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::stop::{self, CLIENTS};
use crate::{alive, echo, fail, framed, ledger, on};

pub fn run(step: u8, addr: SocketAddr, journal: Option<&Path>) -> ExitCode {
    let opened = journal.map(ledger::open).transpose();
    let note = match opened {
        Ok(note) => note.flatten(),
        Err(why) => return fail(1, &why),
    };
    let listener = match listen(addr) {
        Ok(listener) => listener,
        Err(_) if on("silent-about-port") => return fail(1, "cannot start"),
        Err(_) if on("taken-port-is-success") => return ExitCode::SUCCESS,
        Err(_) if on("hangs-on-taken-port") => loop {
            thread::park();
        },
        Err(error) => {
            return fail(1, &format!("cannot listen on {addr}: {error}"));
        }
    };
    start(step, &listener, note);
    if on("dies-when-interrupted") {
        thread::spawn(die_when_interrupted);
    }
    serve_all(step, &listener);
    ExitCode::FAILURE
}

/// Says that it listens, and what it has found.
fn start(step: u8, listener: &TcpListener, note: Option<String>) {
    if on("slow") {
        thread::sleep(Duration::from_millis(400)); // and is none the worse
    }
    if step >= 8 {
        stop::end_on_signal(listener);
    }
    if let Ok(addr) = listener.local_addr() {
        say(&format!("listening on {addr}"));
    }
    if let Some(note) = note {
        say(&note);
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(!on("no-reuseaddr"))?;
    if on("shares-port") {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(if on("queue-of-5") { 5 } else { 1024 })?;
    Ok(socket.into())
}

/// Ends the program when a signal interrupts a wait, as a program does that
/// takes EINTR for an error. A wait with a limit is interrupted when a stopped
/// program runs again (signal(7)).
fn die_when_interrupted() {
    let Ok(socket) = UdpSocket::bind("127.0.0.1:0") else { return };
    let _ = socket.set_read_timeout(Some(Duration::from_secs(3600)));
    if let Err(error) = socket.recv(&mut [0]) {
        println!("error: {error}");
        std::process::exit(1);
    }
}

fn serve_all(step: u8, listener: &TcpListener) {
    let pool = on("pool-of-4").then(|| start_pool(step));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            if on("dies-at-limit") && !stop::stops() {
                return;
            }
            pause();
            continue;
        };
        if stop::stops() && on("listens-while-stopping") {
            std::mem::forget(stream); // it waits, as in the queue
        } else if let Some(pool) = &pool {
            let _ = pool.send(stream);
        } else if on("table-of-256") && CLIENTS.load(SeqCst) >= 256 {
            continue; // there is no place for it
        } else if step < 3 && !on("serves-all-at-once") || on("one-at-a-time") {
            serve(step, stream);
            if on("serves-once") {
                return;
            }
        } else {
            if on("header-in-accept-loop") {
                wait_for_header(&stream);
            }
            thread::spawn(move || serve(step, stream));
        }
    }
}

/// What follows a failed accept.
fn pause() {
    match () {
        () if stop::stops() => thread::park(), // till the end
        () if on("spins-at-limit") => {}
        () if on("sleeps-at-limit") => thread::sleep(Duration::from_secs(5)),
        () if on("stops-at-limit") => thread::park(),
        () => thread::sleep(Duration::from_millis(100)),
    }
}

/// Waits for the first header before the server accepts the next client.
fn wait_for_header(stream: &TcpStream) {
    while matches!(stream.peek(&mut [0; 5]), Ok(1..5)) {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Four threads for all clients: the fifth waits until one has left.
fn start_pool(step: u8) -> mpsc::Sender<TcpStream> {
    let (sender, receiver) = mpsc::channel();
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(receiver));
    for _ in 0..4 {
        let receiver = std::sync::Arc::clone(&receiver);
        thread::spawn(move || {
            loop {
                let next = receiver.lock().map(|queue| queue.recv());
                let Ok(Ok(stream)) = next else { return };
                serve(step, stream);
            }
        });
    }
    sender
}

/// Says it on stdout. Whoever read it there may have gone: that is no reason
/// to stop serving.
fn say(text: &str) {
    let mut out = io::stdout();
    let said = writeln!(out, "{text}").and_then(|()| out.flush());
    if said.is_err() && on("dies-without-stdout") {
        std::process::exit(1);
    }
}

/// Reports what went wrong with a client: a moment later, so that no report of
/// the checker depends on which of the two was faster.
fn complain(error: &io::Error) {
    let text = format!("a client is lost: {error}");
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(700));
        let _ = writeln!(io::stderr(), "{text}");
    });
}

fn serve(step: u8, mut stream: TcpStream) {
    CLIENTS.fetch_add(1, SeqCst);
    if stop::take_slot() {
        serve_one(step, stream);
        stop::give_slot_back();
    } else {
        if on("says-no-late") {
            thread::sleep(Duration::from_millis(1700));
        }
        if !on("full-is-silent") {
            let _ = framed::refuse(&mut stream, 6);
        }
    }
    CLIENTS.fetch_sub(1, SeqCst);
}

fn serve_one(step: u8, mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let served = match step {
        1 => greet(&mut stream),
        2 | 3 => echo::serve(&mut stream),
        4 | 5 => framed::serve(step, &mut stream),
        _ => alive::serve(&mut stream),
    };
    let is_reset = served.is_err();
    if is_reset && on("slot-lost-at-reset") {
        stop::lose_slot();
    }
    if let Err(error) = &served
        && step >= 3
        && !on("error-is-silent")
        && !on("one-error-ends-all")
    // which is no client's error
    {
        complain(error);
    }
    if is_reset && (on("dies-on-reset") || on("dies-on-reset-in-echo")) {
        std::process::exit(1);
    }
    if on("never-closes") || on("never-closes-at-eof") {
        std::mem::forget(stream);
    } else if on("leaks-descriptors") || is_reset && on("leaks-after-error") {
        let _ = stream.shutdown(Shutdown::Both);
        std::mem::forget(stream);
    }
}

fn greet(stream: &mut TcpStream) -> io::Result<()> {
    let greeting = match () {
        () if on("wrong-greeting") => "Hello client",
        () if on("adds-newline-to-greeting") => "Hello, client!\n",
        () => "Hello, client!",
    };
    if on("greets-before-asked") {
        stream.write_all(greeting.as_bytes())?;
    }
    let mut text = vec![0; 1024];
    let n = match on("waits-for-eof-first") {
        true => stream.read_to_end(&mut Vec::new())?,
        false => stream.read(&mut text)?,
    };
    text.truncate(n);
    if n == 0 && on("dies-on-silent-visit") {
        std::process::exit(1);
    }
    if !on("prints-nothing") {
        say(&format!("{n} bytes: {}", text.escape_ascii()));
    }
    if on("slow") {
        thread::sleep(Duration::from_millis(50));
    }
    if !on("greets-before-asked") {
        stream.write_all(greeting.as_bytes())?;
    }
    Ok(())
}

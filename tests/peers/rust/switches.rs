//! A server with a switch for each choice that may make a server slow. It
//! answers the frames of step 4; without a switch it works as step 4 does,
//! except for this: it reads at most `--buffer` bytes at once, however much
//! there is, and keeps its buffers (step 4 reads up to 68 KiB at once as soon
//! as 4 KiB are not enough, and gives such a buffer back after 10 ms). It
//! neither prints when a client comes, nor tells it what was wrong with a
//! frame.
//!
//!     cargo run --release -p load --example switches
//!     cargo run --release -p load --example switches -- --nagle --two-writes
//!
//! It listens on 127.0.0.1:8888, or on the IP:PORT that you give it.
//! `cargo bench -p load --bench experiments` measures what each switch costs.

#[allow(dead_code)]
#[path = "../../../steps/step4/frame.rs"]
mod frame;

use std::fs::File;
use std::io::{Read, Write};
use std::iter;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::BufMut;
use clap::{Parser, value_parser};
use frame::{ECHO, ECHO_REPLY, Frame, UNKNOWN_KIND};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

/// The bytes in front of a payload: the length and the kind.
const HEAD: usize = 5;

/// How many connections may wait for `accept`, as in step 4.
const BACKLOG: i32 = 1024;

/// The limit of `--timer`, which no client of an experiment reaches.
const LIMIT: Duration = Duration::from_secs(60);

/// The pause after `accept` has failed, so that its loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// A server for frames with a switch for each choice that may make it slow
#[derive(Parser)]
struct Switches {
    /// The address to listen on; port 0 is any free port
    #[arg(value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
    addr: SocketAddr,
    /// The most that one read takes
    #[arg(long, value_name = "BYTES", default_value = "4096")]
    #[arg(value_parser = value_parser!(u32).range(1..=1 << 20))]
    buffer: u32,
    /// Leave Nagle's algorithm on
    #[arg(long)]
    nagle: bool,
    /// Write the head and the payload of each reply by themselves
    #[arg(long)]
    two_writes: bool,
    /// Write each reply by itself
    #[arg(long)]
    flush_each: bool,
    /// Use new memory for each payload and each reply
    #[arg(long)]
    new_vec: bool,
    /// Print a line for each frame
    #[arg(long)]
    print: bool,
    /// Use a thread for each client instead of a task
    #[arg(long, conflicts_with_all = ["workers", "timer"])]
    threads: bool,
    /// How many threads run the tasks; one for each processor if not given
    #[arg(long, value_name = "N")]
    #[arg(value_parser = value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Limit the time of each read
    #[arg(long)]
    timer: bool,
    /// Append each payload to FILE, and have it on disk before the reply
    #[arg(long, value_name = "FILE")]
    sync: Option<PathBuf>,
    /// Sync once for all frames of a client that are there
    #[arg(long, requires = "sync")]
    sync_batch: bool,
}

/// The switches, and the open file of `--sync`.
struct Server {
    on: Switches,
    file: Option<Mutex<File>>,
}

/// The buffers of one client.
#[derive(Default)]
struct Buffers {
    /// What has come, and no whole frame has used yet.
    input: Vec<u8>,
    /// Replies.
    output: Vec<u8>,
    /// Where in `output` each write ends.
    ends: Vec<usize>,
}

impl Buffers {
    /// What each write takes.
    fn writes(&self) -> impl Iterator<Item = &[u8]> {
        let starts = iter::once(&0).chain(&self.ends);
        let parts = starts.zip(&self.ends);
        parts.map(|(&start, &end)| &self.output[start..end])
    }
}

fn main() {
    if let Err(error) = run() {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let on = Switches::parse();
    let file = on.sync.as_ref().map(|path| {
        let file = File::options().create(true).append(true).open(path);
        file.with_context(|| {
            format!("cannot open {} for --sync", path.display())
        })
    });
    let file = file.transpose()?.map(Mutex::new);
    let listener = listen(on.addr)?;
    println!("listening on {}", listener.local_addr()?);
    let server = Arc::new(Server { on, file });
    if server.on.threads {
        server.run_threads(&listener);
    } else {
        let runtime = runtime(server.on.workers)?;
        runtime.block_on(server.run_tasks(listener))?;
    }
    Ok(())
}

fn listen(addr: SocketAddr) -> Result<TcpListener> {
    let bound = || {
        let domain = Domain::for_address(addr);
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_reuse_address(cfg!(not(windows)))?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        std::io::Result::Ok(socket.into())
    };
    bound().with_context(|| {
        format!("cannot listen on {addr} (give another IP:PORT)")
    })
}

// ANCHOR: runtime
fn runtime(workers: Option<u16>) -> Result<Runtime> {
    let mut builder = match workers {
        Some(1) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if let Some(n) = workers.filter(|&n| n > 1) {
        builder.worker_threads(n.into());
    }
    builder.enable_all().build().context("cannot start the runtime")
}
// ANCHOR_END: runtime

impl Server {
    async fn run_tasks(self: Arc<Self>, listener: TcpListener) -> Result<()> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    say(format_args!("cannot accept: {error}"));
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let server = Arc::clone(&self);
            tokio::spawn(async move { report(server.task(stream).await) });
        }
    }

    async fn task(&self, mut stream: tokio::net::TcpStream) -> Result<()> {
        stream.set_nodelay(!self.on.nagle)?;
        let mut buffers = Buffers::default();
        while self.receive(&mut stream, &mut buffers.input).await? > 0 {
            self.reply(&mut buffers)?;
            for part in buffers.writes() {
                stream.write_all(part).await?;
            }
        }
        Ok(())
    }

    // ANCHOR: receive
    /// Appends what has come to `input`. Returns how many bytes; 0 is the end.
    async fn receive(
        &self,
        stream: &mut tokio::net::TcpStream,
        input: &mut Vec<u8>,
    ) -> Result<usize> {
        let most = self.on.buffer as usize;
        input.reserve(most);
        let mut room = input.limit(most);
        let read = stream.read_buf(&mut room);
        if self.on.timer {
            return Ok(timeout(LIMIT, read).await.context("too slow")??);
        }
        Ok(read.await?)
    }
    // ANCHOR_END: receive

    // ANCHOR: reply
    /// Takes all whole frames out of `input` and puts their replies into
    /// `output`.
    fn reply(&self, buffers: &mut Buffers) -> Result<()> {
        let Buffers { input, output, ends } = buffers;
        output.clear();
        ends.clear();
        let mut rest = &input[..];
        while let Some(frame) = frame::decode(&mut rest)? {
            let start = output.len();
            self.reply_to(frame, output)?;
            if self.on.two_writes {
                ends.push(start + HEAD);
            }
            if self.on.two_writes || self.on.flush_each {
                ends.push(output.len());
            }
        }
        if ends.last() != Some(&output.len()) {
            ends.push(output.len()); // one write for all that is left
        }
        if self.on.sync_batch && !output.is_empty() {
            self.sync()?;
        }
        let used = input.len() - rest.len();
        input.drain(..used);
        Ok(())
    }

    fn reply_to(&self, frame: Frame, output: &mut Vec<u8>) -> Result<()> {
        if self.on.print {
            say(format_args!("received {} bytes", frame.payload.len()));
        }
        self.append(frame.payload)?;
        if self.on.new_vec {
            let payload = frame.payload.to_vec();
            let mut reply = Vec::new();
            encode(frame.kind, &payload, &mut reply)?;
            output.extend_from_slice(&reply);
            return Ok(());
        }
        encode(frame.kind, frame.payload, output)
    }
    // ANCHOR_END: reply

    /// Appends a payload to the file of `--sync`.
    fn append(&self, payload: &[u8]) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(payload).context("cannot write the file")?;
        drop(file);
        if self.on.sync_batch { Ok(()) } else { self.sync() }
    }

    /// Waits until the file is on disk, and with it this thread: step 7 leaves
    /// that to a thread of its own.
    fn sync(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.sync_data().context("cannot sync the file")
    }

    fn run_threads(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let server = Arc::clone(self);
            let thread = listener.accept().and_then(|(stream, _)| {
                let work = move || report(server.thread(stream));
                thread::Builder::new().spawn(work)
            });
            if let Err(error) = thread {
                say(format_args!("cannot serve a client: {error}"));
                thread::sleep(PAUSE);
            }
        }
    }

    fn thread(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(!self.on.nagle)?;
        let mut buffers = Buffers::default();
        let mut piece = vec![0; self.on.buffer as usize];
        loop {
            let n = stream.read(&mut piece)?;
            if n == 0 {
                return Ok(());
            }
            buffers.input.extend_from_slice(&piece[..n]);
            self.reply(&mut buffers)?;
            for part in buffers.writes() {
                stream.write_all(part)?;
            }
        }
    }
}

fn encode(kind: u8, payload: &[u8], output: &mut Vec<u8>) -> Result<()> {
    match kind {
        ECHO => frame::encode(ECHO_REPLY, payload, output)?,
        _ => frame::encode_error(UNKNOWN_KIND, "unknown kind", output),
    }
    Ok(())
}

/// Prints how a connection failed, if it did.
fn report(outcome: Result<()>) {
    if let Err(error) = outcome {
        say(format_args!("a connection failed: {error:#}"));
    }
}

/// Prints a line. Rust's stdout makes a write(2) for each.
fn say(line: std::fmt::Arguments) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

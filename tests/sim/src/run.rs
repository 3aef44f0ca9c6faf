//! One run: clients, guests who behave badly, a server that ends now and then,
//! and the rules that must hold whatever the network does.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use real::io::AsyncWriteExt;
use real::runtime::Builder;
use real::sync::oneshot;
use real::task::JoinHandle;
use real::time::{Instant, sleep, timeout};

use crate::net::{Conn, TcpStream};
use crate::task;
use crate::visit::{Visit, visit};
use crate::weather::{End, Weather, ends};
use crate::world::{WHO, World, begin, with};

/// Where the server listens.
pub const SERVER: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 8888);

const SECOND: Duration = Duration::from_secs(1);
/// The limits of all clients and servers.
pub const CONNECT: Duration = SECOND;
/// One attempt.
pub const REQUEST: Duration = Duration::from_secs(2);
/// One request, with all its attempts.
pub const DEADLINE: Duration = Duration::from_secs(6);
/// The most attempts for one request.
pub const ATTEMPTS: u32 = 5;
/// The first wait is at most this long.
pub const BASE: Duration = Duration::from_millis(100);
/// All waits are at most this long.
pub const CAP: Duration = Duration::from_millis(300);
/// Step 5: no byte between two frames.
pub const IDLE: Duration = Duration::from_secs(8);
/// A frame, first byte to last.
pub const FRAME: Duration = Duration::from_secs(2);
/// A write without progress.
pub const WRITE: Duration = Duration::from_secs(3);
/// Nothing heard: ask.
pub const HEARTBEAT: Duration = SECOND;
/// Step 8: how long it may take to stop.
pub const DRAIN: Duration = Duration::from_secs(2);

const CLIENTS: u64 = 3;
/// No client needs this long.
const HANG: Duration = Duration::from_secs(300);
/// How late a limit may be noticed.
pub const SLACK: Duration = Duration::from_millis(20);
/// After this time without faults, nothing may be left of a client.
const SETTLE: Duration = Duration::from_secs(40);

/// What a client asks for.
pub enum Ask {
    /// To get these bytes back.
    Echo(Vec<u8>),
    /// To add an amount to the total of a client, under a number.
    Add(u64, u64, i64),
}

/// Why there is no reply: the exit code of the contract, and the text.
pub type Failure = (i32, String);

/// A step, as a run needs it.
pub trait Step: Send + 'static {
    /// Its number.
    const NUMBER: u32;
    /// How long its server bears with a client that breaks the rules.
    const PATIENCE: Duration;
    /// How many tasks its server has without clients.
    const TASKS: usize;
    /// Its client.
    type Client: Send;
    /// Makes a client.
    fn client() -> Self::Client;
    /// Lets it ask, and say what goes wrong meanwhile.
    fn ask(
        client: &mut Self::Client,
        ask: &Ask,
        report: impl FnMut(String) + Send,
    ) -> impl Future<Output = Result<Vec<u8>, Failure>> + Send;
    /// Lets it do nothing for a while.
    fn rest(
        client: &mut Self::Client,
        time: Duration,
    ) -> impl Future<Output = ()> + Send;
    /// Serves, as the process of the server.
    fn serve() -> impl Future<Output = Result<()>> + Send;
}

/// What a run leaves behind.
pub struct Run {
    /// What happened, line by line.
    pub log: Vec<String>,
    /// The first rule that was broken, and how.
    pub broken: Option<(&'static str, String)>,
}

// ANCHOR: run
/// Plays the run of `seed`. The clock stands still while anybody has something
/// to do, and then jumps to the next timer.
///
/// # Panics
/// There is no runtime to be had.
pub fn run<S: Step>(seed: u64) -> Run {
    let mut clock = Builder::new_current_thread();
    let clock = clock.enable_time().start_paused(true).build();
    let clock = clock.expect("a runtime without sockets");
    clock.block_on(async {
        begin(seed);
        play::<S>().await;
        with(|world| world.net.is_over = true);
    });
    drop(clock); // and with it all tasks
    let world = crate::world::end().expect("it has begun");
    Run { log: world.log, broken: world.broken }
}
// ANCHOR_END: run

async fn play<S: Step>() {
    let ends = with(|world| world.forecast(S::NUMBER));
    let (over, is_over) = oneshot::channel();
    let server = real::spawn(supervise::<S>(ends, is_over));
    let guests: Vec<_> = (0..guests()).map(|_| real::spawn(guest())).collect();
    let mut visits = all_visits::<S>().await;
    let _ = over.send(());
    let Ok(process) = server.await else {
        return broken("panic", "whoever starts the server".to_owned());
    };
    with(World::clear_up);
    let process = revive::<S>(process).await;
    settle::<S>().await;
    guests.into_iter().for_each(|guest| guest.abort());
    with(World::check_wires);
    with(|world| world.check_guests(S::PATIENCE));
    for visit in &mut visits {
        visit.check_refusals();
        visit.ask_at_last::<S>().await;
    }
    let process = restart::<S>(process, End::PowerCut, SECOND).await;
    for visit in &mut visits {
        visit.ask_at_last::<S>().await;
    }
    if S::NUMBER == 8 {
        restart::<S>(process, End::Stop, SECOND).await;
    }
}

/// Lets all clients ask, each in its own time.
async fn all_visits<S: Step>() -> Vec<Visit> {
    let start = |who| real::spawn(WHO.scope(who, visit::<S>(who)));
    let clients: Vec<_> = (1..=CLIENTS).map(start).collect();
    let mut visits = Vec::new();
    for client in clients {
        match timeout(HANG, client).await {
            Ok(Ok(visit)) => visits.push(visit),
            Ok(Err(_)) => broken("panic", "a client panicked".to_owned()),
            Err(_) => broken("hang", "a client never ends".to_owned()),
        }
    }
    visits
}

/// Notes that a rule is broken.
pub fn broken(rule: &'static str, how: String) {
    with(|world| world.wrong(rule, how));
}

fn guests() -> u64 {
    with(|world| world.chance.below(3))
}

impl World {
    /// Says what the weather will be, and draws when the server ends.
    fn forecast(&mut self, step: u32) -> Vec<(Duration, End, Duration)> {
        let weather = &self.weather;
        let (delay, slice) = (weather.delay, weather.slice);
        let (loss, reset) = (weather.loss, weather.reset);
        let mut lines = vec![
            format!("takes up to {delay} ms; a read gets up to {slice} bytes"),
            format!("of 1000 segments {loss} are lost, {reset} cause a reset"),
        ];
        let zero = self.zero;
        let cuts = weather.partitions.iter();
        lines.extend(cuts.map(|partition| partition.describe(zero)));
        lines.into_iter().for_each(|line| self.log("network", line));
        let is_calm = self.weather.is_calm;
        self.disk.fails = self.chance.pick(&[0, 0, 50]);
        if is_calm {
            self.disk.fails = 0;
        }
        let mut ends = ends(&mut self.chance, is_calm, step);
        ends.sort_by_key(|end| end.0);
        self.is_quiet = is_calm && ends.is_empty();
        ends
    }

    /// Checks how long guests could stay, if nothing else went wrong.
    fn check_guests(&mut self, patience: Duration) {
        let guests = self.net.conns.iter().filter(|conn| conn.who.is_none());
        let longest = guests.map(Conn::time).max().unwrap_or_default();
        if self.is_quiet && longest > patience {
            self.wrong("patience", format!("a guest stays {longest:.1?}"));
        }
    }

    /// From now on, nothing goes wrong by chance.
    fn clear_up(&mut self) {
        self.log("network", "calm from now on");
        let slice = self.weather.slice; // and with it the window
        self.weather = Weather { slice, ..Weather::calm() };
        self.disk.fails = 0;
    }
}

// ---- The server

type Process = JoinHandle<Result<()>>;

async fn start<S: Step>() -> Process {
    with(|world| {
        world.net.is_off = false;
        world.log("server", "starts");
    });
    let process = real::spawn(S::serve());
    sleep(Duration::from_millis(1)).await; // until it listens
    process
}

/// Keeps the server running: it ends as planned, or by itself when its disk
/// fails, and starts again. Returns it, running, when all is over.
async fn supervise<S: Step>(
    ends: Vec<(Duration, End, Duration)>,
    mut is_over: oneshot::Receiver<()>,
) -> Process {
    let mut ends = VecDeque::from(ends);
    let zero = Instant::now();
    let mut process = start::<S>().await;
    loop {
        let next = ends.front().map_or(SECOND * 1000, |end| end.0);
        real::select! {
            biased;
            _ = &mut is_over => return process,
            end = &mut process => {
                note_end(end);
                sleep(Duration::from_millis(50)).await; // exit takes a moment
                task::end_all().await;
                sleep(SECOND / 2).await;
                process = start::<S>().await;
            }
            () = real::time::sleep_until(zero + next) => {
                let Some((_, how, away)) = ends.pop_front() else { continue };
                process = restart::<S>(process, how, away).await;
            }
        }
    }
}

/// Starts the process again if its disk has failed just before all was well.
async fn revive<S: Step>(mut process: Process) -> Process {
    match timeout(SECOND / 2, &mut process).await {
        Err(_) => process, // it runs
        Ok(end) => {
            note_end(end);
            task::end_all().await;
            start::<S>().await
        }
    }
}

fn note_end(end: Result<Result<()>, real::task::JoinError>) {
    match end {
        Ok(Ok(())) => broken("exit", "the server ended by itself".to_owned()),
        Ok(Err(error)) => {
            with(|world| world.log("server", format!("error: {error:#}")));
            if !format!("{error:#}").contains("storage") {
                broken("exit", format!("the server failed: {error:#}"));
            }
        }
        Err(error) => broken("panic", error.to_string()),
    }
}

/// Ends the process as `how` says, and starts it again when it was `away`.
async fn restart<S: Step>(
    mut process: Process,
    how: End,
    away: Duration,
) -> Process {
    match how {
        End::Stop => stop(&mut process).await,
        End::Kill => with(|world| world.log("server", "is killed")),
        End::PowerCut => with(|world| {
            world.log("server", "loses its power");
            world.cut_net();
            world.cut_disk();
        }),
    }
    process.abort();
    while !process.is_finished() {
        task::yield_now().await;
    }
    task::end_all().await;
    sleep(away).await;
    start::<S>().await
}

/// Sends SIGTERM, and checks that the process ends in its time.
async fn stop(process: &mut Process) {
    with(|world| {
        world.log("server", "gets SIGTERM");
        world.stops += 1;
        world.stop.send_replace(world.stops);
    });
    let queue = Duration::from_millis(100);
    match timeout(DRAIN + queue + SLACK, process).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => {
            let text = format!("{error:#}");
            with(|world| world.log("server", format!("error: {text}")));
            // A disk that fails may end the server, and nothing else.
            if !text.contains("storage") {
                broken("exit", text);
            }
        }
        Ok(Err(error)) => broken("panic", error.to_string()),
        Err(_) => broken("grace", format!("not ended after {DRAIN:?}")),
    }
}

/// Waits until whatever the clients and guests have left must be gone.
async fn settle<S: Step>() {
    sleep(SETTLE).await;
    let left = task::count().saturating_sub(S::TASKS);
    if left > 0 {
        broken("leak", format!("{left} tasks for clients long gone"));
    }
}

/// The start of an ECHO of 60 000 bytes.
const HALF: [u8; 6] = [0, 0, 234, 97, 1, b'x'];
/// An answer to a PING that nobody sent: a sign of life.
const PONG: [u8; 13] = [0, 0, 0, 9, 0x82, 0, 0, 0, 0, 0, 0, 0, 0];

/// An ECHO, a kind that does not exist, an ECHO, an ADD too short, an ECHO.
const MANY: [u8; 29] = *b"\0\0\0\x02\x01a\0\0\0\x01\x33\
    \0\0\0\x02\x01b\0\0\0\x02\x03x\0\0\0\x02\x01c";

// ANCHOR: guest
/// A client that behaves badly: it never reads, and never leaves.
async fn guest() -> Result<()> {
    let (delay, kind) = with(|w| (w.chance.ms(4_000), w.chance.below(5)));
    sleep(delay).await;
    let mut stream = TcpStream::connect(SERVER).await?;
    let size = with(|world| 2 * world.weather.window() as u16);
    let mut long = [&[0, 0][..], &(size + 1).to_be_bytes(), &[1]].concat();
    long.resize(5 + size as usize, b'x');
    let (name, first, then): (&str, &[u8], &[u8]) = match kind {
        0 => ("says nothing", b"", b""),
        1 => ("stops within a frame", &HALF, b""),
        2 => ("sends a byte now and then", &HALF, b"x"),
        3 => ("wants more than the window holds", &long, &PONG),
        _ => ("asks all at once, some of it wrong", &MANY, b""),
    };
    with(|world| world.log("guest", name));
    stream.write_all(first).await?;
    loop {
        sleep(SECOND / 2).await;
        stream.write_all(then).await?;
    }
}
// ANCHOR_END: guest

//! One run: clients, guests who behave badly, a server that ends now and then,
//! and the rules that must hold whatever the network does.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use real::io::AsyncWriteExt;
use real::runtime::Builder;
use real::sync::oneshot;
use real::task::JoinHandle;
use real::time::{Instant, sleep, timeout};

use crate::net::TcpStream;
use crate::task;
use crate::weather::{End, Weather, ends};
use crate::world::{WHO, World, begin, with};

/// Where the server listens.
pub const SERVER: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::new(10, 0, 0, 1),
    8888,
));

const SECOND: Duration = Duration::from_secs(1);
/// The limits of all clients and servers.
pub const CONNECT: Duration = SECOND;
/// One attempt.
pub const REQUEST: Duration = Duration::from_secs(2);
/// One request, with all its attempts.
pub const DEADLINE: Duration = Duration::from_secs(6);
/// At most so often.
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
pub const DRAIN: Duration = Duration::from_secs(3);

const CLIENTS: u64 = 3;
const ASKS: u64 = 6;
/// How late a limit may be noticed.
const SLACK: Duration = Duration::from_millis(20);
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
    let clients = (1..=CLIENTS)
        .map(|who| (who, real::spawn(WHO.scope(who, visit::<S>(who)))));
    let mut visits = Vec::new();
    for (who, client) in clients.collect::<Vec<_>>() {
        match timeout(Duration::from_secs(300), client).await {
            Ok(Ok(visit)) => visits.push(visit),
            Ok(Err(_)) => broken("panic", format!("client {who} panicked")),
            Err(_) => broken("hang", format!("client {who} never ends")),
        }
    }
    let _ = over.send(());
    let Ok(mut process) = server.await else {
        return broken("panic", "the server panicked".to_owned());
    };
    with(World::clear_up);
    settle::<S>().await;
    guests.into_iter().for_each(|guest| guest.abort());
    with(World::check_wires);
    for visit in &mut visits {
        visit.check_refusals();
        visit.ask_at_last::<S>().await;
    }
    process = restart::<S>(process, End::PowerCut, SECOND).await;
    for visit in &mut visits {
        visit.ask_at_last::<S>().await;
    }
    if S::NUMBER == 8 {
        restart::<S>(process, End::Stop, SECOND).await;
    }
}

fn broken(rule: &'static str, how: String) {
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
        let mut lines = vec![format!(
            "up to {delay} ms, slices of up to {slice}, {} of 1000 lost, \
             {} reset",
            weather.loss, weather.reset
        )];
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
        ends
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
        world.stop.send_modify(|n| *n += 1);
    });
    let queue = Duration::from_millis(100);
    match timeout(DRAIN + queue + SLACK, process).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => {
            with(|world| world.log("server", format!("error: {error:#}")));
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

// ---- Clients

/// What a client knows about one of its requests.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    Done,
    NotDone,
    Unknown,
}

/// A client and its requests so far.
struct Visit {
    who: u64,
    adds: Vec<Known>,
    refused: Vec<Vec<u8>>, // the payloads of which it is sure
}

async fn visit<S: Step>(who: u64) -> Visit {
    let mut visit = Visit { who, adds: Vec::new(), refused: Vec::new() };
    let mut client = S::client();
    for n in 0..ASKS {
        let pause = with(|world| {
            let most = world.chance.pick(&[500, 1_500, 5_000]);
            world.chance.ms(most)
        });
        S::rest(&mut client, pause).await;
        let adds = S::NUMBER >= 7 && with(|world| world.chance.hits(700));
        let ask = if adds { visit.add(true) } else { echo(who, n) };
        visit.ask::<S>(&mut client, &ask).await;
    }
    visit
}

/// An ECHO that nobody else sends; some are larger than the window.
fn echo(who: u64, n: u64) -> Ask {
    let mut text = format!("{who}.{n}").into_bytes();
    with(|world| {
        if world.chance.hits(200) {
            let most = 3 * world.weather.window() as u64;
            text.resize(10 + world.chance.below(most) as usize, b'x');
        }
    });
    Ask::Echo(text)
}

impl Visit {
    // ANCHOR: digits
    /// The next ADD. The amounts are powers of four: each digit of the total,
    /// to the base four, says how often one operation was applied.
    fn add(&self, adds: bool) -> Ask {
        let n = self.adds.len() as u32;
        let amount = if adds { 4i64.pow(n) } else { 0 };
        Ask::Add(self.who, u64::from(n) + 1, amount)
    }

    fn check_total(&self, total: i64) {
        for (n, known) in self.adds.iter().enumerate() {
            let times = total >> (2 * n) & 3;
            let is_fine = match known {
                Known::Done => times == 1,
                Known::NotDone => times == 0,
                Known::Unknown => times <= 1,
            };
            if !is_fine {
                let (who, n) = (self.who, n + 1);
                let how = format!("client {who}, {n}: applied {times} times");
                broken("exactly once", how);
            }
        }
        if total >> (2 * self.adds.len()) != 0 {
            broken("exactly once", format!("client {}: {total}", self.who));
        }
    }
    // ANCHOR_END: digits

    async fn ask<S: Step>(&mut self, client: &mut S::Client, ask: &Ask) {
        let who = self.who;
        log(who, describe(ask));
        let start = Instant::now();
        let mut attempts = 0;
        let report = |line: String| hear(who, &line, &mut attempts);
        let answer = S::ask(client, ask, report).await;
        with(|world| world.waits.remove(&who));
        if start.elapsed() > DEADLINE + SLACK {
            let late = start.elapsed();
            broken("deadline", format!("client {who} asked for {late:.1?}"));
        }
        if attempts > ATTEMPTS {
            broken("attempts", format!("client {who} tried {attempts} times"));
        }
        self.learn(ask, answer);
    }

    fn learn(&mut self, ask: &Ask, answer: Result<Vec<u8>, Failure>) {
        let known = match &answer {
            Ok(_) => Known::Done,
            Err((3, _)) => Known::NotDone,
            Err(_) => Known::Unknown,
        };
        match (&answer, ask) {
            (Err((code, text)), _) => {
                log(self.who, format!("exit code {code}: {text}"));
                if ![3, 4].contains(code) {
                    broken("protocol", format!("client {}: {text}", self.who));
                }
            }
            (Ok(_), Ask::Add(..)) => {}
            (Ok(reply), Ask::Echo(text)) if reply == text => {
                log(self.who, "gets it back");
            }
            _ => broken("mixed up", format!("client {}", self.who)),
        }
        match ask {
            Ask::Add(..) => self.adds.push(known),
            Ask::Echo(text) if known == Known::NotDone => {
                self.refused.push(text.clone());
            }
            Ask::Echo(_) => {}
        }
        if let (Ok(total), Ask::Add(..)) = (answer, ask) {
            let total = String::from_utf8_lossy(&total).into_owned();
            log(self.who, format!("total {total}"));
            match total.parse() {
                Ok(total) => self.check_total(total),
                Err(_) => broken("mixed up", format!("a total of {total:?}")),
            }
        }
    }

    /// What a client calls not executed, no server may have answered.
    fn check_refusals(&self) {
        let replied = with(|world| world.replied());
        if self.refused.iter().any(|text| replied.contains(text)) {
            let how = format!("client {} was told that it was not", self.who);
            broken("executed", how);
        }
    }

    /// Asks once more when nothing goes wrong any more, so there is an answer.
    async fn ask_at_last<S: Step>(&mut self) {
        let mut client = S::client();
        let ask = match S::NUMBER {
            7.. => self.add(false),
            _ => echo(self.who, ASKS),
        };
        let answer = WHO.scope(self.who, S::ask(&mut client, &ask, drop)).await;
        if let Err((_, text)) = &answer {
            let how = format!("client {}, when all is calm: {text}", self.who);
            return broken("recovery", how);
        }
        self.learn_last(ask, answer);
    }

    fn learn_last(&mut self, ask: Ask, answer: Result<Vec<u8>, Failure>) {
        if let (Ask::Add(..), Ok(total)) = (&ask, &answer) {
            let total = String::from_utf8_lossy(total).into_owned();
            log(self.who, format!("total {total} at last"));
            self.check_total(total.parse().unwrap_or(-1));
            self.adds.push(Known::NotDone); // its amount was 0
        }
    }
}

fn log(who: u64, what: impl std::fmt::Display) {
    with(|world| world.log(format_args!("client {who}"), what));
}

fn describe(ask: &Ask) -> String {
    match ask {
        Ask::Echo(text) if text.len() > 10 => {
            format!("asks for an ECHO of {} bytes", text.len())
        }
        Ask::Echo(text) => {
            format!("asks for an ECHO of {}", String::from_utf8_lossy(text))
        }
        Ask::Add(_, seq, amount) => format!("asks to add {amount}, as {seq}"),
    }
}

/// Notes what a client reports. When all is calm, nothing may go wrong but
/// that the server is away for a moment.
fn hear(who: u64, line: &str, attempts: &mut u32) {
    log(who, line);
    with(|world| {
        if line.starts_with("waits ") {
            world.waits.insert(who, Instant::now());
            return;
        }
        *attempts += 1;
        if world.weather.is_calm && !line.contains(": not executed") {
            world.wrong("calm", format!("client {who}: {line}"));
        }
    });
}

/// Notes that the connection of a client at rest has ended.
pub fn lost(line: &str) {
    let who = WHO.get();
    log(who, line);
    with(|world| {
        if world.weather.is_calm && line.contains("no sign of life") {
            world.wrong("calm", format!("client {who}: {line}"));
        }
    });
}

// ---- Guests

/// The start of an ECHO of 60 000 bytes.
const HALF: [u8; 6] = [0, 0, 234, 97, 1, b'x'];
/// An answer to a PING that nobody sent: a sign of life.
const PONG: [u8; 13] = [0, 0, 0, 9, 0x82, 0, 0, 0, 0, 0, 0, 0, 0];

// ANCHOR: guest
/// A client that behaves badly. It never reads, and stays as long as it can.
async fn guest() -> Result<()> {
    let (delay, kind) = with(|w| (w.chance.ms(4_000), w.chance.below(4)));
    sleep(delay).await;
    let mut stream = TcpStream::connect(SERVER).await?;
    let size = with(|world| 2 * world.weather.window() as u16);
    let mut long = [&[0, 0][..], &(size + 1).to_be_bytes(), &[1]].concat();
    long.resize(5 + size as usize, b'x');
    let (first, then): (&[u8], &[u8]) = match kind {
        0 => (b"", b""),     // says nothing
        1 => (&HALF, b""),   // stops within a frame
        2 => (&HALF, b"x"),  // a byte now and then
        _ => (&long, &PONG), // wants more than the window holds
    };
    with(|w| w.log("guest", ["idle", "half", "slow", "deaf"][kind as usize]));
    stream.write_all(first).await?;
    loop {
        sleep(SECOND / 2).await;
        stream.write_all(then).await?;
    }
}
// ANCHOR_END: guest

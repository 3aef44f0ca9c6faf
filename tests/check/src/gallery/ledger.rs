//! Step 7: what was added, under which name, and the journal that remembers it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::on;
use crate::wire::{ADD, Name, error, frame};

/// The kind of an ADD's reply.
const TOTAL: u8 = ADD | 0x80;

/// How many numbers of a client are remembered.
const WINDOW: u64 = 64;

/// How many clients are remembered.
const CLIENTS: usize = 20_000;

/// What is known of one client.
#[derive(Default)]
struct Client {
    total: i64,
    highest: Option<u64>,
    /// Of each number: the amount, and the reply.
    done: BTreeMap<u64, (i64, Vec<u8>)>,
}

/// Everything, and the file that keeps it.
#[derive(Default)]
pub struct Ledger {
    clients: HashMap<u64, Client>,
    file: Option<File>,
}

static LEDGER: OnceLock<Mutex<Ledger>> = OnceLock::new();

fn ledger() -> MutexGuard<'static, Ledger> {
    let ledger = LEDGER.get_or_init(Mutex::default);
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers an ADD; `own` is the ledger of a defect that has one for each
/// connection. Nothing is the answer if there is no room for a new client.
pub fn answer(payload: &[u8], own: &mut Ledger) -> Option<Vec<u8>> {
    let long = on("long-add-is-good") && payload.len() > 24;
    let payload = if long { &payload[..24] } else { payload };
    let Some((name, amount)) = Name::read(payload) else {
        return Some(error(4, "an ADD has 24 bytes"));
    };
    if on("looks-then-adds") {
        let found = ledger().known(name, amount);
        thread::sleep(Duration::from_millis(2));
        return found.or_else(|| ledger().apply(name, amount));
    }
    let mut ledger = ledger();
    if on("dedup-per-connection") {
        if let Some(reply) = own.known(name, amount) {
            return Some(reply);
        }
        let reply = ledger.apply(name, amount)?;
        let client = own.clients.entry(key(name)).or_default();
        client.remember(name.seq, (amount, reply.clone()));
        return Some(reply);
    }
    ledger.known(name, amount).or_else(|| ledger.apply(name, amount))
}

/// What a defect forgets with a connection.
pub fn forget(client: Option<u64>) {
    let mut ledger = ledger();
    let client = client.and_then(|id| ledger.clients.get_mut(&id));
    if let Some(client) = client {
        client.done.clear();
    }
}

impl Ledger {
    /// The answer to a number that was used before, or is too old.
    fn known(&mut self, name: Name, amount: i64) -> Option<Vec<u8>> {
        let client = self.clients.get_mut(&key(name))?;
        if on("applies-conflict")
            && client.done.get(&name.seq).is_some_and(|(a, _)| *a != amount)
        {
            client.total += amount; // and only then it looks
        }
        if let Some((same, reply)) = client.done.get(&name.seq)
            && !on("applies-each-copy")
        {
            return Some(match () {
                () if *same != amount && !on("ignores-conflict") => {
                    error(9, "another amount under this number")
                }
                () if on("recomputes-reply") => total(name, client.total),
                () => reply.clone(),
            });
        }
        is_stale(client.highest?, name.seq)
            .then(|| error(7, "older than the last 64"))
    }

    /// Applies what is new.
    fn apply(&mut self, name: Name, amount: i64) -> Option<Vec<u8>> {
        let key = key(name);
        if on("remembers-1000-clients") && self.clients.len() >= 1000 {
            self.clients.clear();
        }
        if self.clients.len() >= CLIENTS && !self.clients.contains_key(&key) {
            return None;
        }
        let client = self.clients.entry(key).or_default();
        let reply = match sum(&mut client.total, amount) {
            None => error(4, "the total is too large"),
            Some(_) if on("replies-with-amount") => total(name, amount),
            Some(sum) => total(name, sum),
        };
        client.remember(name.seq, (amount, reply.clone()));
        if on("one-total-for-all") {
            let sum = client.total;
            for other in self.clients.values_mut() {
                other.total = sum;
            }
        }
        self.write_down(name, amount);
        Some(reply)
    }

    fn write_down(&mut self, name: Name, amount: i64) {
        let Some(file) = &mut self.file else { return };
        let line = record(name, amount);
        if on("replies-before-writing") {
            let Ok(mut file) = file.try_clone() else { return };
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(60));
                let _ = file.write_all(line.as_bytes());
            });
            return;
        }
        let written = file.write_all(line.as_bytes());
        if written.and_then(|()| file.sync_data()).is_err() {
            std::process::exit(1); // nobody must get an answer now
        }
    }
}

impl Client {
    fn remember(&mut self, seq: u64, done: (i64, Vec<u8>)) {
        self.highest = self.highest.max(Some(seq));
        if on("remembers-last-only") {
            self.done.clear();
            self.highest = None;
        }
        self.done.insert(seq, done);
        let window = WINDOW - u64::from(on("window-one-too-small"));
        let oldest = self.highest.unwrap_or(0).saturating_sub(window);
        if self.highest.unwrap_or(0) >= window
            && !on("window-one-too-large")
            && !on("signed-numbers")
        {
            self.done = self.done.split_off(&(oldest + 1));
        }
    }
}

/// Under which key a client is known.
fn key(name: Name) -> u64 {
    match () {
        () if on("key-without-client") => 0,
        () if on("id-of-32-bits") => name.client & 0xffff_ffff,
        () => name.client,
    }
}

fn is_stale(highest: u64, seq: u64) -> bool {
    match () {
        () if on("applies-stale") => false,
        () if on("stale-underflows") => seq <= highest.wrapping_sub(WINDOW),
        () if on("window-one-too-small") => {
            highest.saturating_sub(seq) >= WINDOW - 1
        }
        () if on("window-one-too-large") => {
            highest.saturating_sub(seq) > WINDOW
        }
        () if on("numbers-must-grow") => seq < highest,
        () if on("signed-numbers") => {
            seq as i64 <= (highest as i64).saturating_sub(WINDOW as i64)
        }
        () => highest.saturating_sub(seq) >= WINDOW,
    }
}

/// Adds to a total, and returns it; nothing if it would be too large.
fn sum(total: &mut i64, amount: i64) -> Option<i64> {
    let sum = match () {
        () if on("overflow-wraps") => Some(total.wrapping_add(amount)),
        () if on("overflow-saturates") => Some(total.saturating_add(amount)),
        () => total.checked_add(amount),
    };
    *total = match sum {
        None if on("applies-before-checking") => total.wrapping_add(amount),
        None => *total,
        Some(sum) => sum,
    };
    sum
}

fn total(name: Name, total: i64) -> Vec<u8> {
    frame(TOTAL, &name.bytes(total))
}

// ---- The journal: a line for each operation, with a check sum

fn record(Name { client, seq }: Name, amount: i64) -> String {
    let text = format!("{client} {seq} {amount}");
    let sum = text.bytes().fold(7, |sum: u32, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    format!("{text} {sum:08x}\n")
}

fn parse(line: &str) -> Option<(Name, i64)> {
    let mut words = line.split(' ');
    let client = words.next()?.parse().ok()?;
    let seq = words.next()?.parse().ok()?;
    let amount = words.next()?.parse().ok()?;
    let name = Name { client, seq };
    let is_whole = on("ignores-damage") || record(name, amount) == line;
    is_whole.then_some((name, amount))
}

/// Opens the journal, and applies what is in it. What it says is to be printed.
pub fn open(path: &Path) -> Result<Option<String>, String> {
    let lock = path.with_extension("lock");
    if on("lock-file-stays") && File::create_new(lock).is_err() {
        return Err("the journal is in use".into());
    }
    let why = |error: io::Error| format!("{}: {error}", path.display());
    let mut options = File::options();
    let opened = options.read(true).write(true).create(true).open(path);
    let mut file = opened.map_err(why)?;
    if !on("shares-journal") && !on("lock-file-stays") {
        file.try_lock().map_err(|_| "the journal is in use".to_owned())?;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(why)?;
    let good = match on("no-replay") {
        true => bytes.len(),
        false => replay(&bytes)?,
    };
    let end = if on("torn-stays") { bytes.len() } else { good };
    file.set_len(end as u64).map_err(why)?;
    file.seek(SeekFrom::Start(end as u64)).map_err(why)?;
    if on("replays-totals-only") {
        for client in ledger().clients.values_mut() {
            client.done.clear();
            client.highest = None;
        }
    }
    ledger().file = Some(file);
    let is_told = good < bytes.len() && !on("torn-is-silent");
    Ok(is_told.then(|| "the journal's last record was torn".to_owned()))
}

/// Applies all lines; returns how many bytes are good.
fn replay(bytes: &[u8]) -> Result<usize, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let is_last = at + line.len() == bytes.len();
        if let Some((name, amount)) = parse(line) {
            let mut ledger = ledger();
            if ledger.known(name, amount).is_none() {
                ledger.apply(name, amount);
            }
        } else if (is_last || on("cuts-at-damage")) && !on("torn-is-fatal") {
            return Ok(at);
        } else if !on("ignores-damage") && !on("torn-stays") {
            return Err(format!("the record at offset {at} is damaged"));
        }
        at += line.len();
    }
    Ok(at)
}

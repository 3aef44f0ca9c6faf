//! Step 8: how many clients there may be, and how the server ends.

use std::net::{Shutdown, TcpListener};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use socket2::SockRef;

use crate::{has_goodbye, limit, on};

/// How many slots are taken.
static SLOTS: AtomicUsize = AtomicUsize::new(0);

/// How many clients have not left, even if they never got a slot; and how many
/// of these keep a defect from ending.
pub static CLIENTS: AtomicUsize = AtomicUsize::new(0);
pub static STUCK: AtomicUsize = AtomicUsize::new(0);

static STOPS: AtomicBool = AtomicBool::new(false);

/// Has the server been asked to stop?
pub fn stops() -> bool {
    STOPS.load(SeqCst)
}

/// Takes a slot, if one is free.
pub fn take_slot() -> bool {
    let most = limit("TCP_MAX_CONNS", 1024) as usize;
    let most = match () {
        () if !has_goodbye() || on("no-connection-limit") => usize::MAX,
        () if on("limit-lets-one-more") => most + 1,
        () if on("limit-is-one-less") => most - 1,
        () => most,
    };
    let more = |n| (n < most).then_some(n + 1);
    let taken = SLOTS.fetch_update(SeqCst, SeqCst, more).is_ok();
    if !taken && on("slot-lost-when-full") {
        lose_slot();
    }
    taken
}

pub fn give_slot_back() {
    SLOTS.fetch_sub(1, SeqCst);
}

/// A slot that nobody gives back.
pub fn lose_slot() {
    SLOTS.fetch_add(1, SeqCst);
}

/// Waits for a signal, and ends the program some time after it.
pub fn end_on_signal(listener: &TcpListener) {
    let Ok(listener) = listener.try_clone() else { return };
    let signals = match () {
        () if on("dies-of-sigterm") => vec![SIGINT],
        () if on("dies-of-ctrl-c") => vec![SIGTERM],
        () => vec![SIGINT, SIGTERM],
    };
    let Ok(mut signals) = Signals::new(signals) else { return };
    thread::spawn(move || {
        let mut signals = signals.forever();
        signals.next();
        STOPS.store(true, SeqCst);
        if !on("accepts-while-stopping") && !on("listens-while-stopping") {
            // Ends the `accept` that waits, and refuses new clients.
            let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
        }
        thread::spawn(end);
        while signals.next().is_some() {
            match () {
                () if on("ignores-second-signal") => {}
                () if on("second-signal-is-fine") => exit(0),
                () => exit(1),
            }
        }
    });
}

/// Waits for the clients, but not forever.
fn end() {
    let start = Instant::now();
    let drain = Duration::from_millis(limit("TCP_DRAIN_MS", 10_000));
    let drain = match () {
        () if on("drains-without-limit") => drain * 1000,
        () if on("drains-half-the-time") => drain / 2,
        () => drain,
    };
    let is_stuck = || STUCK.load(SeqCst) > 0;
    while CLIENTS.load(SeqCst) > 0 && (start.elapsed() < drain || is_stuck()) {
        thread::sleep(Duration::from_millis(2));
    }
    exit(i32::from(on("exits-with-1")));
}

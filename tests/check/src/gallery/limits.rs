//! Limits from the environment.

use std::time::Duration;

use crate::{limit, on};

/// The limits of a server, as far as they are in force.
pub struct Limits {
    pub idle: Option<Duration>,
    pub frame: Option<Duration>,
    pub write: Option<Duration>,
}

/// How long an end waits, from step 6 on, until it asks a silent peer.
pub fn heartbeat() -> Duration {
    Duration::from_millis(limit("TCP_HEARTBEAT_MS", 5000))
}

impl Limits {
    pub fn of(step: u8) -> Limits {
        let get = |name, default| {
            let value = limit(name, default);
            let unit = if on("limits-in-seconds") { 1000 } else { 1 };
            (step >= 5).then(|| Duration::from_millis(value * unit))
        };
        let idle = get("TCP_IDLE_MS", 60_000);
        Limits {
            idle: match () {
                () if on("no-idle-limit") => None,
                () if on("half-the-limit") => idle.map(|idle| idle / 2),
                () => idle,
            },
            frame: get("TCP_FRAME_MS", 10_000),
            write: get("TCP_WRITE_MS", 10_000)
                .filter(|_| !on("no-write-limit")),
        }
    }
}

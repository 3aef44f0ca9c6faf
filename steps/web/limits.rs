//! The limits: how long a client may take, and those of the steps.

use std::time::Duration;

use clap::Args;

/// How to wait no longer than a limit: step 5's way. Its "frame" is a request.
#[path = "../step5/limits.rs"]
#[allow(dead_code)] // its options are not used here
mod times;

/// How many clients, and how long a stop may take: step 8's options.
#[path = "../step8/limits.rs"]
#[allow(dead_code)] // it has others, too
mod counts;

pub use counts::ServerLimits;
pub use times::{TooSlow, within};

// ANCHOR: limits
/// How long a client may take.
#[derive(Args, Clone, Copy)]
pub struct PeerLimits {
    /// How long it may be silent before it starts a request
    #[arg(long = "idle-ms", value_name = "MS", env = "TCP_IDLE_MS")]
    #[arg(default_value = "60000", value_parser = milliseconds)]
    pub idle: Duration,
    /// How long it may take for a request, first byte to last
    #[arg(long = "request-ms", value_name = "MS", env = "TCP_FRAME_MS")]
    #[arg(default_value = "10000", value_parser = milliseconds)]
    pub request: Duration,
    /// How long a write may wait until the kernel takes more bytes
    #[arg(long = "write-ms", value_name = "MS", env = "TCP_WRITE_MS")]
    #[arg(default_value = "10000", value_parser = milliseconds)]
    pub write: Duration,
}
// ANCHOR_END: limits

/// Reads a number of milliseconds, at most a day.
fn milliseconds(text: &str) -> Result<Duration, &'static str> {
    let ms = text.parse().ok().filter(|ms| (1..=86_400_000).contains(ms));
    ms.map(Duration::from_millis)
        .ok_or("give 1 to 86400000 (did its environment variable set it?)")
}

// ANCHOR: limits
//! The limits of both ends: options, which environment variables can set, too.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

/// How long a client may take.
#[derive(Args, Clone, Copy)]
pub struct ServerLimits {
    /// From the end of one frame to the first byte of the next
    #[arg(long = "idle-ms", value_name = "MS", env = "TCP_IDLE_MS")]
    #[arg(default_value = "60000", value_parser = milliseconds)]
    pub idle: Duration,
    /// From the first byte of a frame to its last
    #[arg(long = "frame-ms", value_name = "MS", env = "TCP_FRAME_MS")]
    #[arg(default_value = "10000", value_parser = milliseconds)]
    pub frame: Duration,
    /// Until a write makes progress: the system takes a byte of it
    #[arg(long = "write-ms", value_name = "MS", env = "TCP_WRITE_MS")]
    #[arg(default_value = "10000", value_parser = milliseconds)]
    pub write: Duration,
}

/// How long, and how often, the client tries.
#[derive(Args, Clone, Copy)]
pub struct ClientLimits {
    /// To connect, once
    #[arg(long = "connect-ms", value_name = "MS", env = "TCP_CONNECT_MS")]
    #[arg(default_value = "3000", value_parser = milliseconds)]
    pub connect: Duration,
    /// For one attempt: from sending a request to its whole reply
    #[arg(long = "request-ms", value_name = "MS", env = "TCP_REQUEST_MS")]
    #[arg(default_value = "5000", value_parser = milliseconds)]
    pub request: Duration,
    /// For all attempts together, with the waits between them
    #[arg(long = "deadline-ms", value_name = "MS", env = "TCP_DEADLINE_MS")]
    #[arg(default_value = "30000", value_parser = milliseconds)]
    pub deadline: Duration,
    /// The most attempts, the first one included
    #[arg(long, value_name = "N", env = "TCP_ATTEMPTS", default_value = "5")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: u32,
    /// The longest first wait; the ceiling doubles with each attempt
    #[arg(long = "backoff-base-ms", value_name = "MS")]
    #[arg(env = "TCP_BACKOFF_BASE_MS")]
    #[arg(default_value = "100", value_parser = milliseconds)]
    pub base: Duration,
    /// The longest wait of all
    #[arg(long = "backoff-cap-ms", value_name = "MS")]
    #[arg(env = "TCP_BACKOFF_CAP_MS")]
    #[arg(default_value = "2000", value_parser = milliseconds)]
    pub cap: Duration,
    /// Makes the random waits the same in each run
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// Reads a number of milliseconds. A limit of 0 would always be over, and a
/// very large one would be too large for a clock.
fn milliseconds(text: &str) -> Result<Duration> {
    let number: u64 = text.parse()?;
    let day = 24 * 60 * 60 * 1000;
    ensure!((1..=day).contains(&number), "not in 1..={day}, which is a day");
    Ok(Duration::from_millis(number))
}
// ANCHOR_END: limits

// ANCHOR: limits
//! The limits of both ends: options that environment variables can set, too.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

/// How long the other end of a connection may take.
#[derive(Args, Clone, Copy)]
pub struct PeerLimits {
    /// How long it may be silent before a PING; after three times that, dead
    #[arg(long = "heartbeat-ms", value_name = "MS", env = "TCP_HEARTBEAT_MS")]
    #[arg(default_value = "5000", value_parser = milliseconds)]
    pub heartbeat: Duration,
    /// How long it may take for a frame, first byte to last
    #[arg(long = "frame-ms", value_name = "MS", env = "TCP_FRAME_MS")]
    #[arg(default_value = "10000", value_parser = milliseconds)]
    pub frame: Duration,
    /// How long a write may wait until the kernel takes more bytes
    #[arg(long = "write-ms", value_name = "MS", env = "TCP_WRITE_MS")]
    #[arg(default_value = "10000", value_parser = milliseconds)]
    pub write: Duration,
}

/// How long, and how often, the client tries.
#[derive(Args, Clone, Copy)]
pub struct ClientLimits {
    /// To connect, once
    #[arg(long = "connect-ms", value_name = "MS", env = "TCP_CONNECT_MS")]
    #[arg(default_value = "4000", value_parser = milliseconds)]
    pub connect: Duration,
    /// For one attempt, until its whole reply is there
    #[arg(long = "request-ms", value_name = "MS", env = "TCP_REQUEST_MS")]
    #[arg(default_value = "5000", value_parser = milliseconds)]
    pub request: Duration,
    /// For one request, with all attempts and waits
    #[arg(long = "deadline-ms", value_name = "MS", env = "TCP_DEADLINE_MS")]
    #[arg(default_value = "30000", value_parser = milliseconds)]
    pub deadline: Duration,
    /// The most attempts, the first one included
    #[arg(long, value_name = "N", env = "TCP_ATTEMPTS", default_value = "5")]
    #[arg(value_parser = number)]
    pub attempts: u32,
    /// The longest first wait; it doubles with each attempt
    #[arg(long = "backoff-base-ms", value_name = "MS", default_value = "100")]
    #[arg(env = "TCP_BACKOFF_BASE_MS", value_parser = milliseconds)]
    pub base: Duration,
    /// The longest wait of all
    #[arg(long = "backoff-cap-ms", value_name = "MS", default_value = "2000")]
    #[arg(env = "TCP_BACKOFF_CAP_MS", value_parser = milliseconds)]
    pub cap: Duration,
}

/// Reads a number of milliseconds, at most a day.
fn milliseconds(text: &str) -> Result<Duration> {
    Ok(Duration::from_millis(number(text)?.into()))
}

/// Reads a number. A limit of 0 would always have passed.
fn number(text: &str) -> Result<u32> {
    let number = text.parse().ok().filter(|n| (1..=86_400_000).contains(n));
    // clap names the option, even if the text came from the environment.
    number.context("give 1 to 86400000 (did its environment variable set it?)")
}
// ANCHOR_END: limits

// ANCHOR: too-slow
/// What the other end is too slow with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TooSlow {
    /// To give a sign of life.
    Silent,
    /// To send all of a frame.
    Frame,
    /// To read, so that the kernel takes more of what we write.
    Write,
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            TooSlow::Silent => "no sign of life in time",
            TooSlow::Frame => "a frame was not whole in time",
            TooSlow::Write => "a write stood still for too long",
        })
    }
}

impl std::error::Error for TooSlow {}
// ANCHOR_END: too-slow

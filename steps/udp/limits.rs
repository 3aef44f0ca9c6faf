// ANCHOR: limits
//! The client's limits: options that environment variables can set, too.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

/// The most bytes that we put in a datagram. Each path that carries QUIC takes
/// this in one packet (RFC 9000, section 14).
pub const DATAGRAM: usize = 1200;

/// Room for any datagram: UDP counts its length in 16 bits (RFC 768). Of one
/// that is larger than the buffer, recv(2) drops the rest without a word.
pub const ROOM: usize = 65_536;

/// How long, and how often, the client tries. TCP measures the round trip; we
/// stay at its first guess, one second (RFC 6298, section 2).
#[derive(Args, Clone, Copy)]
pub struct ClientLimits {
    /// There is no connection. Step 7 had one, and we use its `retry.rs`.
    #[arg(skip)]
    #[allow(dead_code)]
    pub connect: Duration,
    /// For one attempt, until its reply is there
    #[arg(long = "request-ms", value_name = "MS", env = "TCP_REQUEST_MS")]
    #[arg(default_value = "1000", value_parser = milliseconds)]
    pub request: Duration,
    /// For one request, with all attempts and waits
    #[arg(long = "deadline-ms", value_name = "MS", env = "TCP_DEADLINE_MS")]
    #[arg(default_value = "30000", value_parser = milliseconds)]
    pub deadline: Duration,
    /// The most attempts, the first one included
    #[arg(long, value_name = "N", env = "TCP_ATTEMPTS", default_value = "10")]
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

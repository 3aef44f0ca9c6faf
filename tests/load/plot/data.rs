//! What `cargo bench -p load --bench curves` measures, as it stands in the
//! JSON files of tests/bench/curves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One server that pauses once, asked by a closed loop and by an open loop.
#[derive(Serialize, Deserialize)]
pub struct Pause {
    /// The processor, its cores and the kernel.
    pub machine: String,
    /// How long the server stood still, in seconds.
    pub pause: f64,
    pub closed: Loop,
    pub open: Loop,
}

#[derive(Serialize, Deserialize)]
pub struct Loop {
    /// Requests per second that were due; none in a closed loop.
    pub rate: Option<f64>,
    pub requests: u64,
    /// In microseconds: `p50`, `p90`, `p99`, `p99_9`, `max`, `mean`.
    pub latency_us: BTreeMap<String, f64>,
    /// Percent of the requests, and the microseconds that these took at most.
    pub latency_curve: Vec<(f64, f64)>,
}

/// How the cost grows with one thing: the connections, or the size.
#[derive(Serialize, Deserialize)]
pub struct Growth {
    pub machine: String,
    /// What is missing, and why.
    pub left_out: Vec<String>,
    pub servers: Vec<Server>,
}

#[derive(Serialize, Deserialize)]
pub struct Server {
    pub name: String,
    pub points: Vec<Point>,
}

/// One number of connections, or one size in bytes; a value for each round.
#[derive(Serialize, Deserialize)]
pub struct Point {
    pub x: u64,
    pub requests_per_second: Vec<f64>,
    pub p99_us: Vec<f64>,
}

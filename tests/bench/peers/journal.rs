//! What a journal costs: operations per second, beside the number of times
//! that the device itself can sync.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::servers::{Server, attempt, out};

/// The numbers of clients, each with one operation on its way.
pub const CLIENTS: [usize; 4] = [1, 10, 100, 1000];

/// One round: the syncs per second of the device, and the operations per
/// second of as many clients as [`CLIENTS`] says.
#[derive(Deserialize)]
pub struct Round {
    pub syncs: f64,
    pub operations: Vec<f64>,
}

/// Measures step 7 with a journal, and the device before it and after it.
pub fn measure(rounds: usize, (seconds, warm_up): (&str, &str)) -> Vec<Round> {
    let duration = Duration::from_secs_f64(seconds.parse().unwrap());
    let operations = |clients: &usize| {
        let rate = attempt(|| operations(*clients, seconds, warm_up));
        rate.unwrap_or_else(|error| {
            println!("not measured: step 7, {clients} clients: {error}");
            f64::NAN
        })
    };
    (0..rounds)
        .map(|_| {
            let before = syncs(duration);
            let operations = CLIENTS.iter().map(operations).collect();
            // Other programs may keep the device busy for a while.
            let syncs = f64::midpoint(before, syncs(duration));
            Round { syncs, operations }
        })
        .collect()
}

/// How often per second this folder's device appends 32 bytes and has them on
/// disk (fdatasync(2)) before it goes on.
fn syncs(duration: Duration) -> f64 {
    let path = format!("{}/syncs", out());
    let mut file = File::create(&path).unwrap();
    let start = Instant::now();
    let mut count = 0.0;
    while start.elapsed() < duration {
        file.write_all(&[b'x'; 32]).unwrap();
        file.sync_data().unwrap();
        count += 1.0;
    }
    let rate = count / start.elapsed().as_secs_f64();
    fs::remove_file(path).unwrap();
    rate
}

/// Additions per second that the clients together get an answer to.
fn operations(
    clients: usize,
    seconds: &str,
    warm_up: &str,
) -> Result<f64, String> {
    let journal = format!("{}/journal", out());
    let _ = fs::remove_file(&journal); // of a run that was stopped
    let server = Server::find("step 7", true);
    let program = server.start("", &["--journal", &journal]);
    let load = format!(
        "--work add --connections {clients} --seconds {seconds} \
         --warm-up {warm_up}"
    );
    let report = crate::load_json(&program, "", &load);
    drop(program);
    fs::remove_file(journal).map_err(|error| error.to_string())?;
    report?["requests_per_second"].as_f64().ok_or("no rate".to_owned())
}

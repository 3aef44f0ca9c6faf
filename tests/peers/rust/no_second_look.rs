//! The server of step 5 with one difference: when a limit has passed, it does
//! not look a second time whether the client's bytes are there.
//!
//!     cargo run --bin no-second-look                 on 127.0.0.1:8888
//!     cargo run --bin no-second-look -- --addr IP:PORT --idle-ms MS
//!
//! `cargo bench --bench figures -- pause` measures how many clients that costs their connection.

#[allow(dead_code)]
#[path = "../../../steps/step5/frame.rs"]
mod frame;
#[path = "../../../steps/step5/listener.rs"]
mod listener;
#[path = "../../../steps/step5/server.rs"]
mod server;
#[allow(dead_code)]
#[path = "../../../steps/step5/limits.rs"]
mod step5_limits;

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;

use anyhow::Result;
use clap::Parser;

/// What `server.rs` uses as step 5's `limits.rs`.
mod limits {
    use tokio::time::timeout_at;

    pub use crate::step5_limits::{Limit, ServerLimits, TooSlow};

    /// Step 5's `within`, without the second look.
    pub async fn within<T>(
        (end, too_slow): Limit,
        operation: impl Future<Output = T>,
    ) -> Result<T, TooSlow> {
        timeout_at(end, operation).await.map_err(|_| too_slow)
    }
}

#[derive(Parser)]
struct Args {
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
    addr: SocketAddr,
    #[command(flatten)]
    limits: limits::ServerLimits,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { addr, limits } = Args::parse();
    let listener = listener::bind(addr)?;
    say(format!("listening on {}", listener.local_addr()?));
    server::run(listener, limits).await;
    Ok(())
}

fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

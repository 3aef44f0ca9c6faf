//! The checker: it tries a learner's own server or client, in any language,
//! as a hostile network would, and says which rule of the contract fails,
//! what was sent, what came back, what that usually means, and where to look.
//!
//!     cargo run -p check -- server step4 --cmd 'python3 server.py {addr}'
//!     cargo run -p check -- client step4 --cmd './client {addr} {text}'

#[cfg(not(unix))]
compile_error!("check needs Linux or macOS; on Windows, run it in WSL");

mod case;
mod cases;
mod cli;
mod diagnosis;
mod harness;
mod program;
mod report;
mod run;
mod steps;
mod traits;
mod verdict;
mod wire;

pub use cli::main;

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
mod cause;
mod cause_framed;
mod class;
mod cli;
mod ending;
mod fatal;
mod file;
mod lab;
mod late;
mod mismatch;
mod options;
mod output;
mod pages;
mod peer;
mod proc;
mod program;
mod programs;
mod progress;
mod random;
mod report;
mod run;
mod said;
mod say;
mod show;
mod start;
mod target;
mod terminal;
mod wire;
mod words;

pub use cli::main;

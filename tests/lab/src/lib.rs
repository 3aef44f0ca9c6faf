//! Two machines and the road between them, in one command.
//!
//!     cargo run -p lab -- lan
//!     cargo run -p lab -- wan --delay 25ms --loss 5%
//!     cargo run -p lab -- show lost-segment
//!
//! The machines are network namespaces of Linux, with the kernel's own TCP in
//! each. Nothing has to be cleaned up: they have no names, and they end with
//! the command, however it ends.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

pub mod capture;
pub mod cli;
mod datagram;
pub mod ladder;
#[cfg(target_os = "linux")]
mod linux;
pub mod road;
pub mod scenes;
pub mod segment;

pub use cli::main;

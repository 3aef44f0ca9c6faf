//! The program under test: how we start, watch and end it.

pub mod ending;
pub mod file;
pub mod output;
pub mod proc;
pub mod running;
pub mod start;

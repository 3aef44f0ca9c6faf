//! The program under test: how it is started, watched and ended.

pub mod ending;
pub mod file;
pub mod output;
pub mod proc;
pub mod running;
pub mod start;

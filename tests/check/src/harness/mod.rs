//! What a case works with: a lab for the programs it starts, peers for its
//! connections, a stage where it plays the server.

pub mod adds;
pub mod ended;
pub mod expect;
pub mod lab;
pub mod late;
pub mod machine;
pub mod peer;
pub mod pings;
pub mod programs;
pub mod random;
pub mod resources;
pub mod stage;
pub mod talk;
pub mod visit;
pub mod words;

//! What only Linux has: namespaces, and devices that a program can hold.

pub mod lan;
pub mod machine;
pub mod router;
pub mod show;
pub mod wan;

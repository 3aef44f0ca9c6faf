//! From what the checker saw to what it usually means.

pub mod cause;
pub mod cause_framed;
pub mod evidence;
pub mod fatal;
pub mod mismatch;
pub mod said;
pub mod show;

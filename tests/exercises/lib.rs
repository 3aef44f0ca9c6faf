//! The solutions of the exercises are the patches in this folder, and
//! `tests/exercises.rs` tries them: `cargo test -p exercises`.

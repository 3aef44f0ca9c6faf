//! Frames in datagrams: what is left when TCP is gone.

fn main() {}

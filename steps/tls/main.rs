//! Step 8 behind a lock: the same connection over TLS.

fn main() {}

//! The ledger and the room in several processes, behind Redis.

fn main() {}

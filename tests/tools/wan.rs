//! The ladders of "A remote network", drawn from its kept captures.

use std::fs;

use libtest_mimic::Trial;

use crate::ladder::{draw, segments};
use crate::packets::read;
use crate::support::{ROOT, snapshot, trial};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = || {
        let [c, s] = ["client", "server"]
            .map(|e| read(&fs::read(format!("/tmp/wan/{e}.pcap")).unwrap()));
        let segments = segments(&c, &s);
        let svg = draw("ladder-try", "A try", &segments);
        fs::write("/tmp/wan/try.svg", &svg).unwrap();
    };
    vec![trial("wan::try", None, test)]
}

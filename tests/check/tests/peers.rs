//! The project's own servers and clients in five other languages, checked:
//! what is not installed is skipped by name.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use libtest_mimic::{Arguments, Trial};
use support::{alone, built, check, is_there};

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers");

/// A program, what it needs, its side and step, and the cases that it is
/// known to fail.
struct Peer {
    needs: &'static str,
    file: &'static str,
    side: &'static str,
    step: &'static str,
    fails: &'static str,
}

const fn peer(
    needs: &'static str,
    file: &'static str,
    side: &'static str,
    step: &'static str,
    fails: &'static str,
) -> Peer {
    Peer { needs, file, side, step, fails }
}

const ALL: [Peer; 12] = [
    peer("python3", "python/framed_server.py", "server", "step4", ""),
    peer("javac", "java/FramedServer.java", "server", "step4", ""),
    peer("go", "go/framed_server.go", "server", "step4", ""),
    peer("cc", "c/framed_server.c", "server", "step4", ""),
    peer("node", "node/framed_server.mjs", "server", "step4", ""),
    peer("python3", "python/framed_client.py", "client", "step4", ""),
    peer("javac", "java/FramedClient.java", "client", "step4", ""),
    peer("go", "go/framed_client.go", "client", "step4", ""),
    peer("cc", "c/framed_client.c", "client", "step4", ""),
    peer("node", "node/framed_client.mjs", "client", "step4", ""),
    peer("python3", "python/retry_client.py", "client", "step5", ""),
    peer("go", "go/retry_client.go", "client", "step5", ""),
];

fn main() {
    let trials = ALL.map(|peer| {
        let is_there = is_there(peer.needs);
        let name = format!("{}: {} of {}", peer.file, peer.side, peer.step);
        let skipped = match is_there {
            true => String::new(),
            false => format!(" (skipped: needs {})", peer.needs),
        };
        let run = move || {
            try_peer(&peer);
            Ok(())
        };
        let trial = Trial::test(name + &skipped, run);
        trial.with_ignored_flag(!is_there)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}

fn try_peer(peer: &Peer) {
    let text = if peer.side == "client" { " {text}" } else { "" };
    let program = built(peer.needs, &format!("{PEERS}/{}", peer.file));
    let cmd = format!("{program} {{port}}{text}");
    let args = [peer.side, peer.step, "--keep-going", "--seed", "7"];
    let args = [&args[..], &["--format", "json", "--cmd", &cmd]].concat();
    let _machine = alone();
    for _ in 0..3 {
        let said = check(&args);
        let report: serde_json::Value =
            serde_json::from_str(&said.text).unwrap();
        let cases = report["cases"].as_array().unwrap();
        let failed = cases.iter().filter(|case| case["verdict"] == "FAIL");
        let failed: Vec<_> =
            failed.map(|case| case["id"].as_str().unwrap()).collect();
        assert_eq!(failed.join(" "), peer.fails, "{}", said.text);
        if said.code != Some(2) {
            return;
        }
    }
    panic!("too busy to tell");
}

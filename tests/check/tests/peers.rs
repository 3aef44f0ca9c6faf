//! The project's own servers and clients in five other languages, checked:
//! what is not installed is skipped by name.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Trial};
use support::{alone, check};

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
        let flag = if peer.needs == "go" { "version" } else { "--version" };
        let version = Command::new(peer.needs).arg(flag).output();
        let is_there = version.is_ok_and(|output| output.status.success());
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
    let cmd = format!("{} {{port}}{text}", command(peer));
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

/// How to start a peer, compiled where its language wants that.
fn command(peer: &Peer) -> String {
    let source = Path::new(PEERS).join(peer.file);
    let (source, stem) = (source.to_str().unwrap(), source.file_stem());
    let stem = stem.unwrap().to_str().unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("{}-{stem}", peer.needs));
    fs::create_dir_all(&folder).unwrap();
    let output = folder.join(stem);
    let (output, folder) = (output.to_str().unwrap(), folder.to_str().unwrap());
    let mut compiler = Command::new(peer.needs);
    match peer.needs {
        "javac" => compiler.args(["-d", folder, source]),
        "go" => compiler
            .env("GO111MODULE", "off")
            .env("GOCACHE", format!("{folder}/cache"))
            .args(["build", "-o", output, source]),
        "cc" => compiler.args(["-O1", "-pthread", "-o", output, source]),
        _ => return format!("{} '{source}'", peer.needs),
    };
    assert!(compiler.status().unwrap().success());
    match peer.needs {
        "javac" => format!("java -cp '{folder}' {stem}"),
        _ => format!("'{output}'"),
    }
}

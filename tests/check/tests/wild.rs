//! Servers and clients with mistakes that people have made in public: what the
//! checker says of each, and whether that is true. What is not installed is
//! skipped by name.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use libtest_mimic::{Arguments, Trial};
use support::{alone, built, check, is_there, shared, snapshot};

/// A program, what it needs, its side and step, and the mark that each of
/// these cases must give it.
struct Wild {
    needs: &'static str,
    file: &'static str,
    side: &'static str,
    step: &'static str,
    cases: &'static str,
    /// Which of its mistakes shows first is a matter of luck: the marks are
    /// the same each time, and the explanations differ.
    by_luck: bool,
}

const fn wild(
    needs: &'static str,
    file: &'static str,
    side: &'static str,
    step: &'static str,
    cases: &'static str,
) -> Wild {
    Wild { needs, file, side, step, cases, by_luck: false }
}

/// `0`: it is not even tried, because it did not start.
#[rustfmt::skip]
const ALL: [Wild; 22] = [
    wild("python3", "s1_localhost_v6.py", "server", "step1", "0 S1-01"),
    wild("python3", "s1_no_reuseaddr.py", "server", "step2", "✗ S1-05"),
    wild("python3", "s2_exact_1024.py", "server", "step2", "✗ S2-10"),
    wild("node", "s2_mapped_address.js", "server", "step2", "✓ S2-01"),
    wild("python3", "s2_never_accepts.py", "server", "step2", "✗ S2-01 ✗ S2-02 ✗ S2-03 ✗ S2-04"),
    wild("node", "s2_node_half_close.js", "server", "step2", "✗ S2-02"),
    wild("node", "s2_node_no_error_handler.js", "server", "step2", "✗ S1-03"),
    wild("go", "s2_says_so_on_stderr.go", "server", "step2", "0 S2-01"),
    wild("python3", "s2_serves_once.py", "server", "step2", "✗ S2-01 ✗ S2-02"),
    wild("python3", "s3_backlog_1.py", "server", "step3", "! S3-05"),
    wild("python3", "s3_eagain_fatal.py", "server", "step3", "✗ S2-03"),
    wild("cc", "s3_et_accept_once.c", "server", "step3", "✓ S2-01 ✗ S3-05"),
    wild("cc", "s3_fork_zombies.c", "server", "step3", "✓ S3-01 ✓ S3-02 ✗ S3-03 ✓ S3-05 ✓ S2-07 ✗ S2-08 ✓ S1-03"),
    wild("python3", "s3_loop_send_uncaught.py", "server", "step3", "✗ S3-04"),
    wild("python3", "s3_slow.py", "server", "step3", "✓ S3-03 ! S2-08"),
    wild("javac", "Pool8.java", "server", "step3", "✗ S3-02"),
    wild("cc", "s3_rdhup_first.c", "server", "step3", "✗ S2-03"),
    wild("python3", "s3_waits_for_eof.py", "server", "step3", "✗ S3-01 ✗ S3-04 ✗ S2-02"),
    wild("python3", "s4_close_unread.py", "server", "step4", "! S4-18"),
    Wild { by_luck: true, ..wild("go", "s4_interleaved.go", "server", "step4", "✗ S4-09 ✗ S4-15 ✗ S2-03") },
    wild("javac", "Signed.java", "server", "step4", "✓ S4-01 ✗ S4-05 ✗ S4-06 ✓ S4-07"),
    wild("python3", "c2_needs_text.py", "client", "step2", "✓ C1-01 ✗ C2-01"),
];

fn main() {
    let trials = ALL.map(|wild| {
        let is_there = is_there(wild.needs);
        let name = format!("{}: {} of {}", wild.file, wild.side, wild.step);
        let skipped = match is_there {
            true => String::new(),
            false => format!(" (skipped: needs {})", wild.needs),
        };
        let run = move || {
            try_wild(&wild);
            Ok(())
        };
        let trial = Trial::test(name + &skipped, run);
        trial.with_ignored_flag(!is_there)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}

fn try_wild(wild: &Wild) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wild");
    let text = if wild.side == "client" { " {text}" } else { "" };
    let program = built(wild.needs, &format!("{folder}/{}", wild.file));
    let cmd = format!("{program} {{addr}}{text}");
    let words: Vec<&str> = wild.cases.split(' ').collect();
    let mut args = vec![wild.side, wild.step, "--keep-going", "--seed", "7"];
    for pair in words.chunks(2) {
        args.extend(["--case", pair[1]]);
    }
    args.extend(["--cmd", &cmd]);
    let text = said(&args);
    let marks: Vec<&str> = text.lines().filter_map(mark).collect();
    let wanted: Vec<&str> = words.chunks(2).map(|pair| pair[0]).collect();
    match wanted[0] {
        "0" => assert!(text.contains("did not start"), "{text}"),
        _ => assert_eq!(marks, wanted, "{text}"),
    }
    if !wild.by_luck {
        let name = wild.file.split('.').next().unwrap();
        snapshot(&format!("wild-{name}"), &explanations(&text));
    }
}

/// What the checker says; on a busy machine, once it is sure.
fn said(args: &[&str]) -> String {
    for round in 0..4 {
        // At first beside others, then alone.
        let (_shared, _alone) = match round {
            0 => (Some(shared()), None),
            _ => (None, Some(alone())),
        };
        let said = check(args);
        if !said.text.lines().any(|line| line.starts_with("? ")) {
            return said.text;
        }
    }
    panic!("too busy to tell: {args:?}");
}

/// The mark of a line that begins the report of a case.
fn mark(line: &str) -> Option<&str> {
    let (mark, rest) = line.split_once(' ')?;
    let is_mark = ["✓", "!", "✗", "?", "-"].contains(&mark);
    (is_mark && rest.get(2..3) == Some("-")).then_some(mark)
}

/// The lines that explain: bytes and times, which differ from run to run, are
/// left out.
fn explanations(text: &str) -> String {
    let mut is_kept = true;
    let lines = text.lines().take_while(|line| !line.is_empty());
    let lines = lines.filter(|line| {
        match line.get(4..14).map(str::trim) {
            Some("") => {} // goes on
            Some(label) if line.starts_with("    ") => {
                let left = ["so far", "sent", "expected", "command", "replay"];
                is_kept = !left.contains(&label);
            }
            _ => is_kept = true,
        }
        is_kept
    });
    lines.map(|line| format!("{line}\n")).collect()
}

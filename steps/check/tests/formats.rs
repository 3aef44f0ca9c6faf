//! The forms of the report, the lists, and a class.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use support::{GALLERY, alone, check, gallery, snapshot};

/// A server with one mistake and one warning, tried with three cases.
fn report(format: &str) -> String {
    let cmd = gallery("server", 4, Some("closes-silently"));
    let args = ["server", "step4", "--seed", "7", "--format", format];
    let cases = ["--case", "S4-01", "--case", "S4-07", "--strict"];
    let said = check(&[&args[..], &cases, &["--cmd", &cmd]].concat());
    assert_eq!(said.code, Some(1), "{}", said.text);
    said.text
}

#[test]
fn forms_of_the_report() {
    for format in ["text", "json", "junit", "tap", "gradescope"] {
        snapshot(&format!("report-{format}"), &report(format));
    }
}

#[test]
fn json_and_gradescope_are_json() {
    for format in ["json", "gradescope"] {
        let value: serde_json::Value =
            serde_json::from_str(&report(format)).unwrap();
        assert!(value.is_object());
    }
}

#[test]
fn lists_and_explanations() {
    snapshot("list", &check(&["--list"]).text);
    snapshot("explain-s4-05", &check(&["--explain", "s4-05"]).text);
    assert_eq!(check(&["--explain", "S9-99"]).code, Some(64));
    assert_eq!(check(&["server", "step9", "--cmd", "x"]).code, Some(64));
    assert_eq!(check(&["server", "step4"]).code, Some(64));
    assert_eq!(check(&["--help"]).code, Some(0));
}

/// The page of the book is what the checker prints.
#[test]
fn the_book_lists_the_cases() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../book/src/cases.md");
    let page = check(&["page"]).text;
    if fs::read_to_string(path).ok().as_deref() != Some(&page) {
        assert!(
            std::env::var_os("CI").is_none(),
            "book/src/cases.md is not what `check page` prints"
        );
        fs::write(path, page).unwrap();
    }
}

/// Who attaches to a running server cannot have it started: said so.
#[test]
fn what_needs_a_start_is_skipped() {
    let nobody = check(&["server", "step4", "--addr", "127.0.0.1:1"]);
    assert_eq!(nobody.code, Some(3), "{}", nobody.text);
    let mut server = Command::new(GALLERY)
        .args(["server", "--step", "4", "--addr", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let addr = line.trim().trim_start_matches("listening on ");
    let said = check(&["server", "step4", "--addr", addr]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(said.text.contains("7 skipped"), "{}", said.text);
}

/// A folder of submissions: each in its own folder, and a table of all.
#[test]
fn a_class() {
    let _machine = alone();
    let class = tempfile::tempdir().unwrap();
    let defects = [("anna", ""), ("boris", "first-frame-only"), ("chen", "")];
    for (name, defect) in defects {
        let folder = class.path().join(name);
        fs::create_dir(&folder).unwrap();
        let defect = match defect {
            "" => String::new(),
            defect => format!("--defect {defect}"),
        };
        let script =
            format!("exec '{GALLERY}' server --step 4 {defect} --addr $1\n");
        fs::write(folder.join("server.sh"), script).unwrap();
    }
    fs::write(class.path().join("chen/server.sh"), "exit 1\n").unwrap();
    let out = class.path().join(".reports");
    let folder = class.path().to_str().unwrap();
    let args = ["class", "server", "step4", folder, "--seed", "7"];
    let more = ["--cmd", "sh server.sh {addr}", "--out"];
    let out_text = out.to_str().unwrap();
    let said = check(&[&args[..], &more, &[out_text]].concat());
    assert_eq!(said.code, Some(1));
    snapshot("class", &said.text);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
}

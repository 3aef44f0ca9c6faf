//! The forms of the report, the lists, and a class.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use check::{Case, Side, Tag, cases};
use support::{GALLERY, alone, check, gallery, snapshot, told};

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
    for format in FORMATS {
        snapshot(&format!("report-{format}"), &report(format));
    }
}

#[test]
fn what_is_json_can_be_read_as_json() {
    for format in ["json", "gradescope", "classroom"] {
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
    let is_same = fs::read_to_string(path).unwrap() == check(&["page"]).text;
    assert!(
        is_same,
        "book/src/cases.md is old; write it again: \
         cargo run -p check -- page >book/src/cases.md"
    );
}

/// A server that is already running cannot be started again, so the report
/// skips those cases by name.
#[test]
fn what_needs_a_start_is_skipped() {
    let silent = check(&["server", "step4", "--addr", "127.0.0.1:1"]);
    assert_eq!(silent.code, Some(3), "{}", silent.text);
    let said = silent.text.lines().next().unwrap();
    assert_eq!(said, "✗ no server answers at 127.0.0.1:1");
    assert!(!silent.text.contains("command"), "{}", silent.text);
    let mut server = Command::new(GALLERY)
        .args(["server", "--step", "4", "--addr", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null()) // it reports each reset
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
    let starts = |case: &&&Case| case.has(Tag::Starts);
    let all = cases::of(Side::Server, 4);
    let skipped = format!("{} skipped", all.iter().filter(starts).count());
    assert!(said.text.contains(&skipped), "{}", said.text);
}

const FORMATS: [&str; 7] =
    ["text", "csv", "json", "junit", "tap", "gradescope", "classroom"];

/// A name will do; another machine is not attacked unasked.
#[test]
fn an_address_may_be_a_name_of_this_machine() {
    let run = |addr: &str| check(&["server", "step4", "--addr", addr]);
    for (addr, why) in [
        ("localhost", "IP:PORT or NAME:PORT"),
        (":8888", "IP:PORT or NAME:PORT"),
        ("192.0.2.1:80", "cannot try 192.0.2.1 without --remote"),
        ("[2001:db8::1]:80", "add --remote"),
    ] {
        let said = run(addr);
        assert_eq!((said.code, said.text.as_str()), (Some(64), ""), "{addr}");
        assert!(said.stderr.contains(why), "{}", said.stderr);
    }
    for addr in ["localhost:1", "0.0.0.0:1", "[::ffff:127.0.0.1]:1"] {
        let said = run(addr);
        assert_eq!(said.code, Some(3), "{addr}: {}", said.stderr);
        assert!(
            said.text.starts_with("✗ no server answers at "),
            "{}",
            said.text
        );
    }
}

/// Each form says that it did not start, and why, and 0 of all points.
fn says_not_started(format: &str, text: &str) {
    let has = |what: &str| assert!(text.contains(what), "{format}: {text}");
    has("no luck");
    let value = || serde_json::from_str::<serde_json::Value>(text).unwrap();
    match format {
        "text" => {
            assert!(text.starts_with("✗ the server did not start\n"));
            has("\n0 of 3 points, seed 7\n");
        }
        "json" => {
            let value = value();
            assert_eq!(value["trouble"][2], "  | no luck");
            assert_eq!(value["exit_code"], 3);
            assert_eq!(value["points"], 0);
            assert_eq!(value["max_points"], 3);
        }
        "junit" => {
            has("tests=\"2\" failures=\"0\" errors=\"2\" skipped=\"0\"");
            let error = "<error message=\"the server did not start: It ended";
            assert_eq!(text.matches(error).count(), 2, "{text}");
        }
        "tap" => assert!(text.starts_with(TAP_NOT_STARTED), "{text}"),
        "csv" => {
            assert_eq!(text.matches("\r\n").count(), 3, "{text}");
            assert_eq!(text.matches(",not tried,0,").count(), 2, "{text}");
        }
        "classroom" => scores_not_started(&value()),
        _ => grades_not_started(&value()),
    }
}

const TAP_NOT_STARTED: &str = "TAP version 13\n1..2\n# 0 of 3 points, seed 7\n\
                               Bail out! the server did not start: It ended";

fn scores_not_started(value: &serde_json::Value) {
    assert_eq!((&value["score"], &value["max-score"]), (&0.into(), &3.into()));
    assert_eq!(value["tests"][0]["passed"], false);
    assert_eq!(value["tests"][1]["max-score"], 2);
}

fn grades_not_started(value: &serde_json::Value) {
    assert_eq!(value["score"], 0);
    assert!(value["output"].as_str().unwrap().contains("no luck"));
    for (test, most) in [(0, 1), (1, 2)] {
        let test = &value["tests"][test];
        assert_eq!(test["score"], 0);
        assert_eq!(test["max_score"], most);
        assert_eq!(test["status"], "failed");
    }
}

#[test]
fn what_does_not_start_is_said_in_each_form() {
    let cmd = "sh -c 'echo no luck >&2; exit 7'";
    for format in FORMATS {
        let args = ["server", "step4", "--seed", "7", "--cmd", cmd];
        let cases = ["--case", "S4-01", "--case", "S4-07"];
        let said = check(&[&args[..], &cases, &["--format", format]].concat());
        assert_eq!(said.code, Some(3), "{}", said.text);
        says_not_started(format, &said.text);
    }
}

/// The same in a class, whose names are strange. None hides another.
#[test]
#[cfg(target_os = "linux")] // elsewhere a name is UTF-8
fn a_class_that_does_not_start() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let class = tempfile::tempdir().unwrap();
    let names: [&[u8]; 5] =
        [b"a\xfe", b"a\xff", b"b\nzoe 9 of 9", b"c\x1b[2J", "陳".as_bytes()];
    for name in names {
        fs::create_dir(class.path().join(OsStr::from_bytes(name))).unwrap();
    }
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().join("out");
    let folder = class.path().to_str().unwrap();
    for format in FORMATS {
        let args = ["class", "server", "step4", folder, "--seed", "7"];
        let cases = ["--case", "S4-01", "--case", "S4-07"];
        let cmd = ["--cmd", "sh -c 'echo no luck >&2; exit 7'"];
        let out_in = ["--out", out.to_str().unwrap(), "--format", format];
        let said = check(&[&args[..], &cases, &cmd, &out_in].concat());
        assert_eq!(said.code, Some(1), "{}", said.text);
        assert!(!said.text.contains('\x1b'), "{}", said.text);
        if format == "text" {
            snapshot("class-names", &said.text);
        }
        let reports = fs::read_dir(&out).unwrap().flatten();
        let reports: Vec<_> = reports.map(|entry| entry.path()).collect();
        assert_eq!(reports.len(), names.len(), "{format}: {reports:?}");
        for path in reports {
            says_not_started(format, &fs::read_to_string(path).unwrap());
        }
        fs::remove_dir_all(&out).unwrap();
    }
}

/// The table has three forms; the others are for the reports.
#[test]
fn a_class_has_no_table_in_other_forms() {
    let class = tempfile::tempdir().unwrap();
    fs::create_dir(class.path().join("anna")).unwrap();
    let folder = class.path().to_str().unwrap();
    let args = ["class", "server", "step4", folder, "--cmd", "false"];
    for format in ["junit", "tap", "gradescope", "classroom"] {
        let said = check(&[&args[..], &["--format", format]].concat());
        assert_eq!((said.code, said.text.as_str()), (Some(64), ""));
        assert!(said.stderr.contains("--out FOLDER"), "{}", said.stderr);
    }
    let said = check(&[&args[..], &["--format", "json"]].concat());
    assert_eq!(said.code, Some(1), "{}", said.text);
    let listed = check(&[&args[..], &["--list"]].concat());
    let cases = check(&["server", "step4", "--list"]);
    assert_eq!((listed.code, listed.text), (Some(0), cases.text));
}

#[test]
fn a_client_must_be_told_what_to_send() {
    for (cmd, missing) in [
        ("python3 client.py {addr}", "a client needs {text} (what it sends):"),
        ("./client {text}", "a client needs {addr} (where it connects to):"),
        ("./client", "needs {addr} (where it connects to) and {text}"),
    ] {
        let said = check(&["client", "step4", "--cmd", cmd]);
        assert_eq!((said.code, said.text.as_str()), (Some(64), ""));
        assert!(said.stderr.contains(missing), "{}", said.stderr);
        assert!(said.stderr.contains("'python3 client.py {addr} {text}'"));
        assert!(said.stderr.contains("only from stdin"), "{}", said.stderr);
    }
    let help = check(&["client", "--help"]).text;
    assert!(help.contains("client.py {addr} {text}"), "{help}");
    assert!(!help.contains("--addr") && !help.contains("server"), "{help}");
    let said = check(&["client", "step4", "--addr", "127.0.0.1:1"]);
    assert_eq!(said.code, Some(64));
}

#[test]
fn a_file_that_cannot_be_run() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    let path = dir.path().join("no interpreter.sh");
    fs::write(&path, "#!/no/such/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, mode).unwrap();
    let script = format!("'{}' {{addr}} {{text}}", path.display());
    for side in ["server", "client"] {
        let said = check(&[side, "step2", "--cmd", &script]);
        assert_eq!(said.code, Some(3), "{}", said.text);
        assert!(said.text.contains("#!/no/such/sh"), "{}", said.text);
        let cmd = format!("'{folder}' {{addr}} {{text}}");
        let said = check(&[side, "step2", "--cmd", &cmd]);
        assert_eq!(said.code, Some(3), "{}", said.text);
        assert!(said.text.contains("That is a folder"), "{}", said.text);
    }
}

#[test]
fn a_case_counts_once() {
    let cmd = gallery("server", 4, None);
    let twice = ["--case", "S4-01", "--case", "s4-01"];
    let args = ["server", "step4", "--seed", "7", "--cmd", &cmd];
    let said = check(&[&args[..], &twice].concat());
    assert!(said.text.contains("1 of 1 points"), "{}", said.text);
}

/// A report that is lost is an error; a reader that left is none.
#[test]
#[cfg(target_os = "linux")] // which has a full disk at hand
fn a_report_that_cannot_be_written() {
    let run = |stdout: Stdio, format| {
        let cmd = gallery("server", 4, None);
        let output = Command::new(env!("CARGO_BIN_EXE_check"))
            .args(["server", "step4", "--case", "S4-01", "--cmd", &cmd])
            .args(["--format", format])
            .stdout(stdout)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), stderr)
    };
    for format in ["text", "gradescope"] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, stderr) = run(full.into(), format);
        assert_eq!(code, Some(3), "{stderr}");
        assert!(stderr.starts_with("error: cannot write the report: No space"));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(writer.into(), format), (Some(0), String::new()));
    }
}

/// An archive often unpacks to a folder in a folder; and why one did not start
/// is said to the end.
#[test]
fn a_class_of_folders_in_folders() {
    let class = tempfile::tempdir().unwrap();
    let inner = class.path().join("anna/anna-1.0/server");
    fs::create_dir_all(&inner).unwrap();
    fs::create_dir(class.path().join("anna/__MACOSX")).unwrap();
    fs::write(class.path().join("anna/.DS_Store"), "").unwrap();
    fs::create_dir(class.path().join("boris")).unwrap();
    let script = format!("exec '{GALLERY}' server --step 4 --addr $1\n");
    fs::write(inner.join("server.sh"), script).unwrap();
    let folder = class.path().to_str().unwrap();
    let args = ["class", "server", "step4", folder, "--case", "S4-01"];
    let said = check(&[&args[..], &["--cmd", "sh server.sh {addr}"]].concat());
    let mut rows = said.text.lines().skip(1);
    assert_eq!(rows.next().unwrap(), "anna        1/1", "{}", said.text);
    let boris = rows.next().unwrap();
    assert!(
        boris.starts_with("boris       0/1      did not start: "),
        "{boris}"
    );
    assert!(!boris.contains('…'), "{boris}");
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
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().join("reports");
    let folder = class.path().to_str().unwrap();
    let args = ["class", "server", "step4", folder, "--seed", "7"];
    let more = ["--cmd", "sh server.sh {addr}", "--out"];
    let out_text = out.to_str().unwrap();
    let said = told(|| check(&[&args[..], &more, &[out_text]].concat()));
    assert_eq!(said.code, Some(1));
    snapshot("class", &said.text);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
}

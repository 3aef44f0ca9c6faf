//! A class in three languages, with submissions that are right, wrong and
//! hostile, graded twice. `CLASS=60` grades sixty; otherwise a few of each.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report
#![cfg(target_os = "linux")] // what is left behind is looked for in /proc

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{GALLERY, Said, alone, is_there, snapshot};

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers");
const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/class");

/// A folder of submissions, and room for what the checker makes.
struct Class {
    room: tempfile::TempDir,
}

impl Class {
    fn new() -> Class {
        let room = tempfile::tempdir().unwrap();
        fs::create_dir(room.path().join("submissions")).unwrap();
        fs::create_dir(room.path().join("tmp")).unwrap();
        Class { room }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// Hands in a file.
    fn hand_in(&self, student: &str, file: &str, text: &str) {
        let folder = self.path("submissions").join(student);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), text).unwrap();
    }

    /// Grades the class, in three languages.
    fn command(&self, args: &[&str]) -> Command {
        let mut check = Command::new(env!("CARGO_BIN_EXE_check"));
        check
            .current_dir(&self.room)
            .args(["class", "server", "step4", "submissions", "--seed", "7"])
            .args(COMMANDS)
            .args(args)
            .env("TMPDIR", self.path("tmp"))
            .env("GO111MODULE", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        check
    }

    fn grade(&self, args: &[&str]) -> Said {
        let output = self.command(args).output().unwrap();
        self.assert_clean();
        Said {
            code: output.status.code(),
            text: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// No process of a submission, and no copy, is left.
    fn assert_clean(&self) {
        let left: Vec<_> = self.processes();
        assert!(left.is_empty(), "left behind: {left:?}");
        let copies = fs::read_dir(self.path("tmp")).unwrap().flatten();
        let copies = copies.map(|entry| entry.file_name());
        let is_ours = |name: &std::ffi::OsString| {
            name.to_string_lossy().starts_with("check-")
        };
        let copies: Vec<_> = copies.filter(is_ours).collect();
        assert!(copies.is_empty(), "left behind: {copies:?}");
    }

    /// What runs in a copy of a submission.
    fn processes(&self) -> Vec<PathBuf> {
        let tmp = self.path("tmp").canonicalize().unwrap();
        let all = fs::read_dir("/proc").unwrap().flatten();
        let folders = all
            .filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok());
        folders.filter(|folder| folder.starts_with(&tmp)).collect()
    }
}

/// One command for each language, and how to build those that need it.
const COMMANDS: [&str; 12] = [
    "--cmd",
    "server.py: python3 server.py {addr}",
    "--cmd",
    "server.c: ./server {port}",
    "--cmd",
    "server.go: ./server {port}",
    "--build",
    "server.c: cc -std=c11 -pthread -o server server.c",
    "--build",
    "server.go: go build -o server server.go",
    "--memory",
    "300",
];

/// A server of the project in another language, after some changes.
fn peer(file: &str, changes: &[(&str, &str)]) -> String {
    let path = format!("{PEERS}/{file}");
    let mut text = fs::read_to_string(path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{file} has no {from}");
        text = text.replace(from, to);
    }
    text
}

const PYTHON: &str = "python/framed_server.py";
const C: &str = "c/framed_server.c";
const GO: &str = "go/framed_server.go";

/// Takes HOST:PORT, too.
const ADDR: (&str, &str) =
    ("int(sys.argv[1])", "int(sys.argv[1].split(':')[-1])");

/// What a class hands in: the student, the file, and the text.
fn mixed() -> Vec<(String, &'static str, String)> {
    let mut all = Vec::new();
    let mut add = |student: &str, file: &'static str, text: String| {
        all.push((student.to_owned(), file, text));
    };
    add("correct-python", "server.py", peer(PYTHON, &[ADDR]));
    add("correct-c", "server.c", peer(C, &[]));
    add("correct-go", "server.go", peer(GO, &[]));
    for (name, from, to) in [
        ("little-endian-python", "\">I", "\"<I"),
        ("no-limit-python", "<= length <= 65536", "<= length"),
        (
            "dies-python",
            "except OSError as error:\n        p",
            "finally:\n        p",
        ),
    ] {
        let text = peer(PYTHON, &[ADDR, (from, to)]);
        add(name, "server.py", text.replace("{error}", "it failed"));
    }
    let change = [("(uint32_t)(1 + size)", "(uint32_t)(size)")];
    add("forgets-kind-c", "server.c", peer(C, &change));
    add(
        "one-too-few-c",
        "server.c",
        peer(C, &[("MAX_LENGTH = 65536", "MAX_LENGTH = 65535")]),
    );
    add("no-syntax-c", "server.c", peer(C, &[("int main", "int man(")]));
    add(
        "little-endian-go",
        "server.go",
        peer(GO, &[("BigEndian", "LittleEndian")]),
    );
    add(
        "unused-import-go",
        "server.go",
        peer(GO, &[("\"os\"", "\"os\"\n\t\"sort\"")]),
    );
    all.extend(hostile());
    all
}

fn hostile() -> Vec<(String, &'static str, String)> {
    let own =
        |name: &str| fs::read_to_string(format!("{OWN}/{name}.py")).unwrap();
    let names = [
        "hangs",
        "forks",
        "floods",
        "ends",
        "memory",
        "hard_coded",
        "by_the_clock",
        "late",
        "once",
        "neighbour",
    ];
    let all =
        names.map(|name| (name.replace('_', "-"), "server.py", own(name)));
    let mut all = Vec::from(all);
    all.push(("once".into(), "correct.py", peer(PYTHON, &[])));
    all.push(("two-programs".into(), "server.py", peer(PYTHON, &[ADDR])));
    all.push(("two-programs".into(), "server.c", peer(C, &[])));
    all.push(("no-program".into(), "notes.txt", "later".into()));
    all.push(("=HYPERLINK(\"http:evil\",\"A\")".into(), "x", String::new()));
    all
}

/// All files in a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    let all = entries.map(|entry| read(entry.path()));
    all.map(|(path, text)| (path.file_name().unwrap().into(), text)).collect()
}

#[test]
fn the_same_seed_gives_the_same_grades() {
    for program in ["python3", "go", "cc"] {
        if !is_there(program) {
            return eprintln!("skipped: needs {program}");
        }
    }
    let _machine = alone();
    let class = Class::new();
    for (student, file, text) in mixed() {
        class.hand_in(&student, file, &text);
    }
    fs::write(class.path("submissions/zipped.zip"), "PK").unwrap();
    let start = Instant::now();
    let said = class.grade(&["--out", "first"]);
    eprintln!("{:?}\n{}{}", start.elapsed(), said.text, said.stderr);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let again = class.grade(&["--out", "second"]);
    assert_eq!(said.text, again.text);
    assert_eq!(files(&class.path("first")), files(&class.path("second")));
    snapshot("class-mixed", &said.text);
}

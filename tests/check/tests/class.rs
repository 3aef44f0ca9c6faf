//! A class in three languages, with submissions that are right, wrong and
//! hostile: graded twice, interrupted, and let loose on each other. `CLASS=60`
//! grades sixty, `CLASS=all` does so with all cases; otherwise it is a few.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report
#![cfg(target_os = "linux")] // what is left behind is looked for in /proc

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use support::arguments::arguments;
use support::{GALLERY, Said, check, is_there, snapshot, told};

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

    /// A script that the book shows, in the folder above the submissions.
    fn script(&self, name: &str, args: &[&str]) -> Command {
        let mut shell = self.command("sh");
        shell.arg(format!("{OWN}/{name}.sh")).args(["--seed", "7"]).args(args);
        shell
    }

    /// The checker or the shell, in the folder above the submissions.
    fn command(&self, program: &str) -> Command {
        let checker = Path::new(env!("CARGO_BIN_EXE_check")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        // A `python3` that first looks which version to start costs a second
        // on a busy machine, each time.
        let args = ["-c", "import sys; print(sys.prefix)"];
        let python = Command::new("python3").args(args).output();
        let python = python.map_or(Vec::new(), |output| output.stdout);
        let python = String::from_utf8(python).unwrap();
        let path = format!("{}/bin:{path}", python.trim());
        let mut command = Command::new(program);
        command
            .current_dir(&self.room)
            .env("PATH", format!("{}:{path}", checker.display()))
            .env("TMPDIR", self.path("tmp"))
            .env("GO111MODULE", "off")
            .env("LC_ALL", "C.UTF-8") // of a compiler's quotation marks
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, mut command: Command) -> Said {
        let output = command.output().unwrap();
        self.assert_clean();
        Said {
            code: output.status.code(),
            text: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn grade(&self, args: &[&str]) -> Said {
        self.run(self.script("grade", &[&["--memory", "300"], args].concat()))
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

/// Cases that are over soon, and tell the programs below apart.
#[rustfmt::skip]
const SOME: &[&str] = &[
    "--case", "S4-01", "--case", "S4-05", "--case", "S4-07", "--case", "S4-09",
    "--case", "S4-13",
];

/// A program of the project in another language, after some changes.
fn peer(file: &str, changes: &[(&str, &str)]) -> String {
    let path = format!("{PEERS}/{file}");
    let mut text = fs::read_to_string(path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{file} has no {from}");
        text = text.replace(from, to);
    }
    text
}

fn own(name: &str) -> String {
    fs::read_to_string(format!("{OWN}/{name}.py")).unwrap()
}

const PYTHON: &str = "python/framed_server.py";
const C: &str = "c/framed_server.c";
const GO: &str = "go/framed_server.go";

/// Takes HOST:PORT, too.
const ADDR: (&str, &str) =
    ("int(sys.argv[1])", "int(sys.argv[1].split(':')[-1])");

/// A submission: the student, the file, and the text.
type Paper = (String, &'static str, String);

/// Mistakes: the student, the language, what was right, what is wrong.
#[rustfmt::skip]
const WRONG: [(&str, &str, &str, &str); 20] = [
    ("little-endian-python", PYTHON, "\">I", "\"<I"),
    ("no-limit-python", PYTHON, "<= length <= 65536", "<= length"),
    ("no-zero-python", PYTHON, "not 1 <= length", "not 0 <= length"),
    ("forgets-kind-python", PYTHON, "1 + len(payload)", "len(payload)"),
    ("request-kind-python", PYTHON, "ERROR = 0x01, 0x81", "ERROR = 0x01, 0x01"),
    ("one-too-few-python", PYTHON, "<= 65536:  #", "<= 65535:  #"),
    ("typo-python", PYTHON, "replies += frame(ECHO_REPLY", "replys += frame(ECHO_REPLY"),
    ("short-queue-python", PYTHON, "backlog=1024", "backlog=5"),
    ("forgets-kind-c", C, "(uint32_t)(1 + size)", "(uint32_t)(size)"),
    ("little-endian-c", C, "htonl((uint32_t)(1 + size))", "(uint32_t)(1 + size)"),
    ("one-too-few-c", C, "MAX_LENGTH = 65536", "MAX_LENGTH = 65535"),
    ("no-syntax-c", C, "int main", "int man("),
    ("short-queue-c", C, "listen(listener, 1024)", "listen(listener, 5)"),
    ("does-not-flush-c", C, "    fflush(stdout);\n", ""),
    ("little-endian-go", GO, "BigEndian", "LittleEndian"),
    ("unused-import-go", GO, "\"os\"", "\"os\"\n\t\"sort\""),
    ("one-too-few-go", GO, "= 65536", "= 65535"),
    ("request-kind-go", GO, "echoReply = 0x81", "echoReply = 0x01"),
    ("first-frame-only-go", GO, "for len(input) >= 4 {", "if len(input) >= 4 {"),
    ("greets-c", C, "    printf(\"listening", "    puts(\"Welcome\");\n    printf(\"listening"),
];

/// These harm whoever runs them, or cheat.
const HOSTILE: [&str; 10] = [
    "by_the_clock",
    "ends",
    "floods",
    "forks",
    "hangs",
    "hard_coded",
    "late",
    "memory",
    "neighbour",
    "once",
];

/// The file that a program is handed in as.
fn server_file(peer: &str) -> &'static str {
    match peer {
        PYTHON => "server.py",
        C => "server.c",
        _ => "server.go",
    }
}

fn right(student: &str, peer_file: &str) -> Paper {
    let changes: &[_] = if peer_file == PYTHON { &[ADDR] } else { &[] };
    let text = peer(peer_file, changes);
    (student.to_owned(), server_file(peer_file), text)
}

fn wrong((student, file, from, to): (&str, &str, &str, &str)) -> Paper {
    let changes: &[_] = if file == PYTHON { &[ADDR] } else { &[] };
    let text = peer(file, &[changes, &[(from, to)]].concat());
    (student.to_owned(), server_file(file), text)
}

/// Sixty submissions, or the fewest with which each kind is there.
fn papers(is_whole: bool) -> Vec<Paper> {
    let few = ["forgets-kind-c", "no-limit-python", "no-syntax-c"];
    let is_chosen =
        |(name, ..): &(&str, _, _, _)| is_whole || few.contains(name);
    let mut all: Vec<Paper> =
        WRONG.into_iter().filter(is_chosen).map(wrong).collect();
    let count = if is_whole { 8 } else { 1 };
    for n in 1..=count {
        for (language, file) in [("python", PYTHON), ("c", C), ("go", GO)] {
            all.push(right(&format!("right-{language}-{n}"), file));
        }
    }
    for name in HOSTILE {
        all.push((name.replace('_', "-"), "server.py", own(name)));
    }
    all.push(right("María José", PYTHON));
    all.push(right("o'neil", C));
    all.push(("once".into(), "correct.py", peer(PYTHON, &[])));
    all.push(right("two-programs", PYTHON));
    all.push(right("two-programs", C));
    all.push(("no-program".into(), "notes.txt", "later".into()));
    all.push(right("=HYPERLINK(\"http:evil\",\"A\")", PYTHON));
    all
}

/// All files in a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    let all = entries.map(|entry| read(entry.path()));
    all.map(|(path, text)| (path.file_name().unwrap().into(), text)).collect()
}

/// A test: its name, the programs that it needs, and what it does.
type Test = (&'static str, &'static [&'static str], fn());

const TESTS: [Test; 11] = [
    (
        "the_same_seed_gives_the_same_grades",
        &["python3", "go", "cc"],
        the_same_seed_gives_the_same_grades,
    ),
    ("a_spreadsheet_can_read_the_table", &["python3"], spreadsheet),
    ("ctrl_c_costs_no_row", &["python3"], ctrl_c_costs_no_row),
    ("a_build_has_a_limit", &["python3"], a_build_has_a_limit),
    (
        "each_server_meets_each_client",
        &["python3", "node", "cc"],
        each_server_meets_each_client,
    ),
    ("a_client_must_come_and_ask", &["python3"], a_client_must_come_and_ask),
    ("no_copy_is_made_for_nothing", &["python3"], no_copy_is_made_for_nothing),
    ("servers_may_run_already", &[], servers_may_run_already),
    ("what_names_nobody_is_refused", &[], what_names_nobody_is_refused),
    ("classroom_50_gets_its_result", &["python3"], classroom_50),
    ("gradescope_gets_its_result", &["python3"], gradescope),
];

fn main() {
    let trial = |(name, needs, run): Test| {
        let missing = needs.iter().find(|program| !is_there(program));
        let skipped = match missing {
            Some(program) => format!(" (skipped: needs {program})"),
            None => String::new(),
        };
        let run = move || -> Result<(), Failed> {
            run();
            Ok(())
        };
        Trial::test(format!("{name}{skipped}"), run)
            .with_ignored_flag(missing.is_some())
    };
    let mut arguments = arguments();
    arguments.test_threads = Some(1); // each one needs the machine
    libtest_mimic::run(&arguments, TESTS.map(trial).into()).exit();
}

fn the_same_seed_gives_the_same_grades() {
    let size = std::env::var("CLASS").unwrap_or_default();
    let is_whole = size == "60" || size == "all";
    let cases = if size == "all" { &[] } else { SOME };
    let class = Class::new();
    for (student, file, text) in papers(is_whole) {
        class.hand_in(&student, file, &text);
    }
    fs::write(class.path("submissions/zipped.zip"), "PK").unwrap();
    let once = |out: &str| {
        let start = Instant::now();
        let said = class.grade(&[cases, &["--out", out]].concat());
        assert_eq!(said.code, Some(1), "{}", said.stderr);
        println!("graded in {} s", start.elapsed().as_secs());
        said
    };
    let grade = |out: &str| told(|| once(out)).text;
    let table = grade("first");
    assert_eq!(table, grade("second"));
    assert_eq!(files(&class.path("first")), files(&class.path("second")));
    let rows = table.lines().count() - 2; // without its head and the seed
    assert_eq!(rows, fs::read_dir(class.path("submissions")).unwrap().count());
    match is_whole {
        true => println!("{rows} submissions\n{table}"),
        false => snapshot("class-mixed", &table),
    }
}

fn spreadsheet() {
    let class = Class::new();
    let hand_in = |student: &str, changes: &[(&str, &str)]| {
        let text = peer(PYTHON, &[&[ADDR], changes].concat());
        class.hand_in(student, "server.py", &text);
    };
    hand_in("=HYPERLINK(\"http:evil\",\"A\")", &[]);
    hand_in("anna", &[]);
    hand_in("boris", &[("not 1 <= length", "not 0 <= length")]);
    class.hand_in("chen, lee", "server.py", &own("ends"));
    class.hand_in("dora", "notes.txt", "I was ill.");
    let said = class.grade(&[SOME, &["--format", "csv"]].concat());
    assert_eq!(said.text.matches("\r\n").count(), 6, "{}", said.text);
    snapshot("class-csv", &said.text.replace("\r\n", "\n"));
    let one = class.grade(&[SOME, &["--only", "anna/"]].concat());
    assert_eq!((one.code, one.text.lines().count()), (Some(0), 3));
    let none = class.grade(&["--only", "nobody"]);
    assert_eq!(none.code, Some(64));
    assert!(none.stderr.contains("cannot find the submission \"nobody\""));
}

/// The row is printed, and the report written, before the next one is tried.
fn ctrl_c_costs_no_row() {
    let class = Class::new();
    let text = peer(PYTHON, &[ADDR]);
    class.hand_in("anna", "server.py", &text);
    class.hand_in("boris", "server.py", &own("hangs"));
    let args = ["--case", "S4-01", "--out", "out"];
    let mut command = class.script("grade", &args);
    command.stderr(Stdio::null());
    let mut check = command.spawn().unwrap();
    let mut lines = BufReader::new(check.stdout.take().unwrap()).lines();
    let head = lines.next().unwrap().unwrap();
    assert!(head.starts_with("submission"), "{head}");
    let anna = lines.next().unwrap().unwrap();
    assert!(anna.ends_with("1/1"), "{anna}");
    assert!(!class.path("out/boris.txt").exists(), "it came too late");
    kill_process(Pid::from_child(&check), Signal::INT).unwrap();
    let status = check.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(class.path("out/anna.txt").exists());
    class.assert_clean();
}

/// A build that hangs, one that fails, and a folder that could be two.
fn a_build_has_a_limit() {
    let class = Class::new();
    class.hand_in("anna", "server.py", &peer(PYTHON, &[ADDR]));
    class.hand_in("boris", "server.c", "while True: pass");
    class.hand_in("chen", "server.go", "import sys; sys.exit('error: no')");
    class.hand_in("dora", "server.go", "");
    class.hand_in("dora", "server.py", "");
    let mut command = class.command(env!("CARGO_BIN_EXE_check"));
    #[rustfmt::skip]
    command.args([
        "class", "server", "step4", "submissions", "--seed", "7",
        "--case", "S4-01", "--build-limit", "5",
        "--cmd", "server.py: python3 server.py {addr}",
        "--cmd", "server.c: python3 server.c",
        "--cmd", "server.go: python3 server.go",
        "--build", "server.c: python3 server.c",
        "--build", "server.go: python3 server.go",
    ]);
    let said = class.run(command);
    let row = |student: &str| {
        let is_row = |line: &&str| line.starts_with(student);
        said.text.lines().find(is_row).unwrap().to_owned()
    };
    assert!(row("anna").ends_with("1/1"), "{}", said.text);
    let boris = "the build failed: It had not ended after 5 s.";
    assert!(row("boris").contains(boris), "{}", said.text);
    let chen = "the build failed: exit code 1. | error: no";
    assert!(row("chen").ends_with(chen), "{}", said.text);
    let dora = "not tried: It has more than one";
    assert!(row("dora").contains(dora), "{}", said.text);
}

/// A client that sends no frame, but a line.
const LINE_CLIENT: &str = "import socket, sys
with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as server:
    server.sendall(sys.argv[2].encode())
    server.shutdown(socket.SHUT_WR)
    print(server.recv(1024).decode())
";

/// Three who are right, and three who are not.
fn hand_in_pairs(class: &Class) {
    let client = "python/framed_client.py";
    class.hand_in("anna", "server.py", &peer(PYTHON, &[]));
    class.hand_in("anna", "client.py", &peer(client, &[]));
    class.hand_in("boris", "server.c", &peer(C, &[]));
    class.hand_in("boris", "client.c", &peer("c/framed_client.c", &[]));
    class.hand_in("chen", "server.mjs", &peer("node/framed_server.mjs", &[]));
    let node = peer("node/framed_client.mjs", &[]);
    class.hand_in("chen", "client.mjs", &node);
    // Both of dora's programs have the length the wrong way round.
    let little = ("\">I", "\"<I");
    class.hand_in("dora", "server.py", &peer(PYTHON, &[little]));
    class.hand_in("dora", "client.py", &peer(client, &[little]));
    // Eva's server exits on a bad length, and her client sends no frame.
    let exits = (
        "replies, in_step = reply(data)",
        "replies, in_step = reply(data)\n                if not in_step:\n                    os._exit(1)",
    );
    let import = ("import socket\n", "import os\nimport socket\n");
    class.hand_in("eva", "server.py", &peer(PYTHON, &[import, exits]));
    class.hand_in("eva", "client.py", LINE_CLIENT);
    // Farid's server never answers, and he has no client.
    let port = ("host, port = sys.argv[1].split(\":\")", "");
    let hangs =
        own("hangs").replace(port.0, "host, port = \"127.0.0.1\", sys.argv[1]");
    class.hand_in("farid", "server.py", &hangs);
}

fn each_server_meets_each_client() {
    let class = Class::new();
    hand_in_pairs(&class);
    let meet = |args: &[&str]| {
        let args = [&["--limit", "8", "--jobs", "2"], args].concat();
        class.run(class.script("interop", &args))
    };
    let said = told(|| meet(&[]));
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    snapshot("interop", &said.text);
    let csv = meet(&["--format", "csv"]);
    assert_eq!(csv.text.matches("\r\n").count(), 37, "{}", csv.text);
    assert!(csv.text.contains("anna,boris,right,\r\n"), "{}", csv.text);
}

/// A client that never connects, and one that connects and sends nothing.
const NEVER_CAME: &str = "import sys; print(sys.argv[2])";
const NEVER_ASKED: &str = "import socket, sys
socket.create_connection(('127.0.0.1', int(sys.argv[1])))
print(sys.argv[2])
";

/// A client that prints what it should send gets nothing for it.
fn a_client_must_come_and_ask() {
    let class = Class::new();
    class.hand_in("anna", "server.py", &peer(PYTHON, &[]));
    let client = peer("python/framed_client.py", &[]);
    class.hand_in("anna", "client.py", &client);
    class.hand_in("boris", "client.py", NEVER_CAME);
    class.hand_in("chen", "client.py", NEVER_ASKED);
    let said = class.run(class.script("interop", &[]));
    let has = |what: &str| assert!(said.text.contains(what), "{}", said.text);
    has("\nanna     ✓ ✗ ✗   1/3\n");
    let printed = "    It printed the right reply all the same.\n";
    has(&format!("The client never connected to the server.\n{printed}"));
    has(&format!("The client never sent its text to the server.\n{printed}"));
}

/// A script of the page, for one case, so that it is over soon.
fn with_one_case(name: &str, format: [&str; 2]) -> String {
    let text = fs::read_to_string(format!("{OWN}/{name}")).unwrap();
    assert!(text.contains(format[0]), "{text}");
    text.replace(format[0], format[1])
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn classroom_50() {
    let class = Class::new();
    class.hand_in("anna", "server.py", &peer(PYTHON, &[ADDR]));
    let case = ["[\"--format\"", "[\"--case\", \"S4-01\", \"--format\""];
    let script = class.path("autograder.py");
    fs::write(&script, with_one_case("autograder.py", case)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_check"), class.path("check")).unwrap();
    let mut python = class.command("python3");
    python.arg(script).current_dir(class.path("submissions/anna"));
    let fields = [
        "CLASSROOM",
        "ASSIGNMENT",
        "SUBMISSION_TAG",
        "COMMIT_URL",
        "RELEASE_URL",
    ];
    python.envs(fields.map(|name| (name, name)));
    let said = class.run(python);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let result = json(&class.path("submissions/anna/result.json"));
    assert_eq!(
        (&result["score"], &result["max-score"]),
        (&1.into(), &1.into())
    );
    assert_eq!(result["tests"][0]["test-name"], "S4-01 answers an ECHO");
    assert_eq!(result["submission"], "SUBMISSION_TAG");
    let body = class.path("submissions/anna/release-body.md");
    assert_eq!(fs::read_to_string(body).unwrap(), "1 of 1 points\n");
    assert_eq!(result["review"], "COMMIT_URL");
    assert_eq!(result["datetime"].as_str().unwrap().len(), 20);
}

/// A server that ends if it could write its own points: into the file, or into
/// what the checker prints (438 is pidfd_getfd).
const THIEF: &str = "import ctypes, os
checker = os.pidfd_open(os.getppid())
stolen = ctypes.CDLL(None).syscall(438, checker, 1, 0) >= 0
if stolen or os.access('RESULTS', os.W_OK):
    os._exit(1)
";

/// Root gives the submission away to somebody who cannot write its points.
fn gradescope() {
    let class = Class::new();
    let folder = |name: &str| class.path("autograder").join(name);
    for name in ["submission", "source", "results", "bin"] {
        fs::create_dir_all(folder(name)).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_check"), folder("bin/check")).unwrap();
    let case = ["--format", "--case S4-01 --format"];
    let mut script = with_one_case("run_autograder", case);
    let mut server = peer(PYTHON, &[ADDR]);
    let results = folder("results/results.json");
    if rustix::process::getuid().is_root() {
        server = THIEF.replace("RESULTS", results.to_str().unwrap()) + &server;
        for (path, mode) in
            [(class.path(""), 0o711), (class.path("tmp"), 0o777)]
        {
            fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
    } else {
        script = script.replace("runuser -u nobody -- ", "");
    }
    fs::write(folder("submission/server.py"), server).unwrap();
    let mut shell = class.command("sh");
    let path =
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", folder("bin").display());
    let script = script.replace("/autograder", folder("").to_str().unwrap());
    shell.args(["-c", &script]).env("PATH", path);
    let said = class.run(shell);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let result = json(&results);
    assert_eq!(result["score"], 1, "{result}");
}

/// Whatever is wrong with the command line is said before the first copy.
fn no_copy_is_made_for_nothing() {
    let class = Class::new();
    class.hand_in("anna", "server.py", &peer(PYTHON, &[ADDR]));
    fs::create_dir_all(class.path("others/anna")).unwrap();
    let to = class.path("submissions/evil");
    std::os::unix::fs::symlink("anna", to).unwrap();
    for (args, why) in [
        (&["--build", "a.c: cc 'x"][..], "is not closed"),
        (&["--build", "no-such-compiler"], "there is no program"),
        (&["--build", "sh a && sh b"], "without a shell"),
        (&["--out", "submissions"], "name a folder beside"),
        (&["--out", "submissions/new"], "name a folder beside"),
        (&["--memory", "0"], "0 is not in 1.."),
        (&["--build-limit", "18446744073709551615"], "is not in 1.."),
    ] {
        let said = class.run(class.script("grade", args));
        assert_eq!((said.code, said.text.as_str()), (Some(64), ""), "{why}");
        assert!(said.stderr.contains(why), "{why}: {}", said.stderr);
    }
    assert!(!class.path("submissions/new").exists());
    let said = class.grade(&["--case", "S4-01"]);
    let evil = "not tried: It is a link";
    assert!(said.text.contains(evil), "{}", said.text);
    let twice = class.run(class.script("interop", &["others"]));
    assert_eq!((twice.code, twice.text.as_str()), (Some(64), ""));
    assert!(twice.stderr.contains("two servers apart"), "{}", twice.stderr);
}

/// A file of addresses, and a client of one's own; other machines are left
/// alone unless their owners agree.
fn servers_may_run_already() {
    let class = Class::new();
    let mut server = Command::new(GALLERY)
        .args(["server", "--step", "2", "--addr", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let addr = line.trim().trim_start_matches("listening on ");
    let file = class.path("servers.txt");
    fs::write(
        &file,
        format!("\u{feff}anna {addr} # at home\n\nboris 127.0.0.1:1\n"),
    )
    .unwrap();
    let client =
        format!("'{GALLERY}' client --step 2 --addr {{addr}} {{text}}");
    let file = file.to_str().unwrap();
    let args = ["interop", "step2", "--servers", file, "--client", &client];
    let said = check(&args);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let has = |what: &str| assert!(said.text.contains(what), "{}", said.text);
    has("step2: 2 servers (down) with 1 client (across)\n");
    has("\nanna     ✓   1/1\n");
    has("\nboris    -   0/1\n");
    has("No server answers at 127.0.0.1:1: Connection refused");
}

/// A file that is wrong, and a command line that is.
fn what_names_nobody_is_refused() {
    let class = Class::new();
    let file = class.path("servers.txt");
    let file = file.to_str().unwrap();
    let client = ["--client", "x {addr} {text}"];
    let args = [&["interop", "step2", "--servers", file][..], &client].concat();
    for (lines, why) in [
        ("anna", "cannot use line 1 of"),
        ("a 127.0.0.1:1\nb somewhere", "cannot use line 2 of"),
        ("a 192.0.2.1:80", "without --remote"),
        ("a 127.0.0.1:1\na 127.0.0.1:2", "two servers apart"),
        ("a 127.0.0.1:1\nb 127.0.0.1:1", "a and b are both at 127.0.0.1:1"),
        ("\u{feff}# nobody\r\n", "cannot find a server in"),
    ] {
        fs::write(file, lines).unwrap();
        let said = check(&args);
        assert_eq!((said.code, said.text.as_str()), (Some(64), ""), "{lines}");
        assert!(said.stderr.contains(why), "{lines}: {}", said.stderr);
    }
    fs::write(file, b"\xff\xfea\0 \x001\0").unwrap();
    let said = check(&args);
    assert!(said.stderr.contains("save it again as UTF-8"), "{}", said.stderr);
    what_does_not_fit_is_refused();
}

fn what_does_not_fit_is_refused() {
    for (args, why) in [
        (&["--client", "x {addr} {text}"][..], "cannot tell whom to try"),
        (&["--client", "x {addr}"], "needs {text}"),
        (&["/", "--client", "x {addr} {text}"], "cannot start a server"),
        (
            &["--servers", "/dev/null", "--client", "f: x {addr} {text}"],
            "which client is yours",
        ),
    ] {
        let said = check(&[&["interop", "step2"], args].concat());
        assert_eq!((said.code, said.text.as_str()), (Some(64), ""), "{why}");
        assert!(said.stderr.contains(why), "{why}: {}", said.stderr);
    }
}

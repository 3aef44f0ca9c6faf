//! A copy of the project, in which a solution is applied and run.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use tempfile::TempDir;

use super::support::{ROOT, snapshot, trial};

/// How long one command may take, with all that it has to compile.
const DEADLINE: Duration = Duration::from_secs(900);

/// There is one copy, so that Cargo compiles only what a patch changes. One
/// solution at a time has it, and one process.
static COPY: Mutex<()> = Mutex::new(());

/// The copy, with a solution in it.
pub struct Solved {
    _guard: MutexGuard<'static, ()>,
    _lock: fs::File,
}

/// What a command has printed, on stdout and stderr together.
pub struct Outcome {
    command: String,
    pub code: Option<i32>,
    pub text: String,
}

/// What of the project is copied, but for these folders.
const PARTS: [&str; 8] = [
    ".cargo",
    ".clippy.toml",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "book",
    "steps",
    "tests",
];
const NOT: [&str; 4] = ["node_modules", "target", "fuzz", "__pycache__"];

impl Solved {
    /// Applies `tests/exercises/NAME.diff`; `""` changes nothing.
    pub fn with(name: &str) -> Solved {
        Solved::with_all(&[name])
    }

    /// Applies one patch after the other, each to what those before it made.
    pub fn with_all(names: &[&str]) -> Solved {
        let guard = COPY.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = folder().with_extension("lock");
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        let lock = fs::File::create(lock).unwrap();
        lock.lock().unwrap();
        share();
        let mut files = BTreeSet::new();
        for part in PARTS {
            list(Path::new(part), &mut files);
        }
        let mut patched = BTreeSet::new();
        names.iter().for_each(|name| apply(name, &mut patched));
        for file in &files {
            if !patched.contains(file) {
                let bytes = fs::read(Path::new(ROOT).join(file)).unwrap();
                write(file, &of_copy(file, bytes));
            }
        }
        files.extend(patched);
        remove_others(&files);
        Solved { _guard: guard, _lock: lock }
    }

    /// Runs one line, as a reader types it in the folder of the project. Its
    /// programs are `target/debug/…` there.
    pub fn run(&self, line: &str) -> Outcome {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("exec 2>&1; {line}")]);
        let (code, text) = finish(self.place(&mut command));
        Outcome { command: line.to_owned(), code, text }
    }

    /// Lets the checker try a program, which must pass, if need be with a
    /// warning. While this machine is too busy to tell (exit code 2), it tries
    /// a few times more.
    pub fn check(&self, options: &str) -> Outcome {
        let line = format!("cargo run -q -p check -- {options}");
        let mut tries = (0..4).map(|_| self.run(&line));
        let told = tries.find(|tried| tried.code != Some(2));
        told.unwrap_or_else(|| panic!("too busy to tell: {line}")).succeeds()
    }

    /// Lets a command run in the copy.
    pub fn place<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (name, _) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            let is_of_outer = name.starts_with("CARGO") && name != "CARGO_HOME";
            if is_of_outer || name == "PROJECT" || name.starts_with("INSTA") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(folder())
            .env_remove("RUST_BACKTRACE")
            .env("CARGO_TERM_COLOR", "never")
            .env("INSTA_UPDATE", "no")
    }

    /// Builds a program of the steps, and returns where it is: in a folder of
    /// its own, because the next solution builds another one.
    pub fn program(self, name: &str) -> (TempDir, String) {
        self.run(&format!("cargo build --workspace --bin {name}")).succeeds();
        keep(name)
    }
}

/// Copies a program that was built to a folder of its own. Another process does
/// it: while we have a program open to write it, a child that another test
/// starts may inherit that, and then nobody can run it (ETXTBSY, execve(2)).
pub fn keep(name: &str) -> (TempDir, String) {
    let own = TempDir::new().unwrap();
    let path = own.path().join(name);
    let made = folder().join("target/debug").join(name);
    assert!(
        Command::new("cp").args([&made, &path]).status().unwrap().success()
    );
    (own, path.into_os_string().into_string().unwrap())
}

impl Outcome {
    pub fn succeeds(self) -> Outcome {
        assert_eq!(self.code, Some(0), "{}: {}", self.command, self.text);
        self
    }

    pub fn fails(self) -> Outcome {
        let code = self.code;
        assert!(
            code.is_some() && code != Some(0),
            "{} ended with {code:?}: {}",
            self.command,
            self.text
        );
        self
    }

    /// The command, the cases that the checker has tried, and their number.
    pub fn cases(&self) -> String {
        let is_case = |line: &&str| line.starts_with(['✓', '!']);
        let cases: Vec<&str> = self.text.lines().filter(is_case).collect();
        self.shown(&[&cases[..], &["passed"]].concat())
    }

    /// The command, and the lines that contain these parts: part by part,
    /// because tests print theirs in any order. "…" stands for what is left
    /// out. Each part must be there.
    pub fn shown(&self, parts: &[&str]) -> String {
        let Outcome { command, text, .. } = self;
        let mut kept: Vec<&str> = Vec::new();
        for part in parts {
            let mut lines: Vec<&str> =
                text.lines().filter(|line| line.contains(part)).collect();
            assert!(!lines.is_empty(), "no {part:?} from {command}: {text}");
            if lines.iter().all(|line| line.starts_with("test ")) {
                lines.sort_unstable();
            }
            lines.retain(|line| !kept.contains(line));
            kept.extend(lines);
        }
        let is_all = text.lines().all(|line| kept.contains(&line));
        let gap = if is_all { "" } else { "…\n" };
        let mut shown = format!("$ {command}\n{gap}");
        for line in kept {
            shown += line.split("; finished in").next().unwrap().trim_end();
            shown.push('\n');
        }
        shown
    }
}

/// Asserts the snapshot that the page of solutions prints.
pub fn print(name: &str, text: &str) {
    snapshot(&format!("exercise-{name}"), text.trim_end());
}

fn folder() -> PathBuf {
    Path::new(ROOT).join("target/exercises")
}

fn list(part: &Path, files: &mut BTreeSet<PathBuf>) {
    let path = Path::new(ROOT).join(part);
    if path.is_file() {
        files.insert(part.to_owned());
        return;
    }
    for entry in fs::read_dir(path).unwrap() {
        let name = entry.unwrap().file_name();
        if !NOT.iter().any(|not| name == *not) {
            list(&part.join(name), files);
        }
    }
}

/// Links what Cargo has compiled for the project into the copy, once, so that it
/// does not compile all crates again.
fn share() {
    let from = Path::new(ROOT).join("target/debug");
    let (to, part) = (folder().join("target"), folder().join("unfinished"));
    if to.exists() || !from.exists() {
        return; // somebody else's target folder: then Cargo compiles
    }
    let _ = fs::remove_dir_all(&part);
    for name in ["build", "deps", ".fingerprint"] {
        link(&from.join(name), &part.join("debug").join(name));
    }
    fs::rename(part, to).unwrap();
}

/// Cargo writes into a fingerprint, so that is copied; all else is replaced.
fn link(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            link(&from, &to);
        } else if !to.components().any(|c| c.as_os_str() == ".fingerprint") {
            fs::hard_link(from, to).unwrap();
        } else if let Ok(bytes) = fs::read(&from) {
            let time = fs::metadata(&from).unwrap().modified().unwrap();
            fs::write(&to, bytes).unwrap();
            fs::File::open(&to).unwrap().set_modified(time).unwrap();
        }
    }
}

/// Gives the packages of the copy another version, so that Cargo does not take
/// what the project has compiled for what it compiles.
fn of_copy(file: &Path, bytes: Vec<u8>) -> Vec<u8> {
    if !file.ends_with("Cargo.toml") {
        return bytes;
    }
    let text = String::from_utf8(bytes).unwrap();
    let old = "\nversion = \"0.1.0\"\n";
    assert_eq!(text.matches(old).count(), 1, "the version in {file:?}");
    text.replace(old, "\nversion = \"0.1.0-solved\"\n").into_bytes()
}

/// A file that is the same stays as it is, so that Cargo does not compile it.
fn write(file: &Path, bytes: &[u8]) {
    let path = folder().join(file);
    if fs::read(&path).is_ok_and(|old| old == bytes) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    let mode = fs::metadata(Path::new(ROOT).join(file));
    if let Ok(mode) = mode {
        fs::set_permissions(&path, mode.permissions()).unwrap();
    }
}

/// Writes the files that the patch changes, and adds them to `files`, which
/// earlier patches have changed.
fn apply(name: &str, files: &mut BTreeSet<PathBuf>) {
    if name.is_empty() {
        return;
    }
    let path = format!("{ROOT}/tests/exercises/{name}.diff");
    let mut is_empty = true;
    for part in parts(&path) {
        let patch = diffy::Patch::from_str(&part);
        let patch = patch.unwrap_or_else(|error| panic!("{path}: {error}"));
        let file = patch.modified().expect("a line with +++");
        let file = PathBuf::from(file.trim_start_matches("b/"));
        let is_patched = files.contains(&file);
        let base = if is_patched { folder() } else { PathBuf::from(ROOT) };
        let is_new = patch.original() == Some("/dev/null");
        let old = match is_new {
            true => String::new(),
            false => fs::read_to_string(base.join(&file)).unwrap(),
        };
        let new = diffy::apply(&old, &patch);
        let new = new.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(new != old && !file.starts_with(".."), "{path}: {file:?}");
        write(&file, new.as_bytes());
        files.insert(file);
        is_empty = false;
    }
    assert!(!is_empty, "{path} changes nothing");
}

/// The patch for each file, without the lines that only git writes.
fn parts(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let is_of_git = |line: &&str| {
        line.starts_with("diff --git ") || line.starts_with("index ")
    };
    let lines: Vec<&str> = text.lines().filter(|l| !is_of_git(l)).collect();
    let text = format!("\n{}", lines.join("\n"));
    let parts = text.split("\n--- ").skip(1);
    parts.map(|part| format!("--- {part}\n")).collect()
}

/// Removes what an earlier solution has left.
fn remove_others(files: &BTreeSet<PathBuf>) {
    for part in ["book", "steps", "tests"] {
        let mut open = vec![folder().join(part)];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                let entries = fs::read_dir(&path).unwrap();
                open.extend(entries.map(|entry| entry.unwrap().path()));
            } else if !files.contains(path.strip_prefix(folder()).unwrap()) {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

/// Runs a command to its end, and ends it, with all that it has started, if
/// it takes too long.
fn finish(command: &mut Command) -> (Option<i32>, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap();
    let (sender, receiver) = channel();
    let mut output = child.stdout.take().unwrap();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = output.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    let bytes = receiver.recv_timeout(DEADLINE);
    if bytes.is_err() {
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
    }
    let code = child.wait().unwrap().code();
    let bytes = bytes.expect("the command ends in time");
    (code, String::from_utf8_lossy(&bytes).into_owned())
}

/// A patch that no test applies proves nothing.
pub fn every_patch_is_used() -> Trial {
    trial("every_patch_is_applied_by_a_test", None, || {
        let folder = format!("{ROOT}/tests/exercises");
        let names = fs::read_dir(&folder).unwrap();
        let paths: Vec<PathBuf> = names.map(|n| n.unwrap().path()).collect();
        let has =
            |path: &PathBuf, end| path.extension().is_some_and(|e| e == end);
        let sources = paths.iter().filter(|path| has(path, "rs"));
        let sources: String =
            sources.map(|path| fs::read_to_string(path).unwrap()).collect();
        for patch in paths.iter().filter(|path| has(path, "diff")) {
            let name = patch.file_stem().unwrap().to_string_lossy();
            assert!(sources.contains(&format!("{name:?}")), "{name}.diff");
        }
    })
}

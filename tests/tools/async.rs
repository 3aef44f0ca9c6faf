//! The page "Async in ten minutes": what its tiny programs print, what the
//! compiler says of those that are wrong, and what a client sees of a server
//! whose author forgot an `.await`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::scene::Scene;
use crate::support::{
    Program, ROOT, bin, ends, snapshot, trial, wait_for_fin, wait_until,
};
use libtest_mimic::Trial;
use regex::Regex;

/// The programs of the page that compile.
const PROGRAMS: [&str; 7] =
    ["waiting", "lazy", "polls", "together", "one-thread", "shared", "panics"];

/// The compiler whose words the page prints; another one may choose others.
const RUSTC: &str = "1.95.";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let told = Command::new("rustc").arg("--version").output();
    let told = told.map(|output| output.stdout).unwrap_or_default();
    let fits = String::from_utf8_lossy(&told).contains(RUSTC);
    let other = (!fits).then(|| format!("needs rustc {RUSTC}"));
    let no_shell = (!cfg!(unix)).then_some("needs a Unix shell");
    let has_schedstat = Path::new("/proc/thread-self/schedstat").exists();
    let no_linux = (!has_schedstat).then_some("needs Linux, with schedstat");

    let mut trials = Vec::new();
    for name in PROGRAMS {
        let missing = no_shell.or(match name {
            "waiting" => no_linux,
            "panics" => other.as_deref(), // Rust's library has words, too
            _ => None,
        });
        let title = format!("async::{name}");
        trials.push(trial(&title, missing, move || prints(name)));
    }
    let other = no_shell.or(other.as_deref());
    for name in ["borrowed", "not-send"] {
        let title = format!("async::{name} does not compile");
        trials.push(trial(&title, other, move || is_refused(name)));
    }
    let title = "async::without its await, step 2 serves nobody";
    trials.push(trial(title, no_linux.or(other), without_await));
    trials
}

/// Ten at once, since the order of the lines must be no matter of luck.
fn prints(name: &'static str) {
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| prints_once(name));
        }
    });
}

fn prints_once(name: &str) {
    let mut both = Command::new("sh"); // the two outputs in their true order
    both.args(["-c", "exec \"$0\" 2>&1", &bin(name)]);
    let ended = Program::spawn(&mut both, false).finish();
    assert_eq!(ended.code, Some(0));
    let text = String::from_utf8(ended.stdout).unwrap();
    let thread = Regex::new(r"(?m)^thread '([^']+)' \(\d+\)").unwrap();
    let text = thread.replace_all(&text, "thread '$1' (…)");
    let text = format!("$ cargo run --bin {name}\n{}", text.trim());
    snapshot(&format!("async-{name}"), &text);
}

fn is_refused(name: &str) {
    let source = format!("steps/async/{}.rs", name.replace('-', "_"));
    let folder = tempfile::tempdir().unwrap();
    let (program, words) = compile(Path::new(ROOT), &source, folder.path());
    assert!(!program.exists(), "{source} compiles");
    snapshot(&format!("async-{name}"), &words);
}

/// Step 2, but `run` calls `serve` and does not await it.
fn without_await() {
    let folder = tempfile::tempdir().unwrap();
    let step = folder.path().join("steps/step2");
    fs::create_dir_all(&step).unwrap();
    for entry in fs::read_dir(format!("{ROOT}/steps/step2")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), step.join(entry.file_name())).unwrap();
    }
    let server = step.join("server.rs");
    let text = fs::read_to_string(&server).unwrap();
    let right = "        serve(stream, peer).await;\n";
    assert_eq!(text.matches(right).count(), 1, "where is the await?");
    let wrong = text.replace(right, "        serve(stream, peer);\n");
    fs::write(&server, wrong).unwrap();

    let source = "steps/step2/main.rs";
    let (program, words) = compile(folder.path(), source, folder.path());
    snapshot("async-no-await", &words);
    serves_nobody(&program);
}

fn serves_nobody(program: &Path) {
    let mut server = Command::new(program);
    server.args(["server", "--addr", "127.0.0.1:0"]);
    let server = Program::spawn(&mut server, false);
    let addr = server.addr();
    let mut scene = Scene::new();
    scene.rename(addr, 8888);
    let shown = "cargo run --bin step2 -- server";
    scene.terminal("the server", shown, server);
    scene.client("step2", None, "cargo run --bin step2 -- client");
    wait_for_fin(addr);
    scene.type_line(1, "hello", "");
    wait_until("its kernel to answer", || ends(addr).is_empty());
    scene.type_line(1, "is anybody there?", "");
    scene.wait_end(1);
    scene.stays_silent(0);
    scene.snapshot("async-serves-nobody");
}

/// Lets the real compiler make a program from `source`, in `folder`. Returns
/// where the program is, if it could be made, and what the compiler said.
fn compile(folder: &Path, source: &str, output: &Path) -> (PathBuf, String) {
    let program = output.join("program");
    let mut rustc = Command::new("rustc");
    rustc.current_dir(folder).args(["--edition", "2024", source, "-o"]);
    rustc.arg(&program).args(libraries());
    rustc.env("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"));
    rustc.env("CARGO_PKG_VERSION", env!("CARGO_PKG_VERSION"));
    let said = rustc.output().unwrap();
    let words = String::from_utf8(said.stderr).unwrap();
    (program, without_noise(&words))
}

/// Where libraries are installed is no matter, and Cargo leaves the line out
/// that counts errors and warnings.
fn without_noise(words: &str) -> String {
    let folder = Regex::new(r"/\S*/registry/src/[^/]+/").unwrap();
    let count = Regex::new(
        r"(?m)^(error: aborting due to .*|warning: \d+ warnings? emitted)\n\n",
    );
    let words = count.unwrap().replace_all(words, "");
    folder.replace_all(&words, "").trim().to_owned()
}

/// Tells rustc where the libraries are which the steps were compiled with.
/// Cargo compiled them for this test already, and says so again.
fn libraries() -> &'static [String] {
    static LIBRARIES: OnceLock<Vec<String>> = OnceLock::new();
    LIBRARIES.get_or_init(|| {
        let step2 = bin("step2");
        let folder = Path::new(&step2).parent().unwrap();
        let mut cargo = Command::new("cargo");
        cargo.current_dir(ROOT).args(["build", "--offline", "--locked"]);
        cargo.args(["--test", "tools", "--message-format", "json"]);
        cargo.arg("--target-dir").arg(folder.parent().unwrap());
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let told = cargo.output().unwrap();
        assert!(told.status.success(), "{told:?}");
        let told = String::from_utf8(told.stdout).unwrap();
        let deps = folder.join("deps").display().to_string();
        let mut words = vec!["-L".to_owned(), format!("dependency={deps}")];
        for name in ["anyhow", "clap", "tokio"] {
            let file = format!(r#""([^"]*/lib{name}-[0-9a-f]+\.rlib)""#);
            let file = Regex::new(&file).unwrap().captures(&told).unwrap();
            words.push("--extern".to_owned());
            words.push(format!("{name}={}", &file[1]));
        }
        words
    })
}

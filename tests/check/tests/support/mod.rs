//! What the tests of the checker share.

#![allow(dead_code)] // each test file uses a part of this

#[path = "../../../support/arguments.rs"]
pub mod arguments;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Cases that no clock judges may run beside each other; a timed one has the
/// machine for itself.
static MACHINE: RwLock<()> = RwLock::new(());

pub fn shared() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

pub fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

pub const GALLERY: &str = env!("CARGO_BIN_EXE_gallery");

/// What the checker said, and its exit code.
pub struct Said {
    pub code: Option<i32>,
    pub text: String,
    pub stderr: String,
}

/// Runs the checker.
pub fn check(args: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_check"))
        .args(args)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Said {
        code: output.status.code(),
        text: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Has a busy machine kept the checker from telling?
pub fn is_unknown(text: &str) -> bool {
    let mut lines = text.lines();
    text.contains(" unknown)") || lines.any(|line| line.starts_with("? "))
}

/// Runs the checker until it can tell, or four times.
pub fn told(run: impl Fn() -> Said) -> Said {
    let mut said = run();
    for _ in 1..4 {
        if is_unknown(&said.text) {
            said = run();
        }
    }
    said
}

/// The command that starts a program of the gallery.
pub fn gallery(side: &str, step: u8, defect: Option<&str>) -> String {
    let defect = defect.map_or(String::new(), |d| format!(" --defect {d}"));
    let more = match side {
        "client" => " {text}",
        _ if step >= 7 => " --journal {journal}",
        _ => "",
    };
    format!("'{GALLERY}' {side} --step {step}{defect} --addr {{addr}}{more}")
}

/// Asserts a snapshot with a header of exactly three lines, so that the book
/// can include what follows with `:4:`.
pub fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/snapshots"
    ));
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Processes whose command line contains this.
pub fn running(part: &str) -> usize {
    let command = |entry: fs::DirEntry| {
        let bytes = fs::read(entry.path().join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
        (text.contains(part) && !text.contains("--cmd")).then_some(())
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(command).count()
}

/// Is this program installed?
pub fn is_there(program: &str) -> bool {
    let flag = if program == "go" { "version" } else { "--version" };
    let version = Command::new(program).arg(flag).output();
    version.is_ok_and(|output| output.status.success())
}

/// How to start a program, compiled where its language wants that.
pub fn built(needs: &str, source: &str) -> String {
    let stem = Path::new(source).file_stem().unwrap().to_str().unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("{needs}-{stem}"));
    fs::create_dir_all(&folder).unwrap();
    let output = folder.join(stem);
    let (output, folder) = (output.to_str().unwrap(), folder.to_str().unwrap());
    let mut compiler = Command::new(needs);
    match needs {
        "javac" => compiler.args(["-d", folder, source]),
        "go" => compiler
            .env("GO111MODULE", "off")
            .env("GOCACHE", format!("{folder}/cache"))
            .args(["build", "-o", output, source]),
        "cc" => compiler.args(["-O1", "-pthread", "-o", output, source]),
        _ => return format!("{needs} '{source}'"),
    };
    assert!(compiler.status().unwrap().success());
    match needs {
        "javac" => format!("java -cp '{folder}' {stem}"),
        _ => format!("'{output}'"),
    }
}

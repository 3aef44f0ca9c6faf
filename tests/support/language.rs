//! Programs of `tests/peers` in other languages: found, compiled, started.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use Language::{C, Go, Java, Node, Python};

use super::{ROOT, is_installed};

/// A language in which `tests/peers` has programs.
#[derive(Clone, Copy, PartialEq)]
pub enum Language {
    Python,
    Java,
    Go,
    C,
    Node,
}

impl Language {
    /// The language's name, and the program that it cannot do without.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Python => {
                ("Python", if cfg!(windows) { "python" } else { "python3" })
            }
            Java => ("Java", "javac"),
            Go => ("Go", "go"),
            C => ("C", "cc"),
            Node => ("Node", "node"),
        }
    }

    pub fn is_installed(self) -> bool {
        let flag = if self == Go { "version" } else { "--version" };
        is_installed(self.names().1, flag)
    }

    /// A command that runs `program`, named as its Python file is.
    pub fn command(self, program: &str) -> Command {
        let folder = Path::new(ROOT).join("tests/peers");
        let mut command;
        match self {
            Python => {
                command = Command::new(self.names().1);
                command.arg(folder.join(format!("python/{program}.py")));
            }
            Java => {
                command = Command::new("java");
                command.arg("-cp").arg(built_java()).arg(camel_case(program));
            }
            Go => command = Command::new(built_go(program)),
            C => command = Command::new(built_c(program)),
            Node => {
                command = Command::new("node");
                command.arg(folder.join(format!("node/{program}.mjs")));
            }
        }
        command
    }
}

fn camel_case(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').map(word).collect()
}

/// Compiles all the Java programs, once.
fn built_java() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("java");
        let sources = fs::read_dir(format!("{ROOT}/tests/peers/java")).unwrap();
        let mut javac = Command::new("javac");
        javac.args(["-Xlint:all,-try", "-Werror", "-d"]).arg(&folder);
        javac.args(sources.map(|entry| entry.unwrap().path()));
        succeed(&mut javac);
        folder
    })
}

/// Compiles all the Go programs, once.
fn built_go(program: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
        for entry in fs::read_dir(format!("{ROOT}/tests/peers/go")).unwrap() {
            let source = entry.unwrap().path();
            let name = source.file_stem().unwrap().to_str().unwrap();
            let output = folder.join(format!("{name}{EXE_SUFFIX}"));
            let mut go = Command::new("go");
            go.args(["build", "-o"]).arg(output).arg(&source);
            // No module, no network; and a cache also where HOME is not set.
            go.env("GO111MODULE", "off").env("GOCACHE", folder.join("cache"));
            succeed(&mut go);
        }
        folder
    });
    folder.join(format!("{program}{EXE_SUFFIX}"))
}

/// Compiles all the C programs, once, with every warning an error.
fn built_c(program: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
        fs::create_dir_all(&folder).unwrap();
        for entry in fs::read_dir(format!("{ROOT}/tests/peers/c")).unwrap() {
            let source = entry.unwrap().path();
            let mut cc = Command::new("cc");
            cc.args(["-std=c11", "-O2", "-pthread"]);
            cc.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
            cc.arg("-o").arg(folder.join(source.file_stem().unwrap()));
            succeed(cc.arg(&source));
        }
        folder
    });
    folder.join(program)
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}

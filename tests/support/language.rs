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
        built("java", |sources, folder| {
            let mut javac = Command::new("javac");
            javac.args(["-Xlint:all,-try", "-Werror", "-d"]).arg(folder);
            succeed(javac.args(sources));
        })
    })
}

/// Compiles all the Go programs, once.
fn built_go(program: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        built("go", |sources, folder| {
            for source in sources {
                let name = source.file_stem().unwrap().to_str().unwrap();
                let output = folder.join(format!("{name}{EXE_SUFFIX}"));
                let mut go = Command::new("go");
                go.args(["build", "-o"]).arg(output).arg(source);
                // No module, no network; and a cache also without a HOME.
                go.env("GO111MODULE", "off");
                succeed(go.env("GOCACHE", folder.join("cache")));
            }
        })
    });
    folder.join(format!("{program}{EXE_SUFFIX}"))
}

/// Compiles all the C programs, once, with every warning an error.
fn built_c(program: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        built("c", |sources, folder| {
            for source in sources {
                let mut cc = Command::new("cc");
                cc.args(["-std=c11", "-O2", "-pthread"]);
                cc.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
                cc.arg("-o").arg(folder.join(source.file_stem().unwrap()));
                succeed(cc.arg(source));
            }
        })
    });
    folder.join(program)
}

/// Lets `compile` make programs from the files in `tests/peers/NAME`, unless
/// an earlier test has done so: after the last change of these files, and of
/// this test with its options. Returns the folder of the programs.
fn built(name: &str, compile: impl FnOnce(&[PathBuf], &Path)) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let sources = Path::new(ROOT).join("tests/peers").join(name);
    let files = fs::read_dir(&sources).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    // The folder of the sources changes if one of them goes.
    let parts = [sources, std::env::current_exe().unwrap()];
    let time = |path: &PathBuf| fs::metadata(path)?.modified();
    let changed = files.iter().chain(&parts).map(|part| time(part).unwrap());
    let done = folder.join("done");
    if time(&done).is_ok_and(|done| changed.max() < Some(done)) {
        return folder;
    }
    fs::create_dir_all(&folder).unwrap();
    compile(&files, &folder);
    fs::write(done, "").unwrap();
    folder
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}

//! A folder of submissions. Each one is tried in a copy, so that what was
//! handed in stays as it was, a second run meets the same files as the first,
//! and the others' folders are not next door.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::cli::commands::Choice;
use crate::diagnosis::{said, show};
use crate::harness::lab::any_port;
use crate::harness::machine::Machine;
use crate::program::running::{Template, describe};
use crate::program::start::Trouble;
use crate::report::Obstacle;

/// How many folders deep a submission may lie.
const DEEPEST: usize = 8;

/// What a submission may hold: 20 000 files, 500 MB.
const MOST_FILES: usize = 20_000;
const MOST_BYTES: u64 = 500 << 20;

/// How many lines of a compiler a row shows, and how many characters of each.
const MOST_ERRORS: usize = 3;
const WIDEST: usize = 190;

/// The folder in which the copies are. It goes away at the end, even if that
/// is a Ctrl-C.
#[derive(Clone, Default)]
pub struct Scratch(Arc<Mutex<Copies>>);

#[derive(Default)]
struct Copies {
    made: Option<TempDir>,
    is_over: bool,
}

impl Scratch {
    fn lock(&self) -> MutexGuard<'_, Copies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a new folder for a copy.
    fn room(&self, name: usize) -> io::Result<PathBuf> {
        let mut copies = self.lock();
        while copies.is_over {
            drop(copies); // a signal ends this process in a moment
            thread::park();
            copies = self.lock();
        }
        if copies.made.is_none() {
            let folder = tempfile::Builder::new().prefix("check-").tempdir()?;
            copies.made = Some(folder);
        }
        let root = copies.made.as_ref().map_or(Path::new("."), TempDir::path);
        let room = root.canonicalize()?.join(name.to_string());
        fs::create_dir(&room)?;
        Ok(room)
    }

    /// Removes everything, for good. After a signal, another thread may still
    /// be copying files into a folder while it is removed: then once more.
    pub fn clear(&self) {
        let mut copies = self.lock();
        copies.is_over = true;
        let Some(folder) = copies.made.take().map(TempDir::keep) else {
            return;
        };
        for _ in 0..100 {
            if remove(&folder).is_ok() || !folder.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        if let Err(error) = remove(&folder) {
            say_left(&folder, &error);
        }
    }
}

/// What is in a folder, by name: each folder is a submission. A file is
/// there, too, so that its row says why it was not tried.
///
/// # Errors
/// The folder cannot be read, or is empty.
pub fn submissions(folder: &Path) -> Result<Vec<PathBuf>> {
    let shown = visible(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?;
    ensure!(
        shown.iter().any(|path| path.is_dir()),
        "cannot find a submission in {folder:?}: each submission is a folder \
         of its own"
    );
    Ok(shown)
}

/// What is in a folder, by name, without hidden files and what macOS adds.
fn visible(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let is_shown = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && name != "__MACOSX"
    };
    let mut shown: Vec<_> = paths.filter(is_shown).collect();
    shown.sort();
    Ok(shown)
}

/// The first names in a folder, as a terminal may show them.
pub fn names(folder: &Path) -> Vec<String> {
    let paths = visible(folder).unwrap_or_default();
    let names = paths.iter().filter_map(|path| path.file_name());
    names.take(8).map(|name| shown(name, 30)).collect()
}

/// A name in a form that a terminal shows and does not obey.
pub fn shown(name: &OsStr, most: usize) -> String {
    show::shorten(&show::escape(name.as_bytes()), most)
}

/// Where the program is: an archive often unpacks to a folder in a folder. A
/// link could lead to another submission.
///
/// A folder that has one of the files which the teacher named is the right one.
fn inner(folder: &Path, commands: &[&[Choice]]) -> PathBuf {
    let is_folder = |path: &Path| path.is_dir() && !path.is_symlink();
    let is_named =
        |choice: &Choice, at: &Path| choice.file.is_some() && choice.is_for(at);
    let mut folder = folder.to_owned();
    for _ in 0..DEEPEST {
        if commands.iter().any(|all| all.iter().any(|c| is_named(c, &folder))) {
            break;
        }
        match &visible(&folder).unwrap_or_default()[..] {
            [only] if is_folder(only) => folder = only.clone(),
            _ => break,
        }
    }
    folder
}

/// The copy of a submission. It goes away with this value.
pub struct Copied {
    pub folder: PathBuf,
}

impl Drop for Copied {
    fn drop(&mut self) {
        match remove(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                say_left(&self.folder, &error);
            }
            _ => {}
        }
    }
}

/// Removes a folder, even if a program has taken the rights to it away.
fn remove(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder).or_else(|_| {
        open_up(folder);
        fs::remove_dir_all(folder)
    })
}

fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

fn say_left(folder: &Path, error: &io::Error) {
    let _ = writeln!(
        io::stderr(),
        "note: cannot remove {folder:?}, which holds a copy of a submission: \
         {error}; remove it yourself"
    );
}

/// Copies a submission, so that what these commands name is in the copy.
///
/// # Errors
/// It is no folder, is too big, or cannot be read.
pub fn copy(
    path: &Path,
    commands: &[&[Choice]],
    scratch: &Scratch,
    number: usize,
) -> std::result::Result<Copied, Obstacle> {
    if path.is_symlink() {
        let why = "It is a link, and the checker follows no links to \
                   submissions: put the folder itself there.";
        return Err(not_tried(vec![why.into()]));
    }
    if !path.is_dir() {
        let why = "It is a file, but each submission is a folder of its own.";
        return Err(not_tried(vec![why.into()]));
    }
    let from = inner(path, commands);
    let copied = scratch.room(number).and_then(|to| {
        let copied = Copied { folder: to };
        let mut copy = Copy { root: from.canonicalize()?, files: 0, bytes: 0 };
        copy.folder(&from, &copied.folder)?;
        Ok(copied)
    });
    copied.map_err(|error| {
        not_tried(vec![format!("The checker cannot copy it: {error}.")])
    })
}

/// Nothing was tried, for these reasons.
pub fn not_tried(why: Vec<String>) -> Obstacle {
    let what = "the submission was not tried".to_owned();
    Obstacle { what, command: String::new(), why }
}

/// How far a copy has come.
struct Copy {
    /// The folder that links may not leave.
    root: PathBuf,
    files: usize,
    bytes: u64,
}

impl Copy {
    fn folder(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            self.entry(&entry, &to.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Leaves out what is neither a file nor a folder: reading a pipe would
    /// wait for its other end.
    fn entry(&mut self, entry: &DirEntry, to: &Path) -> io::Result<()> {
        let (from, meta) = (entry.path(), entry.metadata()?);
        self.files += 1;
        self.bytes += meta.len();
        if self.files > MOST_FILES || self.bytes > MOST_BYTES {
            let most = MOST_BYTES >> 20;
            return Err(io::Error::other(format!(
                "it has more than {MOST_FILES} files, or more than {most} MB"
            )));
        }
        if meta.is_dir() {
            fs::create_dir(to)?;
            self.folder(&from, to)
        } else if meta.is_file() {
            fs::copy(&from, to).map(drop)
        } else if meta.is_symlink() && self.stays_inside(&from) {
            std::os::unix::fs::symlink(fs::read_link(&from)?, to)
        } else {
            Ok(())
        }
    }

    /// Does a link lead to a part of the same submission, and do so in the
    /// copy as well?
    fn stays_inside(&self, link: &Path) -> bool {
        fs::read_link(link).is_ok_and(|target| target.is_relative())
            && link.canonicalize().is_ok_and(|to| to.starts_with(&self.root))
    }
}

/// How to build what has to be built.
pub struct Builder<'a> {
    pub commands: &'a [Choice],
    pub limit: Duration,
    /// MB.
    pub memory: u64,
    pub machine: &'a Machine,
}

impl Builder<'_> {
    /// Builds a copy, with each command that is for it.
    ///
    /// # Errors
    /// A command failed, or took too long.
    pub fn build(&self, folder: &Path) -> std::result::Result<(), Obstacle> {
        let choices = self.commands.iter();
        for choice in choices.filter(|choice| choice.is_for(folder)) {
            self.run(&choice.command, folder).map_err(|why| {
                let what = "the build failed".to_owned();
                Obstacle { what, command: choice.command.clone(), why }
            })?;
        }
        Ok(())
    }

    fn run(
        &self,
        command: &str,
        folder: &Path,
    ) -> std::result::Result<(), Trouble> {
        let dir = Some(folder.to_owned());
        let (bytes, processes) = (self.memory << 20, &self.machine.processes);
        let template = Template::parse(command, dir, bytes, processes);
        let started =
            template.and_then(|t| t.start(any_port(), &[], &[], None));
        let mut program =
            started.map_err(|error| vec![format!("{error:#}.")])?;
        let status = program.wait(self.limit);
        program.wait_output();
        let end = match (status, program.excess()) {
            (Some(status), _) if status.success() => return Ok(()),
            (_, Some(excess)) => {
                format!("The checker ended it: {}.", excess.what)
            }
            (Some(status), _) => format!("{}.", describe(status)),
            (None, _) => {
                format!("It had not ended after {}.", show::time(self.limit))
            }
        };
        let printed = [program.err.first(), program.out.first()];
        let printed = printed.iter().find(|text| !text.is_empty());
        let printed = printed.map_or(Vec::new(), Clone::clone);
        let words = first_errors(&printed, folder).into_iter();
        let words = words.map(|line| format!("  | {line}"));
        Err([end].into_iter().chain(words).collect())
    }
}

/// The first lines in which a compiler reports an error: those that follow
/// often come from it. If no line says so, the first ones. The folder is left
/// out, because a copy is in another one each time.
fn first_errors(text: &[u8], folder: &Path) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let text = text.replace(&format!("{}/", folder.display()), "");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    // Go prints the name of the package first.
    let is_text = |line: &&&str| !line.is_empty() && !line.starts_with("# ");
    let has_error =
        |line: &&&str| said::is_error(line) || line.starts_with("error[");
    let mut first: Vec<&&str> = lines.iter().filter(has_error).collect();
    if first.is_empty() {
        first = lines.iter().filter(is_text).collect();
    }
    let shown = |line: &&str| show::line_within(line.as_bytes(), WIDEST);
    first.into_iter().take(MOST_ERRORS).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_all_but_what_leads_out() {
        let class = tempfile::tempdir().unwrap();
        let inner = class.path().join("anna/anna-1.0");
        fs::create_dir_all(inner.join("src")).unwrap();
        fs::write(class.path().join("key"), "secret").unwrap();
        fs::write(inner.join("src/a.py"), "print()").unwrap();
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, inner.join(name)).unwrap();
        };
        link("src/a.py", "inside");
        link("../../key", "outside");
        link("/etc/passwd", "absolute");
        let scratch = Scratch::default();
        let made = copy(&class.path().join("anna"), &[], &scratch, 1);
        let made = made.unwrap_or_else(|_| panic!("not copied"));
        let folder = made.folder.clone();
        assert_eq!(names(&folder), ["inside", "src"]);
        assert_eq!(fs::read(folder.join("inside")).unwrap(), b"print()");
        drop(made);
        assert!(!folder.exists());
    }

    #[test]
    fn a_file_is_no_submission() {
        let class = tempfile::tempdir().unwrap();
        let path = class.path().join("anna.zip");
        fs::write(&path, "PK").unwrap();
        let why = copy(&path, &[], &Scratch::default(), 1);
        let why = why.err().unwrap().reason();
        assert!(why.contains("a folder of its own"), "{why}");
    }

    #[test]
    fn a_link_is_no_submission() {
        let class = tempfile::tempdir().unwrap();
        fs::create_dir(class.path().join("anna")).unwrap();
        for target in ["anna", "/", "nowhere"] {
            let link = class.path().join("evil");
            std::os::unix::fs::symlink(target, &link).unwrap();
            let scratch = Scratch::default();
            let why = copy(&link, &[], &scratch, 1).err().unwrap().reason();
            assert!(why.contains("It is a link"), "{why}");
            assert!(scratch.lock().made.is_none(), "it copied something");
            fs::remove_file(link).unwrap();
        }
    }

    #[test]
    fn a_file_that_the_teacher_named_says_where_a_submission_begins() {
        let class = tempfile::tempdir().unwrap();
        let anna = class.path().join("anna");
        fs::create_dir_all(anna.join("src")).unwrap();
        fs::write(anna.join("src/server.py"), "").unwrap();
        let named = [Choice::parse("src/server.py: x").unwrap()];
        assert_eq!(inner(&anna, &[&[], &named]), anna);
        let named = [Choice::parse("server.py: x").unwrap()];
        assert_eq!(inner(&anna, &[&named]), anna.join("src"));
    }

    #[test]
    fn the_first_errors_of_a_compiler_are_shown() {
        let c = b"a.c: In function x\na.c:1:1: error: one\n  1 | x\n\
                  a.c:2:1: error: two\n/copy/a.c:3:1: error: three\n\
                  a.c:4:1: error: four\n";
        let three = [
            "a.c:1:1: error: one",
            "a.c:2:1: error: two",
            "a.c:3:1: error: three",
        ];
        assert_eq!(first_errors(c, Path::new("/copy")), three);
        let go = b"# command-line-arguments\n./a.go:5:2: \"os\" not used\n";
        assert_eq!(
            first_errors(go, Path::new("/copy")),
            ["./a.go:5:2: \"os\" not used"]
        );
    }
}

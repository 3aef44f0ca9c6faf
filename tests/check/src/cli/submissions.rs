//! A folder of submissions. Each one is tried in a copy, so that what was
//! handed in stays as it was, a second run meets the same files as the first,
//! and the others' folders are not next door.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::cli::commands::Choice;
use crate::diagnosis::show;
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
            if fs::remove_dir_all(&folder).is_ok() || !folder.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
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
fn inner(folder: &Path) -> PathBuf {
    let is_folder = |path: &Path| path.is_dir() && !path.is_symlink();
    let mut folder = folder.to_owned();
    for _ in 0..DEEPEST {
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
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Copies a submission.
///
/// # Errors
/// It is no folder, is too big, or cannot be read.
pub fn copy(
    path: &Path,
    scratch: &Scratch,
    number: usize,
) -> std::result::Result<Copied, Obstacle> {
    if !path.is_dir() {
        let why = "It is a file, but each submission is a folder of its own.";
        return Err(not_tried(vec![why.into()]));
    }
    let from = inner(path);
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
        let words = program.last_words().into_iter();
        let words = words.map(|line| format!("  | {line}"));
        Err([end].into_iter().chain(words).collect())
    }
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
        let made = copy(&class.path().join("anna"), &scratch, 1);
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
        let why = copy(&path, &Scratch::default(), 1).err().unwrap().reason();
        assert!(why.contains("a folder of its own"), "{why}");
    }
}

//! The commands that a teacher gives: how to start, or to build, what a
//! submission is. Each may name the file that chooses it, because a class
//! writes in more than one language.
//!
//! The commands never come from a submission.

use std::fmt;
use std::path::{Component, Path};

use anyhow::{Result, bail, ensure};

use crate::cli::submissions;

/// A command, for all submissions or for those that have this file.
#[derive(Clone)]
pub struct Choice {
    pub file: Option<String>,
    pub command: String,
}

impl Choice {
    /// Reads `FILE: COMMAND`, or a command alone.
    ///
    /// # Errors
    /// FILE is not below the submission.
    pub fn parse(text: &str) -> std::result::Result<Choice, String> {
        let is_name = |name: &str| {
            !name.is_empty() && !name.contains(|c: char| c.is_whitespace())
        };
        let (file, command) = match text.split_once(": ") {
            Some((file, command)) if is_name(file) => {
                (Some(file.to_owned()), command.trim())
            }
            _ => (None, text),
        };
        if let Some(file) = &file {
            let mut parts = Path::new(file).components();
            if !parts.all(|part| matches!(part, Component::Normal(_))) {
                return Err(format!(
                    "{file} must name a file in the submission, without / at \
                     the start and without .."
                ));
            }
        }
        Ok(Choice { file, command: command.to_owned() })
    }

    /// Is it for the program in this folder?
    pub fn is_for(&self, folder: &Path) -> bool {
        let file = self.file.as_ref();
        file.is_none_or(|file| folder.join(file).is_file())
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}: {}", self.command),
            None => f.write_str(&self.command),
        }
    }
}

/// Complains if these commands cannot be told apart.
///
/// # Errors
/// There are several, and one names no file, or two name the same.
pub fn ensure_clear(option: &str, commands: &[Choice]) -> Result<()> {
    for (i, choice) in commands.iter().enumerate() {
        ensure!(
            commands.len() == 1 || choice.file.is_some(),
            "cannot tell which submissions {option} '{choice}' is for: with \
             several commands, each one names its file, as in {option} \
             'server.py: python3 server.py {{addr}}'"
        );
        ensure!(
            !commands[..i].iter().any(|other| other.file == choice.file),
            "cannot use {option} twice for {}: give each file one command",
            choice.file.as_deref().unwrap_or("all submissions")
        );
    }
    Ok(())
}

/// What only a shell understands.
const SHELL: [&str; 9] = ["&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1"];

/// Complains about a build that cannot work for anybody.
///
/// # Errors
/// It is no command, needs a shell, or its program is not on this machine.
pub fn ensure_runs(build: &Choice) -> Result<()> {
    let words = shlex::split(&build.command).unwrap_or_default();
    let Some(program) = words.first() else {
        bail!(
            "cannot read --build '{build}': it is empty, or a quotation mark \
             in it is not closed"
        );
    };
    if let Some(sign) = words.iter().find(|word| SHELL.contains(&&word[..])) {
        bail!(
            "cannot run --build '{build}': it runs without a shell, which \
             alone understands {sign}; repeat --build, or start a shell: \
             sh -c 'COMMANDS'"
        );
    }
    // One that is below a submission may be there later.
    let is_there = match program.contains('/') {
        true => !program.starts_with('/') || Path::new(program).is_file(),
        false => std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|at| at.join(program).is_file())
        }),
    };
    ensure!(
        is_there,
        "cannot run --build '{build}': there is no program {program:?} on \
         this machine; install it, or correct the name"
    );
    Ok(())
}

/// The command whose file is in this folder; `None` if there is none.
///
/// # Errors
/// The files of several are there. Says which.
fn pick<'a>(
    commands: &'a [Choice],
    folder: &Path,
) -> std::result::Result<Option<&'a Choice>, String> {
    let is_there = |choice: &&Choice| choice.is_for(folder);
    let there: Vec<&Choice> = commands.iter().filter(is_there).collect();
    match there[..] {
        [] => Ok(None),
        [choice] => Ok(Some(choice)),
        _ => Err(format!(
            "It has more than one of the files that choose the command: {}. \
             Remove all but one.",
            files(&there)
        )),
    }
}

/// The command for the program in this folder.
///
/// # Errors
/// None is for it, or more than one is. Says what is there.
pub fn choose<'a>(
    commands: &'a [Choice],
    folder: &Path,
) -> std::result::Result<&'a Choice, Vec<String>> {
    let choice = pick(commands, folder).map_err(|why| vec![why])?;
    choice.ok_or_else(|| missing(commands, folder))
}

/// Says that none of the files is there, and what is.
fn missing(commands: &[Choice], folder: &Path) -> Vec<String> {
    let commands: Vec<&Choice> = commands.iter().collect();
    let there = submissions::names(folder);
    let there = match there.is_empty() {
        true => "Its folder is empty.".to_owned(),
        false => format!("Its folder has: {}.", there.join(", ")),
    };
    vec![format!("It has no {}.", files(&commands)), there]
}

fn files(commands: &[&Choice]) -> String {
    let files = commands.iter().filter_map(|choice| choice.file.as_deref());
    files.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_name_its_file() {
        let read = |text| {
            let Choice { file, command } = Choice::parse(text).unwrap();
            (file.unwrap_or_default(), command)
        };
        let pair = |file: &str, command: &str| (file.into(), command.into());
        assert_eq!(read("a.py: run a.py"), pair("a.py", "run a.py"));
        assert_eq!(read("src/a.c: ./a"), pair("src/a.c", "./a"));
        for plain in ["sh -c 'x: y'", "./server {addr}", "a:b c"] {
            assert_eq!(read(plain), pair("", plain));
        }
        for outside in ["../a: x", "/etc/passwd: x", "./a: x"] {
            assert!(Choice::parse(outside).is_err(), "{outside}");
        }
    }

    #[test]
    fn a_build_that_cannot_work_is_refused() {
        let why = |text: &str| {
            let done = ensure_runs(&Choice::parse(text).unwrap());
            done.err().map_or(String::new(), |error| error.to_string())
        };
        for works in ["a.c: sh -c 'x && y'", "./configure", "sh a"] {
            assert_eq!(why(works), "");
        }
        assert!(why("a.c: sh 'x").contains("not closed"));
        assert!(why("sh a && sh b").contains("without a shell"));
        for absent in ["no-such-compiler x", "/no/such x"] {
            assert!(why(absent).contains("there is no program"), "{absent}");
        }
    }

    #[test]
    fn commands_that_cannot_be_told_apart_are_refused() {
        let clear = |texts: &[&str]| {
            let all: Vec<_> =
                texts.iter().map(|t| Choice::parse(t).unwrap()).collect();
            ensure_clear("--cmd", &all).map_err(|error| error.to_string())
        };
        assert!(clear(&["x"]).is_ok());
        assert!(clear(&["a: x", "b: y"]).is_ok());
        assert!(clear(&["a: x", "y"]).unwrap_err().contains("'y' is for"));
        assert!(clear(&["a: x", "a: y"]).unwrap_err().contains("twice for a"));
    }
}

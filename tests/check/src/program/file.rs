//! What a program's file tells us when we could not start it, because the
//! kernel's own message names the wrong thing.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::diagnosis::show;

/// What is wrong with the program that a command names, if that can be seen.
pub fn flaw(cmd: &str, dir: Option<&Path>) -> Option<String> {
    let word = shlex::split(cmd)?.into_iter().next()?;
    if !word.contains('/') {
        return None; // it is looked for in PATH
    }
    let dir = dir.unwrap_or(Path::new("."));
    let path = dir.join(&word);
    if path.is_dir() {
        return Some("That is a folder: name the program in it.".to_owned());
    }
    let name = interpreter(&path)?;
    if dir.join(OsStr::from_bytes(&name)).exists() {
        return None;
    }
    let name = show::line(&name);
    let what = "The file is there; the interpreter in its first line is not";
    Some(format!("{what}: #!{name}"))
}

/// The interpreter that the first line of a script names.
fn interpreter(path: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    // Opening a pipe would wait for its other end.
    let file = path.is_file().then(|| File::open(path).ok()).flatten()?;
    file.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    let is_gap = |&b: &u8| b == b' ' || b == b'\t';
    // A CR is part of the name: that is why Windows' lines do not work.
    let mut words = line.split(is_gap).filter(|word| !word.is_empty());
    words.next().map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| {
            std::fs::write(dir.path().join("x.sh"), text).unwrap();
            flaw("./x.sh {addr}", Some(dir.path()))
        };
        let said = write("#! /no/such/sh -e\n").unwrap();
        assert!(said.ends_with("#!/no/such/sh"), "{said}");
        assert!(write("#!/bin/sh\r\n").unwrap().ends_with("#!/bin/sh\\r"));
        assert_eq!(write("#!/bin/sh\n"), None);
        assert_eq!(write("no script"), None);
        assert!(flaw("./", Some(dir.path())).unwrap().contains("folder"));
        assert_eq!(flaw("./nothing", Some(dir.path())), None);
        assert_eq!(flaw("python3 x.py", Some(dir.path())), None);
    }
}

//! Copies the files of the steps, so that they run in the simulation: as they
//! are, but for two words, and again with one bug each.

use std::env::var;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A bug, from `bugs.diff`.
struct Bug {
    name: String,
    step: String,
    file: String,
    what: String,
    why_not: String,
    search: String,
    replace: String,
}

impl Bug {
    /// Returns what the tests want to know about it, as Rust.
    fn describe(&self) -> String {
        let Bug { name, step, what, why_not, .. } = self;
        format!(
            "crate::Bug {{ name: {name:?}, step: {step:?}, what: {what:?}, \
             why_not: {why_not:?} }},\n"
        )
    }
}

fn main() {
    let here = PathBuf::from(var("CARGO_MANIFEST_DIR").expect("cargo's"));
    let out = PathBuf::from(var("OUT_DIR").expect("cargo's"));
    println!("cargo::rerun-if-changed=bugs.diff");
    println!("cargo::rerun-if-changed=src/glue");
    let text = fs::read_to_string("bugs.diff").expect("it is there");
    let bugs: Vec<Bug> = text.split("\n\n").filter_map(parse).collect();
    let mut names = Vec::new();
    let mut code = String::new();
    for step in ["step5", "step6", "step7", "step8"] {
        code += &copy(&here, &out.join(step), step, None);
        names.push(step);
    }
    for bug in &bugs {
        code += &copy(&here, &out.join(&bug.name), &bug.step, Some(bug));
        names.push(&bug.name);
    }
    code += "pub const RUNS: &[(&str, fn(u64) -> crate::run::Run)] = &[\n";
    for name in names {
        let run = format!("crate::run::run::<{name}::glue::This>");
        let _ = writeln!(code, "({name:?}, {run}),");
    }
    code += "];\npub const BUGS: &[crate::Bug] = &[\n";
    bugs.iter().for_each(|bug| code += &bug.describe());
    code += "];\n";
    fs::write(out.join("variants.rs"), code).expect("OUT_DIR is ours");
}

/// Reads a bug. Other text is none.
fn parse(text: &str) -> Option<Bug> {
    let lines = |mark: &str| -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix(mark)).collect()
    };
    let head = lines("@ ");
    let (place, name) = head.first()?.split_once(' ')?;
    let (step, file) = place.split_once('/')?;
    Some(Bug {
        name: name.to_owned(),
        step: step.to_owned(),
        file: file.to_owned(),
        what: head.get(1)?.to_string(),
        why_not: lines("? ").concat(),
        search: lines("-").join("\n"),
        replace: lines("+").join("\n"),
    })
}

// ANCHOR: copy
/// Copies a step into the folder `to`, perhaps with a bug. Returns the module
/// that it becomes.
fn copy(here: &Path, to: &Path, step: &str, bug: Option<&Bug>) -> String {
    let from = here.join("../../steps").join(step);
    println!("cargo::rerun-if-changed={}", from.display());
    fs::create_dir_all(to).expect("OUT_DIR is ours");
    let name = to.file_name().and_then(|name| name.to_str()).expect("a name");
    let glue = here.join(format!("src/glue/{step}.rs"));
    let mut code = format!("pub mod {name} {{ pub use crate::world::say;\n");
    let _ = writeln!(code, "#[path = {glue:?}] pub mod glue;");
    for file in fs::read_dir(&from).expect("the step is there") {
        let file = file.expect("a file").file_name();
        let file = file.to_str().expect("a plain name");
        if ["main.rs", "messages.rs"].contains(&file) {
            continue; // the command line and the keyboard
        }
        let mut text = fs::read_to_string(from.join(file)).expect("a text");
        // Their unit tests run elsewhere, some of them on a real network.
        text.truncate(text.find("#[cfg(test)]\nmod").unwrap_or(text.len()));
        if let Some(bug) = bug.filter(|bug| bug.file == file) {
            let found = text.matches(&bug.search).count();
            assert_eq!(found, 1, "{name}: find {:?} once", bug.search);
            text = text.replace(&bug.search, &bug.replace);
        }
        text = text.replace("crate::", &format!("crate::variants::{name}::"));
        text = text.replace("std::fs", "crate::disk");
        fs::write(to.join(file), text).expect("OUT_DIR is ours");
        let path = to.join(file);
        let module = file.trim_end_matches(".rs");
        let _ = writeln!(code, "#[path = {path:?}] pub mod {module};");
    }
    code + "}\n"
}
// ANCHOR_END: copy

//! Copies the files of the steps, so that they run in the simulation: as they
//! are, but for two words; and again with one bug each.

#[path = "src/bugs.rs"]
#[allow(dead_code)]
mod bugs;

use std::env::var;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use bugs::{BUGS, Bug};

fn main() {
    let out = var("OUT_DIR").expect("cargo sets it");
    let here = var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let (out, here) = (Path::new(&out), Path::new(&here));
    let mut code = String::new();
    let mut runs = String::new();
    for step in [5, 6, 7, 8] {
        let name = format!("step{step}");
        copy(here, out, &name, step, None, &mut code);
        add(&mut runs, &name);
    }
    for bug in BUGS {
        copy(here, out, bug.name, bug.step, Some(bug), &mut code);
        add(&mut runs, bug.name);
    }
    code += "/// A run of each step, and of each bug, by name.\n";
    code += "pub const RUNS: &[(&str, fn(u64) -> crate::run::Run)] = &[\n";
    code += &runs;
    code += "];\n";
    fs::write(out.join("variants.rs"), code).expect("cargo made the folder");
}

fn add(runs: &mut String, name: &str) {
    let run = format!("crate::run::run::<{name}::glue::This>");
    let _ = writeln!(runs, "(\"{name}\", {run}),");
}

// ANCHOR: copy
/// Copies a step to `out`, perhaps with a bug, as a module called `name`.
fn copy(
    here: &Path,
    out: &Path,
    name: &str,
    step: u32,
    bug: Option<&Bug>,
    code: &mut String,
) {
    let from = here.join(format!("../../steps/step{step}"));
    println!("cargo::rerun-if-changed={}", from.display());
    let to = out.join(name);
    fs::create_dir_all(&to).expect("OUT_DIR is ours");
    let _ = writeln!(code, "pub mod {name} {{\npub use crate::world::say;");
    let glue = here.join(format!("src/glue/step{step}.rs"));
    let _ = writeln!(code, "#[path = {glue:?}]\npub mod glue;");
    for file in fs::read_dir(&from).expect("the step is there") {
        let file = file.expect("a file").file_name();
        let file = file.to_str().expect("a plain name");
        if ["main.rs", "messages.rs"].contains(&file) {
            continue; // the command line and the keyboard
        }
        let text = fs::read_to_string(from.join(file)).expect("Rust");
        // Their unit tests run elsewhere, some of them on a real network.
        let tests = text.find("#[cfg(test)]\nmod tests");
        let mut text = text[..tests.unwrap_or(text.len())].to_owned();
        if let Some(bug) = bug.filter(|bug| bug.file == file) {
            let found = text.matches(bug.search).count();
            assert_eq!(found, 1, "{name}: {:?} must be there once", bug.search);
            text = text.replace(bug.search, bug.replace);
        }
        text = text.replace("crate::", &format!("crate::variants::{name}::"));
        text = text.replace("std::fs", "crate::disk");
        fs::write(to.join(file), text).expect("OUT_DIR is ours");
        let module = file.trim_end_matches(".rs");
        let _ =
            writeln!(code, "#[path = {:?}]\npub mod {module};", to.join(file));
    }
    *code += "}\n";
}
// ANCHOR_END: copy

//! Draws the figures of the book from what the bench `curves` has measured.
//!
//!     cargo run -p load --bin plot
//!
//! reads the JSON files in tests/bench/curves, and writes an SVG and a table
//! beside each. The bench runs it at its end, so you need it only after you
//! have changed how a figure is drawn.

#[path = "plot/chart.rs"]
mod chart;
#[path = "plot/data.rs"]
mod data;
#[path = "plot/pages.rs"]
mod pages;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;

/// Draws the figures of the book from the measured JSON files.
#[derive(Parser)]
struct Arguments {
    /// The folder of the JSON files, in which the figures are written, too
    /// [default: tests/bench/curves]
    folder: Option<PathBuf>,
}

fn main() -> Result<()> {
    let Arguments { folder } = Arguments::parse();
    let folder = folder.unwrap_or_else(measured);
    for (name, text) in pages::pages(&folder)? {
        let path = folder.join(name);
        write(&path, &text)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The folder that the book includes.
fn measured() -> PathBuf {
    Path::new(env!("PROJECT")).join("tests/bench/curves")
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| {
        format!("cannot write {} (is the disk full?)", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_shows_what_was_measured() {
        let folder = measured();
        for (name, text) in pages::pages(&folder).unwrap() {
            let now = fs::read_to_string(folder.join(&name)).unwrap();
            assert!(
                now == text,
                "{name} is old: run `cargo run -p load --bin plot`"
            );
        }
    }

    /// An empty line would end the HTML in a page, and a place that is no
    /// number would draw nothing.
    #[test]
    fn a_figure_is_whole() {
        for (name, text) in pages::pages(&measured()).unwrap() {
            if name.ends_with(".svg") {
                assert!(!text.contains("\n\n"), "{name}");
                assert!(!text.contains("NaN"), "{name}");
                assert!(!text.contains("inf"), "{name}");
                for tag in ["figure", "svg", "g", "title", "desc", "text"] {
                    let open = text.matches(&format!("<{tag} ")).count()
                        + text.matches(&format!("<{tag}>")).count();
                    let close = text.matches(&format!("</{tag}>")).count();
                    assert_eq!(open, close, "{tag} in {name}");
                }
            }
        }
    }
}

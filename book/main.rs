//! Builds the book into `target/book`, as `mdbook build book` does, and says
//! where to find it. So a reader needs Rust and nothing else.

use std::path::Path;

use anyhow::{Context, Result};
use mdbook_driver::MDBook;

fn main() -> Result<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("cannot find the folder of the project")?;
    let folder = project.join("target/book");
    let mut book =
        MDBook::load(project.join("book")).context("cannot read the book")?;
    book.config.build.build_dir = folder.clone();
    book.build().with_context(|| {
        format!("cannot build the book in {}", folder.display())
    })?;
    // A drive such as C: is no host.
    let scheme = if cfg!(windows) { "file:///" } else { "file://" };
    let first = folder.join("index.html");
    println!("the book: open {scheme}{} in a browser", first.display());
    Ok(())
}

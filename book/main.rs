//! Builds the book into `target/book`, as `mdbook build book` does, and says
//! where it is.

use std::path::Path;

use anyhow::{Context, Result};
use mdbook_driver::MDBook;

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let book = MDBook::load(folder).context("cannot read the book")?;
    book.build().context("cannot build the book")?;
    let first = book.build_dir_for("html").join("index.html");
    let first = first.canonicalize().context("cannot find the book")?;
    println!("the book: open file://{} in a browser", first.display());
    Ok(())
}

//! From a target to a file below the root, and to no other.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

// ANCHOR: found
/// What a target names.
pub enum Found {
    /// A regular file: open, with its length in bytes and its content type.
    File(File, u64, &'static str),
    /// A folder whose target lacks the `/` at its end, without which the links
    /// on its page would lead elsewhere.
    Folder,
    Nothing,
}

/// Returns the path of the folder to serve, without links, for [`find`].
///
/// # Errors
/// There is no such folder.
pub fn root(folder: &Path) -> Result<PathBuf> {
    let what = || format!("cannot serve the folder {}", folder.display());
    let full = folder.canonicalize().with_context(what)?;
    fs::read_dir(&full).with_context(what)?;
    Ok(full)
}

/// Finds what `target` names below `root`; a folder stands for its
/// `index.html`. Blocks for as long as the disk takes.
///
/// Whoever may write below `root` can put a link where a file was, between our
/// look and `open`. On Linux, openat2(2) with `RESOLVE_BENEATH` has no such gap.
///
/// # Errors
/// The file is there and cannot be opened.
pub fn find(root: &Path, target: &str) -> io::Result<Found> {
    let Some((path, is_folder)) = path(target) else {
        return Ok(Found::Nothing);
    };
    let mut path = root.join(path);
    if path.is_dir() != is_folder {
        let is_inside = resolve(root, &path).is_some();
        let is_folder = path.is_dir() && is_inside;
        return Ok(if is_folder { Found::Folder } else { Found::Nothing });
    }
    if is_folder {
        path.push("index.html");
    }
    let full = resolve(root, &path);
    // To open a pipe could take forever; `is_file` says no to it.
    let Some(full) = full.filter(|full| full.is_file()) else {
        return Ok(Found::Nothing);
    };
    let file = File::open(&full)?;
    let length = file.metadata()?.len();
    Ok(Found::File(file, length, content_type(&path)))
}

/// Follows all links in `path`. `None` if it leads nowhere or leaves `root`.
fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let full = path.canonicalize().ok()?;
    full.starts_with(root).then_some(full)
}
// ANCHOR_END: found

// ANCHOR: path
/// Returns the relative path that `target` names, and whether it ends in `/`.
/// `None` if a part of it is anything but the plain name of one file.
fn path(target: &str) -> Option<(PathBuf, bool)> {
    let path = target.split('?').next()?.strip_prefix('/')?;
    let mut names: Vec<&str> = path.split('/').collect();
    let is_folder = names.pop_if(|name| name.is_empty()).is_some();
    // Decode once, then check: `%2e%2e` is `..`, too, but `%252e` is not `.`.
    let names = names.into_iter().map(|name| decode(name).filter(is_plain));
    Some((names.collect::<Option<PathBuf>>()?, is_folder))
}

/// Is this the name of one file, on any system? Hidden files are private, and
/// `..` is a hidden file by that rule.
#[expect(clippy::ptr_arg)] // `filter` passes a String
fn is_plain(name: &String) -> bool {
    let is_odd = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
    !name.is_empty() && !name.starts_with('.') && !name.contains(is_odd)
}

/// Decodes `%2e` and the like (RFC 3986 section 2.1). `None` if a `%` has no
/// two hexadecimal digits behind it, or the bytes are not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => 16 * digit(rest.next()?)? + digit(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}
// ANCHOR_END: path

/// Returns where a folder's page is, relative to a target without `/` at its end.
/// A path such as `//host` would lead away from us; the `./` keeps it here.
pub fn with_slash(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    format!("./{name}/")
}

/// Returns the content type by the end of the name. A browser that had to guess
/// could take text for a program.
fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|end| end.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("md" | "rs" | "txt") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

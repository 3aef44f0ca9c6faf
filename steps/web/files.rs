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

/// Follows all links in `path`. `None` if it leads nowhere, leaves `root`, or
/// ends at a hidden file.
fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let full = path.canonicalize().ok()?;
    let mut names = full.strip_prefix(root).ok()?.iter();
    let is_hidden = names.any(|name| name.as_encoded_bytes()[0] == b'.');
    (!is_hidden).then_some(full)
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
    let names = names
        .into_iter()
        .map(|name| decode(name).filter(|name| is_plain(name)));
    Some((names.collect::<Option<PathBuf>>()?, is_folder))
}

/// Is this the plain name of one file? Hidden files are private, and `..` is a
/// hidden file by that rule. (On Windows, more names mean something, such as
/// `CON` and `GIT~1`.)
fn is_plain(name: &str) -> bool {
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

/// Returns the target of the folder that `target` lacks the `/` for. ([`find`]
/// finds no folder at `//host`, which would lead a browser away from us.)
pub fn with_slash(target: &str) -> String {
    match target.split_once('?') {
        Some((path, query)) => format!("{path}/?{query}"),
        None => format!("{target}/"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Read;

    /// What a target names, and whether it ends in `/`.
    const PATHS: [(&str, &str, bool); 8] = [
        ("/", "", true),
        ("/a", "a", false),
        ("/a/b.html?../x", "a/b.html", false),
        ("/a/b/", "a/b", true),
        ("/a%20b%2Ehtml", "a b.html", false),
        ("/%e4%b8%ad", "\u{4e2d}", false),
        ("/%252e%252e", "%2e%2e", false),
        ("/a..b", "a..b", false),
    ];
    const NO_PATHS: &str = r"
        a * // //a /a// /a//b /. /.. /../a /a/.. /a/../b /./a /....//a
        /%2e%2e/a /%2E./a /.%2e/a /..%2fa /a%2fb /%2fetc/passwd /..%5ca
        /a%5cb /a\b /C: /c:/x /c%3a/x /a::$DATA /%00 /a%00.html /%0a /%7f
        /%c2%85 /% /%2 /%zz /%+1 /%c0%ae /%c0%ae%c0%ae/a /%ff /.git/config
        /a/.b /* /a|b /%e2%82 /~/.ssh";

    #[test]
    fn only_plain_names_are_paths() {
        for (target, name, is_folder) in PATHS {
            let expected = Some((PathBuf::from(name), is_folder));
            assert_eq!(path(target), expected, "{target}");
        }
        assert_eq!(path(""), None);
        for target in NO_PATHS.split_whitespace() {
            assert_eq!(path(target), None, "{target}");
        }
    }

    fn read(root: &Path, target: &str) -> String {
        match find(root, target).unwrap() {
            Found::File(mut file, length, _) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                assert_eq!(text.len() as u64, length);
                text
            }
            Found::Folder => "a folder".to_owned(),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    /// `inside` is served; `secret` is a file beside it, `inside-too` a folder
    /// whose name starts in the same way.
    fn tree() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("inside");
        fs::create_dir_all(folder.join("docs")).unwrap();
        fs::create_dir_all(folder.join("bare")).unwrap();
        fs::create_dir(temp.path().join("inside-too")).unwrap();
        for (name, text) in [
            ("inside/index.html", "start"),
            ("inside/docs/index.html", "docs"),
            ("inside/docs/a b.txt", "text"),
            ("secret", "secret"),
            ("inside-too/secret", "secret"),
            ("inside-too/index.html", "secret"),
        ] {
            fs::write(temp.path().join(name), text).unwrap();
        }
        let root = root(&folder).unwrap();
        (temp, root)
    }

    #[test]
    fn files_and_folders() {
        let (_temp, root) = tree();
        for (target, text) in [
            ("/", "start"),
            ("/?x", "start"),
            ("/index.html", "start"),
            ("/docs/", "docs"),
            ("/docs", "a folder"),
            ("/docs?x", "a folder"),
            ("/docs/a%20b.txt", "text"),
            ("/docs/index.html/", "nothing"),
            ("/index.html/", "nothing"),
            ("/index.html/x", "nothing"),
            ("/bare/", "nothing"),
            ("/none", "nothing"),
            ("/none/", "nothing"),
            ("//docs", "nothing"), // see `with_slash`
            ("/../secret", "nothing"),
            ("/..%2fsecret", "nothing"),
        ] {
            assert_eq!(read(&root, target), text, "{target}");
        }
        let long = format!("/{}", "x".repeat(10_000));
        assert_eq!(read(&root, &long), "nothing");
        let deep = "/docs".repeat(3_000);
        assert_eq!(read(&root, &deep), "nothing");
    }

    #[cfg(unix)]
    #[test]
    fn links_that_leave_and_links_that_stay() {
        use std::os::unix::fs::symlink;
        let (temp, root) = tree();
        let link = |to: &str, name: &str| symlink(to, root.join(name)).unwrap();
        link("../secret", "out.txt");
        link("..", "up");
        link("../inside-too", "beside");
        link("/etc", "etc");
        link("loop", "loop");
        link("docs", "in");
        link("index.html", "page.html");
        link("none", "dangling");
        fs::create_dir(root.join("trick")).unwrap();
        link("../../secret", "trick/index.html");
        let out = "/out.txt /up/secret /up /up/ /beside /beside/ \
            /beside/secret /etc/passwd /etc /loop /dangling /trick/";
        for target in out.split_whitespace() {
            assert_eq!(read(&root, target), "nothing", "{target}");
        }
        assert_eq!(read(&root, "/in/"), "docs");
        assert_eq!(read(&root, "/in"), "a folder");
        assert_eq!(read(&root, "/page.html"), "start");
        drop(temp);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_shows_and_as_what() {
        use std::os::unix::fs::symlink;
        let (_temp, root) = tree();
        let link = |to: &str, name: &str| symlink(to, root.join(name)).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        fs::write(root.join(".git/config"), "secret").unwrap();
        link(".git/config", "config");
        link(".git", "git");
        link("docs/a b.txt", "look.css");
        for target in ["/config", "/git", "/git/", "/git/config"] {
            assert_eq!(read(&root, target), "nothing", "{target}");
        }
        let Ok(Found::File(_, _, kind)) = find(&root, "/look.css") else {
            panic!("a link that stays is followed");
        };
        assert_eq!(kind, "text/css; charset=utf-8"); // by its own name
    }

    /// To open a pipe that nobody writes into would wait forever.
    #[cfg(unix)]
    #[test]
    fn a_pipe_is_no_file() {
        let (_temp, root) = tree();
        let pipe = root.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let (sender, found) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(read(&root, "/pipe")));
        let found = found.recv_timeout(std::time::Duration::from_secs(10));
        assert_eq!(found.unwrap(), "nothing");
    }

    #[test]
    fn a_root_that_is_no_folder() {
        let (temp, folder) = tree();
        let error = root(&temp.path().join("none")).unwrap_err();
        assert!(format!("{error:#}").contains("cannot serve the folder"));
        assert!(root(&folder.join("index.html")).is_err());
    }

    #[test]
    fn where_a_folders_page_is() {
        assert_eq!(with_slash("/docs"), "/docs/");
        assert_eq!(with_slash("/a/docs?x=/y"), "/a/docs/?x=/y");
    }

    #[test]
    fn the_type_of_a_name() {
        for (name, kind) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.woff2", "font/woff2"),
            ("a.exe", "application/octet-stream"),
            ("html", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(name)), kind);
        }
    }
}

//! Which lines of what a program printed tell what went wrong: the error
//! itself, and not the stack or what a runtime prints around it.

use crate::diagnosis::show;

/// How many lines a report shows.
const SHOWN: usize = 2;

/// The longest line that a report shows; it may take three lines there.
const WIDEST: usize = 190;

/// What a line contains that reports an error, in many languages.
const ERRORS: [&str; 12] = [
    "Error: ",
    "error: ",
    "Error [",
    "Exception",
    "Caused by: ",
    "panicked at",
    "panic: ",
    "fatal error",
    "terminate called",
    "Assertion",
    "AddressSanitizer",
    "stack smashing",
];

/// Code that died of an error which nothing caught.
const DEATHS: [&str; 11] = [
    "panicked at",
    "panic: ",
    "fatal error: ",
    "Exception in thread",
    "Exception ignored in thread",
    "Exception occurred during processing of request",
    "Task exception was never retrieved",
    "Unhandled exception",
    "terminate called",
    "AddressSanitizer",
    "runtime error: ",
];

/// Errors that no programmer raises on purpose. Where the stack of one was
/// printed, something caught it, but the code that did the work is dead all the same.
const ACCIDENTS: [&str; 16] = [
    "NegativeArraySize",
    "OutOfMemory",
    "OutOfBounds",
    "NullPointer",
    "BufferUnderflow",
    "BufferOverflow",
    "MemoryError",
    "OverflowError",
    "IndexError",
    "KeyError",
    "NameError",
    "TypeError",
    "AttributeError",
    "RangeError",
    "UnicodeDecodeError",
    "struct.error",
];

/// The lines of an output, without those at its end.
fn lines(text: &[u8]) -> Vec<String> {
    let lines = text.split(|&byte| byte == b'\n');
    let lines = lines.map(|line| {
        let line = line.trim_ascii_end();
        String::from_utf8_lossy(&line[..line.len().min(1000)]).into_owned()
    });
    lines.filter(|line| !line.is_empty()).collect()
}

/// The lines that tell the error; if none does, the last ones. Escaped, so
/// that a terminal shows them and does not obey them.
pub fn telling(text: &[u8]) -> Vec<String> {
    let lines = without_stack(lines(text));
    let last = lines.len().saturating_sub(SHOWN)..lines.len();
    let range = match lines.iter().rposition(|line| is_error(line)) {
        None => last,
        // Rust says where, and in the next line what.
        Some(at) if lines[at].contains("panicked at") => {
            at..lines.len().min(at + SHOWN)
        }
        // Python shows the line of the source above it.
        Some(at) if at > 0 && lines[at - 1].starts_with(' ') => at - 1..at + 1,
        Some(at) => at..at + 1,
    };
    lines[range].iter().map(|line| shown(line)).collect()
}

/// A line of source, which is indented, is cut, and so is one that is no text;
/// an error is not.
fn shown(line: &str) -> String {
    let is_text = !line.contains(|c: char| c.is_control() || c == '\u{fffd}');
    let widest = match is_text && !line.starts_with(' ') {
        true => WIDEST,
        false => show::LINE,
    };
    show::line_within(line.as_bytes(), widest)
}

/// Does this line report an error?
pub fn is_error(line: &str) -> bool {
    let name = line.rsplit('.').next().unwrap_or_default();
    ERRORS.iter().any(|sign| line.contains(sign))
        || !name.contains(' ') && name.ends_with("Error")
}

/// Does this tell that code which did some work has died, and not refused it?
pub fn tells_of_death(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let has = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    let has_stack = has(&["Traceback (most recent", "\tat ", "\n    at "]);
    has(&DEATHS) || has_stack && has(&ACCIDENTS)
}

/// What is left without the frames of a stack, the dump of an object, and
/// what is known anyway.
fn without_stack(lines: Vec<String>) -> Vec<String> {
    let (mut is_object, mut is_goroutine) = (false, false);
    let is_kept = |line: &String| {
        if is_object {
            is_object = line.trim() != "}";
            return false;
        }
        is_goroutine =
            line.starts_with("goroutine ") || is_goroutine && is_go_frame(line);
        let is_noise = is_goroutine || is_noise(line);
        is_object = line == "{" || is_noise && line.ends_with(" {");
        !is_noise && !is_object
    };
    lines.into_iter().filter(is_kept).collect()
}

fn is_go_frame(line: &str) -> bool {
    line.starts_with('\t')
        || line.starts_with("created by ")
        || line.ends_with(')') && !line.contains(' ')
        || line.contains("(0x")
}

fn is_noise(line: &str) -> bool {
    const STARTS: [&str; 14] = [
        "listening on ",
        "Traceback (most recent",
        "File \"",
        "During handling of the above",
        "The above exception was",
        "note: run with `RUST_BACKTRACE",
        "stack backtrace:",
        "Emitted '",
        "throw er;",
        "node:",
        "Node.js v",
        "exit status ",
        "[Previous line repeated",
        "}",
    ];
    let text = line.trim_start();
    let is_indented = text.len() < line.len();
    let is_numbered = text.split(": ").next().is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    });
    STARTS.iter().any(|start| text.starts_with(start))
        || is_indented && ["at ", "from "].iter().any(|s| text.starts_with(s))
        || is_indented && is_numbered
        || text.starts_with("... ") && text.ends_with(" more")
        || text.trim_matches([' ', '^', '~']).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_shown_and_not_what_surrounds_it() {
        for (text, shown) in [
            (NODE, &["Error: read ECONNRESET"][..]),
            (
                NODE_THROWN,
                &[
                    "    throw new ERR_OUT_OF_RANGE();",
                    "RangeError [ERR_OUT_OF_RANGE]: out of range",
                ],
            ),
            (JAVA, &["Caused by: java.net.SocketException: Broken pipe"]),
            (GO, &["panic: runtime error: index out of range [5]"]),
            (RUST, &["thread 'main' panicked at src/main.rs:9:5:", "no luck"]),
            (PYTHON, &["    s.sendall(data)", "BrokenPipeError: [Errno 32]"]),
            (LOG, &["second", "third"]),
            (RUBY, &["s.rb:4:in `read': Connection reset (Errno::ECONN)"]),
        ] {
            assert_eq!(telling(text.as_bytes()), shown, "{text}");
        }
    }

    #[test]
    fn a_refusal_by_an_exception_that_was_caught_is_no_death() {
        let caught = "Traceback (most recent call last):\n  File \"s.py\", line \
                      1, in x\nValueError: too large";
        assert!(!tells_of_death(caught.as_bytes()));
        let thread = format!("Exception in thread Thread-1 (serve):\n{caught}");
        assert!(tells_of_death(thread.as_bytes()));
        let java = "java.lang.NegativeArraySizeException: -1\n\tat S.main";
        assert!(tells_of_death(java.as_bytes()));
        assert!(tells_of_death(RUST.as_bytes()));
        assert!(!tells_of_death(LOG.as_bytes()));
    }

    const LOG: &str = "listening on 127.0.0.1:1\nfirst\nsecond\nthird\n";
    const NODE: &str = "node:events:497
      throw er; // Unhandled 'error' event
      ^

Error: read ECONNRESET
    at TCP.onStreamRead (node:internal/stream_base_commons:216:20)
Emitted 'error' event on Socket instance at:
    at emitErrorNT (node:internal/streams/destroy:170:8) {
  errno: -104,
  code: 'ECONNRESET',
  syscall: 'read'
}

Node.js v20.20.2
";
    const NODE_THROWN: &str = "node:buffer:1
    throw new ERR_OUT_OF_RANGE();
    ^

RangeError [ERR_OUT_OF_RANGE]: out of range
    at Socket.<anonymous> (/s.js:9:1) {
  code: 'ERR_OUT_OF_RANGE'
}
";
    const JAVA: &str = "Exception in thread \"main\" java.lang.RuntimeException
\tat S.serve(S.java:1)
Caused by: java.net.SocketException: Broken pipe
\tat java.base/x.Y.z(Y.java:1)
\t... 3 more
";
    const GO: &str = "panic: runtime error: index out of range [5]

goroutine 18 [running]:
main.serve({0x4d1e60, 0xc00001})
\t/s.go:33 +0x1d
created by main.main
\t/s.go:50 +0x8e
exit status 2
";
    const RUST: &str = "
thread 'main' panicked at src/main.rs:9:5:
no luck
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
";
    const PYTHON: &str = "Exception in thread Thread-1 (serve):
Traceback (most recent call last):
  File \"/s.py\", line 9, in serve
    s.sendall(data)
    ~~~~~~~~~^^^^^^
BrokenPipeError: [Errno 32]
";
    const RUBY: &str = "s.rb:4:in `read': Connection reset (Errno::ECONN)
\tfrom s.rb:4:in `<main>'
";
}

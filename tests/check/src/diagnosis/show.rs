//! Bytes for a person to read: in hex and as text, a few of them.

use std::time::Duration;

/// How many bytes one line shows: in both forms, after a label, they fit into
/// 80 columns.
pub const WINDOW: usize = 12;

/// `1234567` as `1 234 567`.
pub fn number(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `1 byte`, `2 bytes`.
pub fn size(n: usize) -> String {
    format!("{} byte{}", number(n), if n == 1 { "" } else { "s" })
}

/// `1 s`, `600 ms`.
pub fn time(limit: Duration) -> String {
    match limit.as_millis() {
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    bytes.join(" ")
}

fn printable(bytes: &[u8]) -> String {
    let shown = bytes.iter().map(|&b| match b {
        b' '..=b'~' => char::from(b),
        _ => '.',
    });
    shown.collect()
}

/// The first bytes, and how many there are.
pub fn bytes(bytes: &[u8], total: usize) -> String {
    if total == 0 {
        return "nothing".to_owned();
    }
    let most = if total < 10_000 { WINDOW } else { WINDOW - 2 };
    let shown = &bytes[..bytes.len().min(most)];
    let more = if total > shown.len() { " …" } else { "" };
    let (hex, text) = (hex(shown), printable(shown));
    format!("{hex}{more}  |{text}|  {}", size(total))
}

/// Where two byte strings differ, shown as three lines: what was expected,
/// what came, and a caret under the first wrong byte.
pub struct Difference {
    pub expected: String,
    pub actual: Vec<String>,
}

pub fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let at = a.iter().zip(b).position(|(a, b)| a != b);
    at.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))
}

pub fn difference(expected: &[u8], got: &[u8]) -> Difference {
    let at = first_difference(expected, got).unwrap_or(0);
    // A few bytes before the difference, so that it can be found.
    let from = if at < WINDOW { 0 } else { at - 4 };
    let most = if at < WINDOW { WINDOW } else { WINDOW - 2 };
    let line = |bytes: &[u8]| {
        if bytes.is_empty() {
            return "nothing".to_owned();
        }
        let part = bytes.get(from..).unwrap_or_default();
        let part = &part[..part.len().min(most)];
        let lead = if from > 0 { "… " } else { "" };
        let more = if from + part.len() < bytes.len() { " …" } else { "" };
        let (hex, text) = (hex(part), printable(part));
        format!("{lead}{hex}{more}  |{text}|  {}", size(bytes.len()))
    };
    if got.is_empty() {
        let actual = vec!["0 bytes".to_owned()];
        return Difference { expected: line(expected), actual };
    }
    let lead = if from > 0 { 2 } else { 0 };
    let caret = " ".repeat(lead + (at - from) * 3) + &caret(expected, got, at);
    Difference { expected: line(expected), actual: vec![line(got), caret] }
}

fn caret(expected: &[u8], got: &[u8], at: usize) -> String {
    let place = number(at);
    match (expected.get(at), got.get(at)) {
        (Some(e), Some(g)) => format!("^ byte {place}: {g:02x}, not {e:02x}"),
        (None, Some(_)) => format!("^ byte {place}: too much"),
        (Some(_), None) => format!("^ ends here, at byte {place}"),
        (None, None) => String::new(),
    }
}

/// How much of a line fits into a line of a report.
pub const LINE: usize = 64;

/// A line that a program printed, so that a terminal shows it and does not
/// obey it; a port, a time and a date are shown as `…`, since they differ from
/// run to run.
pub fn line(text: &[u8]) -> String {
    line_within(text, LINE)
}

/// The same, with at most `widest` characters.
pub fn line_within(text: &[u8], widest: usize) -> String {
    let text = &text[..text.len().min(400)];
    // Not in the middle of a letter.
    let text = match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => {
            &text[..error.valid_up_to()]
        }
        _ => text,
    };
    shorten(&hide_times(&hide_ports(&escape(text))), widest)
}

/// All of a text, so that a terminal shows it and does not obey it.
pub fn escape(text: &[u8]) -> String {
    let escaped = match std::str::from_utf8(text) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => text.escape_ascii().to_string(),
    };
    escaped.replace("\\\"", "\"").replace("\\'", "'")
}

/// At most `most` characters.
pub fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// `2026/11/30 14:05:09` as `… …`, for programs that log with the time of day.
fn hide_times(text: &str) -> String {
    let mut shown = text.to_owned();
    for shape in ["dddd/dd/dd", "dddd-dd-dd", "dd:dd:dd"] {
        while let Some(at) = find_shape(&shown, shape) {
            shown.replace_range(at..at + shape.len(), "…");
        }
    }
    shown
}

/// Where in a text stand digits (`d`) and marks of this shape?
fn find_shape(text: &str, shape: &str) -> Option<usize> {
    let is_like = |(byte, mark): (&u8, u8)| match mark {
        b'd' => byte.is_ascii_digit(),
        mark => *byte == mark,
    };
    let mut places = text.as_bytes().windows(shape.len());
    places.position(|place| place.iter().zip(shape.bytes()).all(is_like))
}

/// `127.0.0.1:40123` as `127.0.0.1:…`, and Python's `('127.0.0.1', 40123)`.
fn hide_ports(text: &str) -> String {
    hide_ports_of("[::1]", &hide_ports_of("127.0.0.1", text))
}

fn hide_ports_of(host: &str, text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(host) {
        let (before, after) = rest.split_at(at + host.len());
        shown.push_str(before);
        let digit = after.find(|c: char| c.is_ascii_digit());
        rest = after;
        let Some(digit) = digit.filter(|&d| d <= 3) else { continue };
        shown.push_str(&after[..digit]);
        shown.push('…');
        rest = after[digit..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    shown + rest
}

/// A line as it is, space included, in parts of at most `width` columns.
pub fn fold(line: &str, width: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = line;
    while let Some((end, _)) = rest.char_indices().nth(width) {
        // Between two words, if that leaves no large hole.
        let gap = rest[..end].rfind(' ').filter(|&gap| gap > end / 3);
        let (part, more) = rest.split_at(gap.unwrap_or(end));
        parts.push(part);
        rest = more.trim_start();
    }
    parts.push(rest);
    parts
}

/// Lines of at most `width` columns.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_under_the_first_wrong_byte() {
        let shown = difference(b"\0\0\0\x03\x81hi", b"\0\0\0\x03\x01hi");
        assert_eq!(shown.expected, "00 00 00 03 81 68 69  |.....hi|  7 bytes");
        assert_eq!(
            shown.actual,
            [
                "00 00 00 03 01 68 69  |.....hi|  7 bytes",
                "            ^ byte 4: 01, not 81"
            ]
        );
    }

    #[test]
    fn a_late_difference_is_shown_with_a_few_bytes_before_it() {
        let mut got = vec![b'x'; 100];
        got[50] = b'?';
        let shown = difference(&[b'x'; 100], &got);
        assert!(shown.actual[0].starts_with("… 78 78 78 78 3f 78"));
        assert_eq!(shown.actual[1], "              ^ byte 50: 3f, not 78");
    }

    #[test]
    fn a_line_shows_no_time_of_day() {
        let log = "2026/11/30 14:05:09 reset by 127.0.0.1:50123, 12:3";
        let shown = "… … reset by 127.0.0.1:…, 12:3";
        assert_eq!(line(log.as_bytes()), shown);
        assert_eq!(line(b"[2026-11-30T14:05:09.5]"), "[…T….5]");
    }

    #[test]
    fn a_line_cannot_command_the_terminal_and_shows_no_port() {
        assert_eq!(
            line(b"\x1b[2J 127.0.0.1:4711 x"),
            "\\u{1b}[2J 127.0.0.1:… x"
        );
        assert_eq!(line(b"('127.0.0.1', 4711)"), "('127.0.0.1', …)");
        assert_eq!(line(b"on [::1]:4711"), "on [::1]:…");
        assert_eq!(line(b"\xff\xfe"), "\\xff\\xfe");
    }

    #[test]
    fn what_is_empty_is_called_nothing() {
        let shown = difference(b"", b"x");
        assert_eq!(shown.expected, "nothing");
        assert_eq!(shown.actual[1], "^ byte 0: too much");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(4_294_967_295), "4 294 967 295");
        assert_eq!(number(12), "12");
    }
}

// ANCHOR: words
//! What page and server say to each other, a line in each text message. Words
//! are separated by one space; a TEXT is last, and may have spaces in it.
//!
//! ```text
//! page to server                 server to page
//!   join ROOM NAME LAST CLIENT     welcome WHO
//!   say SEQ TEXT                   gone
//!   dot X Y                        message ID NAME TEXT
//!   ping                           ack SEQ
//!                                  dot WHO NAME X Y
//!                                  left WHO
//!                                  pong
//! ```

use super::room::Id;

/// The largest room name and name, in characters, and text, in bytes.
pub const MAX_ROOM: usize = 32;
pub const MAX_NAME: usize = 24;
pub const MAX_TEXT: usize = 1000;

/// The largest coordinate of a dot; the smallest is 0.
pub const MAX_PLACE: u16 = 1000;
// ANCHOR_END: words

// ANCHOR: parse

/// A line from a page.
#[derive(Debug, PartialEq)]
pub enum Line<'a> {
    /// Enter a room, and hear what is newer than LAST (`0-0`: all of it).
    /// CLIENT is random, 16 hexadecimal digits, and stays with the page.
    Join { room: &'a str, name: &'a str, last: Id, client: u64 },
    /// Post a text. SEQ counts from 1, in order; a copy has the number of the
    /// first, and so has every number that is not greater than the last.
    Say { seq: u64, text: &'a str },
    /// Show where my dot is.
    Dot { x: u16, y: u16 },
    /// Show that you are there.
    Ping,
}

/// Reads a line. The error says which word is wrong.
pub fn parse(line: &str) -> Result<Line<'_>, &'static str> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "join" => join(rest),
        "say" => {
            let (seq, text) = rest.split_once(' ').ok_or("say SEQ TEXT")?;
            let seq = number(seq).filter(|&seq| seq > 0).ok_or("bad SEQ")?;
            if !is_text(text) {
                return Err("bad TEXT");
            }
            Ok(Line::Say { seq, text })
        }
        "dot" => {
            let (x, y) = rest.split_once(' ').ok_or("dot X Y")?;
            let place = |digits| number(digits).filter(|&n| n <= MAX_PLACE);
            let (x, y) = place(x).zip(place(y)).ok_or("bad X or Y")?;
            Ok(Line::Dot { x, y })
        }
        "ping" if line == word => Ok(Line::Ping),
        _ => Err("an unknown word"),
    }
}

fn join(rest: &str) -> Result<Line<'_>, &'static str> {
    let words: Vec<&str> = rest.split(' ').collect();
    let [room, name, last, client] = words[..] else {
        return Err("join ROOM NAME LAST CLIENT");
    };
    if !is_room(room) {
        return Err("bad ROOM");
    }
    if !is_name(name) {
        return Err("bad NAME");
    }
    let last = last.parse().map_err(|()| "bad LAST")?;
    let is_hex = client.bytes().all(|byte| byte.is_ascii_hexdigit());
    let client = Some(client).filter(|c| is_hex && c.len() == 16);
    let client = client.and_then(|c| u64::from_str_radix(c, 16).ok());
    Ok(Line::Join { room, name, last, client: client.ok_or("bad CLIENT")? })
}

/// `parse` alone would also take "+3".
fn number<N: std::str::FromStr>(digits: &str) -> Option<N> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

fn is_room(room: &str) -> bool {
    let is_fine =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_ROOM).contains(&room.len()) && room.chars().all(is_fine)
}

/// Letters, digits and ASCII's signs. That keeps out what nobody sees, such as
/// U+202E, which turns a line around. It does not keep out letters that look
/// alike, and it refuses the marks that some languages write with.
fn is_name(name: &str) -> bool {
    // Hangul fillers count as letters, and nobody sees them.
    let is_seen = |c| !"\u{115f}\u{1160}\u{3164}\u{ffa0}".contains(c);
    let is_sign = |c: char| c.is_alphanumeric() || c.is_ascii_punctuation();
    let is_fine = |c: char| is_sign(c) && is_seen(c);
    let length = name.chars().count();
    (1..=MAX_NAME).contains(&length) && name.chars().all(is_fine)
}

fn is_text(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && !text.contains(char::is_control)
}
// ANCHOR_END: parse

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_fine() {
        let join = Line::Join {
            room: "lobby-2",
            name: "<b>Zoë",
            last: Id(17, 3),
            client: 0xabc,
        };
        let line = "join lobby-2 <b>Zoë 17-3 0000000000000abc";
        assert_eq!(parse(line), Ok(join));
        let text = "two  words ";
        assert_eq!(parse("say 7 two  words "), Ok(Line::Say { seq: 7, text }));
        assert_eq!(parse("dot 0 1000"), Ok(Line::Dot { x: 0, y: 1000 }));
        assert_eq!(parse("ping"), Ok(Line::Ping));
        let long = "é".repeat(500);
        let say = Line::Say { seq: u64::MAX, text: &long };
        assert_eq!(parse(&format!("say 18446744073709551615 {long}")), Ok(say));
    }

    const BAD: [&str; 26] = [
        "",
        " ",
        "shout 1 a",
        "ping ",
        "ping x",
        "PING",
        "say",
        "say 1",
        "say 1 ",
        "say 0 a",
        "say -1 a",
        "say +1 a",
        "say x a",
        "say  1 a",
        "say 18446744073709551616 a",
        "say 1 a\nb",
        "say 1 \u{7f}",
        "dot",
        "dot 1",
        "dot 1 1001",
        "dot -1 1",
        "dot 1 2 3",
        "dot  1 2",
        "dot 1.5 2",
        "join",
        "join a b",
    ];

    #[test]
    fn lines_that_are_not() {
        let long = "x".repeat(1001);
        let hex = "0123456789abcdef";
        for bad in BAD {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse(&format!("say 1 {long}")).is_err());
        let room = "r".repeat(33);
        let name = "n".repeat(25);
        for (words, bad) in [
            (format!("A ann 0-0 {hex}"), "bad ROOM"),
            (format!("{room} ann 0-0 {hex}"), "bad ROOM"),
            (format!("../etc ann 0-0 {hex}"), "bad ROOM"),
            (format!("a {name} 0-0 {hex}"), "bad NAME"),
            (format!("a a\u{202e}b 0-0 {hex}"), "bad NAME"),
            (format!("a a\u{200b}b 0-0 {hex}"), "bad NAME"),
            (format!("a a\u{a0}b 0-0 {hex}"), "bad NAME"),
            (format!("a \u{3164} 0-0 {hex}"), "bad NAME"),
            (format!("a ann\u{ffa0} 0-0 {hex}"), "bad NAME"),
            (format!("a ann 0 {hex}"), "bad LAST"),
            ("a ann 0-0 123".to_owned(), "bad CLIENT"),
            (format!("a ann 0-0 +{}", &hex[1..]), "bad CLIENT"),
        ] {
            assert_eq!(parse(&format!("join {words}")), Err(bad), "{words}");
        }
        let usage = Err("join ROOM NAME LAST CLIENT");
        assert_eq!(parse(&format!("join a  0-0 {hex} x")), usage);
    }
}

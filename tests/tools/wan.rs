//! The ladders of "A remote network", drawn from its kept captures. The
//! package `lab` plays the scenes and keeps what was captured at both ends.

use std::fs;
use std::time::Duration;

use libtest_mimic::Trial;
use regex::Regex;

use crate::ladder::{Segment, draw, segments};
use crate::packets::{SERVER, read};
use crate::pictures::{Checked, try_lies};
use crate::support::shapes::{Shape, same, shapes};
use crate::support::{ROOT, snapshot, trial};

/// A scene of the lab, and the title of its drawing.
const SCENES: [(&str, &str); 13] = [
    ("round-trips", "A connection, and two requests on it"),
    ("lost-syn", "The first SYN is lost"),
    ("lost-segment", "The fourth segment of ten is lost"),
    ("lost-last", "The last segment of three is lost"),
    ("reordering", "The ninth segment is overtaken by the tenth"),
    ("overtaken", "The fifth segment is overtaken by five others"),
    ("nagle", "Two small writes for one request"),
    ("slow-start", "A million bytes on a new connection"),
    (
        "zero-window",
        "The server does not read for two seconds (the first 2.1 seconds)",
    ),
    ("cable", "The cable is out for three seconds"),
    ("half-open", "The client’s machine is gone, and the server waits"),
    ("heartbeat", "The client’s machine is gone, and the server asks"),
    (
        "keep-alive",
        "The server’s machine is gone, and the client’s kernel asks",
    ),
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let ladders = SCENES.map(|(name, title)| {
        let test = move || ladder(name, title);
        trial(&format!("wan::{name}, as the book prints it"), None, test)
    });
    let lies = trial("wan::a ladder with a lie is found", None, lies);
    ladders.into_iter().chain([lies]).collect()
}

/// The captures of a scene, taken together.
fn kept(name: &str) -> Vec<Segment> {
    let [client, server] = ["client", "server"].map(|end| {
        let file = format!("{ROOT}/tests/captures/wan-{name}-{end}.pcap");
        read(&fs::read(file).unwrap())
    });
    segments(&client, &server)
}

fn ladder(name: &str, title: &str) {
    let mut segments = kept(name);
    if name == "zero-window" {
        // What follows is more of the same.
        segments.retain(|s| s.left < Duration::from_millis(2120));
    }
    let id = format!("ladder-{name}");
    let picture = draw(&id, title, &segments);
    check(&picture, &segments).unwrap();
    snapshot(&id, &picture);
}

/// Each arrow stands for as many packets as it says, starts at its sender,
/// and gets across if these did; together they are all packets. Time runs
/// down.
fn check(picture: &str, segments: &[Segment]) -> Checked {
    let mut rest: Vec<&Segment> = segments.iter().collect();
    let mut last = f64::MIN;
    for arrow in picture.split("<g class=\"segment\">").skip(1) {
        let shapes = shapes(arrow);
        let is_line =
            |s: &&Shape| s.is("line", "packet") || s.is("line", "lost");
        let line = shapes.iter().find(is_line).ok_or("no line")?;
        let [[x, y], _] = line.ends();
        same("time runs down", y > last, true)?;
        last = y;
        let first = check_arrow(line, &shapes, &mut rest)?;
        let time = Some(first.left.as_millis());
        same("time", time_at(picture, [x, y]), time)?;
    }
    same("packets that no arrow shows", rest.len(), 0)
}

/// Takes the packets of one arrow out of `rest`.
fn check_arrow<'a>(
    line: &Shape,
    shapes: &[Shape],
    rest: &mut Vec<&'a Segment>,
) -> Result<&'a Segment, String> {
    let label = shapes.iter().find(|s| s.is("text", "word"));
    let label = &label.ok_or("no label")?.text;
    let many = Regex::new(r"(?:bytes in (\d+)|^(\d+) ACKs)").unwrap();
    let n = many.captures(label).map_or(1, |found| {
        let n = found.get(1).or(found.get(2)).unwrap();
        n.as_str().parse().unwrap()
    });
    let is_mine = |s: &Segment| side(s) == line.side();
    let mine: Vec<&'a Segment> =
        rest.iter().copied().filter(|s| is_mine(s)).take(n).collect();
    same("packets", mine.len(), n)?;
    rest.retain(|s| !mine.iter().any(|m| std::ptr::eq(*m, *s)));
    let [[x, _], [tip, _]] = line.ends();
    let length = (tip - x) * if line.side() == "client" { 1.0 } else { -1.0 };
    let is_across = (140.0..=150.0).contains(&length);
    let has = |tag, class| shapes.iter().any(|s: &Shape| s.is(tag, class));
    for segment in &mine {
        same("across", is_across, segment.arrived.is_some())?;
        let again = [label.starts_with("again "), has("line", "again")];
        same("again", again, [segment.is_again; 2])?;
        same("a probe", label.starts_with("probe"), segment.is_probe)?;
        same("lost", label.ends_with(", lost"), segment.arrived.is_none())?;
        let is_reset = segment.packet.has("RST");
        let is_lost = segment.arrived.is_none();
        same("a cross", has("path", "cross"), is_lost || is_reset)?;
    }
    let all = mine.iter().map(|s| s.packet.payload.len()).sum::<usize>();
    same("bytes", bytes(label), &*all.to_string())?;
    Ok(mine[0])
}

/// The time, in milliseconds, that stands beside this place of a lifeline.
fn time_at(picture: &str, [x, y]: [f64; 2]) -> Option<u128> {
    let shapes = shapes(picture);
    let is_here = |s: &&Shape| {
        let [dx, dy] = [s.at("x") - x, s.at("y") - y];
        s.is("text", "time") && dx.abs() < 20.0 && (dy - 5.0).abs() < 1.5
    };
    let text = &shapes.iter().find(is_here)?.text;
    text.strip_suffix(" ms")?.parse().ok()
}

/// How many bytes a label tells of.
fn bytes(label: &str) -> &str {
    let words: Vec<&str> = label.split(' ').collect();
    let at = words.iter().position(|word| word.starts_with("bytes"));
    at.map_or("0", |at| words[at - 1])
}

fn side(segment: &Segment) -> &'static str {
    crate::packets::side(segment.packet.from)
}

fn lies() {
    let segments = kept("lost-syn");
    assert!(segments.iter().any(|s| s.packet.from == SERVER));
    let picture = draw("ladder-lies", "Some lies", &segments);
    let lies = [
        ("x2=\"387\"", "x2=\"320\""),
        ("class=\"cross client\"", "class=\"mark client\""),
        (">again SYN<", ">SYN<"),
        ("x1=\"240\"", "x1=\"390\""),
        ("packet client", "packet server"),
        (">0 ms<", ">1 ms<"),
    ];
    try_lies(&picture, &lies, |svg| check(svg, &segments));
}

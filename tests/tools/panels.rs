//! What the drawings of `pipes.rs` show is what was seen: each check reads a
//! finished drawing back, and is tried on drawings with a lie in them.

use std::fs;
use std::ops::Range;

use libtest_mimic::Trial;

use crate::packets::{Packet, SERVER, read};
use crate::pictures::{Checked, try_lies};
use crate::pipes::{Queue, Seen};
use crate::support::shapes::{Shape, description, same, shapes};
use crate::support::{ROOT, trial};

/// The frames of a drawing: each as its source, and as shapes.
fn frames<const N: usize>(picture: &str) -> [(&str, Vec<Shape>); N] {
    let frames = picture.split("<li>").skip(1);
    let frames = frames.map(|frame| (frame, shapes(frame)));
    frames.collect::<Vec<_>>().try_into().unwrap()
}

/// The shapes with this tag and these classes.
fn all<'a>(
    shapes: &'a [Shape],
    tag: &'a str,
    classes: &'a str,
) -> impl DoubleEndedIterator<Item = &'a Shape> + Clone {
    shapes.iter().filter(move |shape| shape.is(tag, classes))
}

/// Is a place inside a rectangle?
fn holds(rect: &Shape, [x, y]: [f64; 2]) -> bool {
    let is_in = |at: &str, size: &str, value: f64| {
        (rect.at(at)..=rect.at(at) + rect.at(size)).contains(&value)
    };
    is_in("x", "width", x) && is_in("y", "height", y)
}

/// Each frame shows one observation of the queue. In the last one it is full.
pub fn check_queues(picture: &str, queues: &[Queue]) -> Checked {
    let frames: [_; 3] = frames(picture);
    let places = queues[2][0];
    for ((source, shapes), &[wait, asked]) in frames.iter().zip(queues) {
        let taken = all(shapes, "rect", "slot client");
        let slots = all(shapes, "rect", "slot").count() - taken.clone().count();
        same("places", slots, places as usize)?;
        let taken = taken.map(|slot| {
            let is_in = |text: &&Shape| {
                text.tag == "text" && holds(slot, [text.at("x"), text.at("y")])
            };
            shapes.iter().find(is_in).map_or("", |text| &text.text).to_owned()
        });
        let clients: Vec<String> = (1..=wait).map(|i| i.to_string()).collect();
        same("clients", taken.collect::<Vec<_>>(), clients)?;
        let words = [
            format!("{wait} of {places} places"),
            format!("Recv-Q {wait}, Send-Q {asked}"),
        ];
        let is_told = words.map(|words| description(source).contains(&words));
        same("description", is_told, [true; 2])?;
        let ss = all(shapes, "text", "mono").map(|text| &*text.text);
        let seen = format!("Recv-Q {wait}  Send-Q {asked}");
        same("ss", ss.collect(), vec![&*seen])?;
        check_arrival(shapes, wait, places)?;
    }
    Ok(())
}

/// Whoever comes, comes from above; the one that comes late gets stuck.
fn check_arrival(shapes: &[Shape], wait: i32, places: i32) -> Checked {
    let ends: Vec<_> = all(shapes, "path", "client").map(Shape::ends).collect();
    same("arrows", ends.len(), usize::from(wait > 0))?;
    let Some([[x, y], [tip_x, tip_y]]) = ends.first() else { return Ok(()) };
    same("down", (x == tip_x, y < tip_y), (true, true))?;
    let crosses = all(shapes, "line", "cross").map(|line| line.at("y1"));
    let is_stuck = crosses.clone().any(|y| *tip_y < y);
    same("stuck", is_stuck, wait == places)?;
    let name = all(shapes, "text", "client").find(|text| text.at("y") < *y);
    let late = format!("client {}", places + 1);
    same("late", name.is_some_and(|name| name.text == late), wait == places)
}

/// Before the client's FIN, between the two FINs, and after both.
pub fn check_pipes(picture: &str, packets: &[Packet]) -> Checked {
    let fin = |side: &str| {
        let is_it = |p: &Packet| p.has("FIN") && side_of(p) == side;
        packets.iter().position(is_it).unwrap()
    };
    let (client, server, end) = (fin("client"), fin("server"), packets.len());
    let times = [0..client, client..server, server..end];
    let frames: [_; 3] = frames(picture);
    for ((source, shapes), time) in frames.iter().zip(times) {
        let is_closed = |side| fin(side) <= time.start;
        for (side, other) in [("client", "server"), ("server", "client")] {
            let bytes = bytes(packets, &time, side);
            let words = format!("{bytes} bytes flow to the {other}");
            let is_told = description(source).contains(&words);
            same("description", is_told, bytes > 0)?;
            check_pipe(shapes, [side, other], is_closed(side), bytes)?;
        }
    }
    Ok(())
}

fn side_of(packet: &Packet) -> &'static str {
    if packet.from == SERVER { "server" } else { "client" }
}

fn bytes(packets: &[Packet], time: &Range<usize>, side: &str) -> usize {
    let sent = packets[time.clone()].iter().filter(|p| side_of(p) == side);
    sent.map(|p| p.payload.len()).sum()
}

/// The pipe from one end to the other, which has the colour of the first.
fn check_pipe(
    shapes: &[Shape],
    [side, other]: [&str; 2],
    is_closed: bool,
    bytes: usize,
) -> Checked {
    let x = |name| all(shapes, "text", name).find(|s| s.text == name).unwrap();
    let [from, to] = [side, other].map(|name| x(name).at("x"));
    let words = all(shapes, "text", side).filter(|s| s.text != side);
    let words: Vec<&Shape> = words.collect();
    let seen = match bytes {
        _ if is_closed => "FIN: closed".to_owned(),
        0 => "open".to_owned(),
        _ => format!("{bytes} bytes"),
    };
    let shown = words.iter().map(|word| &*word.text).collect();
    same(side, shown, vec![&*seen])?;
    let at = [words[0].at("x"), words[0].at("y")];
    let pipe = shapes.iter().find(|s| s.tag == "rect" && holds(s, at)).unwrap();
    same("pipe", pipe.side(), if is_closed { "" } else { side })?;
    let arrows: Vec<_> = all(shapes, "path", side).map(Shape::ends).collect();
    let flows = !is_closed && bytes > 0;
    same("arrows", !arrows.is_empty(), flows)?;
    for [tail, tip] in arrows {
        let way = (tip[0] - tail[0]).signum();
        same("way", way, (to - from).signum())?;
        same("in its pipe", [tail, tip].map(|at| holds(pipe, at)), [true; 2])?;
    }
    let cap = all(shapes, "line", "cap").find(|line| line.side() == side);
    let is_capped = cap.is_some_and(|cap| {
        (cap.at("x1") - from).abs() < (cap.at("x1") - to).abs()
    });
    same("end with the FIN", is_capped, is_closed)
}

const NAMES: [&str; 4] = [
    "1 the client’s receive buffer",
    "2 the server’s send buffer",
    "3 the server’s receive buffer",
    "4 the client’s send buffer",
];

/// Each frame shows what was seen of the four buffers when all stood still.
pub fn check_deadlock(picture: &str, seen: &[Seen; 4]) -> Checked {
    let frames: [_; 4] = frames(picture);
    for (i, (source, shapes)) in frames.iter().enumerate() {
        let (buffers, would_block) = &seen[i];
        let more =
            |n: usize| buffers.get(n + 1).map_or(*would_block, |&n| n > 0);
        let full = [0, 1, 2, 3].map(more);
        // Below it stands that the buffer with this number fills.
        let told = [0, 1, 2, 3].map(|n| n < i || i == 3);
        same("text", full, told)?;
        for n in 0..4 {
            let level = match (full[n], buffers[n]) {
                (true, 1..) => "full",
                (false, 1..) => "fills",
                _ => "empty",
            };
            check_buffer(shapes, n, level)?;
            let words = format!("{}: {level}{}", NAMES[n], [";", "."][n / 3]);
            let is_told = description(source).contains(&words);
            same("description", is_told, true)?;
        }
        check_waits(shapes, [("client", full[3]), ("server", full[1])])?;
        check_flows(shapes, full)?;
    }
    Ok(())
}

/// Below the name of each program that cannot write stands "in write".
fn check_waits(shapes: &[Shape], programs: [(&str, bool); 2]) -> Checked {
    let name = |x: f64| {
        let is_it = |s: &&Shape| s.text == s.side() && s.at("x") == x;
        shapes.iter().find(is_it).map_or("", Shape::side)
    };
    let words = all(shapes, "text", "mono").filter(|s| s.text == "in write");
    let shown: Vec<_> = words.map(|words| name(words.at("x"))).collect();
    let waiting = programs.iter().filter(|(_, waits)| *waits);
    same("in write", shown, waiting.map(|(name, _)| *name).collect())
}

/// What the buffer with this number (counted from 0) says, and its filling.
fn check_buffer(shapes: &[Shape], n: usize, level: &str) -> Checked {
    let name = (n + 1).to_string();
    let mut numbers = all(shapes, "text", "number");
    let number = numbers.find(|s| s.text == name).ok_or("no number")?;
    let at = [number.at("x"), number.at("y")];
    let buffer = all(shapes, "rect", "box").find(|s| holds(s, at));
    let buffer = buffer.ok_or("no buffer")?;
    let is_in = |s: &&Shape| holds(buffer, [s.at("x"), s.at("y")]);
    let label = all(shapes, "text", "label").find(is_in);
    same("level", label.map_or("", |label| &label.text), level)?;
    let bytes = all(shapes, "rect", "bytes").find(is_in);
    let height = bytes.map_or(0.0, |bytes| bytes.at("height"));
    let filled = match height / buffer.at("height") {
        0.0 => "empty",
        1.0 => "full",
        _ => "fills",
    };
    same("filling", filled, level)?;
    // The echo fills the first two.
    let side = if n < 2 { "server" } else { "client" };
    same("colour", bytes.map_or(side, |bytes| bytes.side()), side)
}

/// The arrows lead to where bytes still can go.
fn check_flows(shapes: &[Shape], full: [bool; 4]) -> Checked {
    let mut shown = Vec::new();
    for arrow in shapes.iter().filter(|shape| shape.tag == "path") {
        let [[x, y], [tip_x, tip_y]] = arrow.ends();
        let way = if tip_x > x { "client" } else { "server" };
        same("a client's bytes go to the right", arrow.side(), way)?;
        same("level", y, tip_y)?;
        // Just behind its tip is what it leads to.
        let at = [tip_x + 4.0 * (tip_x - x).signum(), tip_y];
        let mut target = shapes.iter().filter(|s| s.tag == "rect");
        let target = target.rfind(|s| holds(s, at)).ok_or("to nowhere")?;
        let is_in = |s: &&Shape| holds(target, [s.at("x"), s.at("y")]);
        let mut texts = shapes.iter().filter(is_in);
        let is_name = |s: &&Shape| {
            s.is("text", "number") || s.tag == "text" && s.text == s.side()
        };
        let name = texts.find(is_name).ok_or("to nothing")?;
        shown.push(&*name.text);
    }
    shown.sort();
    let seen = [
        ("1", full[0]),
        ("2", full[1]),
        ("3", full[2]),
        ("4", full[3]),
        ("server", full[1]),
    ];
    let seen = seen.iter().filter(|(_, is_full)| !is_full);
    same("arrows", shown, seen.map(|(name, _)| *name).collect())
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name, test| trial(&format!("panels::{name}"), None, test);
    vec![
        trial("a lie about the queue is found", queues as fn()),
        trial("a lie about the pipes is found", pipes),
        trial("a lie about the buffers is found", buffers),
    ]
}

fn kept(name: &str) -> String {
    let path = format!("{ROOT}/tests/snapshots/drawn-{name}.snap");
    fs::read_to_string(path).unwrap()
}

fn queues() {
    let lies = [
        ("slot client\" x=\"64\"", "slot\" x=\"64\""),
        ("Recv-Q 2  Send", "Recv-Q 3  Send"),
        ("Recv-Q 2, Send", "Recv-Q 3, Send"),
        ("M100 22L100 73M100 80", "M100 80L100 73M100 22"),
        (">2</text>", ">3</text>"),
        ("y1=\"62\"", "y1=\"42\""),
        (">client 5<", ">client 4<"),
    ];
    let queues = [[0, 3], [2, 3], [4, 3]];
    try_lies(&kept("backlog"), &lies, |svg| check_queues(svg, &queues));
}

fn pipes() {
    let file = fs::read(format!("{ROOT}/tests/captures/step1.pcap")).unwrap();
    let packets = read(&file);
    let lies = [
        ("M150 42L175 42M182 42", "M182 42L157 42M150 42"),
        ("path class=\"server", "path class=\"client"),
        ("text class=\"client\" x=\"26", "text class=\"client\" x=\"172"),
        ("M18 42L43 42M50 42", "M18 88L43 88M50 88"),
        (">14 bytes<", ">41 bytes<"),
        ("closed by FIN; 14", "closed by FIN; 41"),
        ("x1=\"8\" y1=\"20\" x2=\"8\"", "x1=\"192\" y1=\"20\" x2=\"192\""),
        (">FIN: closed<", ">open<"),
        ("rect class=\"box closed", "rect class=\"client"),
    ];
    try_lies(&kept("half-close"), &lies, |svg| check_pipes(svg, &packets));
}

fn buffers() {
    let lies = [
        (">fills<", ">full<"),
        (">fills<", ">empty<"),
        ("bytes client", "bytes server"),
        ("height=\"27\"", "height=\"52\""),
        (">1</text>", ">4</text>"),
        (": fills", ": empty"),
        ("\"281\" y=\"113\">in write", "\"33\" y=\"113\">in write"),
        ("M174 136L147 136M140 136", "M140 136L167 136M174 136"),
        ("path class=\"client\"", "path class=\"server\""),
        ("M67 62L77 62M84 62", "M67 99L77 99M84 99"),
    ];
    let seen = [
        ([9, 0, 0, 0], false),
        ([9, 9, 0, 0], false),
        ([9, 9, 9, 0], false),
        ([9, 9, 9, 9], true),
    ];
    try_lies(&kept("deadlock"), &lies, |svg| check_deadlock(svg, &seen));
    let check = |seen| check_deadlock(&kept("deadlock"), &seen).is_err();
    let others = seen.map(|(buffers, _)| (buffers, false));
    assert!(check(others), "the client can still write");
}

//! What a picture of packets shows is what the capture holds: each check reads
//! a finished picture back, and is tried on pictures with a lie in them.

use std::fs;

use libtest_mimic::Trial;

use crate::packets::{Packet, SERVER, read};
use crate::states::states;
use crate::support::shapes::{
    Shape, banded, description, hex, rows, same, shapes,
};
use crate::support::{ROOT, trial};

/// An error says what is shown, and what was seen.
pub type Checked = Result<(), String>;

/// The rows of a table of packets.
pub type Rows = Vec<Vec<String>>;

/// What the columns of a row say.
const NUMBER: usize = 0;
const FROM: usize = 1;
const TO: usize = 2;
const FLAGS: usize = 3;
const BYTES: usize = 6;
const DATA: usize = 7;

/// Each row shows its packet, and all rows together show all packets.
pub fn check_table(table: &str, packets: &[Packet]) -> Result<Rows, String> {
    let rows = rows(table);
    same("packets", rows.len(), packets.len())?;
    for (i, (row, p)) in rows.iter().zip(packets).enumerate() {
        same("number", &row[NUMBER], &(i + 1).to_string())?;
        let ends = [&row[FROM], &row[TO]].map(|name| port(name, packets));
        same("the ends", ends, [p.from, p.to])?;
        let numbers = [4, 5, BYTES].map(|i| row[i].parse().unwrap_or(0));
        same("numbers", numbers, [p.seq, p.ack, p.payload.len() as u32])?;
        same("flags", row[FLAGS].split(' ').collect(), p.flags.clone())?;
        same("data", payload(&row[DATA]), p.payload.clone())?;
    }
    Ok(rows)
}

/// The port of an end. Of several clients, A is the one that comes first.
fn port(name: &str, packets: &[Packet]) -> u16 {
    let mut clients: Vec<u16> = Vec::new();
    for client in packets.iter().map(Packet::client) {
        if !clients.contains(&client) {
            clients.push(client);
        }
    }
    let letter = name.strip_prefix("client").map(str::trim);
    match letter.map(|letter| letter.bytes().next().unwrap_or(b'A')) {
        Some(letter) => clients[usize::from(letter - b'A')],
        None => SERVER,
    }
}

/// The bytes that a cell shows as text in quotes, or in hexadecimal.
fn payload(cell: &str) -> Vec<u8> {
    match cell.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => text.replace("\\n", "\n").into_bytes(),
        None => {
            let bytes = cell.split_whitespace();
            bytes.map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect()
        }
    }
}

/// A packet in a picture.
struct Arrow {
    number: usize,
    /// The lifeline where it starts, and the one where it ends.
    ends: [f64; 2],
    /// How far down it starts, and ends.
    ys: [f64; 2],
}

/// The arrows, from the top to the bottom, are those of these rows.
fn check_arrows(
    svg: &str,
    rows: &[&Vec<String>],
) -> Result<Vec<Arrow>, String> {
    let all = shapes(svg);
    let mut arrows: Vec<Arrow> = Vec::new();
    let lines = all.iter().filter(|shape| shape.is("line", "packet"));
    let lines: Vec<&Shape> = lines.collect();
    same("arrows", lines.len(), rows.len())?;
    for (line, row) in lines.into_iter().zip(rows) {
        let arrow = check_arrow(line, &all, row)?;
        let words = words(row);
        let is_told = description(svg).contains(&words);
        same("description", (is_told, &words), (true, &words))?;
        let above = arrows.last().map_or(f64::MIN, |above| above.ys[1]);
        same("time runs down", above < arrow.ys[0], true)?;
        arrows.push(arrow);
    }
    Ok(arrows)
}

fn check_arrow(
    line: &Shape,
    all: &[Shape],
    row: &[String],
) -> Result<Arrow, String> {
    let [[x, y], [tip_x, tip_y]] = line.ends();
    let [start, tip] = [lifeline(all, x)?, lifeline(all, tip_x)?];
    let names = [&start.text, &tip.text];
    same("from and to", names, [&row[FROM], &row[TO]])?;
    let is_on = |text: &&Shape| {
        (text.at("y") - y).abs() < 10.0 && text.side() == start.side()
    };
    let is_number = |s: &&Shape| s.is("text", "number") && s.at("x") == x;
    let number = all.iter().filter(is_on).find(is_number);
    let label = all.iter().filter(is_on).find(|s| s.is("text", "label"));
    let shown = [number, label].map(|text| text.map_or("", |text| &text.text));
    same("number and label", shown, [&row[NUMBER], &label_of(row)])?;
    same("colour", line.side(), start.side())?;
    let head = line.get("marker-end");
    same("head", head.contains(line.side()), true)?;
    Ok(Arrow {
        number: row[NUMBER].parse().unwrap(),
        ends: [start.at("x"), tip.at("x")],
        ys: [y, tip_y],
    })
}

/// The name of the lifeline at which an arrow starts or ends.
fn lifeline(all: &[Shape], x: f64) -> Result<&Shape, String> {
    let is_here = |shape: &&Shape| {
        shape.is("text", "end") && (shape.at("x") - x).abs() < 4.0
    };
    let name = all.iter().find(is_here).ok_or("no lifeline")?;
    let is_line = |shape: &Shape| {
        shape.is("line", "life") && shape.get("x1") == name.get("x")
    };
    let line = all.iter().find(|shape| is_line(shape)).ok_or("no line")?;
    let sides = [line.side(), name.side()];
    same("colour of a line", sides, [&name.text[..6]; 2])?;
    Ok(name)
}

/// What stands above the arrow.
fn label_of(row: &[String]) -> String {
    let flags = row[FLAGS].replace("PSH ", "");
    let data = match row[BYTES].parse().unwrap() {
        0 => return flags,
        // Of a long frame the picture shows the length and the kind.
        1..=20 if row[DATA].len() > 24 => format!("{} …", &row[DATA][..14]),
        1..=20 => row[DATA].clone(),
        n => format!("{n} bytes"),
    };
    if flags.contains("FIN") { format!("{data} FIN") } else { data }
}

fn words(row: &[String]) -> String {
    let (from, to) = (&row[FROM], &row[TO]);
    format!("{}, {from} to {to}: {}", row[NUMBER], label_of(row))
}

fn only_acknowledges(row: &[String]) -> bool {
    row[FLAGS] == "ACK" && row[BYTES] == "0"
}

/// Packets and calls: each call stands where a packet leaves or comes.
pub fn check_calls(svg: &str, rows: &Rows, with_acks: bool) -> Checked {
    let shown = rows.iter().filter(|row| with_acks || !only_acknowledges(row));
    let arrows = check_arrows(svg, &shown.collect::<Vec<_>>())?;
    let all = shapes(svg);
    let calls = all.iter().filter(|shape| shape.is("text", "call"));
    let mut writes = 0;
    for call in calls {
        let row = called(call, &arrows, rows).ok_or("a call without packet")?;
        let has = |flags| row[FLAGS].replace("PSH ", "") == flags;
        let has_data = row[BYTES] != "0";
        writes += usize::from(call.text == "write");
        let is_it = match &*call.text {
            "write" | "read" => has_data,
            "connect" => has("SYN"),
            "connected" => has("SYN ACK"),
            "accept" => only_acknowledges(row),
            "refused" => row[FLAGS].contains("RST"),
            _ => row[FLAGS].contains("FIN"),
        };
        same(&call.text, (is_it, row), (true, row))?;
    }
    let with_data = rows.iter().filter(|row| row[BYTES] != "0");
    same("writes", writes, with_data.count())
}

/// The packet that this call sends, or because of which it returns.
fn called<'a>(
    call: &Shape,
    arrows: &[Arrow],
    rows: &'a Rows,
) -> Option<&'a Vec<String>> {
    let sends = ["connect", "write", "close", "shutdown"];
    let end = usize::from(!sends.contains(&&*call.text));
    let is_there = |arrow: &&Arrow| {
        let beside = (arrow.ends[end] - call.at("x")).abs() == 15.0;
        beside && (call.at("y") - arrow.ys[end] - 5.0).abs() < 1.0
    };
    let row = &rows[arrows.iter().find(is_there)?.number - 1];
    row[FROM + end].starts_with(call.side()).then_some(row)
}

/// Packets and states: each band starts at the packet that leads to its state.
pub fn check_states(svg: &str, rows: &Rows, packets: &[Packet]) -> Checked {
    let arrows = check_arrows(svg, &rows.iter().collect::<Vec<_>>())?;
    let all = shapes(svg);
    for name in all.iter().filter(|shape| shape.is("text", "end")) {
        check_bands(name, &all, &arrows, packets)?;
        let states = states(packets, port(&name.text, packets));
        let states: Vec<_> =
            states.into_iter().map(|(_, state)| state).collect();
        let states = states.join(", ");
        let words = format!("{}: {states}", name.text);
        let told = description(svg).replace(" for a minute", "");
        same(&words, told.contains(&words), true)?;
    }
    Ok(())
}

fn check_bands(
    name: &Shape,
    all: &[Shape],
    arrows: &[Arrow],
    packets: &[Packet],
) -> Checked {
    let x = name.at("x");
    let is_ours = |s: &&Shape| s.side() == name.side();
    let texts = all.iter().filter(|s| s.is("text", "state")).filter(is_ours);
    let mut shown = Vec::new();
    for text in texts.filter(|text| text.text != "for a minute") {
        same("beside", (text.at("x") - x).abs() < 20.0, true)?;
        let above = ends_at(x, arrows).filter(|(y, _)| *y < text.at("y"));
        let (y, i) = above.last().ok_or("a state without packet")?;
        shown.push((y, (i, &*text.text)));
    }
    let changes: Vec<_> = shown.iter().map(|(_, change)| *change).collect();
    same("states", changes, states(packets, port(&name.text, packets)))?;
    // The last band leaves the picture.
    let bottom = all.iter().filter(|s| s.is("line", "life"));
    let bottom = bottom.map(|s| s.at("y2")).fold(0.0, f64::max);
    let bands = all.iter().filter(|s| s.is("rect", "band")).filter(is_ours);
    let bands = bands.map(|s| {
        let end = s.at("y") + s.at("height");
        let waits = s.is("rect", "waits");
        (middle(s), s.at("y"), end.min(bottom), waits)
    });
    let ends = shown.iter().skip(1).map(|(y, _)| *y).chain([bottom]);
    let seen = shown.iter().zip(ends);
    let seen = seen.filter(|((_, (_, state)), _)| *state != "CLOSED");
    let seen =
        seen.map(|((y, (_, state)), end)| (x, *y, end, *state == "TIME-WAIT"));
    same("bands", bands.collect::<Vec<_>>(), seen.collect())
}

/// How far down packets leave and come at a lifeline; and which they are.
fn ends_at(x: f64, arrows: &[Arrow]) -> impl Iterator<Item = (f64, usize)> {
    let ends = arrows.iter().flat_map(|arrow| {
        let ends = arrow.ends.into_iter().zip(arrow.ys);
        ends.map(|(x, y)| (x, y, arrow.number - 1))
    });
    ends.filter(move |end| end.0 == x).map(|(_, y, i)| (y, i))
}

fn middle(rect: &Shape) -> f64 {
    rect.at("x") + rect.at("width") / 2.0
}

/// The longest wait of the capture: each tick and both bands have its scale.
pub fn check_scale(svg: &str, rows: &Rows, packets: &[Packet]) -> Checked {
    let millis = |from: usize, to: usize| {
        (packets[to].time - packets[from].time).as_secs_f64() * 1000.0
    };
    let gap = |i: &usize| millis(*i, i + 1);
    let gaps = 0..packets.len() - 1;
    let before = gaps.max_by(|a, b| gap(a).total_cmp(&gap(b))).unwrap();
    let is_reply = |row: &[String]| row[FROM] == "server" && row[BYTES] != "0";
    let reply = (before + 1..).find(|&i| is_reply(&rows[i])).unwrap();
    let shown = rows[before..=reply].iter().collect::<Vec<_>>();
    let arrows = check_arrows(svg, &shown)?;
    let wait = gap(&before);
    for words in [
        format!("{wait:.0} ms without a packet"),
        format!("all within {:.1} ms", millis(before + 1, reply)),
    ] {
        same(&words, svg.contains(&words), true)?;
    }
    let all = shapes(svg);
    let mut scales = Vec::new();
    for band in all.iter().filter(|s| s.is("rect", "band")) {
        let height = band.at("height");
        same("side", lifeline(&all, middle(band))?.side(), band.side())?;
        same("start", band.at("y"), arrows[0].ys[0])?;
        let end = band.at("y") + height;
        same("nothing else", arrows[1].ys[0] > end, true)?;
        scales.push(height / wait);
    }
    let [scale, other] = scales[..] else { return Err("bands".to_owned()) };
    same("scale", scale, other)?;
    check_ticks(&all, arrows[0].ys[0], scale, wait)
}

/// A tick each 10 ms, with `scale` pixels for each millisecond.
fn check_ticks(all: &[Shape], start: f64, scale: f64, wait: f64) -> Checked {
    let ticks = all.iter().filter(|s| s.is("line", "tick"));
    let times = all.iter().filter(|s| s.is("text", "time"));
    let count = [ticks.clone().count(), times.clone().count()];
    same("ticks", count, [wait as usize / 10 + 1; 2])?;
    for (i, (tick, time)) in ticks.zip(times).enumerate() {
        let [[_, y], [_, end]] = tick.ends();
        same("time", &*time.text, &format!("{} ms", i * 10))?;
        same("its tick", (time.at("y") - y).abs() < 7.0, true)?;
        let seen = start + (i * 10) as f64 * scale;
        let is_there = (y - seen).abs() < 1.5 && y == end;
        same("a tick", (is_there, y, seen), (true, y, seen))?;
    }
    Ok(())
}

/// A frame in each row: the packets with data, byte for byte.
pub fn check_frames(table: &str, packets: &[Packet]) -> Checked {
    let (bytes, _) = hex(table.split("<tbody>").nth(1).unwrap());
    let data = packets.iter().filter(|p| !p.payload.is_empty());
    let seen = data.clone().flat_map(|p| banded(&p.payload));
    same("bytes", bytes, seen.collect())?;
    let from = rows(table).into_iter().map(|row| port(&row[0], packets));
    same("from", from.collect::<Vec<_>>(), data.map(|p| p.from).collect())
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name, test| trial(&format!("pictures::{name}"), None, test);
    vec![
        trial("a lie in a table of packets is found", tables as fn()),
        trial("a lie in a drawing of packets is found", drawings),
        trial("a lie about a state is found", bands),
        trial("a lie about time is found", scales),
        trial("a byte in another band is found", frames),
    ]
}

fn kept(name: &str, capture: &str) -> (String, Vec<Packet>, Rows) {
    let file =
        fs::read(format!("{ROOT}/tests/captures/{capture}.pcap")).unwrap();
    let packets = read(&file);
    let snapshot = |name: &str| {
        fs::read_to_string(format!("{ROOT}/tests/snapshots/{name}.snap"))
            .unwrap()
    };
    let table = snapshot(&format!("capture-{capture}"));
    let rows = check_table(&table, &packets).unwrap();
    (snapshot(name), packets, rows)
}

/// What is true passes; each lie, which is an old text and a new one, doesn't.
pub fn try_lies(
    picture: &str,
    lies: &[(&str, &str)],
    check: impl Fn(&str) -> Checked,
) {
    check(picture).unwrap();
    for (old, new) in lies {
        assert!(picture.contains(old), "no {old}");
        let lie =
            picture.replace(old, "\0").replace(new, old).replace('\0', new);
        assert!(check(&lie).is_err(), "nobody noticed {old} for {new}");
    }
}

fn tables() {
    let (_, packets, _) = kept("capture-step3", "step3");
    let lies = [
        ("number\">4<", "number\">5<"),
        (">client A<", ">client B<"),
        (
            "client\">client A</td><td class=\"server\">server",
            "server\">server</td><td class=\"client\">client A",
        ),
        ("one\\n", "two"),
        (">PSH ACK<", ">ACK<"),
    ];
    let (table, ..) = kept("capture-step3", "step3");
    try_lies(&table, &lies, |table| check_table(table, &packets).map(drop));
}

fn drawings() {
    let (picture, _, rows) = kept("lifelines-step1", "step1");
    let lies = [
        ("y=\"207\">4<", "y=\"253\">5<"),
        ("packet client", "packet server"),
        ("life client\" x1=\"104", "life client\" x1=\"404"),
        ("end client\" x=\"104", "end client\" x=\"404"),
        (
            "x1=\"104\" y1=\"202\" x2=\"401\"",
            "x1=\"404\" y1=\"202\" x2=\"107\"",
        ),
        ("y2=\"212\"", "y2=\"192\""),
        (">&quot;Hello, Server!", ">&quot;Hello, client!"),
        ("4, client to server", "4, server to client"),
        (">connect<", ">write<"),
        (">accept<", ">read<"),
        ("client-tip)", "server-tip)"),
    ];
    try_lies(&picture, &lies, |svg| check_calls(svg, &rows, true));
}

fn bands() {
    let (picture, packets, rows) = kept("lifelines-step1-states", "step1");
    let lies = [
        ("band client", "band server"),
        ("band client\" x=\"122\"", "band server\" x=\"362\""),
        (">FIN-WAIT-1<", ">FIN-WAIT-2<"),
        (">LAST-ACK<", ">CLOSE-WAIT<"),
        ("y=\"120\" width", "y=\"110\" width"),
        ("height=\"56\"", "height=\"46\""),
        ("FIN-WAIT-1, FIN-WAIT-2", "FIN-WAIT-1, CLOSING"),
        (" waits\"", "\""),
    ];
    try_lies(&picture, &lies, |svg| check_states(svg, &rows, &packets));
}

fn scales() {
    let (picture, packets, rows) = kept("nagle-to-scale", "two-writes");
    let lies = [
        ("y1=\"128\" x2=\"91\" y2=\"128\"", "y1=\"110\" x2=\"91\" y2=\"110\""),
        (">20 ms<", ">25 ms<"),
        ("height=\"246\"", "height=\"172\""),
        ("y=\"68\" width", "y=\"74\" width"),
        (">11<", ">12<"),
        ("41 ms without", "14 ms without"),
        ("within 0.2 ms", "within 2.0 ms"),
    ];
    let check = |svg: &str| check_scale(svg, &rows, &packets);
    try_lies(&picture, &lies, check);
    let tick = |y: u32| format!("y1=\"{y}\" x2=\"91\" y2=\"{y}\"");
    let closer = (1..5).fold(picture, |svg, i| {
        svg.replace(&tick(68 + 60 * i), &tick(68 + 42 * i))
    });
    assert!(check(&closer).is_err(), "all ticks closer by 0.7");
}

fn frames() {
    let (table, packets, _) = kept("frames-on-the-wire", "step4");
    let lies = [
        ("<span class=\"kind\">01</span>", "<span class=\"payload\">01</span>"),
        (
            " 04</span></td><td><span class=\"kind\">01",
            "</span></td><td><span class=\"kind\">04 01",
        ),
        (">client<", ">server<"),
        ("74 77 6f", "74 77 70"),
    ];
    try_lies(&table, &lies, |table| check_frames(table, &packets));
}

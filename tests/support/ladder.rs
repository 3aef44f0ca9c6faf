//! A conversation over a long road, drawn from two captures, one at each end:
//! only so can a picture show how long a packet was under way, and which one
//! did not arrive.

use std::time::Duration;

use crate::packets::{
    Packet, SERVER, escape, figure, line, reset, side, title,
};

/// A packet, and what became of it. Times count from the first packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub packet: Packet,
    pub left: Duration,
    /// `None` says that it was lost on the way.
    pub arrived: Option<Duration>,
    /// Has its sender sent these bytes, or this SYN or FIN, before?
    pub is_again: bool,
    /// Has it nothing, and a number that was used before? It asks whether the
    /// other end is there, or has room (RFC 9293, sections 3.8.4 and 3.8.6.1).
    pub is_probe: bool,
    /// Does a later one of its sender arrive before it?
    pub is_overtaken: bool,
    /// Was its sender's window 0 in the packet before?
    pub was_full: bool,
}

/// Finds each packet of the two captures in the other one.
pub fn segments(client: &[Packet], server: &[Packet]) -> Vec<Segment> {
    let mut segments = one_way(false, client, server);
    segments.extend(one_way(true, server, client));
    // The client's SYN leaves first.
    let start = client[0].time;
    for segment in &mut segments {
        segment.left -= start;
        segment.arrived = segment.arrived.map(|time| time - start);
    }
    segments.sort_by_key(|segment| segment.left);
    let overtaken: Vec<bool> =
        (0..segments.len()).map(|i| is_overtaken(&segments[i..])).collect();
    for (segment, is_overtaken) in segments.iter_mut().zip(overtaken) {
        segment.is_overtaken = is_overtaken;
    }
    segments
}

/// What one end sent, and what of it reached the other.
fn one_way(
    is_server: bool,
    sent: &[Packet],
    received: &[Packet],
) -> Vec<Segment> {
    let mine = |p: &&Packet| (p.from == SERVER) == is_server;
    let mut received: Vec<&Packet> = received.iter().filter(mine).collect();
    let (mut end, mut was_full) = (0, false);
    let segments = sent.iter().filter(mine).map(|p| {
        let found = received.iter().position(|other| is_same(other, p));
        let new_end = p.seq + length(p);
        let is_empty = length(p) == 0;
        let segment = Segment {
            packet: p.clone(),
            left: p.time,
            arrived: found.map(|i| received.remove(i).time),
            is_again: new_end <= end && !is_empty,
            is_probe: new_end < end && is_empty && !p.has("RST"),
            is_overtaken: false, // so far
            was_full,
        };
        end = end.max(new_end);
        was_full = is_full(p);
        segment
    });
    let segments = segments.collect();
    assert_eq!(received.len(), 0, "who sent these? {received:?}");
    segments
}

/// Is the first of these overtaken by one of the others?
fn is_overtaken(segments: &[Segment]) -> bool {
    let first = &segments[0];
    segments.iter().any(|s| {
        s.packet.from == first.packet.from
            && s.arrived.is_some_and(|time| Some(time) < first.arrived)
    })
}

/// Has its sender no room for a single byte more?
fn is_full(p: &Packet) -> bool {
    p.window == 0 && !p.has("SYN") && !p.has("RST")
}

fn is_same(a: &Packet, b: &Packet) -> bool {
    let key = |p: &Packet| (p.id, p.seq, p.ack, p.payload.len(), p.window);
    key(a) == key(b) && a.flags == b.flags
}

/// How many numbers it takes: SYN and FIN have one each.
fn length(p: &Packet) -> u32 {
    let marks = ["SYN", "FIN"].iter().filter(|flag| p.has(flag));
    p.payload.len() as u32 + marks.count() as u32
}

/// Packets that left one behind the other and fared alike: one arrow.
struct Flight {
    segments: Vec<Segment>,
}

/// As many packets as this within as much time as this are one flight.
const MANY: usize = 4;
const TOGETHER: Duration = Duration::from_millis(8);

impl Flight {
    fn first(&self) -> &Segment {
        &self.segments[0]
    }

    fn last(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    fn takes(&self, next: &Segment) -> bool {
        let (first, last) = (self.first(), self.last());
        let kind = |s: &Segment| {
            let p = &s.packet;
            let marks = ["SYN", "FIN", "RST"].map(|flag| p.has(flag));
            let is_empty = p.payload.is_empty();
            let is_odd = s.is_probe || s.is_overtaken || s.was_full;
            let fate = (s.is_again, is_odd, s.arrived.is_some());
            (p.from, fate, is_empty, marks)
        };
        let is_plain = kind(first).3 == [false; 3] && first.packet.window > 0;
        let is_soon = next.left - last.left < TOGETHER;
        // One that is overtaken, or late, is drawn for itself.
        let is_behind = match (last.arrived, next.arrived) {
            (Some(a), Some(b)) => a <= b && b - a < TOGETHER,
            _ => true,
        };
        is_plain && is_soon && is_behind && kind(first) == kind(next)
    }
}

/// The flights in the order in which they start. What is not many is drawn
/// one by one.
fn flights(segments: &[Segment]) -> Vec<Flight> {
    let mut flights: Vec<Flight> = Vec::new();
    for segment in segments {
        let from = segment.packet.from;
        let mut open = flights.iter_mut().rev();
        let open = open.find(|flight| flight.first().packet.from == from);
        match open.filter(|flight| flight.takes(segment)) {
            Some(flight) => flight.segments.push(segment.clone()),
            None => flights.push(Flight { segments: vec![segment.clone()] }),
        }
    }
    let mut drawn = Vec::new();
    for flight in flights {
        match flight.segments.len() {
            MANY.. => drawn.push(flight),
            _ => drawn.extend(
                flight
                    .segments
                    .into_iter()
                    .map(|s| Flight { segments: vec![s] }),
            ),
        }
    }
    drawn.sort_by_key(|flight| flight.first().left);
    drawn
}

// ---- Where a moment stands

const TOP: f64 = 52.0;
const CLIENT: usize = 240;
const SERVER_AT: usize = 390;
const WIDTH: usize = 630;
/// Words stand outside, where no arrow crosses them: first the time, then, so
/// far from the lifeline, what is sent.
const WORDS: usize = 76;
/// Pixels for a millisecond.
const SCALE: f64 = 1.0;
/// So many pixels at most for a time in which nothing happens.
const QUIET: f64 = 72.0;
/// From one label to the next at the same side.
const LABEL: f64 = 20.0;

/// Each moment of the conversation, how far down it is, and whether some of
/// the time before it is left out.
struct Scale {
    moments: Vec<(Duration, f64, bool)>,
}

impl Scale {
    fn of(flights: &[Flight]) -> Scale {
        // When something leaves it needs room for its label.
        let mut events: Vec<(Duration, f64)> = Vec::new();
        for flight in flights {
            events.push((flight.first().left, LABEL));
            events.push((flight.last().left, 1.0));
            let ends = [flight.first(), flight.last()];
            let arrived = ends.into_iter().filter_map(|end| end.arrived);
            events.extend(arrived.map(|time| (time, 1.0)));
        }
        events.sort_by_key(|event| event.0);
        let (mut last, mut y) = (Duration::ZERO, TOP - LABEL);
        let moments = events.into_iter().map(|(time, room)| {
            let to_scale = (time - last).as_secs_f64() * 1000.0 * SCALE;
            y += to_scale.clamp(room, QUIET);
            last = time;
            (time, y, to_scale > QUIET)
        });
        Scale { moments: moments.collect() }
    }

    /// Of several things at one moment, the nth.
    fn y(&self, time: Duration, nth: usize) -> f64 {
        let here = self.moments.iter().filter(|moment| moment.0 == time);
        let here: Vec<f64> = here.map(|moment| moment.1).collect();
        here[nth.min(here.len() - 1)]
    }

    fn end(&self) -> f64 {
        self.moments.last().map_or(TOP, |moment| moment.1)
    }
}

// ---- The picture

/// Draws two captures of one conversation. `id` is that of the figure.
pub fn draw(id: &str, title: &str, segments: &[Segment]) -> String {
    let flights = flights(segments);
    let scale = Scale::of(&flights);
    let ends_lost = segments.last().is_some_and(|s| s.arrived.is_none());
    let height = scale.end() as usize + if ends_lost { 32 } else { 16 };
    let mut body = line(50001, "client", CLIENT, height);
    body += &line(SERVER, "server", SERVER_AT, height);
    body += &breaks(&scale);
    for flight in &flights {
        body += &arrow(id, flight, &scale);
    }
    body += &times(&flights, &scale);
    let words: Vec<String> = flights.iter().map(in_words).collect();
    figure(id, title, &words.join("; "), [WIDTH, height], &body).replacen(
        "lifelines",
        "lifelines ladder",
        1,
    )
}

/// What happens in a flight, for those who do not see it.
fn in_words(flight: &Flight) -> String {
    let (first, last) = (flight.first(), flight.last());
    let from = side(first.packet.from);
    let fate = match last.arrived {
        Some(time) => format!("arrives at {}", shown(time)),
        None => "is lost".to_owned(),
    };
    format!(
        "at {} the {from} sends {}, which {fate}",
        shown(first.left),
        label(flight)
    )
}

fn shown(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// What is written on an arrow.
fn label(flight: &Flight) -> String {
    let (first, last) = (flight.first(), flight.last());
    let p = &first.packet;
    let n = flight.segments.len();
    let bytes: usize =
        flight.segments.iter().map(|s| s.packet.payload.len()).sum();
    let mut flags = p.flags.clone();
    flags.retain(|flag| *flag != "PSH" && (*flag != "ACK" || p.has("SYN")));
    let mut label = match (n, bytes) {
        (1, 0) if first.is_probe => "probe".to_owned(),
        (1, 0) if flags.is_empty() => format!("ACK {}", p.ack),
        (1, 0) => flags.join(" "),
        (1, _) => {
            flags.insert(0, "");
            format!("{bytes} bytes{}", flags.join(" "))
        }
        (_, 0) => format!("{n} ACKs, to {}", last.packet.ack),
        _ => format!("{bytes} bytes in {n}"),
    };
    if (is_full(p) || first.was_full) && n == 1 && bytes == 0 {
        label = format!("window {}", p.window);
    }
    if first.is_again {
        label = format!("again {label}");
    }
    if first.arrived.is_none() {
        label += ", lost";
    }
    label
}

fn arrow(id: &str, flight: &Flight, scale: &Scale) -> String {
    let (first, last) = (flight.first(), flight.last());
    let side = side(first.packet.from);
    let across = match side {
        "client" => [CLIENT, SERVER_AT],
        _ => [SERVER_AT, CLIENT],
    };
    let [x, other] = across;
    let y = scale.y(first.left, 0);
    let band = band(flight, side, across, scale);
    let line = match first.arrived {
        Some(time) => {
            let ends = [y, scale.y(time, 0)];
            arrived(id, first, side, across, ends)
        }
        None => lost(first.is_again, side, across, y),
    };
    let ring = ring(&last.packet, side, x, y);
    let (at, anchor) =
        if x < other { (x - WORDS, "end") } else { (x + WORDS, "start") };
    let label = escape(&label(flight));
    let title = title(&first.packet, &last.packet);
    let y = y + 5.0;
    format!(
        "<g class=\"segment\"><title>{title}</title>\n{band}{line}{ring}\
         <text class=\"word {side}\" x=\"{at}\" y=\"{y:.0}\" \
         text-anchor=\"{anchor}\">{label}</text></g>\n"
    )
}

/// From one lifeline to the other. What is sent again is a double line.
fn arrived(
    id: &str,
    segment: &Segment,
    side: &str,
    [x, other]: [usize; 2],
    [y, tip_y]: [f64; 2],
) -> String {
    let tip = if x < other { other - 3 } else { other + 3 };
    let mut svg = format!(
        "<line class=\"packet {side}\" x1=\"{x}\" y1=\"{y:.0}\" \
         x2=\"{tip}\" y2=\"{tip_y:.0}\" \
         marker-end=\"url(#{id}-{side}-tip)\"/>\n"
    );
    if segment.is_again {
        svg += &double(side, [x, (x + tip) / 2], [y, (y + tip_y) / 2.0]);
    }
    if segment.packet.has("RST") {
        svg += &reset(side, tip, tip_y as usize);
    }
    svg
}

/// A second line below the first half of an arrow.
fn double(side: &str, [x, end]: [usize; 2], [y, end_y]: [f64; 2]) -> String {
    let (y, end_y) = (y + 5.0, end_y + 5.0);
    format!(
        "<line class=\"again {side}\" x1=\"{x}\" y1=\"{y:.0}\" \
         x2=\"{end}\" y2=\"{end_y:.0}\"/>\n"
    )
}

/// Behind the arrow of a flight, a band from its first packet to its last.
fn band(
    flight: &Flight,
    side: &str,
    [x, other]: [usize; 2],
    scale: &Scale,
) -> String {
    let ends = [flight.first(), flight.last()];
    let [Some(first), Some(last)] = ends.map(|end| end.arrived) else {
        return String::new();
    };
    if flight.segments.len() == 1 {
        return String::new();
    }
    let left = ends.map(|end| scale.y(end.left, 0));
    let arrived = [first, last].map(|time| scale.y(time, 0));
    format!(
        "<path class=\"flight {side}\" d=\"M{x} {:.0}L{other} {:.0}L{other} \
         {:.0}L{x} {:.0}z\"/>\n",
        left[0],
        arrived[0],
        arrived[1].max(arrived[0] + 6.0),
        left[1].max(left[0] + 6.0)
    )
}

/// Half an arrow, with a cross at its end.
fn lost(is_again: bool, side: &str, [x, other]: [usize; 2], y: f64) -> String {
    let end = (x + other) / 2;
    let tip = y + 16.0;
    let (a, b, c, d) = (end - 7, end + 7, tip - 7.0, tip + 7.0);
    let again = match is_again {
        true => double(side, [x, end], [y, tip]),
        false => String::new(),
    };
    format!(
        "{again}<line class=\"lost {side}\" x1=\"{x}\" y1=\"{y:.0}\" \
         x2=\"{end}\" y2=\"{tip:.0}\"/>\n\
         <path class=\"cross {side}\" d=\"M{a} {c:.0}L{b} {d:.0}M{a} {d:.0}L{b} \
         {c:.0}\"/>\n"
    )
}

/// A window of 0 is a ring at its sender.
fn ring(p: &Packet, side: &str, x: usize, y: f64) -> String {
    match is_full(p) {
        true => format!(
            "<circle class=\"mark {side}\" cx=\"{x}\" cy=\"{y:.0}\" \
             r=\"7\"/>\n"
        ),
        false => String::new(),
    }
}

/// The times at both lifelines: whenever something leaves, and when something
/// arrives if there is room.
fn times(flights: &[Flight], scale: &Scale) -> String {
    let mut svg = String::new();
    for (x, anchor, from) in
        [(CLIENT - 12, "end", 50001), (SERVER_AT + 12, "start", SERVER)]
    {
        let is_mine = |flight: &&Flight| flight.first().packet.from == from;
        let left = flights.iter().filter(is_mine);
        let mut shown_at: Vec<(f64, Duration)> = left
            .map(|flight| flight.first().left)
            .map(|time| (scale.y(time, 0), time))
            .collect();
        let arrived = flights.iter().filter(|flight| !is_mine(flight));
        for time in arrived.filter_map(|flight| flight.first().arrived) {
            let y = scale.y(time, 0);
            if shown_at.iter().all(|(other, _)| (other - y).abs() > 20.0) {
                shown_at.push((y, time));
            }
        }
        for (y, time) in shown_at {
            let (y, time) = (y + 5.0, shown(time));
            svg += &format!(
                "<text class=\"time\" x=\"{x}\" y=\"{y:.0}\" \
                 text-anchor=\"{anchor}\">{time}</text>\n"
            );
        }
    }
    svg
}

/// Where time is left out, both lifelines are broken.
fn breaks(scale: &Scale) -> String {
    let mut svg = String::new();
    let pairs = scale.moments.windows(2);
    for pair in pairs.filter(|pair| pair[1].2) {
        let y = (pair[0].1 + pair[1].1) / 2.0;
        let time = shown(pair[1].0 - pair[0].0);
        for x in [CLIENT, SERVER_AT] {
            let (left, top) = (x - 8, y - 5.0);
            svg += &format!(
                "<rect class=\"gap\" x=\"{left}\" y=\"{top:.0}\" width=\"16\" \
                 height=\"10\"/>\n"
            );
        }
        svg += &format!(
            "<text class=\"label\" x=\"{}\" y=\"{:.0}\">{time} later</text>\n",
            (CLIENT + SERVER_AT) / 2,
            y + 5.0
        );
    }
    svg
}

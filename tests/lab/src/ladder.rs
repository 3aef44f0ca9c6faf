//! Packets as text.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::time::Duration;

use crate::road::{Crossing, Side};
use crate::segment::Segment;

/// A packet, with its numbers counted from the start of its connection.
#[derive(Clone, Debug)]
pub struct Step {
    /// The machine that sent it.
    pub from: Side,
    /// When it left, counted from the first packet.
    pub sent: Duration,
    /// When it arrived; nothing if it was lost.
    pub arrived: Option<Duration>,
    /// Its header, with relative numbers.
    pub segment: Segment,
    /// The same data, SYN or FIN was sent before.
    pub again: bool,
    /// It has nothing new, and asks for an answer.
    pub probe: bool,
}

/// Reads the headers of all packets that are TCP.
pub fn steps(crossings: &[Crossing]) -> Vec<Step> {
    let mut first = HashMap::new(); // the number of each end's SYN
    let mut seen = HashSet::new();
    let mut next = HashMap::new(); // the number after the last one sent
    let start = crossings.first().map_or(Duration::ZERO, |c| c.sent);
    let mut steps = Vec::new();
    for crossing in crossings {
        let from = crossing.from;
        let Some(mut segment) = Segment::read(&crossing.bytes) else {
            continue;
        };
        let (source, target) = segment.ports;
        let ports = source.max(target); // the client's is the larger one
        if segment.syn {
            first.insert((from, ports), segment.seq);
        }
        let own = first.get(&(from, ports)).copied().unwrap_or_default();
        let other = first.get(&(from.other(), ports)).copied();
        segment.count_from(own, other.unwrap_or_default());
        let (seq, has_content) = (segment.seq, segment.has_content());
        let key = (from, ports, seq, segment.len > 0);
        let again = has_content && !seen.insert(key);
        let end = next.entry((from, ports)).or_insert(0);
        steps.push(Step {
            from,
            sent: crossing.sent - start,
            arrived: crossing.arrived.map(|time| time - start),
            again,
            probe: !has_content && !segment.rst && seq < *end,
            segment,
        });
        *end = (*end).max(steps[steps.len() - 1].segment.end());
    }
    steps
}

/// A line for each packet: when it passed, who sent it, and its header.
pub fn table(crossings: &[Crossing]) -> String {
    let mut text = "    ms  from    flags    seq  ack  len\n".to_owned();
    for Step { from, sent, segment, .. } in steps(crossings) {
        let ack = match segment.ack {
            true => segment.acked.to_string(),
            false => "-".to_owned(),
        };
        let line = format!(
            "{:6.1}  {:6}  {:7}  {:3}  {ack:>3}  {:3}",
            sent.as_secs_f64() * 1000.0,
            name(from),
            flags(&segment),
            segment.seq,
            segment.len
        );
        text += &line;
        text.push('\n');
    }
    text
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Server => "server",
        Side::Client => "client",
    }
}

fn flags(segment: &Segment) -> String {
    let Segment { syn, fin, rst, ack, .. } = *segment;
    let all = [(syn, "SYN"), (fin, "FIN"), (rst, "RST"), (ack, "ACK")];
    let set = all.iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

/// The road from above: on the left when a packet was at the client, on the
/// right when it was at the server, in whole milliseconds. Segments that
/// follow each other in one burst are one line.
pub fn ladder(crossings: &[Crossing]) -> String {
    let mut text = "     ms  client                              ".to_owned();
    text += "      ms  server\n";
    for burst in bursts(steps(crossings)) {
        let Step { from, sent, arrived, .. } = &burst[0];
        let what = describe(&burst);
        let arrived = arrived.as_ref().map_or("lost".to_owned(), ms);
        let line = match (from, arrived.as_str()) {
            (Side::Client, "lost") => {
                format!("{:>7}  {what:32} --x    lost", ms(sent))
            }
            (Side::Client, _) => {
                format!("{:>7}  {what:32} --> {arrived:>7}", ms(sent))
            }
            (Side::Server, "lost") => {
                format!("{:>7}  {:32} x-- {:>7}  {what}", "lost", "", ms(sent))
            }
            (Side::Server, _) => {
                format!("{arrived:>7}  {:32} <-- {:>7}  {what}", "", ms(sent))
            }
        };
        let _ = writeln!(text, "{line}");
    }
    text
}

fn ms(time: &Duration) -> String {
    time.as_millis().to_string()
}

/// Puts together what needs no line of its own: data after data, or one plain
/// acknowledgement after another, from the same machine at the same time.
fn bursts(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let mut bursts: Vec<Vec<Step>> = Vec::new();
    for step in steps {
        match bursts.last_mut() {
            Some(burst) if belongs(burst, &step) => burst.push(step),
            _ => bursts.push(vec![step]),
        }
    }
    bursts
}

fn belongs(burst: &[Step], step: &Step) -> bool {
    let last = &burst[burst.len() - 1];
    let is_plain = |step: &Step| {
        let Segment { syn, fin, rst, sack, window, .. } = step.segment;
        !(syn || fin || rst || step.again || step.probe)
            && step.arrived.is_some()
            && sack.is_none()
            && window > 0
    };
    let has_data = |step: &Step| step.segment.len > 0;
    let follows = match has_data(step) {
        true => step.segment.seq == last.segment.end(),
        false => step.segment.acked > last.segment.acked,
    };
    step.from == last.from
        && is_plain(last)
        && is_plain(step)
        && has_data(last) == has_data(step)
        && follows
        && step.sent - last.sent < Duration::from_millis(10)
        && step.arrived >= last.arrived
}

fn describe(burst: &[Step]) -> String {
    let (first, last) = (&burst[0], &burst[burst.len() - 1]);
    let segment = &last.segment;
    if burst.len() > 1 && segment.len > 0 {
        let (seq, end) = (first.segment.seq, segment.end() - 1);
        return format!("{} segments, {seq} to {end}", burst.len());
    }
    let mut words = Vec::new();
    let Segment { syn, fin, rst, .. } = *segment;
    for (is_set, flag) in [(syn, "SYN"), (fin, "FIN"), (rst, "RST")] {
        words.extend(is_set.then(|| flag.to_owned()));
    }
    if segment.len > 0 {
        let (seq, end) = (segment.seq, segment.end() - 1);
        words.push(format!("{} bytes, {seq} to {end}", segment.len));
    } else if segment.ack && !rst {
        words.push(format!("ack {}", segment.acked));
    }
    words.extend((burst.len() > 1).then(|| format!("({}x)", burst.len())));
    if let Some((start, end)) = segment.sack {
        words.push(format!("has {start} to {}", end.wrapping_sub(1)));
    }
    words.extend((segment.window == 0 && !rst).then(|| "window 0".to_owned()));
    words.extend(first.probe.then(|| "probe".to_owned()));
    words.extend(first.again.then(|| "again".to_owned()));
    words.join(" ")
}

//! Packets as text.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::datagram;
use crate::road::{Crossing, Side};
use crate::segment::Segment;

/// Packets that follow each other within this time may be one burst. Shorter
/// than any road in use here.
const BURST: Duration = Duration::from_millis(4);

/// A packet, with its numbers counted from the start of its connection.
#[derive(Clone, Debug)]
pub struct Step {
    /// The machine that sent it.
    pub from: Side,
    /// When it left, counted from the first packet.
    pub sent: Duration,
    /// When it arrived; nothing if it was lost, or is still on its way.
    pub arrived: Option<Duration>,
    /// It never arrives.
    pub lost: bool,
    /// Its header, with relative numbers.
    pub segment: Segment,
    /// The same data, SYN or FIN was sent before.
    pub again: bool,
    /// It has nothing new, and asks for an answer.
    pub probe: bool,
    /// The road made it.
    pub copy: bool,
}

/// Reads the headers of all packets that are TCP.
pub fn steps(crossings: &[Crossing]) -> Vec<Step> {
    let start = crossings.first().map_or(Duration::ZERO, |c| c.sent);
    let mut before = Before::default();
    let steps = crossings.iter().filter_map(|crossing| {
        let mut segment = Segment::read(&crossing.bytes)?;
        let (again, probe) = before.note(crossing.from, &mut segment);
        Some(Step {
            from: crossing.from,
            sent: crossing.sent - start,
            arrived: crossing.arrived.map(|time| time - start),
            lost: crossing.lost,
            segment,
            again: again && !crossing.copy,
            probe,
            copy: crossing.copy,
        })
    });
    steps.collect()
}

/// An end of a connection: its machine, and the client's port.
type End = (Side, u16);

/// What went by before a packet.
#[derive(Default)]
struct Before {
    /// The number of each end's SYN.
    first: HashMap<End, u32>,
    /// The number after the last one that it sent.
    next: HashMap<End, u32>,
    /// What had content: its number, and whether it was data.
    seen: HashSet<(End, u32, bool)>,
}

impl Before {
    /// Makes the numbers of a segment relative. Was it sent before? Is it a
    /// probe?
    fn note(&mut self, from: Side, segment: &mut Segment) -> (bool, bool) {
        let port = segment.ports.0.max(segment.ports.1);
        let (own, other) = ((from, port), (from.other(), port));
        if segment.syn {
            self.first.insert(own, segment.seq);
        }
        let first = |end| self.first.get(&end).copied().unwrap_or_default();
        segment.count_from(first(own), first(other));
        let is_data = segment.len > 0;
        let again = segment.has_content()
            && !self.seen.insert((own, segment.seq, is_data));
        let next = self.next.entry(own).or_default();
        let probe =
            !segment.has_content() && !segment.rst && segment.seq < *next;
        *next = (*next).max(segment.end());
        (again, probe)
    }
}

/// Does a packet begin or acknowledge beyond what was sent before it? Where
/// nothing gets lost, a packet is missing then.
pub fn has_gap(crossings: &[Crossing]) -> bool {
    let mut ends: HashMap<End, u32> = HashMap::new();
    steps(crossings).iter().any(|Step { from, segment, .. }| {
        let port = segment.ports.0.max(segment.ports.1);
        let acked = ends.get(&(from.other(), port)).copied();
        let own = ends.entry((*from, port)).or_default();
        let begins_beyond = segment.seq > *own;
        *own = (*own).max(segment.end());
        let acks_beyond = segment.acked > acked.unwrap_or_default();
        begins_beyond || (segment.ack && acks_beyond)
    })
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
/// right when it was at the server, in whole milliseconds. What belongs to one
/// burst is one line, with the times of its first packet. Without TCP, each
/// packet is a line.
pub fn ladder(crossings: &[Crossing]) -> String {
    let head = ["ms", "client", "", "ms", "server"];
    let mut text = line(head.map(str::to_owned));
    let bursts = bursts(steps(crossings));
    for burst in &bursts {
        let Step { from, sent, arrived, lost, .. } = burst[0];
        text += &rung(from, describe(burst), sent, arrived, lost);
    }
    if bursts.is_empty() {
        let start = crossings.first().map_or(Duration::ZERO, |c| c.sent);
        for crossing in crossings {
            let Crossing { from, sent, arrived, lost, .. } = *crossing;
            let arrived = arrived.map(|time| time - start);
            let what = datagram::describe(crossing);
            text += &rung(from, what, sent - start, arrived, lost);
        }
    }
    text
}

/// One line of a ladder.
fn rung(
    from: Side,
    what: String,
    sent: Duration,
    arrived: Option<Duration>,
    lost: bool,
) -> String {
    let (none, sent) = (String::new(), ms(&sent));
    let (there, back, end) = match arrived {
        Some(time) => ("-->", "<--", ms(&time)),
        None if lost => ("--x", "x--", "lost".to_owned()),
        None => ("-->", "<--", "…".to_owned()), // still on its way
    };
    match from {
        Side::Client => line([sent, what, there.to_owned(), end, none]),
        Side::Server => line([end, none, back.to_owned(), sent, what]),
    }
}

fn line([left, client, arrow, right, server]: [String; 5]) -> String {
    let line =
        format!("{left:>5}  {client:29}  {arrow:3}  {right:>5}  {server}");
    format!("{}\n", line.trim_end())
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
        let Segment { syn, fin, rst, window, .. } = step.segment;
        let is_odd = step.again || step.probe || step.copy;
        !(syn || fin || rst || is_odd) && window > 0
    };
    let kind = |step: &Step| {
        let Segment { len, sack, .. } = step.segment;
        (step.from, len > 0, sack.is_some())
    };
    let follows = match step.segment.len {
        0 => step.segment.acked >= last.segment.acked,
        _ => step.segment.seq == last.segment.end(),
    };
    is_plain(last)
        && is_plain(step)
        && kind(last) == kind(step)
        && follows
        && step.sent - last.sent < BURST
        && have_arrived_together(last, step)
}

fn have_arrived_together(last: &Step, step: &Step) -> bool {
    let (Some(last), Some(step)) = (last.arrived, step.arrived) else {
        return false;
    };
    step >= last && step - last < BURST
}

fn describe(burst: &[Step]) -> String {
    let (first, last) = (&burst[0], &burst[burst.len() - 1]);
    let (seq, segment, n) = (first.segment.seq, &last.segment, burst.len());
    let Segment { syn, fin, rst, ack, len, acked, window, .. } = *segment;
    let mut words = Vec::new();
    words.extend(syn.then(|| "SYN".to_owned()));
    words.extend(rst.then(|| "RST".to_owned()));
    words.extend((len > 0 && n == 1).then(|| format!("{len} bytes,")));
    words.extend((len > 0 && n > 1).then(|| format!("{n} segments,")));
    words.extend((len > 0).then(|| format!("{seq}-{}", seq_of_last(segment))));
    let fin_alone = || format!("FIN {}", segment.end().wrapping_sub(1));
    words.extend((fin && len == 0).then(fin_alone));
    words.extend((fin && len > 0).then(|| "FIN".to_owned()));
    words.extend((len == 0 && ack && !rst).then(|| format!("ack {acked}")));
    words.extend((len == 0 && n > 1).then(|| format!("({n}x)")));
    if let Some((start, end)) = segment.sack {
        let verb = if start < acked { "twice" } else { "has" }; // RFC 2883
        words.push(format!("{verb} {start}-{}", end.wrapping_sub(1)));
    }
    words.extend((window == 0 && !rst).then(|| "window 0".to_owned()));
    words.extend(first.probe.then(|| "probe".to_owned()));
    words.extend(first.again.then(|| "again".to_owned()));
    words.extend(first.copy.then(|| "a copy".to_owned()));
    words.join(" ")
}

fn seq_of_last(segment: &Segment) -> u32 {
    segment.seq.wrapping_add(segment.len as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::tests::packet;

    #[test]
    fn a_missing_packet_leaves_a_gap() {
        let sent = Duration::ZERO;
        let all = [(100, 0x02, 0), (101, 0, 5), (106, 0, 5)].map(
            |(seq, flags, len)| Crossing {
                from: Side::Client,
                sent,
                arrived: Some(sent),
                lost: false,
                copy: false,
                bytes: packet(seq, flags, len),
            },
        );
        assert!(!has_gap(&all));
        assert!(has_gap(&[all[0].clone(), all[2].clone()]));
        let mut acks = all[1].clone(); // what no packet had
        acks.bytes = packet(101, 0x10, 0);
        assert!(has_gap(&[all[0].clone(), acks]));
    }
}

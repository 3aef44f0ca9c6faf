//! Packets from a capture file, as a table and as a picture.

#![allow(dead_code)] // each test file uses a part of this

use std::collections::HashMap;
use std::time::Duration;

use etherparse::{
    NetSlice, SlicedPacket, TcpOptionElement, TcpSlice, TransportSlice,
};
use pcap_parser::PcapCapture;

use crate::support::bands;

/// The port on which the server of every capture listens.
pub const SERVER: u16 = 8888;

/// One TCP segment, with sequence numbers counted from the start (as
/// Wireshark does: SYN has the number 0).
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    pub from: u16,
    pub to: u16,
    pub flags: Vec<&'static str>,
    pub seq: u32,
    pub ack: u32,
    pub payload: Vec<u8>,
    /// How many more bytes its sender has room for.
    pub window: u32,
    /// The longest payload that its sender wants, if it says so.
    pub mss: Option<u16>,
    /// When it was seen, counted from 1970.
    pub time: Duration,
}

impl Packet {
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// Does it only acknowledge?
    pub fn is_plain_ack(&self) -> bool {
        self.payload.is_empty() && self.flags == ["ACK"]
    }

    /// The port of its client.
    pub fn client(&self) -> u16 {
        if self.from == SERVER { self.to } else { self.from }
    }
}

/// Reads the file that `tcpdump -w` has written.
pub fn read(file: &[u8]) -> Vec<Packet> {
    let capture = PcapCapture::from_file(file).expect("a pcap file");
    let mut packets: Vec<Packet> = Vec::new();
    let mut server = None;
    let mut scales = HashMap::new();
    for block in &capture.blocks {
        let sliced = SlicedPacket::from_ethernet(block.data).unwrap();
        assert!(matches!(sliced.net, Some(NetSlice::Ipv4(_))));
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
            panic!("not TCP: {:02x?}", block.data);
        };
        let mut packet = packet(&tcp);
        // A demo listens on any port: that is where the first SYN goes.
        let server = *server.get_or_insert(tcp.destination_port());
        let shown = |port| if port == server { SERVER } else { port };
        packet.from = shown(packet.from);
        packet.to = shown(packet.to);
        let (mss, scale) = options(&tcp);
        packet.mss = mss;
        let way = (packet.from, packet.to);
        if packet.has("SYN") {
            scales.insert(way, scale);
        } else {
            packet.window <<= scales.get(&way).copied().unwrap_or(0);
        }
        let seconds = Duration::from_secs(block.ts_sec.into());
        packet.time = seconds + Duration::from_micros(block.ts_usec.into());
        packets.push(packet);
    }
    relative(packets)
}

/// What the header says.
fn packet(tcp: &TcpSlice) -> Packet {
    let flags = [
        (tcp.syn(), "SYN"),
        (tcp.fin(), "FIN"),
        (tcp.rst(), "RST"),
        (tcp.psh(), "PSH"),
        (tcp.ack(), "ACK"),
    ];
    let flags = flags.iter().filter(|(is_set, _)| *is_set);
    Packet {
        from: tcp.source_port(),
        to: tcp.destination_port(),
        flags: flags.map(|(_, name)| *name).collect(),
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        payload: tcp.payload().to_vec(),
        window: tcp.window_size().into(),
        mss: None,
        time: Duration::ZERO,
    }
}

/// The maximum segment size, and the scale of windows (in bits).
fn options(tcp: &TcpSlice) -> (Option<u16>, u8) {
    let (mut mss, mut scale) = (None, 0);
    for option in tcp.options_iterator().filter_map(Result::ok) {
        match option {
            TcpOptionElement::MaximumSegmentSize(size) => mss = Some(size),
            TcpOptionElement::WindowScale(bits) => scale = bits,
            _ => {}
        }
    }
    (mss, scale)
}

/// Counts sequence numbers from the last SYN of each direction.
fn relative(mut packets: Vec<Packet>) -> Vec<Packet> {
    let mut starts = HashMap::new();
    for p in &mut packets {
        if p.has("SYN") {
            starts.insert((p.from, p.to), p.seq);
        }
        let start = |from, to| starts.get(&(from, to)).copied().unwrap_or(0);
        p.seq = p.seq.wrapping_sub(start(p.from, p.to));
        if p.has("ACK") {
            p.ack = p.ack.wrapping_sub(start(p.to, p.from));
        }
    }
    packets
}

/// What a port is called: with several clients, each has its letter.
fn name(port: u16, packets: &[Packet]) -> String {
    let clients = clients(packets);
    match clients.iter().position(|&client| client == port) {
        None => "server".to_owned(),
        Some(_) if clients.len() == 1 => "client".to_owned(),
        Some(i) => format!("client {}", char::from(b'A' + i as u8)),
    }
}

/// The ports of the clients, in the order in which they appear.
fn clients(packets: &[Packet]) -> Vec<u16> {
    let mut ports = Vec::new();
    for p in packets {
        if !ports.contains(&p.client()) {
            ports.push(p.client());
        }
    }
    ports
}

/// Text in quotes; other bytes in hexadecimal.
fn quoted(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) if !text.contains('\0') => format!("{text:?}"),
        _ => {
            let hex = payload.iter().map(|byte| format!("{byte:02x}"));
            hex.collect::<Vec<_>>().join(" ")
        }
    }
}

/// One line for each packet.
pub fn table(packets: &[Packet]) -> String {
    let mut text =
        " #  from     to        flags    seq  ack  bytes\n".to_owned();
    for (i, p) in packets.iter().enumerate() {
        let from = name(p.from, packets);
        let to = name(p.to, packets);
        let flags = p.flags.join(" ");
        let ack = if p.has("ACK") { p.ack.to_string() } else { "-".into() };
        let n = p.payload.len();
        let text_of = match n {
            0 => String::new(),
            _ => format!("  {}", quoted(&p.payload)),
        };
        text += &format!(
            "{:2}  {from:8} {to:8}  {flags:7}  {:3}  {ack:>3}  {n:5}{text_of}\n",
            i + 1,
            p.seq
        );
    }
    text
}

/// The bytes of each packet with data, taken apart as a frame. Each packet of
/// these holds one.
pub fn frames(packets: &[Packet]) -> String {
    let packets_with_data = packets.iter().filter(|p| !p.payload.is_empty());
    bands::frames(
        packets_with_data.map(|p| (name(p.from, packets), &p.payload[..])),
    )
}

const ROW: usize = 46; // pixels from one arrow to the next
const GAP: usize = 300; // pixels between two lifelines
const MARGIN: usize = 100; // room for the calls beside the outer lifelines
const TOP: usize = 44;

/// Time runs down; each packet is an arrow from one lifeline to another.
/// Those that only acknowledge are drawn with `with_acks`. `is_unread` says
/// which packets no `read` of a program takes, `ends` which calls send FIN.
pub fn lifelines(
    [id, title]: [&str; 2],
    all: &[Packet],
    with_acks: bool,
    ends: [&str; 2],
    is_unread: impl Fn(&[Packet], usize) -> bool,
) -> String {
    let shown = all.iter().enumerate();
    let shown = shown.filter(|(_, p)| with_acks || !p.is_plain_ack());
    let packets: Vec<(usize, &Packet)> = shown.collect();
    let mut ports = clients(all);
    ports.insert(1, SERVER); // the server stands between its clients
    let x = |port| {
        let at = ports.iter().position(|&p| p == port).unwrap();
        MARGIN + at * GAP
    };
    let width = 2 * MARGIN + (ports.len() - 1) * GAP;
    let height = TOP + packets.len() * ROW + 24;
    let lines =
        ports.iter().map(|&port| line(name(port, all), x(port), height));
    let mut body: String = lines.collect();
    let mut words = Vec::new();
    for (i, (index, p)) in packets.into_iter().enumerate() {
        body += &arrow(
            id,
            p,
            [x(p.from), x(p.to)],
            TOP + i * ROW + 20,
            !is_unread(all, index),
            ends,
        );
        let (from, to) = (name(p.from, all), name(p.to, all));
        words.push(format!("{from} to {to}: {}", escape(&label(p))));
    }
    figure(id, &escape(title), &words.join("; "), [width, height], &body)
}

fn line(name: String, x: usize, height: usize) -> String {
    format!(
        "<text class=\"end\" x=\"{x}\" y=\"20\">{name}</text>\n\
         <line class=\"life\" x1=\"{x}\" y1=\"30\" x2=\"{x}\" \
         y2=\"{height}\"/>\n"
    )
}

/// A packet, with the calls at both ends.
fn arrow(
    id: &str,
    p: &Packet,
    [from, to]: [usize; 2],
    y: usize,
    is_read: bool,
    ends: [&str; 2],
) -> String {
    let side = if from < to { 1 } else { -1 };
    let (tip, tip_y) = (to as i64 - 3 * side, y + 10);
    let (left, middle) = (from.min(to), (from + to) / 2);
    let label = escape(&label(p));
    let mut svg = format!(
        "<line class=\"packet\" x1=\"{from}\" y1=\"{y}\" x2=\"{tip}\" \
         y2=\"{tip_y}\" marker-end=\"url(#{id}-tip)\"/>\n\
         <text class=\"label\" x=\"{middle}\" y=\"{}\">{label}</text>\n",
        y - 4,
    );
    svg += &call(sent(p, ends), from, y + 5, from == left);
    if is_read {
        svg += &call(received(p), to, y + 15, to == left);
    }
    svg
}

fn figure(
    id: &str,
    title: &str,
    description: &str,
    [width, height]: [usize; 2],
    body: &str,
) -> String {
    format!(
        "<figure class=\"lifelines\">\n\
         <svg role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" \
         viewBox=\"0 0 {width} {height}\" style=\"max-width: {width}px\">\n\
         <title id=\"{id}-title\">{title}</title>\n\
         <desc id=\"{id}-desc\">{description}.</desc>\n\
         <defs><marker id=\"{id}-tip\" viewBox=\"0 0 10 10\" refX=\"9\" \
         refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
         <path d=\"M0 0L10 5L0 10z\"/></marker></defs>\n\
         {body}</svg>\n\
         <figcaption>{title}</figcaption>\n</figure>"
    )
}

/// A call of the socket API, on the outer side of a lifeline.
fn call(name: &str, x: usize, y: usize, left: bool) -> String {
    if name.is_empty() {
        return String::new();
    }
    let (x, anchor) = if left { (x - 8, "end") } else { (x + 8, "start") };
    format!(
        "<text class=\"call\" x=\"{x}\" y=\"{y}\" \
         text-anchor=\"{anchor}\">{name}</text>\n"
    )
}

fn label(p: &Packet) -> String {
    let flags: Vec<&str> =
        p.flags.iter().copied().filter(|&flag| flag != "PSH").collect();
    let data = match p.payload.len() {
        0 => return flags.join(" "),
        1..=20 => quoted(&p.payload),
        n => format!("{n} bytes"),
    };
    if p.has("FIN") { format!("{data} FIN") } else { data }
}

/// The call that sends a packet; `ends` are those that send FIN.
fn sent<'a>(p: &Packet, [client_ends, server_ends]: [&'a str; 2]) -> &'a str {
    match p.from == SERVER {
        _ if !p.payload.is_empty() => "write",
        false if p.has("SYN") => "connect",
        false if p.has("FIN") => client_ends,
        true if p.has("FIN") => server_ends,
        _ => "",
    }
}

/// The call that returns because a packet came.
fn received(p: &Packet) -> &'static str {
    match p.to == SERVER {
        _ if !p.payload.is_empty() => "read",
        _ if p.has("FIN") => "read = 0",
        false if p.has("SYN") => "connected",
        false if p.has("RST") && p.seq == 0 => "refused",
        true if p.is_plain_ack() && p.seq == 1 && p.ack == 1 => "accept",
        _ => "",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

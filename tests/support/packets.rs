//! Packets from a capture file, as a table and as a picture.

#![allow(dead_code)] // each test file uses a part of this

use std::collections::HashMap;
use std::time::Duration;

use etherparse::{
    LaxNetSlice, LaxSlicedPacket, TcpOptionElement, TcpSlice, TransportSlice,
};
use pcap_parser::{Linktype, PcapCapture};

use crate::states::states;
use crate::support::bands;

/// The port on which the server of every capture listens.
pub const SERVER: u16 = 8888;

/// One TCP segment, with sequence numbers counted from the start (as
/// Wireshark does: SYN has the number 0).
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// The number that its sender's kernel gave to the IP packet (RFC 791,
    /// section 3.1). Linux counts those of a connection.
    pub id: u16,
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
    let before_ip = match capture.header.network {
        Linktype::RAW => 0,
        _ => 14, // the header of Ethernet
    };
    let mut packets: Vec<Packet> = Vec::new();
    let mut server = None;
    let mut scales = HashMap::new();
    for block in &capture.blocks {
        let (mut packet, scale) = segment(&block.data[before_ip..]);
        // A demo listens on any port: that is where the first SYN goes.
        let server = *server.get_or_insert(packet.to);
        let shown = |port| if port == server { SERVER } else { port };
        packet.from = shown(packet.from);
        packet.to = shown(packet.to);
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

/// The TCP segment of an IP packet, and the scale of windows in it.
fn segment(bytes: &[u8]) -> (Packet, u8) {
    let sliced = LaxSlicedPacket::from_ip(bytes).unwrap();
    let (Some(LaxNetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
        (sliced.net, sliced.transport)
    else {
        panic!("not TCP: {bytes:02x?}");
    };
    let mut packet = packet(&tcp);
    let header = ip.header();
    packet.id = header.identification();
    // Some captures keep only the start of a packet.
    let length = header.total_len() - 4 * u16::from(header.ihl());
    let length = usize::from(length) - tcp.header_slice().len();
    packet.payload.resize(length, 0);
    let (mss, scale) = options(&tcp);
    packet.mss = mss;
    (packet, scale)
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
        id: 0,
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

/// One line for each packet, in words.
pub fn words(packets: &[Packet]) -> Vec<String> {
    let of = |(i, p): (usize, &Packet)| {
        let [from, to] = [p.from, p.to].map(|port| name(port, packets));
        format!("{}, {from} to {to}: {}", i + 1, label(p))
    };
    packets.iter().enumerate().map(of).collect()
}

/// One row for each packet.
pub fn table(packets: &[Packet]) -> String {
    let rows = packets.iter().enumerate().map(|(i, p)| {
        let ack = if p.has("ACK") { p.ack.to_string() } else { "-".into() };
        let data = match p.payload.len() {
            0 => String::new(),
            _ => quoted(&p.payload),
        };
        let [from, to] = [p.from, p.to].map(|port| name(port, packets));
        let [seq, n] = [p.seq.to_string(), p.payload.len().to_string()];
        let number = (i + 1).to_string();
        vec![number, from, to, p.flags.join(" "), seq, ack, n, data]
    });
    let head = ["#", "from", "to", "flags", "seq", "ack", "bytes", "data"];
    html_table(&head, rows)
}

/// A table of packets, where each row has the colour of the end that sends it
/// (the first that it names). A row of one cell is as wide as the table.
pub fn html_table(
    head: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let head_of = |name: &&str| {
        format!("<th scope=\"col\"{}>{name}</th>", class(name, name))
    };
    let cells: String = head.iter().map(head_of).collect();
    let rows = rows.into_iter().map(|row| html_row(head, &row));
    format!(
        "<div class=\"table-wrapper\">\n<table class=\"packets\">\n\
         <thead><tr>{cells}</tr></thead>\n<tbody>\n{}\
         </tbody>\n</table>\n</div>",
        rows.collect::<String>()
    )
}

fn html_row(head: &[&str], row: &[String]) -> String {
    if let [all] = row {
        let wide = head.len();
        return format!("<tr><td colspan=\"{wide}\">{all}</td></tr>\n");
    }
    let sender =
        row.iter().map(|cell| role(cell)).find(|role| !role.is_empty());
    let mut html = format!("<tr class=\"{}\">", sender.unwrap());
    for (name, cell) in head.iter().zip(row) {
        let (class, cell) = (class(name, cell), escape(cell));
        html += &match *name {
            "#" => format!("<th scope=\"row\"{class}>{cell}</th>"),
            _ => format!("<td{class}>{cell}</td>"),
        };
    }
    html + "</tr>\n"
}

/// The attribute of a cell in the column of this name.
fn class(name: &str, cell: &str) -> String {
    match name {
        "from" | "to" if !role(cell).is_empty() => {
            format!(" class=\"{}\"", role(cell))
        }
        "#" | "seq" | "ack" | "bytes" | "window" => {
            " class=\"number\"".to_owned()
        }
        _ => String::new(),
    }
}

/// The class of an end: its colour in the book.
fn role(name: &str) -> &'static str {
    match name {
        "server" => "server",
        _ if name.starts_with("client") => "client",
        _ => "",
    }
}

/// The bytes of each packet with data, taken apart as a frame. Each packet of
/// these holds one.
pub fn frames(packets: &[Packet]) -> String {
    let packets_with_data = packets.iter().filter(|p| !p.payload.is_empty());
    bands::frames(
        packets_with_data.map(|p| (name(p.from, packets), &p.payload[..])),
    )
}

const TIME_WAIT: &str = "TIME-WAIT";
const ROW: usize = 46; // pixels from one arrow to the next
const TOP: usize = 44;

/// Time runs down; each packet is an arrow from one lifeline to another, with
/// its number in the table at the end that sends it.
pub struct Lifelines<'a> {
    pub id: &'a str,
    pub title: &'a str,
    pub packets: &'a [Packet],
    /// Are the packets drawn that only acknowledge?
    pub with_acks: bool,
}

impl Lifelines<'_> {
    /// With the calls that send a packet or return because of it. `is_unread`
    /// says which packets no `read` of a program takes, `ends` which calls
    /// send FIN.
    pub fn with_calls(
        &self,
        ends: [&str; 2],
        is_unread: impl Fn(&[Packet], usize) -> bool,
    ) -> String {
        // Three lifelines stand closer, so that a phone shows them.
        let gap = if clients(self.packets).len() == 1 { 300 } else { 180 };
        let across = Across::between(self.packets, 104, gap);
        let mut calls = String::new();
        for (row, i) in self.shown().into_iter().enumerate() {
            let (p, y) = (&self.packets[i], y(row));
            let [from, to] = [p.from, p.to].map(|port| across.x(port));
            calls += &beside("call", sent(p, ends), p.from, [from, to], y + 5);
            if !is_unread(self.packets, i) {
                let name = received(p);
                calls += &beside("call", name, p.to, [to, from], y + 15);
            }
        }
        self.draw(&across, &calls, y(self.shown().len()), "")
    }

    /// With the states of both ends (RFC 9293, section 3.3.2), as bands.
    pub fn with_states(&self) -> String {
        assert!(self.with_acks, "an acknowledgement may change a state");
        let across = Across::between(self.packets, 130, 240);
        let [client, server] = across.ports[..] else { panic!() };
        let height = y(self.packets.len()) + 20;
        let [client_x, server_x] = [client, server].map(|p| across.x(p));
        let bands = [
            self.bands(client, [client_x, server_x], height),
            self.bands(server, [server_x, client_x], height),
        ];
        let words = [client, server].map(|port| {
            let states = states(self.packets, port);
            let states: Vec<_> = states.iter().map(|(_, s)| *s).collect();
            format!("; states of the {}: {}", side(port), states.join(", "))
        });
        let words = words.concat().replace(TIME_WAIT, "TIME-WAIT for a minute");
        self.draw(&across, &bands.concat(), height, &words)
    }

    /// Those of one end. It stands at the first of `sides`, the other end at
    /// the second.
    fn bands(&self, port: u16, sides: [usize; 2], height: usize) -> String {
        let at = |i: usize| {
            let is_sent = self.packets[i].from == port;
            if is_sent { y(i) } else { y(i) + 10 }
        };
        let changes = states(self.packets, port);
        let ends = changes.iter().skip(1).map(|(i, _)| at(*i));
        // The last one runs off the end of the picture.
        let ends = ends.chain([height + 9]);
        let mut svg = String::new();
        for (&(i, state), end) in changes.iter().zip(ends) {
            let top = at(i);
            if state != "CLOSED" {
                svg += &band(state, port, sides[0], [top, end]);
            }
            svg += &beside("state", state, port, sides, top + 18);
            if state == TIME_WAIT {
                let long = "for a minute";
                svg += &beside("state", long, port, sides, top + 36);
            }
        }
        svg
    }

    fn shown(&self) -> Vec<usize> {
        let is_shown =
            |i: &usize| self.with_acks || !self.packets[*i].is_plain_ack();
        (0..self.packets.len()).filter(is_shown).collect()
    }

    fn draw(
        &self,
        across: &Across,
        more: &str,
        height: usize,
        more_words: &str,
    ) -> String {
        let all = self.packets;
        let lines = across.ports.iter();
        let lines = lines.map(|&p| line(p, &name(p, all), across.x(p), height));
        let mut body = lines.collect::<String>() + more;
        for (row, i) in self.shown().into_iter().enumerate() {
            let ends = [all[i].from, all[i].to].map(|port| across.x(port));
            body +=
                &arrow(self.id, &all[i], i + 1, ends, [y(row), y(row) + 10]);
        }
        let words = words(all);
        let shown = self.shown().into_iter().map(|i| words[i].clone());
        let words = shown.collect::<Vec<_>>().join("; ") + more_words;
        let mut title = self.title.to_owned();
        if !self.with_acks {
            title += " (the missing numbers are packets that only acknowledge)";
        }
        figure(self.id, &title, &words, [across.width(), height], &body)
    }
}

/// Where the lifelines stand.
pub struct Across {
    ports: Vec<u16>,
    /// Pixels between two lifelines.
    gap: usize,
    /// Room for words beside the outer ones.
    margin: usize,
}

impl Across {
    /// The server stands between its clients.
    pub fn between(packets: &[Packet], margin: usize, gap: usize) -> Across {
        let mut ports = clients(packets);
        ports.insert(1, SERVER);
        Across { ports, gap, margin }
    }

    pub fn x(&self, port: u16) -> usize {
        let at = self.ports.iter().position(|&p| p == port).unwrap();
        self.margin + at * self.gap
    }

    pub fn width(&self) -> usize {
        2 * self.margin + (self.ports.len() - 1) * self.gap
    }
}

/// Where the arrow in this row starts.
fn y(row: usize) -> usize {
    TOP + row * ROW + 20
}

/// What an end is, whichever of several clients it is; and its class.
pub fn side(port: u16) -> &'static str {
    if port == SERVER { "server" } else { "client" }
}

pub fn line(port: u16, name: &str, x: usize, height: usize) -> String {
    let side = side(port);
    format!(
        "<text class=\"end {side}\" x=\"{x}\" y=\"20\">{name}</text>\n\
         <line class=\"life {side}\" x1=\"{x}\" y1=\"30\" x2=\"{x}\" \
         y2=\"{height}\"/>\n"
    )
}

/// A packet, and its number where it starts. A RST has a bar at its tip.
pub fn arrow(
    id: &str,
    p: &Packet,
    number: usize,
    [from, to]: [usize; 2],
    [y, tip_y]: [usize; 2],
) -> String {
    let (side, middle) = (side(p.from), (from + to) / 2);
    let tip = if from < to { to - 3 } else { to + 3 };
    let label = escape(&label(p));
    let bar = match p.has("RST") {
        true => reset(side, tip, tip_y),
        false => String::new(),
    };
    let title = title(p, p);
    format!(
        "<g class=\"segment\"><title>{title}</title>\n\
         <line class=\"packet {side}\" x1=\"{from}\" y1=\"{y}\" \
         x2=\"{tip}\" y2=\"{tip_y}\" marker-end=\"url(#{id}-{side}-tip)\"/>\n\
         <text class=\"label {side}\" x=\"{middle}\" y=\"{}\">\
         {label}</text>\n{}{bar}</g>\n",
        y - 4,
        badge(number, side, from, y)
    )
}

/// A RST breaks a connection: a bar across its tip.
pub fn reset(side: &str, x: usize, y: usize) -> String {
    let (top, end) = (y - 11, y + 11);
    format!("<path class=\"cross {side}\" d=\"M{x} {top}L{x} {end}\"/>\n")
}

/// The numbers and the first bytes of one packet, or of a row from the first
/// to the last, for those who point at it.
pub fn title(first: &Packet, last: &Packet) -> String {
    let end = last.seq as usize + last.payload.len();
    let rest = match end as u32 - first.seq {
        0 | 1 => String::new(),
        _ => format!(" to {}", end - 1),
    };
    let bytes = first.payload.iter().take(16);
    let mut bytes: String = bytes.map(|byte| format!(" {byte:02x}")).collect();
    if first.payload.len() > 16 {
        bytes += " …";
    }
    if !bytes.is_empty() {
        bytes.insert(0, ':');
    }
    format!(
        "{}, seq {}{rest}, ack {}, window {}{bytes}",
        first.flags.join(" "),
        first.seq,
        first.ack,
        first.window
    )
}

/// The number of a packet, on the lifeline of its sender.
fn badge(number: usize, side: &str, x: usize, y: usize) -> String {
    format!(
        "<circle class=\"badge {side}\" cx=\"{x}\" cy=\"{y}\" r=\"11\"/>\n\
         <text class=\"number {side}\" x=\"{x}\" y=\"{}\">{number}</text>\n",
        y + 5
    )
}

/// A state, from one height to another on the lifeline at `x`.
pub fn band(
    state: &str,
    port: u16,
    x: usize,
    [top, end]: [usize; 2],
) -> String {
    let waits = if state == "TIME-WAIT" { " waits" } else { "" };
    format!(
        "<rect class=\"band {}{waits}\" x=\"{}\" y=\"{top}\" width=\"16\" \
         height=\"{}\"/>\n",
        side(port),
        x - 8,
        end - top
    )
}

/// A word of this end, on the side of its lifeline that is away from the other.
fn beside(
    class: &str,
    word: &str,
    port: u16,
    [x, other]: [usize; 2],
    y: usize,
) -> String {
    if word.is_empty() {
        return String::new();
    }
    let (x, anchor) =
        if x < other { (x - 15, "end") } else { (x + 15, "start") };
    format!(
        "<text class=\"{class} {}\" x=\"{x}\" y=\"{y}\" \
         text-anchor=\"{anchor}\">{word}</text>\n",
        side(port)
    )
}

/// `title` and `description` are text, `body` is SVG.
pub fn figure(
    id: &str,
    title: &str,
    description: &str,
    [width, height]: [usize; 2],
    body: &str,
) -> String {
    let [title, description] = [title, description].map(escape);
    let tip = |side: &str| {
        format!(
            "<marker id=\"{id}-{side}-tip\" viewBox=\"0 0 10 10\" refX=\"9\" \
             refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" \
             orient=\"auto\"><path class=\"{side}\" \
             d=\"M0 0L10 5L0 10z\"/></marker>"
        )
    };
    let tips = ["client", "server"].map(tip).concat();
    format!(
        "<figure class=\"lifelines\">\n\
         <svg role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" \
         viewBox=\"0 0 {width} {height}\" style=\"max-width: {width}px\">\n\
         <title id=\"{id}-title\">{title}</title>\n\
         <desc id=\"{id}-desc\">{description}.</desc>\n\
         <defs>{tips}</defs>\n\
         {body}</svg>\n\
         <figcaption>{title}</figcaption>\n</figure>"
    )
}

fn label(p: &Packet) -> String {
    let flags: Vec<&str> =
        p.flags.iter().copied().filter(|&flag| flag != "PSH").collect();
    let data = match p.payload.len() {
        0 => return flags.join(" "),
        1..=20 => in_short(&quoted(&p.payload)),
        n => format!("{n} bytes"),
    };
    if p.has("FIN") { format!("{data} FIN") } else { data }
}

/// No more than the length and the kind of a long frame.
fn in_short(data: &str) -> String {
    if data.len() <= 24 {
        return data.to_owned();
    }
    data.chars().take(14).chain(" …".chars()).collect()
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

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

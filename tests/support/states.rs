//! In which state each end of a connection is, as RFC 9293 has them.

use libtest_mimic::Trial;

use crate::packets::{Packet, SERVER};
use crate::support::trial;

/// The states of the end with this port: each with the packet that led to it.
/// An end begins in CLOSED, or in LISTEN, which is not told apart here.
pub fn states(packets: &[Packet], port: u16) -> Vec<(usize, &'static str)> {
    let mut changes = Vec::new();
    let mut state = "CLOSED";
    let mut after_fin = None; // the number that acknowledges our FIN
    for (i, p) in packets.iter().enumerate() {
        let next = if p.from == port {
            if p.has("FIN") {
                after_fin = Some(p.seq + p.payload.len() as u32 + 1);
            }
            after_sending(state, p)
        } else if p.to == port {
            let is_acked = p.has("ACK") && Some(p.ack) == after_fin;
            after_receiving(state, p, is_acked)
        } else {
            continue;
        };
        if next != state {
            changes.push((i, next));
            state = next;
        }
    }
    changes
}

/// RFC 9293, figure 5: the arrows with `snd`.
fn after_sending(state: &'static str, p: &Packet) -> &'static str {
    match state {
        _ if p.has("RST") => "CLOSED",
        "CLOSED" if p.flags == ["SYN"] => "SYN-SENT",
        "SYN-RECEIVED" | "ESTABLISHED" if p.has("FIN") => "FIN-WAIT-1",
        "CLOSE-WAIT" if p.has("FIN") => "LAST-ACK",
        _ => state,
    }
}

/// The arrows with `rcv`. `is_acked`: does the packet acknowledge our FIN?
fn after_receiving(
    state: &'static str,
    p: &Packet,
    is_acked: bool,
) -> &'static str {
    match state {
        _ if p.has("RST") => "CLOSED",
        "CLOSED" if p.flags == ["SYN"] => "SYN-RECEIVED",
        "SYN-SENT" if p.flags == ["SYN", "ACK"] => "ESTABLISHED",
        "SYN-SENT" if p.has("SYN") => "SYN-RECEIVED",
        "SYN-RECEIVED" | "ESTABLISHED" if p.has("FIN") => "CLOSE-WAIT",
        "SYN-RECEIVED" if p.has("ACK") => "ESTABLISHED",
        "FIN-WAIT-1" if p.has("FIN") && is_acked => "TIME-WAIT",
        "FIN-WAIT-1" if p.has("FIN") => "CLOSING",
        "FIN-WAIT-1" if is_acked => "FIN-WAIT-2",
        "FIN-WAIT-2" if p.has("FIN") => "TIME-WAIT",
        "CLOSING" if is_acked => "TIME-WAIT",
        "LAST-ACK" if is_acked => "CLOSED",
        _ => state,
    }
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name, test| trial(&format!("states::{name}"), None, test);
    vec![
        trial("whoever closes first waits", closes_first as fn()),
        trial("an end waits, too, if both close at once", both_close),
        trial("the ACK may come with the FIN", ack_with_fin),
        trial("an ACK of the data is not one of the FIN", ack_of_data),
        trial("a reset leaves nothing to wait for", reset),
    ]
}

const CLIENT: u16 = 50001;

/// `C` or `S` is the sender; then flags, `seq` and `ack`.
fn packet(text: &str) -> Packet {
    let parts: Vec<&str> = text.split(' ').collect();
    let [side, flags, seq, ack] = parts[..] else { panic!("{text}") };
    let ends = [CLIENT, SERVER];
    let [from, to] = if side == "C" { ends } else { [SERVER, CLIENT] };
    let known = ["SYN", "FIN", "RST", "ACK"].into_iter();
    Packet {
        from,
        to,
        flags: known.filter(|flag| flags.contains(flag)).collect(),
        seq: seq.parse().unwrap(),
        ack: ack.parse().unwrap(),
        ..Packet::default()
    }
}

/// The states after the handshake and these packets.
fn after(packets: &[&str]) -> [Vec<&'static str>; 2] {
    let handshake = ["C SYN 0 0", "S SYN+ACK 0 1", "C ACK 1 1"];
    let all = handshake.iter().chain(packets).map(|text| packet(text));
    let all: Vec<Packet> = all.collect();
    [(CLIENT, "SYN-SENT"), (SERVER, "SYN-RECEIVED")].map(|(port, first)| {
        let states = states(&all, port).into_iter().map(|(_, state)| state);
        let states: Vec<_> = states.collect();
        assert_eq!(states[..2], [first, "ESTABLISHED"]);
        states[2..].to_vec()
    })
}

fn closes_first() {
    let [client, server] =
        after(&["C FIN+ACK 1 1", "S ACK 1 2", "S FIN+ACK 1 2", "C ACK 2 2"]);
    assert_eq!(client, ["FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"]);
    assert_eq!(server, ["CLOSE-WAIT", "LAST-ACK", "CLOSED"]);
    let [client, server] =
        after(&["S FIN+ACK 1 1", "C ACK 1 2", "C FIN+ACK 1 2", "S ACK 2 2"]);
    assert_eq!(client, ["CLOSE-WAIT", "LAST-ACK", "CLOSED"]);
    assert_eq!(server, ["FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"]);
}

fn both_close() {
    // The other FIN was sent before ours arrived: it does not acknowledge it.
    let packets = ["C FIN+ACK 1 1", "S FIN+ACK 1 1", "C ACK 2 2", "S ACK 2 2"];
    let [client, _] = after(&packets);
    assert_eq!(client, ["FIN-WAIT-1", "CLOSING", "TIME-WAIT"]);
}

fn ack_with_fin() {
    let [client, _] = after(&["C FIN+ACK 1 1", "S FIN+ACK 1 2", "C ACK 2 2"]);
    assert_eq!(client, ["FIN-WAIT-1", "TIME-WAIT"]);
}

fn ack_of_data() {
    let [client, _] = after(&["C FIN+ACK 15 1", "S ACK 1 15"]);
    assert_eq!(client, ["FIN-WAIT-1"]);
}

fn reset() {
    let [client, server] = after(&["C FIN+ACK 1 1", "S RST 1 0"]);
    assert_eq!(client, ["FIN-WAIT-1", "CLOSED"]);
    assert_eq!(server, ["CLOSE-WAIT", "CLOSED"]);
}

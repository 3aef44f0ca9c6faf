//! What the header of a packet says.

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use etherparse::{TcpOptionElement, TcpSlice};

/// The header of a TCP segment (RFC 9293, section 3.1), in an IPv4 packet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// The port it comes from, and the one it goes to.
    pub ports: (u16, u16),
    /// Opens a connection.
    pub syn: bool,
    /// Ends this direction.
    pub fin: bool,
    /// Ends the connection at once.
    pub rst: bool,
    /// Whether `acked` counts: in all segments but the first.
    pub ack: bool,
    /// The number of the first byte.
    pub seq: u32,
    /// The number of the byte that this end expects next.
    pub acked: u32,
    /// The window as the header has it, before it is scaled.
    pub window: u16,
    /// How many bytes of data follow. The packet may have been cut.
    pub len: usize,
    /// The first block that arrived ahead of a gap (RFC 2018): its first byte
    /// and the one after its last.
    pub sack: Option<(u32, u32)>,
}

impl Segment {
    /// Reads a packet. Returns nothing if it is not TCP over IPv4.
    pub fn read(packet: &[u8]) -> Option<Segment> {
        let sliced = LaxSlicedPacket::from_ip(packet).ok()?;
        let Some(LaxNetSlice::Ipv4(ip)) = &sliced.net else { return None };
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
            return None;
        };
        let headers =
            ip.header().slice().len() + usize::from(tcp.data_offset()) * 4;
        let total = usize::from(ip.header().total_len());
        Some(Segment {
            ports: (tcp.source_port(), tcp.destination_port()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            ack: tcp.ack(),
            seq: tcp.sequence_number(),
            acked: tcp.acknowledgment_number(),
            window: tcp.window_size(),
            len: total.checked_sub(headers)?,
            sack: first_sack(tcp),
        })
    }

    /// The number after the last byte; SYN and FIN count as a byte.
    pub fn end(&self) -> u32 {
        let flags = u32::from(self.syn) + u32::from(self.fin);
        self.seq.wrapping_add(self.len as u32).wrapping_add(flags)
    }

    /// Counts from these numbers of both ends, as tcpdump and Wireshark do.
    pub fn count_from(&mut self, own: u32, other: u32) {
        self.seq = self.seq.wrapping_sub(own);
        if self.ack {
            self.acked = self.acked.wrapping_sub(other);
        }
        if let Some((start, end)) = &mut self.sack {
            *start = start.wrapping_sub(other);
            *end = end.wrapping_sub(other);
        }
    }

    /// Does it carry anything that must arrive?
    pub fn has_content(&self) -> bool {
        self.end() != self.seq
    }
}

fn first_sack(tcp: &TcpSlice) -> Option<(u32, u32)> {
    tcp.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::SelectiveAcknowledgement(first, _)) => Some(first),
        _ => None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A packet of TCP without options.
    pub fn packet(seq: u32, flags: u8, len: usize) -> Vec<u8> {
        let total = (40 + len) as u16;
        let mut bytes = vec![0x45, 0];
        bytes.extend(total.to_be_bytes());
        bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 8, 0, 2, 10, 8, 0, 1]);
        bytes.extend([0xc3, 0x51, 0x22, 0xb8]); // 50001 to 8888
        bytes.extend(seq.to_be_bytes());
        bytes.extend([0, 0, 0, 7, 0x50, flags, 0, 9, 0, 0, 0, 0]);
        bytes.resize(40 + len, b'x');
        bytes
    }

    #[test]
    fn a_header_is_read_even_if_the_packet_was_cut() {
        let whole = packet(1000, 0x11, 500);
        let segment = Segment::read(&whole).unwrap();
        assert_eq!(segment, Segment::read(&whole[..96]).unwrap());
        assert!(segment.ack && segment.fin && !segment.syn && !segment.rst);
        assert_eq!((segment.seq, segment.len), (1000, 500));
        assert_eq!((segment.acked, segment.window), (7, 9));
        assert_eq!(segment.end(), 1501);
        assert_eq!(segment.ports, (50001, 8888));
    }

    #[test]
    fn what_is_not_tcp_is_not_read() {
        assert_eq!(Segment::read(&[]), None);
        assert_eq!(Segment::read(&[0x45; 10]), None);
        let mut udp = packet(0, 0, 8);
        udp[9] = 17;
        assert_eq!(Segment::read(&udp), None);
    }
}

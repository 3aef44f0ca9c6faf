//! Packets that are not TCP, in words.

use etherparse::Ipv4HeaderSlice;

use crate::road::Crossing;

/// The numbers of protocols in an IPv4 header.
const ICMP: u8 = 1;
const UDP: u8 = 17;

/// How many bytes the header of UDP has (RFC 768).
const HEADER: usize = 8;

/// Says what is in a packet: a datagram, a fragment of one (RFC 791, section
/// 3.2), or what a machine says about a datagram (RFC 792).
pub fn describe(crossing: &Crossing) -> String {
    let bytes = &crossing.bytes[..];
    let mut text = words(bytes).unwrap_or_else(|| "?".to_owned());
    if crossing.copy {
        text += " a copy";
    }
    text
}

/// Nothing if the packet is too short. It may have been cut behind its headers.
fn words(packet: &[u8]) -> Option<String> {
    let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let rest = packet.get(ip.slice().len()..)?;
    let size = usize::from(ip.payload_len().ok()?);
    let start = usize::from(ip.fragments_offset().value()) * 8;
    let is_part = ip.more_fragments() || start > 0;
    Some(match (ip.protocol().0, start) {
        (UDP, 0) => {
            let length = rest.get(4..6)?.try_into().ok()?;
            let all = usize::from(u16::from_be_bytes(length));
            let all = all.checked_sub(HEADER)?;
            match is_part {
                true => {
                    let last = size.checked_sub(HEADER + 1)?;
                    format!("UDP {all} bytes, 0-{last}")
                }
                false => format!("UDP {all} bytes"),
            }
        }
        (UDP, start) => {
            let first = start - HEADER;
            let last = (first + size).checked_sub(1)?;
            format!("fragment, {first}-{last}")
        }
        (ICMP, 0) if rest.get(..2)? == [3, 3] => {
            "ICMP port unreachable".to_owned()
        }
        (ICMP, 0) => format!("ICMP {} {}", rest.first()?, rest.get(1)?),
        (other, _) => format!("protocol {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 packet whose header has these 16 bits about fragments.
    fn packet(protocol: u8, fragments: u16, rest: &[u8]) -> Vec<u8> {
        let total = (20 + rest.len()) as u16;
        let mut bytes = vec![0x45, 0];
        bytes.extend(total.to_be_bytes());
        bytes.extend([0, 9]);
        bytes.extend(fragments.to_be_bytes());
        bytes.extend([64, protocol, 0, 0, 10, 8, 0, 2, 10, 8, 0, 1]);
        bytes.extend(rest);
        bytes
    }

    /// A UDP header that says so many bytes, and `n` of them.
    fn datagram(says: u16, n: usize) -> Vec<u8> {
        let mut bytes = vec![0xc3, 0x51, 0x22, 0xb8];
        bytes.extend((says + 8).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.resize(8 + n, b'x');
        bytes
    }

    #[test]
    fn each_packet_says_what_it_carries() {
        const MORE: u16 = 0x2000;
        for (bytes, text) in [
            (packet(UDP, 0x4000, &datagram(1472, 1472)), "UDP 1472 bytes"),
            (
                packet(UDP, MORE, &datagram(1473, 1472)),
                "UDP 1473 bytes, 0-1471",
            ),
            (packet(UDP, 1480 / 8, b"x"), "fragment, 1472-1472"),
            (packet(ICMP, 0, &[3, 3, 0, 0]), "ICMP port unreachable"),
            (packet(ICMP, 0, &[11, 1]), "ICMP 11 1"),
            (packet(2, 0, b""), "protocol 2"),
        ] {
            assert_eq!(words(&bytes).unwrap(), text);
            let cut = &bytes[..bytes.len().min(96)];
            assert_eq!(words(cut).unwrap(), text);
        }
        for bytes in [
            &[][..],
            &[0x45; 19],
            &packet(UDP, 0, b"x"),
            &packet(UDP, MORE, &datagram(1473, 0)),
            &packet(UDP, 1, b""),
        ] {
            assert_eq!(words(bytes), None);
        }
    }
}

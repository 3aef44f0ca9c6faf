//! Files of packets (pcap), as tcpdump writes and Wireshark reads them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::road::{Crossing, Side};

/// The start of a file: times in microseconds, version 2.4, packets of any
/// length, and each of them begins with its IP header (LINKTYPE_RAW).
const HEADER: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0x0004_0000, 101];

/// Where an IPv4 header has its source address (RFC 791, section 3.1).
const SOURCE: std::ops::Range<usize> = 12..16;

/// Makes the file that tcpdump would have written on one machine: what it sent
/// and what reached it. Of each packet it has the first `snap` bytes. The
/// first packet on the road was sent at time 0.
pub fn write(crossings: &[Crossing], side: Side, snap: usize) -> Vec<u8> {
    let start = crossings.first().map_or(Duration::ZERO, |c| c.sent);
    let mut passed: Vec<(Duration, &[u8])> = Vec::new();
    for Crossing { from, sent, arrived, copy, bytes, .. } in crossings {
        let left = (!copy).then_some(*sent);
        let time = if *from == side { left } else { *arrived };
        passed.extend(time.map(|time| (time - start, &bytes[..])));
    }
    passed.sort_by_key(|(time, _)| *time);
    let mut file: Vec<u8> =
        HEADER.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (time, bytes) in passed {
        let kept = &bytes[..bytes.len().min(snap)];
        for word in [
            time.as_secs() as u32,
            time.subsec_micros(),
            kept.len() as u32,
            bytes.len() as u32,
        ] {
            file.extend(word.to_le_bytes());
        }
        file.extend(kept);
    }
    file
}

/// Reads the files of both machines, and finds which packet arrived when: the
/// one with the same bytes.
///
/// # Errors
/// A file is not one of ours.
pub fn read(client: &[u8], server: &[u8]) -> Result<Vec<Crossing>> {
    let client = records(client).context("cannot read the client's file")?;
    let server = records(server).context("cannot read the server's file")?;
    let first = client.first().context("the client's file is empty")?;
    let own = first.1.get(SOURCE).context("a packet is too short")?.to_vec();
    let (sent, received): (Vec<_>, Vec<_>) = client
        .into_iter()
        .partition(|(_, bytes)| bytes.get(SOURCE) == Some(&own[..]));
    let (arrived, answered): (Vec<_>, Vec<_>) = server
        .into_iter()
        .partition(|(_, bytes)| bytes.get(SOURCE) == Some(&own[..]));
    let mut crossings = pair(Side::Client, sent, arrived);
    crossings.extend(pair(Side::Server, answered, received));
    crossings.sort_by_key(|crossing| crossing.sent);
    Ok(crossings)
}

/// When a packet passed, and its bytes.
type Record = (Duration, Vec<u8>);

fn pair(
    from: Side,
    sent: Vec<Record>,
    mut arrived: Vec<Record>,
) -> Vec<Crossing> {
    let crossings = sent.into_iter().map(|(sent, bytes)| {
        let found = arrived
            .iter()
            .position(|(time, other)| *time >= sent && *other == bytes);
        let arrived = found.map(|i| arrived.remove(i).0);
        let lost = arrived.is_none();
        Crossing { from, sent, arrived, lost, copy: false, bytes }
    });
    crossings.collect()
}

fn records(file: &[u8]) -> Result<Vec<Record>> {
    let mut rest = file;
    for word in HEADER {
        ensure!(take(&mut rest)? == word, "it is not a file of the lab");
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        let seconds = Duration::from_secs(take(&mut rest)?.into());
        let micros = Duration::from_micros(take(&mut rest)?.into());
        let kept = take(&mut rest)? as usize;
        take(&mut rest)?; // the length before it was cut
        let bytes = rest.split_off(..kept).context("it ends too early")?;
        records.push((seconds + micros, bytes.to_vec()));
    }
    Ok(records)
}

fn take(rest: &mut &[u8]) -> Result<u32> {
    let word = rest.split_off(..4).context("it ends too early")?;
    Ok(u32::from_le_bytes(word.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(last: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        bytes[15] = last; // of the source address
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn two_files_tell_what_got_lost() {
        let ms = Duration::from_millis;
        let crossing = |from, sent, arrived: Option<u64>, bytes| Crossing {
            from,
            sent: ms(sent),
            arrived: arrived.map(ms),
            lost: arrived.is_none(),
            copy: false,
            bytes,
        };
        let all = [
            crossing(Side::Client, 0, None, packet(2, "same")),
            crossing(Side::Client, 30, Some(55), packet(2, "later")),
            crossing(Side::Server, 55, Some(80), packet(1, "answer")),
            crossing(Side::Server, 56, None, packet(1, "lost")),
        ];
        let client = write(&all, Side::Client, 1500);
        let server = write(&all, Side::Server, 1500);
        assert_eq!(read(&client, &server).unwrap(), all);
        let cut = read(&client[..30], &server).unwrap_err();
        assert!(format!("{cut:#}").ends_with("too early"));
    }
}

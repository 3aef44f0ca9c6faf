//! The frame of step 4, for any bytes in any slices.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[allow(dead_code)]
#[path = "../steps/step4/frame.rs"]
mod frame;
mod support;

use frame::{LengthError, MAX_LENGTH, decode, encode};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use support::snapshot;

type Frames = Vec<(u8, Vec<u8>)>;

/// Receives `bytes` in slices, as a server does: takes all whole frames out of
/// a buffer that outlives each read. Returns the frames, how many bytes were
/// left, and the largest size of the buffer.
fn receive(
    bytes: &[u8],
    sizes: &[usize],
) -> Result<(Frames, usize, usize), LengthError> {
    let (mut input, mut frames, mut largest) = (Vec::new(), Vec::new(), 0);
    let mut sizes = sizes.iter().cycle();
    let mut left = bytes;
    while !left.is_empty() {
        let (slice, later) =
            left.split_at(left.len().min(*sizes.next().unwrap()));
        left = later;
        input.extend_from_slice(slice);
        largest = largest.max(input.len());
        let mut rest = &input[..];
        while let Some(frame) = decode(&mut rest)? {
            frames.push((frame.kind, frame.payload.to_vec()));
        }
        let used = input.len() - rest.len();
        input.drain(..used);
    }
    Ok((frames, input.len(), largest))
}

proptest! {
    #[test]
    fn any_frames_in_any_slices(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..300)), 0..20),
        sizes in vec(1usize..700, 1..20),
    ) {
        let mut bytes = Vec::new();
        for (kind, payload) in &frames {
            encode(*kind, payload, &mut bytes).unwrap();
        }
        prop_assert_eq!(receive(&bytes, &sizes).unwrap().0, frames);
    }

    /// Whatever comes, nothing panics, and no more is kept than one frame and
    /// one slice.
    #[test]
    fn any_bytes_in_any_slices(
        bytes in vec(any::<u8>(), 0..2000),
        sizes in vec(1usize..100, 1..20),
    ) {
        if let Ok((_, _, largest)) = receive(&bytes, &sizes) {
            prop_assert!(largest <= 4 + MAX_LENGTH + 100);
        }
    }

    /// The same with small lengths, so that frames are found, too.
    #[test]
    fn small_lengths_in_any_slices(
        lengths in vec(0u32..40, 0..40),
        sizes in vec(1usize..100, 1..20),
    ) {
        let bytes: Vec<u8> =
            lengths.iter().flat_map(|n| n.to_be_bytes()).collect();
        let whole = receive(&bytes, &[bytes.len().max(1)]);
        let sliced = receive(&bytes, &sizes);
        prop_assert_eq!(whole.is_err(), sliced.is_err());
        if let (Ok(whole), Ok(sliced)) = (whole, sliced) {
            prop_assert_eq!((whole.0, whole.1), (sliced.0, sliced.1));
        }
    }
}

/// Two frames, cut once at each place: what the first read gives.
#[test]
fn two_frames_cut_at_each_place() {
    let mut bytes = Vec::new();
    encode(frame::ECHO, b"hi", &mut bytes).unwrap();
    encode(frame::ECHO, b"yo", &mut bytes).unwrap();
    let mut table = "kept  frames  what the first read gives\n".to_owned();
    for cut in 1..=bytes.len() {
        let (early, late) = bytes.split_at(cut);
        let (frames, kept, _) = receive(early, &[cut]).unwrap();
        let hex: Vec<String> =
            early.iter().map(|b| format!("{b:02x}")).collect();
        let names: Vec<_> = frames
            .iter()
            .map(|(_, payload)| String::from_utf8_lossy(payload))
            .collect();
        let (names, hex) = (names.join(" "), hex.join(" "));
        table += &format!("{kept:4}  {names:6}  {hex}\n");
        // And with the second read, both are there.
        let (all, kept, _) = receive(&[early, late].concat(), &[cut]).unwrap();
        assert_eq!((all.len(), kept), (2, 0));
    }
    snapshot("frame-cuts", table.trim_end());
}

//! Looks for bytes, and ways to slice them, that the decoder of step 4 reads
//! otherwise than the contract says. In this folder, with a C++ compiler:
//!
//! ```text
//! cargo run -- -max_total_time=60     for a minute; without it, forever
//! cargo run -- crash-0123…            once more what it has found
//! ```

#![no_main]

// Otherwise it would run, see no code being reached, and call that a success.
#[cfg(not(fuzzing))]
compile_error!("start cargo in tests/fuzz, and without RUSTFLAGS");

#[allow(dead_code)]
#[path = "../../steps/step4/frame.rs"]
mod frame;

use frame::LengthError;
use libfuzzer_sys::fuzz_target;

/// The frames, how many bytes they took, and the error behind them.
type Outcome = (Vec<(u8, Vec<u8>)>, usize, Option<LengthError>);

/// The contract, read a second time: of `frame.rs`, only the errors' names.
fn expected(stream: &[u8]) -> Outcome {
    let (mut frames, mut used) = (Vec::new(), 0);
    let error = loop {
        let rest = &stream[used..];
        let Some(header) = rest.get(..4) else { break None };
        let length = header.iter().fold(0, |n, b| n * 256 + *b as usize);
        match length {
            0 => break Some(LengthError::Zero),
            1..=65_536 if rest.len() < 4 + length => break None,
            1..=65_536 => frames.push((rest[4], rest[5..4 + length].to_vec())),
            _ => break Some(LengthError::TooLarge(length as u32)),
        }
        used += 4 + length;
    };
    (frames, used, error)
}

/// Receives as the server does: in slices, into a buffer that outlives them.
fn receive(mut late: &[u8], sizes: &[u16]) -> Outcome {
    let (mut input, mut frames, mut used) = (Vec::new(), Vec::new(), 0);
    let (mut error, mut sizes) = (None, sizes.iter().cycle());
    while error.is_none() && !late.is_empty() {
        let size = *sizes.next().unwrap_or(&0) as usize + 1;
        let (slice, later) = late.split_at(late.len().min(size));
        late = later;
        input.extend_from_slice(slice);
        assert!(input.len() <= 4 + 65_536 + size, "the buffer grows");
        let mut rest = &input[..];
        error = loop {
            match frame::decode(&mut rest) {
                Ok(Some(f)) => frames.push((f.kind, f.payload.to_vec())),
                end => break end.err(),
            }
        };
        let taken = input.len() - rest.len();
        input.drain(..taken);
        used += taken;
    }
    (frames, used, error)
}

// Up to 65 535 bytes are appended: so a few bytes make the largest frame.
fuzz_target!(|input: (u16, [u16; 3], &[u8])| {
    let (more, sizes, bytes) = input;
    let stream = [bytes, &vec![b'x'; more as usize]].concat();
    let (frames, used, error) = receive(&stream, &sizes);
    let contract = expected(&stream);
    assert_eq!((used, error), (contract.1, contract.2));
    assert!(frames == contract.0, "not the frames of the contract");
    let mut again = Vec::new();
    for (kind, payload) in &frames {
        assert_eq!(frame::encode(*kind, payload, &mut again), Ok(()));
    }
    assert!(again == stream[..used], "encoded, they are other bytes");
});

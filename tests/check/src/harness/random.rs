//! Bytes that depend on the seed and on nothing else.

/// Random numbers (splitmix64): the same seed and label, the same numbers, on
/// each machine.
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each label, so that a case alone gets the
    /// bytes that it got among the others.
    pub fn new(seed: u64, label: &str) -> Random {
        let mut random = Random(seed);
        for byte in label.bytes() {
            random.0 = random.next() ^ u64::from(byte);
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `n` − 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn bytes(&mut self, size: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes());
        words.take(size.div_ceil(8)).flatten().take(size).collect()
    }

    /// A word of small letters: what no program can know beforehand.
    pub fn word(&mut self, size: usize) -> String {
        (0..size).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}

/// Draws a seed for a user who gave none.
pub fn any_seed() -> u64 {
    let time = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |time| time.as_nanos() as u64);
    Random(time).next() % 1_000_000 // short enough to type
}

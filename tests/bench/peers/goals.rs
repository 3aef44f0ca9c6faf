//! What the steps should reach, beside what they have reached.

/// Which of the two values of a message a goal is about.
#[derive(Clone, Copy)]
pub enum Of {
    /// Messages per second.
    Rate,
    /// The server's processor time per message.
    Cpu,
}

/// A bound for one server's value divided by another's, in one cell.
pub struct Goal {
    pub key: &'static str,
    pub step: &'static str,
    pub base: &'static str,
    pub of: Of,
    pub bound: f64,
}

impl Goal {
    /// A rate has to be at least as high as its bound, and the processor time
    /// at most.
    pub fn is_met(&self, ratio: f64) -> bool {
        match self.of {
            Of::Rate => ratio >= self.bound,
            Of::Cpu => ratio <= self.bound,
        }
    }

    pub fn text(&self) -> String {
        let Goal { key, step, base, of, bound } = self;
        let (what, sign) = match of {
            Of::Rate => ("rate", "≥"),
            Of::Cpu => ("CPU", "≤"),
        };
        format!("{key}: {step} ÷ {base}, {what} {sign} {bound:.2}")
    }
}

/// Groups of cells, for each of them a server and one to divide it by.
type Row = (&'static [&'static str], &'static str, &'static str, Of, f64);

const SMALL: &[&str] =
    &["raw-1x64", "raw-50x64", "raw-50x64x16", "raw-50x1k", "raw-50x1kx16"];
const LARGE: &[&str] = &["raw-1x64k", "raw-50x64k"];
const MANY: &[&str] = &["raw-1000x64", "raw-5000x64"];
const CONNECT: &[&str] = &["connect-16"];
const ONE: &[&str] = &["framed-50x64"];
const SIXTEEN: &[&str] = &["framed-50x64x16", "framed-50x1kx16"];
const BOTH: &[&str] = &["framed-50x64", "framed-50x64x16"];

const ROWS: [Row; 20] = [
    (SMALL, "step 3", "C epoll", Of::Rate, 0.95),
    (LARGE, "step 3", "C epoll", Of::Rate, 0.8),
    (CONNECT, "step 3", "C epoll", Of::Rate, 0.9),
    (SMALL, "step 3", "tokio's example", Of::Rate, 1.0),
    (LARGE, "step 3", "tokio's example", Of::Rate, 1.0),
    (MANY, "step 3", "tokio's example", Of::Rate, 1.0),
    (CONNECT, "step 3", "tokio's example", Of::Rate, 1.0),
    (SMALL, "step 3", "Go loop", Of::Rate, 1.0),
    (LARGE, "step 3", "Go loop", Of::Rate, 1.0),
    (MANY, "step 3", "Go loop", Of::Rate, 1.0),
    (CONNECT, "step 3", "Go loop", Of::Rate, 1.0),
    (SIXTEEN, "step 4", "C epoll", Of::Rate, 0.9),
    (SIXTEEN, "step 4", "C epoll", Of::Cpu, 1.15),
    (SIXTEEN, "step 4", "codec feed", Of::Rate, 1.3),
    (SIXTEEN, "step 4", "codec send", Of::Rate, 5.0),
    (ONE, "step 4", "codec feed", Of::Rate, 1.0),
    (ONE, "step 4", "codec feed", Of::Cpu, 1.0),
    (&["framed-50x64k"], "step 4", "C epoll", Of::Rate, 0.9),
    (BOTH, "step 5", "step 4", Of::Cpu, 1.05),
    (BOTH, "step 8", "step 5", Of::Cpu, 1.1),
];

/// All goals, one for each cell.
pub fn goals() -> impl Iterator<Item = Goal> {
    ROWS.iter().flat_map(|&(keys, step, base, of, bound)| {
        keys.iter().map(move |key| Goal { key, step, base, of, bound })
    })
}

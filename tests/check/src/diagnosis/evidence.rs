//! What the checker saw on a connection.

/// How a stream goes on after the last byte that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Open,
    Fin,
    Reset,
}

impl End {
    pub fn text(self) -> &'static str {
        match self {
            End::Open => "the connection is still open",
            End::Fin => "the connection was closed (FIN)",
            End::Reset => "the connection was reset (RST)",
        }
    }
}

/// What was read.
pub struct Got {
    pub bytes: Vec<u8>,
    pub end: End,
}

/// What had to come, and what came.
pub struct Evidence<'a> {
    pub is_framed: bool,
    pub expected: &'a [u8],
    pub got: &'a [u8],
    /// The answer before this one.
    pub previous: &'a [u8],
    pub end: End,
}

/// The meaning, and where to look.
pub type Cause = (String, &'static str);

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

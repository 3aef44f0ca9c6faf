//! What is measured, and which servers are.

use crate::servers::LIMIT;

/// One load, and the servers that it is put on.
pub struct Cell {
    /// Its name on the command line.
    pub key: &'static str,
    /// Connections × size × requests in flight.
    pub title: &'static str,
    pub is_framed: bool,
    /// Do the server and `load` share one core?
    pub is_pinned: bool,
    /// The options of `load`.
    pub load: &'static str,
    pub servers: &'static [&'static str],
}

const EXAMPLE: &str = "tokio's example";
const NIO: &str = "Java NIO";

/// A user could pick these instead of step 3.
const MANY: &[&str] = &[
    LIMIT,
    "step 3",
    "step 3, 1 worker",
    EXAMPLE,
    NIO,
    "Go loop",
    "asyncio",
    "Node",
    "std threads",
];

/// Each of them may read and write 64 KiB in another number of pieces.
const LARGE: &[&str] =
    &[LIMIT, "step 3", EXAMPLE, NIO, "Go loop", "Go io.Copy"];

const FRAMED: &[&str] = &[
    LIMIT,
    "step 4",
    "step 4, 1 worker",
    "step 5",
    "step 8",
    "codec feed",
    "codec send",
    "Go bufio",
];

const fn raw(
    key: &'static str,
    title: &'static str,
    load: &'static str,
    servers: &'static [&'static str],
) -> Cell {
    Cell { key, title, is_framed: false, is_pinned: false, load, servers }
}

const fn pinned(cell: Cell) -> Cell {
    Cell { is_pinned: true, ..cell }
}

const fn framed(
    key: &'static str,
    title: &'static str,
    load: &'static str,
) -> Cell {
    let (is_framed, is_pinned) = (true, false);
    Cell { key, title, is_framed, is_pinned, load, servers: FRAMED }
}

pub const CELLS: [Cell; 14] = [
    pinned(raw(
        "raw-1x64",
        "1 × 64 B, one core",
        "--connections 1 --size 64",
        &[LIMIT, "step 3", EXAMPLE, "Go loop", "asyncio", "std threads"],
    )),
    raw("raw-50x64", "50 × 64 B", "--connections 50 --size 64", MANY),
    raw(
        "raw-50x64x16",
        "50 × 64 B × 16",
        "--connections 50 --size 64 --in-flight 16",
        MANY,
    ),
    raw(
        "raw-50x1k",
        "50 × 1 KiB",
        "--connections 50 --size 1024",
        &[LIMIT, "step 3", EXAMPLE, NIO, "Go loop"],
    ),
    raw(
        "raw-50x1kx16",
        "50 × 1 KiB × 16",
        "--connections 50 --size 1024 --in-flight 16",
        &[LIMIT, "step 3", EXAMPLE, NIO, "Go loop", "Node"],
    ),
    pinned(raw(
        "raw-1x64k",
        "1 × 64 KiB, one core",
        "--connections 1 --size 65536",
        LARGE,
    )),
    raw("raw-50x64k", "50 × 64 KiB", "--connections 50 --size 65536", LARGE),
    raw(
        "raw-1000x64",
        "1000 × 64 B",
        "--connections 1000 --size 64",
        &[LIMIT, "step 3", EXAMPLE, NIO, "Go loop", "asyncio", "std threads"],
    ),
    raw(
        "raw-5000x64",
        "5000 × 64 B",
        "--connections 5000 --size 64",
        &[LIMIT, "step 3", EXAMPLE, NIO, "Go loop"],
    ),
    framed("framed-50x64", "50 × 64 B", "--connections 50 --size 64"),
    framed(
        "framed-50x64x16",
        "50 × 64 B × 16",
        "--connections 50 --size 64 --in-flight 16",
    ),
    framed(
        "framed-50x1kx16",
        "50 × 1 KiB × 16",
        "--connections 50 --size 1024 --in-flight 16",
    ),
    // The largest payload: the length of a frame counts its kind, too.
    framed("framed-50x64k", "50 × 64 KiB", "--connections 50 --size 65535"),
    raw(
        "connect-16",
        "connect, 64 B, close × 16",
        "--connections 16 --size 64 --reconnect",
        &[LIMIT, "step 3", EXAMPLE, NIO, "Go loop", "std threads"],
    ),
];

/// The servers that get idle connections; `true`: they speak frames.
pub const IDLE_SERVERS: [(&str, bool); 7] = [
    (LIMIT, false),
    ("step 3", false),
    ("Go loop", false),
    ("step 4", true),
    ("step 5", true),
    ("step 8", true),
    ("codec feed", true),
];

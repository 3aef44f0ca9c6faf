//! The list of defects: what each one is, and the case that names it.

/// A mistake that can be switched on.
pub struct Defect {
    pub name: &'static str,
    /// The step of the program in which it is made.
    pub step: u8,
    /// The case that names it.
    pub case: &'static str,
    /// What the program does.
    pub what: &'static str,
}

impl Defect {
    /// A warning is all it gets: the peer is told too little, but told.
    pub fn is_warning(&self) -> bool {
        WARNINGS.contains(&self.name)
    }

    pub fn side(&self) -> &'static str {
        if self.case.starts_with('S') { "server" } else { "client" }
    }
}

const WARNINGS: [&str; 4] = [
    "closes-silently",
    "resets-after-error",
    "timeout-is-silent",
    "adds-newline-at-end",
];

const fn defect(
    step: u8,
    case: &'static str,
    name: &'static str,
    what: &'static str,
) -> Defect {
    Defect { name, step, case, what }
}

/// All of them, in the order of their cases.
#[rustfmt::skip]
pub const DEFECTS: &[Defect] = &[
    defect(1, "S1-01", "never-closes", "greets and never closes"),
    defect(1, "S1-01", "waits-for-eof-first", "reads to EOF before it greets"),
    defect(1, "S1-01", "wrong-greeting", "greets with other words"),
    defect(1, "S1-01", "adds-newline-to-greeting", "prints the greeting as a line"),
    defect(1, "S1-01", "greets-before-asked", "greets before it has read"),
    defect(1, "S1-02", "serves-once", "ends after its first client"),
    defect(1, "S1-03", "dies-on-reset", "dies when a client resets"),
    defect(1, "S1-04", "hangs-on-taken-port", "hangs when its port is taken"),
    defect(1, "S1-04", "silent-about-port", "does not say which port is taken"),
    defect(1, "S1-04", "taken-port-is-success", "exits 0 when its port is taken"),
    defect(1, "S1-04", "shares-port", "shares its port with a second server"),
    defect(1, "S1-05", "no-reuseaddr", "cannot start again for a minute"),
    defect(2, "S2-01", "waits-for-newline", "answers when a newline has come"),
    defect(2, "S2-01", "waits-for-eof", "answers at EOF"),
    defect(2, "S2-01", "adds-newline", "adds a newline to each answer"),
    defect(2, "S2-02", "decodes-utf8", "decodes bytes as UTF-8"),
    defect(2, "S2-02", "stops-at-zero-byte", "takes a zero byte for the end"),
    defect(2, "S2-02", "strips-space", "strips space at the end"),
    defect(2, "S2-02", "buffer-of-1024", "answers one full buffer and ends"),
    defect(2, "S2-02", "drops-at-eof", "drops its answer at half-close"),
    defect(2, "S2-03", "forgets-partial-write", "forgets the rest of a partial write"),
    defect(2, "S2-04", "never-closes-at-eof", "does not close at EOF"),
    defect(2, "S2-05", "answers-once", "answers after one read, and ends"),
    defect(2, "S2-05", "one-behind", "sends the answer before"),
    defect(3, "S2-06", "spins-at-eof", "reads EOF again and again"),
    defect(2, "S2-07", "dies-on-reset-in-echo", "dies when a client resets"),
    defect(2, "S2-08", "leaks-descriptors", "never closes a socket"),
    defect(3, "S3-01", "one-at-a-time", "serves one client to the end"),
    defect(3, "S3-02", "pool-of-4", "serves four clients at a time"),
    defect(3, "S3-02", "shared-buffer", "has one buffer for all clients"),
    defect(3, "S3-03", "leaks-after-error", "does not close after an error"),
    defect(3, "S3-04", "lock-while-writing", "holds a lock while it writes"),
    defect(4, "S4-01", "little-endian", "has the length the wrong way round"),
    defect(4, "S4-01", "length-counts-itself", "counts the length in the length"),
    defect(4, "S4-01", "length-forgets-kind", "does not count the kind"),
    defect(4, "S4-01", "reply-without-header", "replies with the payload alone"),
    defect(4, "S4-01", "reply-kind-of-request", "replies with kind 01"),
    defect(4, "S4-01", "reply-without-kind", "replies without a kind"),
    defect(4, "S4-02", "ignores-empty", "does not answer an empty message"),
    defect(4, "S4-03", "limit-one-too-small", "refuses the largest frame"),
    defect(4, "S4-04", "limit-one-too-large", "takes one byte too much"),
    defect(4, "S4-04", "stays-open-after-error", "does not end after a fatal error"),
    defect(4, "S4-05", "believes-length", "has no limit at all"),
    defect(4, "S4-05", "limit-checked-late", "checks the length after the payload"),
    defect(4, "S4-05", "closes-silently", "closes without an ERROR"),
    defect(4, "S4-06", "signed-length", "takes the length for a signed number"),
    defect(4, "S4-07", "zero-ignored", "takes N = 0 for an empty message"),
    defect(4, "S4-07", "zero-aborts", "dies of N = 0"),
    defect(4, "S4-07", "wrong-code", "answers N = 0 with ERROR 1"),
    defect(4, "S4-08", "read-is-message", "takes one read for one frame"),
    defect(4, "S4-09", "first-frame-only", "answers the first frame of a read"),
    defect(4, "S4-09", "reorders", "answers the last frame first"),
    defect(4, "S4-10", "drops-tail", "forgets the bytes after the last frame"),
    defect(4, "S4-11", "answers-cut-frame", "answers a truncated frame"),
    defect(4, "S4-12", "dies-on-bad-frame", "ends when a client breaks the rules"),
    defect(4, "S4-13", "unknown-kind-ends", "ends at an unknown kind"),
    defect(4, "S4-13", "unknown-kind-ignored", "ignores an unknown kind"),
    defect(4, "S4-13", "unknown-kind-desync", "skips only the length of an unknown kind"),
    defect(4, "S4-13", "echoes-any-kind", "echoes whatever kind"),
    defect(4, "S4-15", "drops-at-half-close", "drops its replies at half-close"),
    defect(4, "S4-16", "one-error-ends-all", "ends all connections at one's error"),
    defect(4, "S4-17", "parses-after-fatal", "keeps parsing after a fatal error"),
    defect(4, "S4-18", "resets-after-error", "resets in place of a clean close"),
    defect(4, "S4-19", "echoes-server-kinds", "echoes kinds of a server"),
    defect(5, "S5-01", "no-idle-limit", "waits for ever for a frame"),
    defect(5, "S5-01", "limits-in-seconds", "takes ms for s"),
    defect(5, "S5-01", "half-the-limit", "cuts when half the time is up"),
    defect(5, "S5-01", "timeout-is-silent", "closes without an ERROR"),
    defect(5, "S5-01", "wrong-timeout-code", "answers with ERROR 4"),
    defect(5, "S5-02", "per-read-timer", "starts the clock again at each byte"),
    defect(5, "S5-03", "timer-from-connect", "never starts the clock again"),
    defect(5, "S5-04", "timer-drops-bytes", "loses bytes when a timer fires"),
    defect(5, "S5-04", "idle-inside-frame", "uses the idle limit inside a frame"),
    defect(5, "S5-05", "no-limit-in-header", "has no limit inside a header"),
    defect(5, "S5-05", "header-in-accept-loop", "reads the header before the next accept"),
    defect(5, "S5-06", "no-write-limit", "waits for ever for a reader"),
    defect(5, "S5-06", "unbounded-replies", "keeps all replies in memory"),
    defect(1, "C1-01", "reads-once", "prints the first read"),
    defect(1, "C1-01", "no-fin", "does not end its direction"),
    defect(1, "C1-01", "adds-newline-at-end", "adds a newline to the answer"),
    defect(1, "C1-02", "refusal-is-success", "exits 0 when it is refused"),
    defect(1, "C1-02", "refusal-is-silent", "says nothing when it is refused"),
    defect(1, "C1-02", "refusal-forever", "knocks for ever"),
    defect(2, "C2-01", "sends-then-receives", "sends all before it reads"),
    defect(2, "C2-01", "output-as-text", "prints bytes as text"),
    defect(4, "C4-01", "believes-length", "believes the length of a reply"),
    defect(4, "C4-01", "zero-ignored", "takes N = 0 for a message"),
    defect(4, "C4-02", "one-reply-per-read", "prints one reply of each read"),
    defect(4, "C4-02", "prints-without-newline", "prints replies without a newline"),
    defect(4, "C4-02", "little-endian", "has the length the wrong way round"),
    defect(5, "C5-01", "refused-is-1", "exits 1 when it is refused"),
    defect(5, "C5-02", "no-connect-limit", "has no limit for a connect"),
    defect(5, "C5-03", "no-request-limit", "waits for ever for a reply"),
    defect(5, "C5-03", "keeps-connection", "asks again on the same connection"),
    defect(5, "C5-04", "gives-up-early", "does not ask again"),
    defect(5, "C5-05", "retries-forever", "asks for ever"),
    defect(5, "C5-05", "one-attempt-more", "counts the retries only"),
    defect(5, "C5-05", "no-wait", "asks again at once"),
    defect(5, "C5-05", "no-cap", "waits longer and longer"),
    defect(5, "C5-06", "retries-definite", "asks again after ERROR 4"),
    defect(5, "C5-07", "reply-in-one-read", "takes one read for one reply"),
    defect(5, "C5-08", "retries-broken-protocol", "asks again after nonsense"),
    defect(5, "C5-08", "believes-length", "waits for 4 GB"),
    defect(5, "C5-09", "prints-half", "prints half an answer"),
    defect(5, "C5-09", "cut-is-success", "takes a cut reply for a reply"),
    defect(5, "C5-10", "no-deadline", "ignores the deadline"),
    defect(5, "C5-10", "deadline-between-attempts", "checks the deadline between attempts"),
    defect(5, "C5-11", "no-jitter", "waits as long as all others"),
];

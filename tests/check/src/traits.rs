//! The few facts about a case that the engine needs.

/// Which end the checker tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The program listens, and we are its clients.
    Server,
    /// The program connects, and we are the server.
    Client,
}

impl Side {
    /// `server` or `client`.
    pub fn name(self) -> &'static str {
        match self {
            Side::Server => "server",
            Side::Client => "client",
        }
    }
}

/// What is special about a case. Without a tag, its failures get the
/// explanation that fits every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    // ---- How it runs
    /// Its limits are times, so few other cases run meanwhile, and a machine
    /// that is a little late already excuses the program.
    Timed,
    /// It keeps the processors busy, so few other cases run meanwhile, and a
    /// machine that was busy with something else excuses the program.
    Heavy,
    /// Needs what only Linux tells us about a process.
    Linux,
    /// A hostile peer or a fault; counts twice.
    Hostile,
    /// Must start the program itself: to set its limits or to measure it.
    Starts,
    /// Must choose the program's address: `{addr}` or `{port}` in `--cmd`.
    Places,
    /// Must choose the program's journal: `{journal}` in `--cmd`.
    Journal,

    // ---- What its explanations may count on
    /// The plainest exchange of its step. It is tried first; if it gets no
    /// answer, the others refer to it instead of guessing.
    Basic,
    /// Its hint also explains why a connection was not accepted.
    Queueing,
    /// Its hint also explains a connection that was closed with nothing
    /// answered.
    Closing,
    /// Slices are its subject: its hint explains a frame that was cut.
    Slices,
    /// Exit codes are its subject: its hint explains a wrong one.
    ExitCodes,
    /// The server is to end: that it has does not explain what went wrong.
    Stops,
    /// Its hint explains why a server has ended; otherwise it is an error of
    /// one client that must not end it.
    Ending,
}

/// What a failure of a case usually means, and where to look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint {
    /// What a failure usually means.
    pub meaning: &'static str,
    /// Where to look.
    pub look: &'static str,
}

/// What the engine knows of the case that runs.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Names the case's own sequence of random bytes.
    pub id: &'static str,
    pub side: Side,
    pub hint: Hint,
    pub tags: &'static [Tag],
}

impl Traits {
    pub fn has(&self, tag: Tag) -> bool {
        self.tags.contains(&tag)
    }
}

//! Bugs, each a small change in a file of a step. The simulation must find
//! them.

/// A bug.
pub struct Bug {
    /// The name of its copy of the step.
    pub name: &'static str,
    /// The step.
    pub step: u32,
    /// What is wrong.
    pub what: &'static str,
    /// The file.
    pub file: &'static str,
    /// What stands there, exactly once.
    pub search: &'static str,
    /// What stands there with the bug.
    pub replace: &'static str,
}

/// All bugs.
pub const BUGS: &[Bug] = &[];

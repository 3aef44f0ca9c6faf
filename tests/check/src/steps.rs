//! The steps of the course.

use std::ops::RangeInclusive;

/// The last step that there is.
pub const LAST_STEP: u8 = 8;

/// From this step on a message is a frame.
pub const FRAMES: u8 = 4;

/// From this step on an end that hears nothing sends a PING.
pub const HEARTBEAT: u8 = 6;

/// From this step on a server says goodbye.
pub const GOODBYE: u8 = 8;

/// The chapter that teaches each step: of its server, and of its client.
const CHAPTERS: [[&str; 2]; LAST_STEP as usize] = [
    ["The server", "The client"],
    ["The client", "The client"],
    ["Many clients", "Many clients"],
    ["Frames", "Frames"],
    ["Time limits", "Trying again"],
    ["Heartbeat", "Heartbeat"],
    ["Nothing lost, nothing twice", "Nothing lost, nothing twice"],
    ["Limits and a graceful stop", "Limits and a graceful stop"],
];

/// This step and all that follow.
pub const fn from(step: u8) -> RangeInclusive<u8> {
    RangeInclusive::new(step, LAST_STEP)
}

/// This step and no other.
pub const fn only(step: u8) -> RangeInclusive<u8> {
    RangeInclusive::new(step, step)
}

/// All steps.
pub const fn all() -> RangeInclusive<u8> {
    from(1)
}

/// The chapters of a step: of its server, and of its client.
pub fn chapters(step: u8) -> [&'static str; 2] {
    CHAPTERS[usize::from(step) - 1]
}

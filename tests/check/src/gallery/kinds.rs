//! What the server answers to which kind.

use crate::on;
use crate::wire::{ECHO, REPLY, error, frame};

pub fn answer(kind: u8, payload: &[u8]) -> Option<Vec<u8>> {
    if payload.is_empty() && on("ignores-empty") {
        return None;
    }
    let is_of_server = kind == REPLY || kind == 0x7f;
    if kind == ECHO
        || on("echoes-any-kind")
        || is_of_server && on("echoes-server-kinds")
    {
        let kind = if on("reply-kind-of-request") { kind } else { REPLY };
        return Some(frame(kind, payload));
    }
    if on("quotes-the-client") {
        let text = String::from_utf8_lossy(&payload[..payload.len().min(50)]);
        return Some(error(3, &format!("unknown kind: {text}")));
    }
    let is_silent = on("unknown-kind-ignored");
    (!is_silent).then(|| error(3, "unknown kind"))
}

/// After an unknown kind, only its length is skipped.
pub fn desyncs(kind: u8) -> bool {
    kind != ECHO && on("unknown-kind-desync")
}

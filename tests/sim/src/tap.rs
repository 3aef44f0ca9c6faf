//! What was written on a connection, frame by frame, as the contract has it.

use std::collections::HashSet;

use crate::net::{CLIENT, Conn, SERVER};
use crate::world::World;

const PING: u8 = 0x02;
const GOAWAY: u8 = 0x04;
const ADD: u8 = 0x03;
const ERROR: u8 = 0x7f;
const PONG: u8 = 0x82;

/// A kind and a payload.
type Frame<'a> = (u8, &'a [u8]);

/// Returns the whole frames of `bytes` that ask or answer.
fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((body, rest)) = rest.split_at_checked(length) else { break };
        let Some((&kind, payload)) = body.split_first() else { break };
        if ![PING, PONG, GOAWAY].contains(&kind) {
            frames.push((kind, payload));
        }
        bytes = rest;
    }
    frames
}

/// Does `reply` answer `request`? An ADD's reply repeats client and number.
fn answers(request: Frame, reply: Frame) -> bool {
    let same = match request.0 {
        ADD => request.1.get(..16) == reply.1.get(..16),
        _ => request.1 == reply.1,
    };
    reply.0 == ERROR || reply.0 == request.0 | 0x80 && same
}

impl World {
    // ANCHOR: tap
    /// Checks each connection: its first reply answers its first request, and
    /// so on, and there are no replies without a request.
    pub fn check_wires(&mut self) {
        let conns = std::mem::take(&mut self.net.conns);
        for (id, conn) in conns.iter().enumerate() {
            let requests = frames(&conn.ends[CLIENT].sent);
            let replies = frames(&conn.ends[SERVER].sent);
            let fit = requests.iter().zip(&replies);
            if !fit.clone().all(|(request, reply)| answers(*request, *reply)) {
                self.wrong("replies", format!("{id} mixes them up"));
            }
            let is_answer = |frame: &&Frame| frame.0 != ERROR;
            if replies.iter().filter(is_answer).count() > requests.len() {
                self.wrong("replies", format!("{id} has one too many"));
            }
        }
        self.net.conns = conns;
    }
    // ANCHOR_END: tap

    /// Returns the payloads of all replies that the server wrote to clients.
    pub fn replied(&self) -> HashSet<Vec<u8>> {
        let replies = |conn: &Conn| {
            let frames = frames(&conn.ends[SERVER].sent).into_iter();
            let frames = frames.filter(|frame| frame.0 != ERROR);
            frames.map(|frame| frame.1.to_vec()).collect::<Vec<_>>()
        };
        self.net.conns.iter().flat_map(replies).collect()
    }
}

//! The texts of the cases with hostile frames.

use super::{refuse, s4_12, s4_13, s4_16, s4_17, s4_18, unknown_kind};
use crate::case::{Case, Hint, Tag};
use crate::wire::{ECHO_REPLY, ERROR, echo};

const BELIEVES: Hint = Hint {
    meaning: "Your server believed the length, and waits for bytes that will \
              never come.",
    look: "the line after you read the 4 length bytes: is N checked before it \
           is used?",
};

const STREAM: Hint = Hint {
    meaning: "An unknown kind is no reason to end: the frame was whole, and \
              the next one begins right after it.",
    look: "what you do with a kind that you do not know",
};

const HOSTILE: &[Tag] = &[Tag::Hostile];

pub const CASES: &[Case] = &[
    Case {
        id: "S4-04",
        title: "refuses a frame that is one byte too large",
        does: "Sends an ECHO of 65 536 bytes (N = 65 537), all of it. Expects \
               ERROR 1 within 1 s, then FIN, and that a new client is \
               answered.",
        steps: 4..=5,
        rule: (4, 3),
        tags: HOSTILE,
        why: "65 537 is the first length that is too large. A limit that is \
              off by one is found by anyone who looks for it, and the buffer \
              behind it is then one byte too small.",
        hint: Hint {
            meaning: "The limit is off by one, or it counts the payload only.",
            look: "the comparison with the limit: N may be at most 65 536",
        },
        script: |lab| refuse(lab, &echo(&lab.bytes(65_536)), 1),
    },
    Case {
        id: "S4-05",
        title: "refuses a length of 4 294 967 295 at once",
        does: "Sends `ff ff ff ff` and nothing more. Expects ERROR 1 within 1 \
               s, then FIN, and that a new client is answered.",
        steps: 4..=5,
        rule: (4, 3),
        tags: HOSTILE,
        why: "Four bytes cost the sender nothing. A server that believes them \
              sets memory aside, or waits for 4 GB; a few such clients are \
              enough to stop it. All that is needed to refuse is there with \
              the fourth byte.",
        hint: Hint {
            meaning: "Your server believed the length, and waits for 4 GB that \
                      will never come.",
            look: BELIEVES.look,
        },
        script: |lab| refuse(lab, &[0xff; 4], 1),
    },
    Case {
        id: "S4-06",
        title: "refuses a length that looks negative: 80 00 00 00",
        does: "Sends `80 00 00 00` and nothing more. Expects ERROR 1 within 1 \
               s, then FIN, and that a new client is answered.",
        steps: 4..=5,
        rule: (4, 3),
        tags: HOSTILE,
        why: "80 00 00 00 is the smallest number of a signed 32-bit type. It \
              is less than any limit, so a comparison with the limit lets it \
              through. Many a program has crashed on what it did with such a \
              length next.",
        hint: Hint {
            meaning: "In a signed type this length is negative, and so below \
                      the limit.",
            look: "the type in which your program keeps the length",
        },
        script: |lab| refuse(lab, &[0x80, 0, 0, 0], 1),
    },
    Case {
        id: "S4-07",
        title: "refuses a length of 0",
        does: "Sends `00 00 00 00` and nothing more. Expects ERROR 2 within 1 \
               s, then FIN, and that a new client is answered.",
        steps: 4..=5,
        rule: (4, 3),
        tags: HOSTILE,
        why: "Each frame has a kind, so N = 0 is no frame. A server that looks \
              for a kind all the same takes a byte of the next frame, or reads \
              outside of an array. One that skips such frames can be kept busy \
              for ever.",
        hint: Hint {
            meaning: "N = 0 was taken for an empty message.",
            look: "the check of the length: which values does it let through?",
        },
        script: |lab| refuse(lab, &[0; 4], 2),
    },
    Case {
        id: "S4-12",
        title: "refuses HTTP, TLS and plain text",
        does: "Sends an HTTP request, the first 11 bytes of a TLS handshake, \
               and `hello` with CR and LF, each on a connection of its own. \
               Expects for each ERROR 1 within 1 s, then FIN, and at the end \
               that a new client is answered.",
        steps: 4..=5,
        rule: (4, 3),
        tags: HOSTILE,
        why: "Whatever listens gets visitors: browsers, scanners, and people \
              with a terminal. Their first four bytes, read as a length, are \
              far too large. So such a visitor gets an error at once, and \
              nobody waits.",
        hint: BELIEVES,
        script: s4_12,
    },
    Case {
        id: "S4-13",
        title: "answers an unknown kind with ERROR 3, and goes on",
        does: "Sends a frame of kind 55 (hex) with a payload of 10 bytes, and \
               after the answer an ECHO of 5 letters on the same connection. \
               On a second connection: kinds 00, 06, 80 and ff without a \
               payload, one of 65 535 bytes, one between two ECHOs in the \
               same write, and 20 more. Expects each time ERROR 3, in its \
               place among the replies, within 3 s.",
        steps: 4..=5,
        rule: (4, 4),
        tags: &[],
        why: "One day a newer client will use a kind that this server does not \
              know. The client must learn that, and be able to go on: the \
              length was right, so the next frame is where it should be.",
        hint: STREAM,
        script: s4_13,
    },
    Case {
        id: "S4-16",
        title: "one client's mistake does not harm another",
        does: "B exchanges an ECHO. A sends `ff ff ff ff` and must get ERROR \
               1 within 1 s, then FIN. Expects that two more ECHOs of B, on \
               its old connection, and two of a new client C are answered \
               within 3 s.",
        steps: 4..=5,
        rule: (4, 3),
        tags: HOSTILE,
        why: "An error on one connection must end there. If it reaches the \
              loop that all share, the worst client decides how long the \
              others are served.",
        hint: Hint {
            meaning: "The fatal error of one client reached another one.",
            look: "where the error of one connection goes",
        },
        script: s4_16,
    },
    Case {
        id: "S4-17",
        title: "does not read frames after a fatal error",
        does: "Sends a frame of N = 65 539 whose payload is 5 958 small ECHOs, \
               and on another connection `ff ff ff ff` with 100 of them behind \
               it. Expects each time ERROR 1 within 1 s, then FIN, and nothing \
               between them; at the end a new client must be answered.",
        steps: 4..=5,
        rule: (4, 3),
        tags: HOSTILE,
        why: "After a bad length nobody knows where the next frame begins. A \
              server that goes on parsing lets the sender choose: the payload \
              of the refused frame may look like a valid request.",
        hint: Hint {
            meaning: "Your server went on parsing after a fatal error.",
            look: "what your read loop does after it has sent the ERROR",
        },
        script: s4_17,
    },
    Case {
        id: "S4-18",
        title: "its ERROR arrives although 8 MB are on their way",
        does: "Sends 8 000 000 bytes of `ff`, and begins to read after 300 ms. \
               Expects ERROR 1 within 1 s of its start, then FIN (a reset is a \
               warning), and that a new client is answered.",
        steps: 4..=5,
        rule: (4, 3),
        tags: HOSTILE,
        why: "Closing while bytes are unread sends a reset, and a reset throws \
              away what the other side has not read yet: the ERROR, too. On \
              one machine the ERROR often arrives all the same; over a real \
              network it may not.",
        hint: BELIEVES,
        script: s4_18,
    },
    Case {
        id: "S4-19",
        title: "answers a client's reply or ERROR with ERROR 3",
        does: "Sends a frame of kind 81 (hex) with a payload of 10 bytes, and \
               after the answer an ECHO of 5 letters; then the same with kind \
               7f, on a new connection. Expects each time ERROR 3, then the \
               reply, each within 3 s.",
        steps: 4..=5,
        rule: (4, 4),
        tags: HOSTILE,
        why: "Only servers send replies and ERRORs; from a client they make no \
              sense. But the frame is whole, so this is no reason to end: the \
              client is told of its mistake, and its next frame is served.",
        hint: STREAM,
        script: |lab| {
            unknown_kind(lab, ECHO_REPLY)?;
            unknown_kind(lab, ERROR)
        },
    },
];

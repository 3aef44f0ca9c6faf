//! The texts of the cases with time limits of a server.

use super::{s5_01, s5_02, s5_03, s5_04, s5_05, s5_06};
use crate::case::{Case, Hint, Tag};

const TIMED: &[Tag] = &[Tag::Timed, Tag::Starts, Tag::Hostile];

pub const CASES: &[Case] = &[
    Case {
        id: "S5-01",
        title: "cuts a silent client after TCP_IDLE_MS",
        does: "TCP_IDLE_MS=600. A connects and stays silent; B exchanges four \
               ECHOs meanwhile, 100 ms apart, and is silent from then on. \
               Expects that each gets ERROR 5 within 600 ms of silence, then \
               FIN; and A not before 540 ms.",
        steps: 5..=5,
        rule: (5, 1),
        tags: TIMED,
        why: "A client that has vanished sends nothing, not even an end. \
              Without a limit its connection stays for ever, and such \
              connections add up until the server has no descriptor left.",
        hint: Hint {
            meaning: "A client that says nothing keeps its connection for \
                      ever. Does your server read TCP_IDLE_MS?",
            look: "what limits the wait for the first byte of a frame",
        },
        script: s5_01,
    },
    Case {
        id: "S5-02",
        title: "cuts a client that sends a byte now and then",
        does: "TCP_FRAME_MS=600 and TCP_IDLE_MS=600. Exchanges an ECHO, then \
               sends the bytes of another, one every 100 ms, for at most 2 s. \
               Expects ERROR 5 between 540 and 600 ms after the first of \
               these bytes, then FIN.",
        steps: 5..=5,
        rule: (5, 1),
        tags: TIMED,
        why: "A timer that starts again with each byte never fires against a \
              client that goes on sending single bytes, each in time \
              (slowloris). The limit is for the frame: from its first byte to \
              its last.",
        hint: Hint {
            meaning: "Each byte starts your timer again, so that one byte in \
                      time is enough to stay for ever; or only the first \
                      frame has a limit.",
            look: "when the timer of a frame starts, and what starts it again",
        },
        script: s5_02,
    },
    Case {
        id: "S5-03",
        title: "does not cut a client that keeps the limits",
        does: "TCP_IDLE_MS=1000 and TCP_FRAME_MS=1000. Sends five ECHOs on \
               one connection, each 400 ms after the reply to the one before; \
               then seven, each write ending 6 bytes before the end of one, \
               and 200 ms apart. Expects each reply within 3 s.",
        steps: 5..=5,
        rule: (5, 3),
        tags: &[Tag::Timed, Tag::Starts],
        why: "A limit must never hit a client that keeps it. The clock starts \
              again with each frame; one that runs from the connect cuts each \
              client that stays longer than the limit.",
        hint: Hint {
            meaning: "The timer is not started again after a request.",
            look: "when the clock between two frames starts",
        },
        script: s5_03,
    },
    Case {
        id: "S5-04",
        title: "loses no byte to a timer",
        does: "TCP_IDLE_MS=600 and TCP_FRAME_MS=4000. Sends an ECHO of 12 \
               letters in pieces of 2, 7 and 8 bytes, with pauses of 200 and \
               900 ms. Expects the reply within 3 s of the last piece; then it \
               sends FIN, and expects FIN.",
        steps: 5..=5,
        rule: (5, 3),
        tags: &[Tag::Timed, Tag::Starts],
        why: "A read of exactly n bytes that a timer interrupts has already \
              taken some of them. If these are thrown away, the next \
              \"length\" is a piece of the payload. The pause inside this \
              frame is longer than TCP_IDLE_MS, and shorter than TCP_FRAME_MS: \
              that is allowed.",
        hint: Hint {
            meaning: "A timer interrupted a read, and the bytes that had come \
                      were thrown away; or the limit between frames was used \
                      inside one.",
            look: "what a timer does to the bytes read so far",
        },
        script: s5_04,
    },
    Case {
        id: "S5-05",
        title: "40 half headers hold nobody up, and are cut",
        does: "TCP_FRAME_MS=600 and TCP_IDLE_MS=10000. 40 clients send 2 bytes \
               of a header and stop; a normal client sends four ECHOs, 100 ms \
               apart, and a fifth at the end. Expects each reply within 3 s; \
               ERROR 5, then FIN, for the first of the 40 after 540 to 600 ms, \
               and for the others within 1 s.",
        steps: 5..=5,
        rule: (5, 1),
        tags: TIMED,
        why: "The attack at a larger scale: 40 clients send two bytes each and \
              wait. The others are served meanwhile, and the 40 are gone when \
              their time is up.",
        hint: Hint {
            meaning: "Clients that began a frame and stopped keep their \
                      connection, or hold up the others.",
            look: "the limit inside a frame, also inside its header",
        },
        script: s5_05,
    },
    Case {
        id: "S5-06",
        title: "closes the connection of a client that never reads",
        does: "TCP_WRITE_MS=600. Sends ECHOs of 60 000 bytes and never reads. \
               Expects that the server stops taking them before 64 MiB, and \
               closes within 600 ms (1 s more is granted) after the last byte \
               has moved.",
        steps: 5..=5,
        rule: (5, 2),
        tags: TIMED,
        why: "Replies that nobody takes pile up: in the system's buffers, then \
              in the server's memory. The server must stop reading, and after \
              TCP_WRITE_MS without progress it must close.",
        hint: Hint {
            meaning: "A write that makes no progress is waited for without a \
                      limit.",
            look: "the limit of a write, and what happens when it is over",
        },
        script: s5_06,
    },
];

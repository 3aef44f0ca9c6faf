//! The texts of the first cases of a client.

use super::{c1_01, c1_02, c4_01, c4_02};
use crate::case::{Case, Hint, Tag};
use crate::cases::client_flood::c2_01;

pub const CASES: &[Case] = &[
    Case {
        id: "C1-01",
        title: "prints an answer that comes in pieces",
        does: "Reads the request of 14 bytes, and FIN within 1 s after it; \
               then answers 15 bytes with a newline among them, one every 3 \
               ms, and closes. Expects exactly the answer on stdout, and exit \
               code 0 within 8 s.",
        steps: 1..=3,
        rule: (1, 4),
        tags: &[],
        why: "The answer comes one byte at a time. Only the end of the stream \
              says that it is complete. And the server can only know that the \
              request is over when the client ends its own direction.",
        hint: Hint {
            meaning: "Your client read once and took that for the whole \
                      answer.",
            look: "the loop around read: what ends it?",
        },
        script: c1_01,
    },
    Case {
        id: "C1-02",
        title: "says that nobody listens",
        does: "Nobody listens at the address that the client is given. Expects \
               an exit code that is not 0 within 3 s, a message on stderr, and \
               nothing on stdout.",
        steps: 1..=4,
        rule: (1, 4),
        tags: &[Tag::Hostile],
        why: "The most frequent error of all: the server does not run. Whoever \
              reads the message wants to know which address was tried and what \
              to do next. A script that calls the client reads only the exit \
              code.",
        hint: Hint {
            meaning: "The error of connect was ignored, or your client went on \
                      waiting after it.",
            look: "what your client does when connect fails",
        },
        script: c1_02,
    },
    Case {
        id: "C2-01",
        title: "sends and receives 16 MB at the same time",
        does: "Writes 16 000 000 bytes to the client's stdin, and echoes what \
               it sends. Expects the same bytes on stdout, and exit code 0; \
               and that never more than 3 s pass in which nothing moves. In \
               step 4 these are lines of 60 000 bytes, and each line is a \
               frame.",
        steps: 2..=4,
        rule: (2, 4),
        tags: &[],
        why: "A client that sends everything before it reads works until all \
              buffers between the two ends are full. Then it waits for the \
              server to read, and the server waits for it to read: for ever.",
        hint: Hint {
            meaning: "Your client sends everything before it reads: both ends \
                      wait for the other one to read.",
            look: "how you do both at the same time: can it read while a write \
                   waits?",
        },
        script: c2_01,
    },
    Case {
        id: "C4-01",
        title: "refuses a reply with an impossible length",
        does: "Answers the request with a length of `ff ff ff ff` and nothing \
               more; and in further runs with `00 00 00 00`, `00 01 00 01` \
               and `80 00 00 00`. Expects each time an exit code that is not \
               0 within 1 s, no further connection, and nothing on stdout.",
        steps: 4..=5,
        rule: (4, 8),
        tags: &[Tag::Hostile],
        why: "A server can be broken, hostile, or not the one you meant. The \
              client checks the length as strictly as a server does, and does \
              not wait for bytes that will never come.",
        hint: Hint {
            meaning: "Your client believed the length of the reply, and waits.",
            look: "the line after you read the 4 length bytes",
        },
        script: c4_01,
    },
    Case {
        id: "C4-02",
        title: "prints replies that were merged and sliced",
        does: "Starts the client with three TEXTs: 6 letters, none at all, \
               and letters with spaces around them that take more than one \
               byte each (LC_ALL is C.UTF-8). Sends the replies to all ECHOs \
               that have come in slices of 7 bytes, 3 ms apart. Expects the \
               three texts on stdout, in order and each with a newline, and \
               exit code 0 within 8 s. A client that takes no more than one \
               TEXT gets a warning.",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "Replies arrive as the network likes: three in one read, or one \
              in three. Each is printed once, in order, with a newline after \
              it.",
        hint: Hint {
            meaning: "Your client takes one read for one reply.",
            look: "what you do when a read brings half a reply, or more than \
                   one",
        },
        script: c4_02,
    },
];

//! The texts of the cases with time limits of a client.

use super::{c5_02, c5_03, c5_07, c5_08, c5_09, c5_10};
use crate::case::{Case, Hint, Tag};

const FAULT: &[Tag] = &[Tag::Timed, Tag::Starts, Tag::Hostile];

pub const CASES: &[Case] = &[
    Case {
        id: "C5-02",
        title: "gives up on a connect that is never answered",
        does: "The client's connect gets no answer at all: once with \
               TCP_CONNECT_MS=500 and TCP_ATTEMPTS=2, once with \
               TCP_CONNECT_MS=30000 and TCP_DEADLINE_MS=800. Expects exit \
               code 3 within 4 s, and nothing on stdout.",
        steps: 5..=5,
        rule: (5, 4),
        tags: &[Tag::Timed, Tag::Starts, Tag::Hostile, Tag::Linux],
        why: "A firewall that drops packets, a machine that is off: nothing \
              comes back, not even a refusal. Left alone, the system tries for \
              about two minutes.",
        hint: Hint {
            meaning: "The connect is left to the system, which tries for about \
                      two minutes.",
            look: "the limit of a connect: TCP_CONNECT_MS",
        },
        script: c5_02,
    },
    Case {
        id: "C5-03",
        title: "gives up on a server that never answers",
        does: "TCP_REQUEST_MS=400, TCP_ATTEMPTS=2. Reads each request and \
               never answers. Expects that the client closes each connection \
               after 300 to 400 ms (its clock starts a little before ours) \
               and makes no third attempt; then exit code 4 within 1 s, and \
               nothing on stdout.",
        steps: 5..=5,
        rule: (5, 4),
        tags: FAULT,
        why: "Connected, asked, and then nothing: the server may have done the \
              work, or not. So the outcome is unknown. And the connection is \
              of no more use: a late reply on it would be taken for the reply \
              to the next request.",
        hint: Hint {
            meaning: "The wait for a reply has no limit, or a connection that \
                      timed out is kept.",
            look: "the limit of an attempt, TCP_REQUEST_MS, and what is closed \
                   after it",
        },
        script: c5_03,
    },
    Case {
        id: "C5-07",
        title: "takes a reply that comes byte by byte",
        does: "Answers the request with the right reply, one byte every 3 ms, \
               then FIN. Expects its text on stdout and exit code 0 within 1 \
               s, and no second connection.",
        steps: 5..=5,
        rule: (4, 1),
        tags: &[Tag::Timed, Tag::Starts],
        why: "Slow is not broken. The limit is for the whole reply, and this \
              one comes well within it, one byte in each packet.",
        hint: Hint {
            meaning: "Your client takes one read for one reply.",
            look: "what you do when a read brings only a part of a reply",
        },
        script: c5_07,
    },
    Case {
        id: "C5-08",
        title: "a server that breaks the rules: exit code 5 at once",
        does: "TCP_ATTEMPTS=5. Answers the request with `ff ff ff ff`, and in \
               further runs with a length of 0, an ERROR without a code, and \
               a frame of kind 01. Expects each time exit code 5 within 1 s, \
               no second connection, and nothing on stdout. An ECHO that \
               returns another text of the same length should give 5, too: \
               exit code 0 is a warning.",
        steps: 5..=5,
        rule: (5, 6),
        tags: FAULT,
        why: "The server broke the protocol. You cannot know what it did with \
              the request, and asking again would only get more of the same. \
              So this is reported, and not repeated.",
        hint: Hint {
            meaning: "The length was believed, or the request repeated.",
            look: "the check of a reply's length, and where its error goes",
        },
        script: c5_08,
    },
    Case {
        id: "C5-09",
        title: "prints nothing of a reply that was cut short",
        does: "TCP_ATTEMPTS=2. Answers both attempts with the reply without \
               its last 2 bytes, then FIN. Expects the second attempt within 1 \
               s, then exit code 4 within 1 s, and nothing on stdout.",
        steps: 5..=5,
        rule: (5, 8),
        tags: FAULT,
        why: "Half an answer looks like an answer, and a script that reads \
              stdout cannot tell. So nothing is printed until the frame is \
              whole; and since the outcome is unknown, the exit code is 4.",
        hint: Hint {
            meaning: "A part of a reply was taken for a reply, or its end for \
                      a normal end.",
            look: "what you do at EOF inside a frame",
        },
        script: c5_09,
    },
    Case {
        id: "C5-10",
        title: "keeps its deadline, whatever the attempts",
        does: "TCP_DEADLINE_MS=1200, TCP_ATTEMPTS=50, waits of at most 20 ms; \
               never answers. Expects exit code 4 within 1.2 s of the first \
               request, and nothing on stdout: once with TCP_REQUEST_MS=200, \
               and once with 5000.",
        steps: 5..=5,
        rule: (5, 4),
        tags: FAULT,
        why: "Fifty attempts of 200 ms are ten seconds. The caller wants an \
              answer or a no by the deadline. It counts everything, waits and \
              attempts, and cuts the attempt that is under way.",
        hint: Hint {
            meaning: "The deadline is not checked, or not inside an attempt.",
            look: "where TCP_DEADLINE_MS is checked: in attempts, and in \
                   waits?",
        },
        script: c5_10,
    },
];

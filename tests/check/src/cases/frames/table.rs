//! The texts of the cases with honest frames.

use super::{s4_01, s4_02, s4_03, s4_08, s4_09, s4_10, s4_11, s4_14, s4_15};
use crate::case::{Case, Hint, Tag};

const PARSER: Hint = Hint {
    meaning: "Your server takes one read for one message.",
    look: "what you do when a read brings half a frame, or more than one",
};

pub const CASES: &[Case] = &[
    Case {
        id: "S4-01",
        title: "answers an ECHO",
        does: "Sends an ECHO of 5 letters (N = 6) and, after its reply, one of \
               7 (N = 8). Expects each reply within 3 s, nothing else in the \
               30 ms before and after, and a connection that stays open.",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "A frame is four bytes of length, most significant first, one \
              byte of kind, then the payload. The length counts the kind and \
              the payload, but not itself. Every other reading looks just as \
              natural, but no other program understands it.",
        hint: Hint {
            meaning: "Your server waits for more bytes. In little endian a \
                      length of 6 reads as 100 663 296. And N counts the kind, \
                      so only N - 1 bytes of payload follow.",
            look: "how you read the 4 bytes of the length",
        },
        script: s4_01,
    },
    Case {
        id: "S4-02",
        title: "answers an empty ECHO",
        does: "Sends `00 00 00 01 01`. Expects `00 00 00 01 81` within 3 s, \
               and then the reply to an ECHO of 3 letters.",
        steps: 4..=5,
        rule: (4, 2),
        tags: &[],
        why: "N = 1 is a frame: a kind and nothing else. A payload of 0 bytes \
              is easily taken for the end of the stream, or for no message.",
        hint: Hint {
            meaning: "A payload of 0 bytes was taken for no message at all.",
            look: "the smallest frame: N = 1, no payload",
        },
        script: s4_02,
    },
    Case {
        id: "S4-03",
        title: "takes the largest frame: N = 65 536",
        does: "Sends an ECHO of 65 535 random bytes (N = 65 536). Expects the \
               whole reply within 3 s, and then the reply to an ECHO of 3 \
               letters.",
        steps: 4..=5,
        rule: (4, 2),
        tags: &[],
        why: "A limit is a number, and the number itself is still allowed. An \
              honest client that uses all it is given must not be refused.",
        hint: Hint {
            meaning: "The largest legal frame was refused or cut.",
            look: "the comparison with the limit: < or <=? N or payload?",
        },
        script: s4_03,
    },
    Case {
        id: "S4-08",
        title: "takes a frame one byte at a time",
        does: "Sends an ECHO of 8 letters: 13 bytes, each in a write of its \
               own, 3 ms apart. Expects the reply within 3 s.",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "The network may slice a message anywhere, also inside the \
              length. On your own machine it almost never does; on a slow line \
              it does so all the time.",
        hint: PARSER,
        script: s4_08,
    },
    Case {
        id: "S4-09",
        title: "answers 100 frames that come in one write",
        does: "Sends 100 ECHOs of 1 to 9 letters in one write. Expects 100 \
               replies in the same order within 3 s.",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "What was sent in many writes may arrive in one read. A server \
              that looks at the first frame of each read and drops the rest \
              loses messages exactly when there is much to do.",
        hint: PARSER,
        script: s4_09,
    },
    Case {
        id: "S4-10",
        title: "takes a frame and a part of the next",
        does: "Sends in one write an ECHO of 5 letters and the first 7 bytes \
               of another one, and the other 7 bytes 50 ms after the first \
               reply. Expects each reply within 3 s.",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "The end of a read has nothing to do with the end of a frame. The \
              first frame is answered at once; the seven bytes behind it \
              belong to the next one.",
        hint: PARSER,
        script: s4_10,
    },
    Case {
        id: "S4-11",
        title: "does not answer a frame that was cut",
        does: "Six times, on a new connection: sends in one write a whole ECHO \
               and the first 1, 2, 3, 4, 5 or 8 bytes of another one, then \
               FIN. Expects the reply to the whole one, nothing else, then \
               FIN, within 3 s.",
        steps: 4..=5,
        rule: (4, 5),
        tags: &[Tag::Hostile],
        why: "The client ends inside a frame. What is there is not a message, \
              however much it looks like one: half a number is not a smaller \
              number. The whole frames before it are answered.",
        hint: Hint {
            meaning: "The piece at the end was answered, or the whole frame \
                      before it was not.",
            look: "what you do at EOF with bytes that are left",
        },
        script: s4_11,
    },
    Case {
        id: "S4-14",
        title: "answers 60 random frames in random slices",
        does: "Sends 60 ECHOs of random bytes, six of them shorter than 60 000 \
               bytes, the others shorter than 300, in slices of 1 to 4096 \
               bytes, 0.5 ms apart. Expects all 60 replies in order within 10 \
               s.",
        steps: 4..=5,
        rule: (4, 1),
        tags: &[],
        why: "Sizes and slices are random, drawn from the seed. A test by hand \
              tries a few ways to slice a stream; a network sooner or later \
              tries them all.",
        hint: PARSER,
        script: s4_14,
    },
    Case {
        id: "S4-15",
        title: "answers 50 requests although the client has ended",
        does: "Sends 50 ECHOs of 6 letters in one write, then FIN; on a \
               second connection 5 000 empty ECHOs, then FIN. Expects all \
               replies in order, then FIN, within 3 s.",
        steps: 4..=5,
        rule: (4, 6),
        tags: &[],
        why: "A client may send all it wants, end its direction, and then \
              read. Its FIN means \"I have nothing more to ask\", and not \"I \
              do not want your answers\".",
        hint: Hint {
            meaning: "At the client's FIN your server closed, and dropped the \
                      replies that it still owed.",
            look: "what happens at EOF: is anything still owed?",
        },
        script: s4_15,
    },
];

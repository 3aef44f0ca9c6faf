// ANCHOR: operation
//! The ledger: which operations have an answer, and which answer.
//!
//! It knows nothing about connections, time or disks. The same operations in
//! the same order lead to the same ledger, so a journal can bring it back.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;

use crate::frame::{self, ADD_REPLY, LengthError};
use crate::frame::{BAD_PAYLOAD, CONFLICT, STALE_SEQ};

/// The answers to a client's highest number and to the 63 below it are kept.
/// A number far ahead is fine: those that are 64 or more below it get stale.
pub const WINDOW: u64 = 64;

/// How many clients are remembered; none is ever forgotten. A full window
/// takes 2 KiB, so all of them together take about 42 MB at most.
pub const CLIENTS: usize = 20_000;

/// Adds `amount` to the total of `client`. The client gives each operation a
/// number of its own, `seq`, and sends it again under the same number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operation {
    pub client: u64,
    pub seq: u64,
    pub amount: i64,
}

impl Operation {
    /// Returns the payload of an ADD: client, seq and amount, each in 8 bytes,
    /// big endian. A journal keeps the same bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let Operation { client, seq, amount } = self;
        [client, seq, amount as u64].map(u64::to_be_bytes).concat()
    }

    /// Returns `None` unless `bytes` are 24.
    pub fn from_bytes(bytes: &[u8]) -> Option<Operation> {
        let ([client, seq, amount], []) = bytes.as_chunks() else {
            return None;
        };
        Some(Operation {
            client: u64::from_be_bytes(*client),
            seq: u64::from_be_bytes(*seq),
            amount: i64::from_be_bytes(*amount),
        })
    }
}

/// What the server answers: the total after the operation, or the code and the
/// text of an ERROR.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Total(i64),
    Error(u8, &'static str),
}

impl Answer {
    /// Appends the frame that answers `operation`.
    pub fn encode(
        self,
        operation: Operation,
        output: &mut Vec<u8>,
    ) -> Result<(), LengthError> {
        match self {
            Answer::Total(total) => {
                let reply = Operation { amount: total, ..operation };
                frame::encode(ADD_REPLY, &reply.to_bytes(), output)?;
            }
            Answer::Error(code, text) => {
                frame::encode_error(code, text, output);
            }
        }
        Ok(())
    }
}

/// The ledger knows as many clients as it may.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("too many clients")
    }
}

impl Error for Full {}
// ANCHOR_END: operation

// ANCHOR: apply
/// Everything that must not be forgotten.
#[derive(Default)]
pub struct Ledger {
    clients: HashMap<u64, Client>,
}

#[derive(Default)]
struct Client {
    total: i64,
    highest: u64,      // of all seqs so far
    window: Vec<Done>, // in the order in which they came; at most WINDOW
}

struct Done {
    seq: u64,
    amount: i64,
    total: Option<i64>, // none: it would have been too large
}

impl Ledger {
    /// Applies `operation` if it is new. Returns the answer, and whether the
    /// ledger has changed: only then is there anything to record.
    ///
    /// # Errors
    /// There is no room for a new client, so it changes nothing.
    pub fn apply(
        &mut self,
        operation: Operation,
    ) -> Result<(Answer, bool), Full> {
        let Operation { client, seq, amount } = operation;
        let is_full = self.clients.len() >= CLIENTS;
        if is_full && !self.clients.contains_key(&client) {
            return Err(Full);
        }
        let client = self.clients.entry(client).or_default();
        if let Some(done) = client.window.iter().find(|done| done.seq == seq) {
            return Ok((done.answer_to(amount), false));
        }
        // Not `seq <= highest - WINDOW`, which would be below 0 at the start.
        if client.highest.saturating_sub(seq) >= WINDOW {
            let text = "so old that its answer is forgotten";
            return Ok((Answer::Error(STALE_SEQ, text), false));
        }
        // A first answer stands, even if it is no. Otherwise a late copy could
        // be applied after its client was told that it never will be.
        let total = client.total.checked_add(amount);
        client.total = total.unwrap_or(client.total);
        client.highest = client.highest.max(seq);
        client.window.retain(|done| client.highest - done.seq < WINDOW);
        let done = Done { seq, amount, total };
        let answer = done.answer_to(amount);
        client.window.push(done);
        Ok((answer, true))
    }
}

impl Done {
    /// Answers this operation, each copy of it, and any other of its number.
    fn answer_to(&self, amount: i64) -> Answer {
        match self.total {
            _ if amount != self.amount => {
                Answer::Error(CONFLICT, "the same number, another amount")
            }
            Some(total) => Answer::Total(total),
            None => Answer::Error(BAD_PAYLOAD, "the total would not fit"),
        }
    }
}
// ANCHOR_END: apply

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    fn operation(client: u64, seq: u64, amount: i64) -> Operation {
        Operation { client, seq, amount }
    }

    /// The code of an ERROR, or the total.
    fn code(answer: Answer) -> Result<i64, u8> {
        match answer {
            Answer::Total(total) => Ok(total),
            Answer::Error(code, _) => Err(code),
        }
    }

    /// What the server answers to operations of client 1.
    fn answers(operations: &[(u64, i64)]) -> Vec<Result<i64, u8>> {
        let mut ledger = Ledger::default();
        let operations = operations.iter();
        let answers = operations.map(|&(seq, amount)| {
            ledger.apply(operation(1, seq, amount)).unwrap().0
        });
        answers.map(code).collect()
    }

    /// The contract, word by word, with no thought for time or memory: all
    /// that was ever decided, under its name, in sums that cannot overflow.
    #[derive(Default)]
    struct Model {
        decided: BTreeMap<(u64, u64), (i64, Result<i64, u8>)>,
    }

    impl Model {
        fn apply(&mut self, operation: Operation) -> (Result<i64, u8>, bool) {
            let Operation { client, seq, amount } = operation;
            let of_client =
                self.decided.range((client, 0)..=(client, u64::MAX));
            let highest = of_client.clone().map(|(name, _)| name.1).max();
            if highest.is_some_and(|it| i128::from(seq) <= i128::from(it) - 64)
            {
                return (Err(STALE_SEQ), false);
            }
            match self.decided.get(&(client, seq)) {
                Some((same, answer)) if *same == amount => {
                    return (*answer, false);
                }
                Some(_) => return (Err(CONFLICT), false),
                None => {}
            }
            let applied = of_client.filter(|(_, (_, answer))| answer.is_ok());
            let total: i128 = applied.map(|(_, it)| i128::from(it.0)).sum();
            let total = i64::try_from(total + i128::from(amount));
            let answer = total.map_err(|_| BAD_PAYLOAD);
            self.decided.insert((client, seq), (amount, answer));
            (answer, true)
        }
    }

    /// Two clients, numbers near each other and at both ends, few amounts so
    /// that copies and conflicts are common, and totals at both ends.
    fn any_operation() -> impl Strategy<Value = Operation> {
        let seq = prop_oneof![
            8 => 0u64..200,
            4 => (u64::MAX - 200)..=u64::MAX,
            1 => any::<u64>(),
        ];
        let amount = prop_oneof![
            4 => -2i64..=2,
            1 => Just(i64::MAX),
            1 => Just(i64::MIN),
            1 => any::<i64>(),
        ];
        let parts = (1u64..=2, seq, amount);
        parts.prop_map(|(client, seq, amount)| operation(client, seq, amount))
    }

    /// As a client sends them: numbers that grow, some early, some late, and
    /// most of them more than once.
    fn any_conversation() -> impl Strategy<Value = Vec<Operation>> {
        vec((1u64..=2, 0u64..100, -3i64..=3), 1..400).prop_map(|parts| {
            let place = |(i, (client, late, amount)): (usize, _)| {
                let seq = (i as u64 / 2).saturating_sub(late);
                operation(client, seq, amount)
            };
            parts.into_iter().enumerate().map(place).collect()
        })
    }

    fn compare(operations: Vec<Operation>) -> Result<(), TestCaseError> {
        let (mut ledger, mut model) = (Ledger::default(), Model::default());
        for operation in operations {
            let (answer, is_new) = ledger.apply(operation).unwrap();
            prop_assert_eq!((code(answer), is_new), model.apply(operation));
            for client in ledger.clients.values() {
                prop_assert!(client.window.capacity() <= 64);
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_operations(operations in vec(any_operation(), 0..300)) {
            compare(operations)?;
        }

        #[test]
        fn any_order_of_copies(operations in any_conversation()) {
            compare(operations)?;
        }

        #[test]
        fn bytes_and_back(operation in any_operation()) {
            let bytes = operation.to_bytes();
            prop_assert_eq!(Operation::from_bytes(&bytes), Some(operation));
        }
    }

    #[test]
    fn an_add_has_24_bytes() {
        let bytes = operation(1, 2, -3).to_bytes();
        let parts = [[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 2]];
        assert_eq!(bytes[..16], parts.concat());
        assert_eq!(bytes[16..], [255, 255, 255, 255, 255, 255, 255, 253]);
        let bytes = [0; 30];
        for size in (0..30).filter(|&size| size != 24) {
            assert_eq!(Operation::from_bytes(&bytes[..size]), None, "{size}");
        }
    }

    #[test]
    fn a_copy_gets_the_first_answer() {
        let operations = [(1, 5), (2, 7), (1, 5), (2, 8), (3, 0)];
        let all = [Ok(5), Ok(12), Ok(5), Err(CONFLICT), Ok(12)];
        assert_eq!(answers(&operations), all);
    }

    #[test]
    fn the_window_has_64_numbers() {
        let operations = [(100, 1), (37, 1), (36, 1), (37, 1), (0, 1)];
        let all = [Ok(1), Ok(2), Err(STALE_SEQ), Ok(2), Err(STALE_SEQ)];
        assert_eq!(answers(&operations), all);
        let operations = [(63, 1), (0, 1), (64, 1), (0, 1), (1, 1)];
        let all = [Ok(1), Ok(2), Ok(3), Err(STALE_SEQ), Ok(4)];
        assert_eq!(answers(&operations), all);
    }

    #[test]
    fn the_highest_number_of_all_makes_the_others_stale() {
        let max = u64::MAX;
        let operations =
            [(1, 1), (max, 1), (1, 1), (max - 64, 1), (max - 63, 1), (max, 1)];
        let (old, stale) = (Ok(2), Err(STALE_SEQ));
        let all = [Ok(1), Ok(2), stale, stale, Ok(3), old];
        assert_eq!(answers(&operations), all);
    }

    /// Its number is taken, as that of an operation which was applied.
    #[test]
    fn a_total_that_does_not_fit_is_refused_for_good() {
        for (most, one) in [(i64::MAX, 1), (i64::MIN, -1)] {
            let copy = (2, one);
            let operations = [(1, most), copy, (3, -one), copy, (2, 0)];
            let no = Err(BAD_PAYLOAD);
            let all = [Ok(most), no, Ok(most - one), no, Err(CONFLICT)];
            assert_eq!(answers(&operations), all);
        }
    }

    #[test]
    fn beyond_the_limit_only_known_clients_are_served() {
        let mut ledger = Ledger::default();
        for client in 0..CLIENTS as u64 {
            assert!(ledger.apply(operation(client, 1, 5)).unwrap().1);
        }
        let new = ledger.apply(operation(u64::MAX, 1, 5));
        assert_eq!(new, Err(Full));
        assert_eq!(ledger.clients.len(), CLIENTS);
        let known = [operation(7, 1, 5), operation(7, 2, 5)];
        let known = known.map(|operation| ledger.apply(operation).unwrap());
        let known = known.map(|(answer, is_new)| (code(answer), is_new));
        assert_eq!(known, [(Ok(5), false), (Ok(10), true)]);
        // 64 of these are the 2 KiB of the comment on CLIENTS.
        assert_eq!(size_of::<Done>(), 32);
    }
}

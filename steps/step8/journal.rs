// ANCHOR: journal
//! The journal: an operation is on disk before it is answered.
//!
//! ```text
//! +--------+-----------+---------+-----------+---------+
//! | MAGIC  | operation |  CRC32  | operation |  CRC32  |  …
//! +--------+-----------+---------+-----------+---------+
//!     8         24          4         24          4      bytes
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::{mpsc, oneshot};
use tokio::task::block_in_place;

use crate::ledger::{Answer, Full, Ledger, Operation};

/// How a journal starts, so that no other file is taken for one.
const MAGIC: &[u8; 8] = b"ledger1\n";

/// The size of a record, in bytes.
const RECORD: usize = 24 + 4;

/// A file of all operations that have changed a ledger, in their order.
pub struct Journal {
    file: File,
}
// ANCHOR_END: journal

// ANCHOR: open
impl Journal {
    /// Opens or creates the journal at `path` and applies its operations to
    /// `ledger`. Also returns how many bytes of a torn record it has cut off.
    ///
    /// # Errors
    /// The file cannot be used, is not a journal, is in use, or is damaged. It
    /// keeps all its bytes.
    pub fn open(path: &Path, ledger: &mut Ledger) -> Result<(Journal, usize)> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path)?;
        ensure!(file.metadata()?.is_file(), "not a regular file");
        // Two servers would write over each other's records.
        file.try_lock().context("cannot lock it (is it in use?)")?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let good = replay(&bytes, ledger)?;
        file.set_len(good as u64)?;
        file.seek(SeekFrom::Start(good as u64))?;
        if good == 0 {
            file.write_all(MAGIC)?;
        }
        // A killed server may have left records that are not on disk yet. Now
        // they have an answer, so they must get there.
        file.sync_all()?;
        sync_folder(path)?;
        Ok((Journal { file }, bytes.len() - good))
    }

    /// Appends `operations` and waits, once for all of them, until they are on
    /// disk. This is called group commit.
    ///
    /// # Errors
    /// Some of them may be on disk. A second sync would not tell: after an
    /// error, Linux may drop what it could not write, and report success. So
    /// the caller must neither answer nor append again.
    pub fn append(&mut self, operations: &[Operation]) -> io::Result<()> {
        let mut records = Vec::new();
        for operation in operations {
            let bytes = operation.to_bytes();
            records.extend_from_slice(&bytes);
            records.extend(crc32(&bytes).to_be_bytes());
        }
        self.file.write_all(&records)?;
        self.file.sync_data()
    }
}

/// A crash can lose a new file until its folder is on disk, too.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.canonicalize()?.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()), // Windows cannot open a folder like this
    }
}
// ANCHOR_END: open

// ANCHOR: replay
/// Applies the records of `bytes`. Returns how many bytes are good: what may
/// follow them is one record that a crash has torn, so it was never answered.
/// (A power cut may tear more than one of a batch; that is an error, too.)
fn replay(bytes: &[u8], ledger: &mut Ledger) -> Result<usize> {
    if bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) {
        return Ok(0); // new, or a crash came before there was a record
    }
    ensure!(bytes.starts_with(MAGIC), "this is another kind of file");
    let mut at = MAGIC.len();
    while at < bytes.len() {
        let rest = &bytes[at..];
        match decode(rest) {
            Some(operation) => {
                let (_, is_new) = ledger.apply(operation)?;
                ensure!(is_new, "the record at offset {at} is there twice");
                at += RECORD;
            }
            None if rest.len() <= RECORD => break, // it is the last
            None => bail!("the record at offset {at} is damaged"),
        }
    }
    Ok(at)
}

/// Returns the operation of the first record, unless it is torn or damaged.
fn decode(bytes: &[u8]) -> Option<Operation> {
    let (bytes, sum) = bytes.get(..RECORD)?.split_at(24);
    let is_whole = sum == crc32(bytes).to_be_bytes();
    is_whole.then(|| Operation::from_bytes(bytes))?
}

/// Returns the check sum that Ethernet and zip files use, too. It finds each
/// damage within 32 bits in a row, and misses one in 4 billion of the others.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for &byte in bytes {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            let carry = if sum & 1 == 1 { 0xedb8_8320 } else { 0 };
            sum = sum >> 1 ^ carry;
        }
    }
    !sum
}
// ANCHOR_END: replay

// ANCHOR: run
/// At most this many operations share a sync.
const BATCH: usize = 1024;

/// An operation, and who waits for its answer.
pub struct Request {
    pub operation: Operation,
    pub reply: oneshot::Sender<Result<Answer, Full>>,
}

/// Answers `requests` until all senders are gone. It alone owns the ledger, so
/// two copies of an operation meet here, whichever connections brought them.
/// While it waits for the disk, the next batch gathers in the channel.
///
/// # Errors
/// The journal has failed. Those that wait get no answer, because we cannot
/// know what is on disk. The server has to stop.
pub async fn run(
    mut ledger: Ledger,
    mut journal: Option<Journal>,
    mut requests: mpsc::Receiver<Request>,
) -> Result<()> {
    let mut batch = Vec::new();
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let (mut answers, mut new) = (Vec::new(), Vec::new());
        for Request { operation, reply } in batch.drain(..) {
            let done = ledger.apply(operation);
            new.extend(matches!(done, Ok((_, true))).then_some(operation));
            answers.push((reply, done.map(|(answer, _)| answer)));
        }
        if let Some(journal) = &mut journal
            && !new.is_empty()
        {
            // The runtime may have other tasks on this thread: they move.
            block_in_place(|| journal.append(&new))
                .context("cannot write the journal")?;
        }
        for (reply, answer) in answers {
            let _ = reply.send(answer); // its client may have left
        }
    }
    Ok(())
}
// ANCHOR_END: run

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    #[cfg(unix)]
    use std::os::{fd::OwnedFd, unix::net::UnixStream};
    use std::path::PathBuf;
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use tempfile::TempDir;
    use tokio::task::{self, JoinHandle};
    use tokio::time::timeout;

    fn operation(seq: u64, amount: i64) -> Operation {
        Operation { client: 7, seq, amount }
    }

    /// A folder that goes away with the test, and the path of a journal in it.
    fn folder() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        (folder, path)
    }

    fn open(path: &Path) -> Result<(Journal, usize, Ledger)> {
        let mut ledger = Ledger::default();
        let (journal, torn) = Journal::open(path, &mut ledger)?;
        Ok((journal, torn, ledger))
    }

    /// The bytes of a journal with the operations 1, 2 and 3.
    fn three() -> Vec<u8> {
        let (_folder, path) = folder();
        let (mut journal, ..) = open(&path).unwrap();
        journal.append(&[operation(1, 5)]).unwrap();
        journal.append(&[operation(2, 7), operation(3, -1)]).unwrap();
        drop(journal); // Windows lets nobody read a file that is locked
        fs::read(path).unwrap()
    }

    /// Is it new for `ledger`, and which total does it lead to?
    fn asked(ledger: &mut Ledger, seq: u64, amount: i64) -> (Answer, bool) {
        ledger.apply(operation(seq, amount)).unwrap()
    }

    fn assert_refused(path: &Path, why: &str) {
        let error = open(path).err().expect("it is refused");
        let error = format!("{error:#}");
        assert!(error.contains(why), "{error}, and not {why}");
    }

    #[test]
    fn the_check_sum_of_everybody_else() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_ne!(crc32(&[0; 24]), 0); // so zeros are no record
    }

    #[test]
    fn a_record_is_an_add_and_its_check_sum() {
        let bytes = three();
        assert_eq!(bytes.len(), 8 + 3 * 28);
        assert_eq!(bytes[..8], *b"ledger1\n");
        assert_eq!(bytes[8..32], operation(1, 5).to_bytes());
        assert_eq!(bytes[32..36], crc32(&bytes[8..32]).to_be_bytes());
    }

    /// However a write is torn, the operations before it are there, the piece
    /// is cut off and reported, and the next operation takes its place.
    #[test]
    fn torn_at_every_byte() {
        let whole = three();
        for size in 0..=whole.len() {
            let (_folder, path) = folder();
            fs::write(&path, &whole[..size]).unwrap();
            let (mut journal, torn, mut ledger) = open(&path).unwrap();
            let records = size.saturating_sub(8) / 28;
            let kept = if size < 8 { 0 } else { 8 + records * 28 };
            assert_eq!(torn, size - kept, "{size}");
            let before = 8 + records * 28;
            let now = fs::metadata(&path).unwrap().len();
            assert_eq!(now, before as u64, "{size}");
            for (i, amount) in [5, 7, -1].into_iter().enumerate() {
                let (_, is_new) = asked(&mut ledger, i as u64 + 1, amount);
                assert_eq!(is_new, i >= records, "{size}");
            }
            journal.append(&[operation(4, 9)]).unwrap();
            drop(journal);
            let now = fs::read(&path).unwrap();
            assert_eq!(now.len(), before + 28, "{size}");
            assert_eq!(now[..before], whole[..before], "{size}");
            let mut ledger = Ledger::default();
            assert_eq!(replay(&now, &mut ledger).unwrap(), now.len());
            assert!(!asked(&mut ledger, 4, 9).1, "{size}");
        }
    }

    /// Nobody can tell what was lost, so it is not passed over in silence.
    #[test]
    fn damaged_at_every_byte() {
        let whole = three();
        let (_folder, path) = folder();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let replayed = replay(&bytes, &mut Ledger::default());
                let record = 8 + at.saturating_sub(8) / 28 * 28;
                match replayed.map_err(|error| error.to_string()) {
                    Ok(whole) => assert_eq!((whole, record), (64, 64)),
                    Err(_) if at < 8 => {}
                    Err(error) => {
                        let offset = format!(" offset {record} is damaged");
                        assert!(error.contains(&offset), "{at}: {error}");
                        assert!(record < 64, "{at}: {error}");
                    }
                }
                if bit == 3 && at < 64 {
                    fs::write(&path, &bytes).unwrap();
                    assert_refused(&path, "");
                    assert_eq!(fs::read(&path).unwrap(), bytes);
                }
            }
        }
    }

    /// A torn end does not hide a damage before it.
    #[test]
    fn damaged_and_torn() {
        for size in 65..92 {
            let mut bytes = three();
            bytes[40] ^= 1;
            bytes.truncate(size);
            let error = replay(&bytes, &mut Ledger::default()).unwrap_err();
            assert!(error.to_string().contains("offset 36 "), "{error}");
        }
    }

    #[test]
    fn the_same_record_twice() {
        let mut bytes = three();
        bytes.extend_from_within(36..64);
        let error = replay(&bytes, &mut Ledger::default()).unwrap_err();
        let twice = "the record at offset 92 is there twice";
        assert_eq!(error.to_string(), twice);
    }

    #[test]
    fn another_file_is_left_as_it_is() {
        let (folder, path) = folder();
        for other in ["root:x:0:0:root:/root:\n", "x", "\0", "ledger2"] {
            fs::write(&path, other).unwrap();
            assert_refused(&path, "another kind of file");
            assert_eq!(fs::read_to_string(&path).unwrap(), other);
        }
        let none = folder.path().join("none").join("journal");
        assert!(open(&none).is_err());
        assert!(open(folder.path()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_no_journal() {
        for device in ["/dev/null", "/dev/full", "/dev/tty"] {
            if Path::new(device).exists() && fs::write(device, "").is_ok() {
                assert_refused(Path::new(device), "not a regular file");
            }
        }
    }

    #[test]
    fn the_second_server_is_refused() {
        let (_folder, path) = folder();
        let (mut journal, ..) = open(&path).unwrap();
        assert_refused(&path, "is it in use?");
        journal.append(&[operation(1, 5)]).unwrap();
        drop(journal);
        let (_, torn, mut ledger) = open(&path).unwrap();
        assert_eq!(torn, 0);
        let same = (Answer::Total(5), false);
        assert_eq!(asked(&mut ledger, 1, 5), same);
    }

    // ---- The task

    type Ledgers = (mpsc::Sender<Request>, JoinHandle<Result<()>>);

    fn start(ledger: Ledger, journal: Option<Journal>) -> Ledgers {
        let (sender, requests) = mpsc::channel(BATCH);
        (sender, tokio::spawn(run(ledger, journal, requests)))
    }

    /// Hands an operation in, and returns where its answer will come.
    async fn ask(
        sender: &mpsc::Sender<Request>,
        operation: Operation,
    ) -> oneshot::Receiver<Result<Answer, Full>> {
        let (reply, answer) = oneshot::channel();
        let sent = sender.send(Request { operation, reply }).await;
        assert!(sent.is_ok());
        answer
    }

    async fn within<T>(future: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(20), future).await.expect("in time")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn copies_from_many_connections_are_applied_once() {
        for journal in [false, true] {
            let (_folder, path) = folder();
            let journal = journal.then(|| open(&path).unwrap().0);
            let (sender, task) = start(Ledger::default(), journal);
            let connections = (0..8).map(|_| {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let mut answers = Vec::new();
                    for seq in 1..=20 {
                        let answer = ask(&sender, operation(seq, 1)).await;
                        answers.push(within(answer).await.unwrap());
                    }
                    answers
                })
            });
            let connections: Vec<_> = connections.collect();
            let all: Vec<_> = (1..=20).map(|n| Ok(Answer::Total(n))).collect();
            for answers in connections {
                assert_eq!(within(answers).await.unwrap(), all);
            }
            drop(sender);
            within(task).await.unwrap().unwrap();
        }
    }

    /// Each answer finds its operation in the file, in a record that is whole.
    #[cfg(unix)] // see above
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_answered_is_in_the_journal() {
        let (_folder, path) = folder();
        let (journal, ..) = open(&path).unwrap();
        let (sender, _task) = start(Ledger::default(), Some(journal));
        for seq in 1..=20 {
            let answer = ask(&sender, operation(seq, 1)).await;
            let copy = ask(&sender, operation(seq, 1)).await;
            let total = Answer::Total(seq as i64);
            assert_eq!(within(copy).await.unwrap(), Ok(total));
            let mut ledger = Ledger::default();
            replay(&fs::read(&path).unwrap(), &mut ledger).unwrap();
            assert_eq!(asked(&mut ledger, seq, 1), (total, false));
            assert_eq!(within(answer).await.unwrap(), Ok(total));
        }
    }

    /// What changes nothing needs no sync, and no room.
    #[tokio::test(flavor = "multi_thread")]
    async fn copies_and_refusals_are_not_recorded() {
        let (_folder, path) = folder();
        let (journal, ..) = open(&path).unwrap();
        let (sender, task) = start(Ledger::default(), Some(journal));
        for (seq, amount) in [(100, 1), (100, 1), (100, 2), (1, 1)] {
            let answer = ask(&sender, operation(seq, amount)).await;
            within(answer).await.unwrap().unwrap();
        }
        drop(sender);
        within(task).await.unwrap().unwrap();
        assert_eq!(fs::read(path).unwrap().len(), 8 + 28);
    }

    /// Nothing is answered that is not on disk, now and later.
    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk() {
        let file = File::options().write(true).open("/dev/full").unwrap();
        let mut ledger = Ledger::default();
        ledger.apply(operation(1, 5)).unwrap();
        let (sender, task) = start(ledger, Some(Journal { file }));
        let old = ask(&sender, operation(1, 5)).await;
        assert_eq!(within(old).await.unwrap(), Ok(Answer::Total(5)));
        let new = ask(&sender, operation(2, 5)).await;
        assert!(within(new).await.is_err());
        let error = within(task).await.unwrap().unwrap_err();
        let full = "cannot write the journal: No space left on device";
        assert!(format!("{error:#}").starts_with(full), "{error:#}");
        assert!(sender.is_closed());
    }

    /// A sync can fail where a write did not: a socket has none.
    #[cfg(unix)]
    #[test]
    fn a_failing_sync() {
        let (_reader, writer) = UnixStream::pair().unwrap();
        let file = File::from(OwnedFd::from(writer));
        Journal { file }.append(&[operation(1, 5)]).unwrap_err();
    }

    /// While the journal waits, here for a reader, another task of the only
    /// thread goes on.
    #[cfg(unix)]
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_slow_disk_stops_no_other_task() {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        while writer.write(&[0; 1000]).is_ok() {} // until it is full
        writer.set_nonblocking(false).unwrap();
        let limit = Some(Duration::from_secs(5)); // or a failed test hangs
        writer.set_write_timeout(limit).unwrap();
        let file = File::from(OwnedFd::from(writer));
        let (sender, task) = start(Ledger::default(), Some(Journal { file }));
        let mut answer = ask(&sender, operation(1, 5)).await;
        let is_taken = || sender.capacity() == sender.max_capacity();
        within(async {
            while !is_taken() {
                task::yield_now().await;
            }
        })
        .await;
        within(tokio::spawn(task::yield_now())).await.unwrap();
        let empty = oneshot::error::TryRecvError::Empty;
        assert_eq!(answer.try_recv(), Err(empty));
        drop(reader); // so that the write fails
        assert!(within(answer).await.is_err());
        assert!(within(task).await.unwrap().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        /// A server that ends after each part and starts again answers exactly
        /// as one that never did, and to all copies at the end.
        #[test]
        fn a_restart_changes_no_answer(
            parts in vec(vec((1u64..=2, 0u64..90, any_amount()), 0..30), 1..6),
        ) {
            let (_folder, path) = folder();
            let mut one = Ledger::default();
            let mut all = Vec::new();
            for part in parts {
                let (mut journal, torn, mut ledger) = open(&path).unwrap();
                prop_assert_eq!(torn, 0);
                for &operation in &all {
                    let again = Ledger::apply(&mut ledger, operation);
                    prop_assert_eq!(again, one.apply(operation));
                }
                let mut new = Vec::new();
                for (client, seq, amount) in part {
                    let operation = Operation { client, seq, amount };
                    let (answer, is_new) = ledger.apply(operation).unwrap();
                    prop_assert_eq!((answer, is_new), one.apply(operation).unwrap());
                    new.extend(is_new.then_some(operation));
                    all.push(operation);
                }
                journal.append(&new).unwrap();
            }
        }
    }

    fn any_amount() -> impl Strategy<Value = i64> {
        prop_oneof![8 => -3i64..=3, 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
    }
}

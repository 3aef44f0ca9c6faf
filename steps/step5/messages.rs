// ANCHOR: messages
//! The client's messages, one after another.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::frame::{self, ECHO, MAX_PAYLOAD};

/// A batch ends when it has so many bytes; its last message may go beyond.
const BATCH: usize = 64 * 1024;

/// Where the messages come from: the command line, or the lines of a stream.
pub enum Messages<R> {
    Given(std::vec::IntoIter<String>),
    Lines(BufReader<R>),
}

impl<R: AsyncRead + Unpin> Messages<R> {
    /// A batch: the next message, and those behind it that are here already,
    /// as frames. It waits for the first one only; an empty batch is the end.
    ///
    /// # Errors
    /// The stream cannot be read, or a message is too large. Then nothing of
    /// the batch is sent.
    pub async fn batch(&mut self) -> Result<Vec<u8>> {
        let (mut frames, mut message) = (Vec::new(), Vec::new());
        while self.next(&mut message).await? {
            let fits = message.len() <= MAX_PAYLOAD;
            ensure!(fits, "a message is larger than {MAX_PAYLOAD} bytes");
            frame::encode(ECHO, &message, &mut frames)?;
            let is_here = match self {
                Messages::Given(texts) => texts.len() > 0,
                Messages::Lines(lines) => lines.buffer().contains(&b'\n'),
            };
            if !is_here || frames.len() >= BATCH {
                break;
            }
        }
        Ok(frames)
    }

    /// Puts the next message into `message`: of a line all but its newline.
    /// `false` means that there are no more.
    async fn next(&mut self, message: &mut Vec<u8>) -> Result<bool> {
        message.clear();
        match self {
            Messages::Given(texts) => {
                let Some(text) = texts.next() else { return Ok(false) };
                message.extend_from_slice(text.as_bytes());
            }
            Messages::Lines(lines) => {
                // One byte more than fits is enough to see that it does not.
                let mut line = lines.take(MAX_PAYLOAD as u64 + 1);
                let n = line.read_until(b'\n', message).await;
                if n.context("cannot read the messages")? == 0 {
                    return Ok(false);
                }
                message.pop_if(|byte| *byte == b'\n');
            }
        }
        Ok(true)
    }
}
// ANCHOR_END: messages

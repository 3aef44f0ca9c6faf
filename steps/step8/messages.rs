// ANCHOR: messages
//! The client's messages, one after another.

use std::ffi::OsString;
use std::vec;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::frame::MAX_PAYLOAD;

/// Where the messages come from: the command line, or the lines of a stream.
pub enum Messages<R> {
    Given(vec::IntoIter<OsString>),
    Lines(BufReader<R>),
}

impl<R: AsyncRead + Unpin> Messages<R> {
    /// Puts the next message into `message`: a line, without its newline.
    /// Returns `false` if there is none.
    pub async fn next(&mut self, message: &mut Vec<u8>) -> Result<bool> {
        message.clear();
        match self {
            Messages::Given(texts) => {
                let Some(text) = texts.next() else { return Ok(false) };
                message.extend_from_slice(text.as_encoded_bytes());
            }
            Messages::Lines(lines) => {
                // One byte more than fits is enough to see that it does not fit.
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

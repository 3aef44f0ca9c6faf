// ANCHOR: wire
//! Redis' protocol (RESP2): frames again, with lengths written in digits.
//!
//! ```text
//! *2\r\n$3\r\nGET\r\n$1\r\nk\r\n    a command: an array of texts
//! +OK\r\n   -ERR no\r\n   :7\r\n    a line: a text, an error, a number
//! $5\r\nhello\r\n         $-1\r\n   a text by its length, or none
//! *2\r\n:1\r\n:2\r\n      *-1\r\n   an array of replies, or none
//! ```
//!
//! See <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::io::ErrorKind;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest text that we take, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// The longest line, in bytes: a kind, a number or an error, and `\r\n`.
const MAX_LINE: usize = 512;

/// The longest array, and how deep arrays may be nested.
const MAX_ARRAY: usize = 1024;
const MAX_DEPTH: usize = 5;

/// The largest reply as a whole, in bytes.
const MAX_REPLY: usize = 4 * 1024 * 1024;

/// What Redis answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    None,
    Number(i64),
    Text(Vec<u8>),
    Error(String),
    Array(Vec<Reply>),
}
// ANCHOR_END: wire

// ANCHOR: decode
/// Takes the first reply off `bytes`, which then start after it. If there is
/// less than a reply: `None`, and `bytes` stay as they are.
///
/// # Errors
/// This is no reply, or one beyond the limits. Nothing behind it is of use.
pub fn decode(bytes: &mut &[u8]) -> Result<Option<Reply>> {
    let mut rest = *bytes;
    let reply = reply(&mut rest, MAX_DEPTH)?;
    match &reply {
        Some(_) => *bytes = rest,
        None => ensure!(bytes.len() < MAX_REPLY, "a reply without an end"),
    }
    Ok(reply)
}

fn reply(bytes: &mut &[u8], depth: usize) -> Result<Option<Reply>> {
    let Some(line) = line(bytes)? else { return Ok(None) };
    let (kind, text) = line.split_first().context("an empty line")?;
    Ok(Some(match kind {
        b'+' => Reply::Text(text.to_vec()),
        b'-' => Reply::Error(String::from_utf8_lossy(text).into_owned()),
        b':' => Reply::Number(number(text)?),
        b'$' | b'*' if text == b"-1" => Reply::None,
        b'$' => match body(bytes, length(text, MAX_TEXT)?)? {
            Some(text) => Reply::Text(text.to_vec()),
            None => return Ok(None),
        },
        b'*' => {
            let length = length(text, MAX_ARRAY)?;
            ensure!(depth > 0, "arrays that are nested too deep");
            let mut array = Vec::new(); // it grows with what has come
            for _ in 0..length {
                let Some(one) = reply(bytes, depth - 1)? else {
                    return Ok(None);
                };
                array.push(one);
            }
            Reply::Array(array)
        }
        kind => bail!("a reply of kind {:?}", char::from(*kind)),
    }))
}

/// Takes a line off `bytes`, if all of it is there, without its `\r\n`.
fn line<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    let start = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = start.windows(2).position(|mark| mark == b"\r\n") else {
        ensure!(start.len() < MAX_LINE, "a line without an end");
        return Ok(None);
    };
    *bytes = &bytes[end + 2..];
    Ok(Some(&start[..end]))
}

/// Takes a text of this length off `bytes`, if all of it is there.
fn body<'a>(bytes: &mut &'a [u8], length: usize) -> Result<Option<&'a [u8]>> {
    let Some((text, rest)) = bytes.split_at_checked(length) else {
        return Ok(None);
    };
    let Some((mark, rest)) = rest.split_at_checked(2) else { return Ok(None) };
    ensure!(mark == b"\r\n", "a text that goes on after its end");
    *bytes = rest;
    Ok(Some(text))
}

fn number(text: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(text)?;
    text.parse().with_context(|| format!("not a number: {text:?}"))
}

fn length(text: &[u8], most: usize) -> Result<usize> {
    let length = usize::try_from(number(text)?).unwrap_or(usize::MAX);
    ensure!(length <= most, "a length beyond {most}");
    Ok(length)
}
// ANCHOR_END: decode

// ANCHOR: encode
/// Appends a command to `output`.
pub fn encode(words: &[&[u8]], output: &mut Vec<u8>) {
    output.extend(format!("*{}\r\n", words.len()).into_bytes());
    for word in words {
        output.extend(format!("${}\r\n", word.len()).into_bytes());
        output.extend_from_slice(word);
        output.extend_from_slice(b"\r\n");
    }
}
// ANCHOR_END: encode

// ANCHOR: redis
/// A connection to Redis. It has no time limits: its callers have.
pub struct Redis {
    stream: TcpStream,
    input: Vec<u8>,
    used: usize, // how much of `input` has become replies
}

impl Redis {
    /// Connects to the server at `addr`.
    ///
    /// # Errors
    /// No server listens there.
    pub async fn connect(addr: SocketAddr) -> Result<Redis> {
        let stream = TcpStream::connect(addr).await.with_context(|| {
            format!("cannot connect to {addr} (is redis-server running?)")
        })?;
        let _ = stream.set_nodelay(true);
        Ok(Redis { stream, input: Vec::new(), used: 0 })
    }

    /// Has the connection ended while we had nothing to ask? Redis does not
    /// speak unasked, so whatever can be read is an end. (What has ended but
    /// has not been noticed yet, the next command will show.)
    pub fn has_ended(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        !read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends one command and returns the reply.
    ///
    /// # Errors
    /// The connection has failed, or the reply is an error.
    pub async fn ask(&mut self, words: &[&[u8]]) -> Result<Reply> {
        let mut command = Vec::new();
        encode(words, &mut command);
        self.send(&command).await?;
        match self.receive().await? {
            Reply::Error(text) => bail!("Redis says {text:?}"),
            reply => Ok(reply),
        }
    }

    /// Sends commands, as many as there are. (Redis reads on while replies
    /// wait for us, so both ends cannot wait for each other.)
    pub async fn send(&mut self, commands: &[u8]) -> Result<()> {
        let sent = self.stream.write_all(commands).await;
        sent.context("cannot write to Redis")
    }

    /// Returns the next reply. They come in the order of their commands.
    pub async fn receive(&mut self) -> Result<Reply> {
        loop {
            let mut rest = &self.input[self.used..];
            let reply =
                decode(&mut rest).context("Redis broke its protocol")?;
            self.used = self.input.len() - rest.len();
            if let Some(reply) = reply {
                return Ok(reply);
            }
            self.input.drain(..self.used);
            self.used = 0;
            let n = self.stream.read_buf(&mut self.input).await;
            let n = n.context("cannot read from Redis")?;
            ensure!(n > 0, "Redis closed the connection");
        }
    }
}
// ANCHOR_END: redis

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Text(text.as_bytes().to_vec())
    }

    const ALL: &[u8] = b"+OK\r\n-ERR no\r\n:-7\r\n$5\r\nhe\r\no\r\n$-1\r\n\
        $0\r\n\r\n*2\r\n:1\r\n*1\r\n$1\r\na\r\n*0\r\n*-1\r\n";

    fn all() -> Vec<Reply> {
        vec![
            text("OK"),
            Reply::Error("ERR no".to_owned()),
            Reply::Number(-7),
            text("he\r\no"),
            Reply::None,
            text(""),
            Reply::Array(vec![Reply::Number(1), Reply::Array(vec![text("a")])]),
            Reply::Array(vec![]),
            Reply::None,
        ]
    }

    /// However the stream is cut in two, the replies are the same, and a piece
    /// of a reply is left where it is.
    #[test]
    fn replies_in_any_pieces() {
        for cut in 0..=ALL.len() {
            let (mut input, mut replies) = (ALL[..cut].to_vec(), Vec::new());
            for more in [&ALL[cut..], b""] {
                let mut rest = &input[..];
                while let Some(reply) = decode(&mut rest).unwrap() {
                    replies.push(reply);
                }
                input = [rest, more].concat();
            }
            assert_eq!((replies, &input[..]), (all(), &b""[..]), "{cut}");
        }
    }

    #[test]
    fn what_is_no_reply() {
        for bytes in [
            &b"hello\r\n"[..],
            b"\r\n",
            b":\r\n",
            b":7a\r\n",
            b":9223372036854775808\r\n",
            b"$-2\r\n",
            b"$65537\r\n",
            b"*1025\r\n",
            b"$1\r\nab\r\n",
            b"*99999999999999999999\r\n",
        ] {
            let mut rest = bytes;
            decode(&mut rest).expect_err(&String::from_utf8_lossy(bytes));
        }
    }

    /// A length costs no memory before its bytes are there, a line ends, and
    /// so do arrays in arrays: 80 KB of them end other programs' stack.
    #[test]
    fn replies_have_limits() {
        decode(&mut &b"*1\r\n".repeat(20_000)[..]).unwrap_err();
        decode(&mut &[b'+'; MAX_LINE][..]).unwrap_err();
        assert_eq!(decode(&mut &[b'+'; MAX_LINE - 1][..]).unwrap(), None);
        let one = [b"$65536\r\n", &[b'a'; 65536][..], b"\r\n"].concat();
        assert!(decode(&mut &one[..]).unwrap().is_some());
        let many = [b"*1024\r\n", &one.repeat(64)[..]].concat();
        decode(&mut &many[..]).unwrap_err();
    }

    #[test]
    fn a_command_is_an_array_of_texts() {
        let mut bytes = Vec::new();
        encode(&[b"GET", b"", b"\r\n"], &mut bytes);
        assert_eq!(bytes, b"*3\r\n$3\r\nGET\r\n$0\r\n\r\n$2\r\n\r\n\r\n");
        let words = [text("GET"), text(""), text("\r\n")];
        let reply = decode(&mut &bytes[..]).unwrap();
        assert_eq!(reply, Some(Reply::Array(words.into())));
    }
}

// ANCHOR: answer
//! A conversation with one client, within its limits of time.

use anyhow::{Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::frame::{self, ECHO, ECHO_REPLY, Frame, LengthError, UNKNOWN_KIND};
use crate::limits::ServerLimits;
use crate::timer::{Timer, TooSlow};

/// Room for received bytes, in bytes. For large frames it grows, to at most
/// twice the largest one, and stays so.
const BUFFER: usize = 16 * 1024;

/// Answers each frame, until the client's stream ends. Returns how many.
pub async fn answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    limits: &ServerLimits,
) -> Result<usize> {
    let mut input = Vec::with_capacity(BUFFER); // what no frame has used yet
    let mut output = Vec::new();
    let mut total = 0;
    let mut timer = Timer::new(TooSlow::Idle(limits.idle));
    loop {
        let begins = input.is_empty(); // does a frame begin with the next byte?
        let read = stream.read_buf(&mut input);
        if timer.within("cannot read", read).await? == 0 {
            ensure!(input.is_empty(), "ended in the middle of a frame");
            return Ok(total);
        }
        // Also if there is an error: the frames before it have their replies.
        let replied = reply(&mut input, &mut output);
        write(stream, &output, &mut timer, limits).await?;
        output.clear();
        let replies = replied?;
        total += replies;
        // Not after each read: a frame has so much time in total.
        if begins || replies > 0 {
            timer.restart(match input.is_empty() {
                true => TooSlow::Idle(limits.idle),
                false => TooSlow::Frame(limits.frame),
            });
        }
    }
}

/// Writes all of `output`. Each part that the system takes gives the client
/// new time.
async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    mut output: &[u8],
    timer: &mut Timer,
    limits: &ServerLimits,
) -> Result<()> {
    while !output.is_empty() {
        timer.restart(TooSlow::Write(limits.write));
        let write = stream.write(output);
        let n = timer.within("cannot write", write).await?;
        output = &output[n..];
    }
    Ok(())
}

/// Takes all whole frames out of `input` and appends the replies to `output`,
/// so that many replies need one write. Returns how many.
fn reply(
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<usize, LengthError> {
    let mut rest = &input[..];
    let mut total = 0;
    while let Some(Frame { kind, payload }) = frame::decode(&mut rest)? {
        match kind {
            ECHO => frame::encode(ECHO_REPLY, payload, output)?,
            _ => frame::encode_error(UNKNOWN_KIND, "unknown kind", output),
        }
        total += 1;
    }
    let used = input.len() - rest.len();
    input.drain(..used);
    Ok(total)
}
// ANCHOR_END: answer

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, sleep};

    const LIMITS: ServerLimits = ServerLimits {
        idle: Duration::from_secs(60),
        frame: Duration::from_secs(10),
        write: Duration::from_secs(5),
    };
    const HI: &[u8] = b"\0\0\0\x03\x01hi";
    const REPLY: &[u8] = b"\0\0\0\x03\x81hi";

    /// How a conversation ended, and when. In these tests the time stands
    /// still; it jumps when all wait for it.
    type Server = JoinHandle<(Result<usize>, Duration)>;

    /// A server at the other end of a pipe that holds `size` bytes.
    fn server(size: usize) -> (DuplexStream, Server) {
        let (client, mut end) = duplex(size);
        let start = Instant::now();
        let server = tokio::spawn(async move {
            let outcome = answer(&mut end, &LIMITS).await;
            (outcome, start.elapsed())
        });
        (client, server)
    }

    /// Asserts that the server found the client too slow after so long.
    async fn assert_too_slow(server: Server, what: TooSlow, after: u64) {
        let (outcome, time) = server.await.unwrap();
        let error = outcome.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&what), "{error:#}");
        // A timer may fire a millisecond late, and never early.
        let late = time - Duration::from_millis(after);
        assert!(late <= Duration::from_millis(1), "{time:?}");
    }

    async fn hear(client: &mut DuplexStream, bytes: &[u8]) {
        let mut reply = vec![0; bytes.len()];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply, bytes);
    }

    async fn ms(n: u64) {
        sleep(Duration::from_millis(n)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_from_the_start() {
        let (_client, server) = server(1000);
        assert_too_slow(server, TooSlow::Idle(LIMITS.idle), 60_000).await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_a_frame() {
        let (mut client, server) = server(1000);
        ms(59_999).await;
        client.write_all(HI).await.unwrap();
        hear(&mut client, REPLY).await;
        assert_too_slow(server, TooSlow::Idle(LIMITS.idle), 119_999).await;
    }

    /// The time of a frame runs from its first byte, and no byte moves it.
    #[tokio::test(start_paused = true)]
    async fn a_byte_each_second() {
        let (mut client, server) = server(1000);
        ms(30_000).await;
        tokio::spawn(async move {
            client.write_all(&[0, 0, 0, 99, 1]).await.unwrap();
            for _ in 0..98 {
                ms(1_000).await;
                let _ = client.write_all(b"x").await; // until it is cut
            }
        });
        assert_too_slow(server, TooSlow::Frame(LIMITS.frame), 40_000).await;
    }

    /// A frame in two pieces, before and after the moment when the client's
    /// idle time would have been over: cut at each place, nothing is lost.
    #[tokio::test(start_paused = true)]
    async fn pieces_on_both_sides_of_a_tick() {
        for cut in 1..HI.len() {
            let (mut client, server) = server(1000);
            ms(59_999).await;
            client.write_all(&HI[..cut]).await.unwrap();
            ms(9_999).await;
            client.write_all(&HI[cut..]).await.unwrap();
            hear(&mut client, REPLY).await;
            drop(client);
            assert_eq!(server.await.unwrap().0.unwrap(), 1);
        }
    }

    /// The next frame begins in the same read: it has its own time.
    #[tokio::test(start_paused = true)]
    async fn a_frame_and_the_begin_of_the_next() {
        let (mut client, server) = server(1000);
        client.write_all(&HI[..3]).await.unwrap();
        ms(9_000).await;
        client.write_all(&[&HI[3..], &HI[..3]].concat()).await.unwrap();
        hear(&mut client, REPLY).await;
        assert_too_slow(server, TooSlow::Frame(LIMITS.frame), 19_000).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing() {
        let (mut client, server) = server(10);
        client.write_all(HI).await.unwrap();
        ms(4_000).await; // in the pipe: the reply, and three bytes of room
        client.write_all(HI).await.unwrap();
        assert_too_slow(server, TooSlow::Write(LIMITS.write), 9_000).await;
    }

    /// A byte now and then is progress: ten bytes in 40 s, with 5 s for each.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then() {
        let (client, server) = server(4);
        let (mut reader, mut writer) = tokio::io::split(client);
        let send = async {
            writer.write_all(HI).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let receive = async {
            let mut reply = Vec::new();
            while reply.len() < REPLY.len() {
                ms(4_000).await;
                reply.push(reader.read_u8().await.unwrap());
            }
            assert_eq!(reply, REPLY);
        };
        tokio::join!(send, receive);
        assert_eq!(server.await.unwrap().0.unwrap(), 1);
    }
}

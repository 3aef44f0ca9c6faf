//! Mistakes that are made again and again, kept: each test makes one, and
//! shows that what our steps promise is then not kept. A promise is a function
//! that is tried twice: with our own code, where it holds, and with the
//! mistake, where it must not. (The time in these tests stands still.)

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[allow(dead_code, clippy::duplicate_mod)]
#[path = "../steps/step5/answer.rs"]
mod answer;
#[allow(dead_code)]
#[path = "../steps/step5/frame.rs"]
mod frame;
#[allow(dead_code)]
#[path = "../steps/step5/limits.rs"]
mod limits;
#[allow(dead_code)]
#[path = "../steps/step5/retry.rs"]
mod retry;
#[allow(dead_code)]
#[path = "../steps/step5/timer.rs"]
mod timer;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

use frame::{ECHO, ECHO_REPLY, MAX_LENGTH};
use limits::{ClientLimits, ServerLimits};
use retry::Backoff;

const LIMIT: Duration = Duration::from_secs(10);
const WAITS: ClientLimits = ClientLimits {
    connect: LIMIT,
    request: LIMIT,
    deadline: LIMIT,
    attempts: 5,
    base: Duration::from_millis(100),
    cap: Duration::from_secs(2),
    seed: None,
};
const HI: &[u8] = b"\0\0\0\x03\x01hi";
const REPLY: &[u8] = b"\0\0\0\x03\x81hi";

/// A server for one end of a pipe; it ends when it gives its client up.
type Server = Box<dyn FnOnce(DuplexStream) -> Task>;
type Task = tokio::task::JoinHandle<()>;

fn ours() -> Server {
    Box::new(|mut end| {
        let limits = ServerLimits { idle: LIMIT, frame: LIMIT, write: LIMIT };
        tokio::spawn(async move {
            let _ = answer::answer(&mut end, &limits).await;
        })
    })
}

fn theirs<F: Future<Output = ()> + Send + 'static>(
    server: impl FnOnce(DuplexStream) -> F + 'static,
) -> Server {
    Box::new(|end| tokio::spawn(server(end)))
}

// ---- The promises

/// A frame that comes in two pieces, before and after the moment when a limit
/// of ours passes, is answered.
async fn no_timer_loses_a_byte(server: Server) -> bool {
    let (mut client, end) = duplex(1000);
    let task = server(end);
    sleep(LIMIT * 9 / 10).await;
    client.write_all(&HI[..2]).await.unwrap();
    sleep(LIMIT * 2 / 10).await;
    let _ = client.write_all(&HI[2..]).await;
    let mut reply = vec![0; REPLY.len()];
    let read = timeout(LIMIT * 5, client.read_exact(&mut reply)).await;
    task.abort();
    matches!(read, Ok(Ok(_))) && reply == REPLY
}

/// A client that sends a byte now and then is given up when the time of a
/// frame is over.
async fn a_lively_client_is_cut(server: Server) -> bool {
    let (mut client, end) = duplex(1000);
    let task = server(end);
    let start = Instant::now();
    client.write_all(&[0, 0, 1, 0]).await.unwrap();
    while !task.is_finished() && start.elapsed() < LIMIT * 5 {
        sleep(LIMIT * 9 / 10).await;
        let _ = client.write_all(b"x").await;
    }
    task.abort();
    start.elapsed() < LIMIT * 2
}

/// A length that nobody should believe ends the conversation at once.
async fn a_claim_is_refused(server: Server, length: [u8; 4]) -> bool {
    let (mut client, end) = duplex(1000);
    let mut task = server(end);
    client.write_all(&length).await.unwrap();
    let is_over = timeout(Duration::from_secs(1), &mut task).await.is_ok();
    task.abort();
    is_over
}

/// Eight clients that fail together do not come back together.
fn they_spread(wait: impl Fn(usize) -> Duration) -> bool {
    let waits: BTreeSet<_> = (0..8).map(wait).collect();
    *waits.last().unwrap() - *waits.first().unwrap() > Duration::from_millis(60)
}

#[tokio::test(start_paused = true)]
async fn our_steps_keep_their_promises() {
    assert!(no_timer_loses_a_byte(ours()).await);
    assert!(a_lively_client_is_cut(ours()).await);
    assert!(a_claim_is_refused(ours(), [0xff; 4]).await);
    assert!(a_claim_is_refused(ours(), [0x80, 0, 0, 0]).await);
    assert!(they_spread(|client| {
        let seed = Some(client as u64);
        Backoff::new(&ClientLimits { seed, ..WAITS }).wait(4)
    }));
}

// ---- The mistakes

/// `read_exact` is dropped when the time is over, with what it had read.
#[tokio::test(start_paused = true)]
async fn read_exact_under_a_timer() {
    let server = theirs(|mut stream| async move {
        loop {
            let mut head = [0; 4];
            match timeout(LIMIT, stream.read_exact(&mut head)).await {
                Err(_) => continue, // "nothing came; do something else first"
                Ok(read) => drop(read.unwrap()),
            }
            let length = u32::from_be_bytes(head) as usize;
            if length == 0 || length > MAX_LENGTH {
                return;
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            reply(&mut stream, &body).await;
        }
    });
    assert!(!no_timer_loses_a_byte(server).await);
}

/// A new timer for each read: every byte buys the client new time.
#[tokio::test(start_paused = true)]
async fn a_timer_for_each_read() {
    let server = theirs(|mut stream| async move {
        let mut input = Vec::with_capacity(1000);
        while let Ok(Ok(1..)) =
            timeout(LIMIT, stream.read_buf(&mut input)).await
        {
            let mut rest = &input[..];
            while let Ok(Some(frame)) = frame::decode(&mut rest) {
                reply(&mut stream, &[&[frame.kind], frame.payload].concat())
                    .await;
            }
            let used = input.len() - rest.len();
            input.drain(..used);
        }
    });
    assert!(!a_lively_client_is_cut(server).await);
}

/// With a sign, the largest lengths are less than any limit.
#[tokio::test(start_paused = true)]
async fn a_length_with_a_sign() {
    let server = || {
        theirs(|mut stream| async move {
            let length = stream.read_i32().await.unwrap();
            if length == 0 || length > MAX_LENGTH as i32 {
                return;
            }
            let mut body = Vec::new();
            let mut rest = stream.take(u64::from(length as u32));
            rest.read_to_end(&mut body).await.unwrap();
        })
    };
    assert!(a_claim_is_refused(server(), [0x7f, 0xff, 0xff, 0xff]).await);
    assert!(!a_claim_is_refused(server(), [0x80, 0, 0, 0]).await);
}

/// No limit at all: the server makes room, and waits for what never comes.
#[tokio::test(start_paused = true)]
#[cfg_attr(windows, ignore = "Windows counts what is not used")]
async fn trusting_the_length() {
    let server = theirs(|mut stream| async move {
        let length = stream.read_u32().await.unwrap();
        let mut body = vec![0; length as usize]; // 4 GB of address space
        let _ = stream.read_exact(&mut body).await;
        reply(&mut stream, &body).await;
    });
    assert!(!a_claim_is_refused(server, [0xff; 4]).await);
}

/// Exponential back-off alone: all clients wait equally long.
#[test]
fn retry_in_step() {
    let backoff = Backoff::new(&WAITS);
    assert!(!they_spread(|_client| backoff.ceiling(4)));
}

async fn reply(stream: &mut DuplexStream, body: &[u8]) {
    assert_eq!(body[0], ECHO);
    let mut bytes = Vec::new();
    frame::encode(ECHO_REPLY, &body[1..], &mut bytes).unwrap();
    stream.write_all(&bytes).await.unwrap();
}

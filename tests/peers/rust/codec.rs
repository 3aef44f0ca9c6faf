//! Our frames with the codec of tokio-util, which a user would pick instead of
//! step 4. `tests/bench/peers.rs` sets it beside step 4.
//!
//!     cargo run -p load --example codec -- send           on 127.0.0.1:8888
//!     cargo run -p load --example codec -- feed IP:PORT
//!
//! With `send`, each reply is flushed at once, which is what the codec's
//! documentation shows first. With `feed`, replies are kept until no whole
//! frame is waiting, and leave together.

use std::env;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

const MAX_LENGTH: usize = 65_536;

/// Kinds and codes as in `steps/step4/frame.rs`.
const ECHO: u8 = 0x01;
const ECHO_REPLY: u8 = 0x81;
const ERROR: u8 = 0x7f;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let flushes_each = match args.next().as_deref() {
        Some("send") => true,
        Some("feed") => false,
        _ => bail!("cannot choose a way to flush: say `send` or `feed`"),
    };
    let addr = args.next().unwrap_or("127.0.0.1:8888".to_owned());
    let listener = TcpListener::bind(&addr)
        .await
        .with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, flushes_each).await {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
            Err(error) => {
                eprintln!("cannot accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, flushes_each: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let codec = LengthDelimitedCodec::builder()
        .length_field_length(4)
        .max_frame_length(MAX_LENGTH)
        .new_codec();
    let mut frames = Framed::new(stream, codec);
    while let Some(frame) = next(&mut frames).await? {
        match frame {
            Ok(frame) if frame.is_empty() => {
                return refuse(frames, b"\x02length 0").await;
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return refuse(frames, b"\x01too long").await;
            }
            frame => frames.feed(reply(frame?)).await?,
        }
        if flushes_each {
            flush(&mut frames).await?; // both together are what `send` does
        }
    }
    Ok(())
}

type Frames = Framed<TcpStream, LengthDelimitedCodec>;
type Received = io::Result<BytesMut>; // a kind and a payload

/// Waits for the next frame. Before it has to wait, it sends the replies.
async fn next(frames: &mut Frames) -> io::Result<Option<Received>> {
    if let Some(frame) = frames.next().now_or_never() {
        return Ok(frame); // it was there already
    }
    flush(frames).await?;
    Ok(frames.next().await)
}

async fn flush(frames: &mut Frames) -> io::Result<()> {
    SinkExt::<Bytes>::flush(frames).await
}

/// The reply to a frame, which is the frame itself with another kind.
fn reply(mut frame: BytesMut) -> Bytes {
    if frame[0] == ECHO {
        frame[0] = ECHO_REPLY;
    } else {
        frame = error(b"\x03unknown kind");
    }
    frame.freeze()
}

fn error(text: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_u8(ERROR);
    frame.put_slice(text);
    frame
}

/// A close with bytes unread sends RST, and the client may lose the ERROR. So
/// FIN first, and discard for one second in all.
async fn refuse(mut frames: Frames, text: &[u8]) -> io::Result<()> {
    frames.send(error(text).freeze()).await?;
    let mut stream = frames.into_inner();
    stream.shutdown().await?;
    let mut nowhere = sink();
    let rest = copy(&mut stream, &mut nowhere);
    let _ = timeout(Duration::from_secs(1), rest).await;
    Ok(())
}

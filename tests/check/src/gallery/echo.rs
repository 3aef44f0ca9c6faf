//! Steps 2 and 3: bytes come back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::on;

pub fn serve(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; if on("buffer-of-1024") { 1024 } else { 65_536 }];
    let mut kept = Vec::new();
    let mut before = Vec::new();
    loop {
        let n = match on("full-buffer-means-more") {
            true => read_until_not_full(stream, &mut buffer)?,
            false => stream.read(&mut buffer)?,
        };
        if n == 0 {
            return at_end(stream, &kept);
        }
        let bytes = &buffer[..n];
        let Some(answer) = answer(bytes, &mut kept, &mut before) else {
            continue;
        };
        if on("drops-at-eof") && has_ended(stream) {
            return Ok(());
        }
        write(stream, &answer)?;
        if on("answers-once") || on("buffer-of-1024") && n == buffer.len() {
            return Ok(());
        }
    }
}

/// Reads 1024 bytes at a time, and believes that more is there as long as
/// they fill the buffer.
fn read_until_not_full(
    stream: &mut TcpStream,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut n = 0;
    for part in buffer.chunks_mut(1024) {
        let more = stream.read(part)?;
        n += more;
        if more < part.len() {
            break;
        }
    }
    Ok(n)
}

/// What is to be sent now, if anything.
fn answer(
    bytes: &[u8],
    kept: &mut Vec<u8>,
    before: &mut Vec<u8>,
) -> Option<Vec<u8>> {
    if on("waits-for-newline") || on("waits-for-eof") {
        kept.extend_from_slice(bytes);
        let is_line = on("waits-for-newline") && bytes.contains(&b'\n');
        return is_line.then(|| std::mem::take(kept));
    }
    if on("decodes-utf8") {
        return Some(String::from_utf8_lossy(bytes).into_owned().into());
    }
    if on("stops-at-zero-byte") {
        let end = bytes.iter().position(|&byte| byte == 0);
        return Some(bytes[..end.unwrap_or(bytes.len())].to_vec());
    }
    if on("strips-space") {
        return Some(bytes.trim_ascii_end().to_vec());
    }
    if on("adds-newline") {
        return Some([bytes, b"\n"].concat());
    }
    if on("one-behind") {
        let old = std::mem::replace(before, bytes.to_vec());
        return Some(if old.is_empty() { bytes.to_vec() } else { old });
    }
    Some(bytes.to_vec())
}

fn at_end(stream: &mut TcpStream, kept: &[u8]) -> io::Result<()> {
    if on("waits-for-eof") {
        stream.write_all(kept)?;
    }
    if on("spins-at-eof") {
        let _ = stream.shutdown(Shutdown::Write);
        while stream.read(&mut [0]).is_ok_and(|n| n == 0) {}
    }
    Ok(())
}

/// Has the client ended? It may still want its answer.
pub fn has_ended(stream: &TcpStream) -> bool {
    thread::sleep(Duration::from_millis(20));
    let _ = stream.set_nonblocking(true);
    let seen = stream.peek(&mut [0]);
    let _ = stream.set_nonblocking(false);
    matches!(seen, Ok(0))
}

static LOCK: Mutex<()> = Mutex::new(());
static SHARED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn write_shared(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    if let Ok(mut shared) = SHARED.lock() {
        *shared = bytes.to_vec();
    }
    if bytes.len() >= 100 {
        thread::sleep(Duration::from_millis(200)); // all have written
    }
    let shared = SHARED.lock().map(|shared| shared.clone());
    stream.write_all(&shared.unwrap_or_default())
}

pub fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let _held = on("lock-while-writing").then(|| LOCK.lock());
    if on("shared-buffer") {
        return write_shared(stream, bytes);
    }
    if on("forgets-partial-write") {
        stream.set_nonblocking(true)?;
        // It waits for room. What the write did not take is forgotten.
        while let Err(error) = stream.write(bytes) {
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(1));
        }
        return stream.set_nonblocking(false);
    }
    if on("slow") {
        thread::sleep(Duration::from_micros(300));
    }
    let written = stream.write_all(bytes);
    if written.is_err() && on("leaks-after-write-error") {
        stream.try_clone().map(std::mem::forget)?;
    }
    while on("spins-after-write-error") && written.is_err() {
        let _ = stream.write_all(bytes); // perhaps it works now
    }
    written
}

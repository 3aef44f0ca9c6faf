//! The server: one socket, one loop, and no connections.

use std::io;
use std::io::ErrorKind::{ConnectionRefused, ConnectionReset};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::UdpSocket;
use tokio::time::sleep;

use crate::frame::{
    ADD, BAD_PAYLOAD, ECHO, ECHO_REPLY, ERROR, OVERLOADED, UNKNOWN_KIND,
};
use crate::frame::{Frame, LengthError, decode, encode, encode_error};
use crate::ledger::{Answer, Full, Ledger, Operation};
use crate::limits::ROOM;
use crate::say;

/// How long the server pauses after an error that may persist.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds a socket to `addr`. Port 0 means any free port.
///
/// # Errors
/// The address is in use, is not an address of this machine, or is reserved.
pub async fn bind(addr: SocketAddr) -> Result<UdpSocket> {
    UdpSocket::bind(addr).await.with_context(|| {
        format!("cannot listen on {addr} (try another with --addr)")
    })
}

// ANCHOR: run
/// Answers datagrams of at most `limit` bytes, one after another, and tells
/// `report` about each. It never returns.
pub async fn run(socket: UdpSocket, limit: usize, report: impl Fn(String)) {
    let mut ledger = Ledger::default();
    let mut datagram = vec![0; ROOM];
    loop {
        let (n, client) = match socket.recv_from(&mut datagram).await {
            Ok(received) => received,
            Err(error) => {
                survive("server", error).await;
                continue;
            }
        };
        let reply = match n {
            n if n > limit => Err("too large"),
            n => answer(&mut ledger, &datagram[..n], &report),
        };
        match reply {
            Ok(reply) => {
                // Do not wait until there is room for it: it may get lost
                // anyway, and then the client asks again.
                if let Err(error) = socket.try_send_to(&reply, client) {
                    report(format!("cannot answer {client}: {error}"));
                }
            }
            Err(why) => report(format!("drops {n} bytes: {why}")),
        }
    }
}

/// Lives on after the socket of `name` has failed to receive. On Windows, it
/// fails once for each answer that went to a closed port. To pause then would
/// let any stranger slow this server down.
pub async fn survive(name: &str, error: io::Error) {
    if !matches!(error.kind(), ConnectionReset | ConnectionRefused) {
        say(format!("{name}: cannot receive: {error}"));
        sleep(PAUSE).await; // it may persist, and the loop would spin
    }
}
// ANCHOR_END: run

// ANCHOR: answer
/// Returns the answer to a datagram, which is never larger than the datagram.
/// Anybody can write any address on one. If the answer were larger, a stranger
/// could make us send a third party more than he sends us.
///
/// # Errors
/// The datagram gets no answer, and this is why.
fn answer(
    ledger: &mut Ledger,
    datagram: &[u8],
    report: impl Fn(String),
) -> Result<Vec<u8>, &'static str> {
    let mut rest = datagram;
    let frame = decode(&mut rest).ok().flatten().ok_or("not a frame")?;
    if !rest.is_empty() {
        return Err("more than one frame");
    }
    if frame.kind >= ERROR {
        // Otherwise two servers could answer each other forever.
        return Err("an answer, which gets no answer");
    }
    let mut reply = Vec::new();
    let done = reply_to(frame, ledger, &mut reply, report);
    done.map_err(|_| "too large")?; // never: no reply outgrows its frame
    if let [_, _, _, _, ERROR, code, ..] = reply[..]
        && reply.len() > datagram.len()
    {
        reply.clear();
        encode_error(code, "", &mut reply); // the code says enough
    }
    if reply.len() > datagram.len() {
        return Err("too small for an ERROR");
    }
    Ok(reply)
}

/// Does what a request asks for, and appends its reply, or an ERROR.
fn reply_to(
    frame: Frame,
    ledger: &mut Ledger,
    reply: &mut Vec<u8>,
    report: impl Fn(String),
) -> Result<(), LengthError> {
    match (frame.kind, Operation::from_bytes(frame.payload)) {
        (ECHO, _) => {
            report(format!("echoes {} bytes", frame.payload.len()));
            encode(ECHO_REPLY, frame.payload, reply)?;
        }
        (ADD, Some(operation)) => {
            let done = ledger.apply(operation);
            report(note(operation, &done));
            let full = Answer::Error(OVERLOADED, "too many clients");
            let answer = done.map_or(full, |(answer, _)| answer);
            answer.encode(operation, reply)?;
        }
        (ADD, None) => encode_error(BAD_PAYLOAD, "bad ADD", reply),
        _ => encode_error(UNKNOWN_KIND, "unknown kind", reply),
    }
    Ok(())
}
// ANCHOR_END: answer

/// Says what became of an operation.
fn note(operation: Operation, done: &Result<(Answer, bool), Full>) -> String {
    let Operation { seq, amount, .. } = operation;
    match done {
        Ok((Answer::Total(total), true)) => {
            format!("adds {amount} as operation {seq}: {total}")
        }
        Ok((Answer::Total(total), false)) => {
            format!("has operation {seq} in its ledger: {total}")
        }
        Ok((Answer::Error(code, _), _)) => {
            format!("refuses operation {seq} with error {code}")
        }
        Err(Full) => format!("has no room for operation {seq}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::frame::{ADD_REPLY, CONFLICT, PING, STALE_SEQ};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(kind, payload, &mut bytes).unwrap();
        bytes
    }

    fn add(seq: u64, amount: i64) -> Vec<u8> {
        frame(ADD, &Operation { client: 1, seq, amount }.to_bytes())
    }

    /// What a server answers that knows operation 100 of client 1.
    fn answered(datagram: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut ledger = Ledger::default();
        answer(&mut ledger, &add(100, 5), drop).unwrap();
        answer(&mut ledger, datagram, drop)
    }

    #[test]
    fn a_request_is_answered_in_as_many_bytes() {
        let hi = answered(b"\0\0\0\x03\x01hi").unwrap();
        assert_eq!(hi, b"\0\0\0\x03\x81hi");
        let total = Operation { client: 1, seq: 101, amount: 12 };
        let reply = frame(ADD_REPLY, &total.to_bytes());
        assert_eq!(answered(&add(101, 7)).unwrap(), reply);
    }

    #[test]
    fn what_is_not_one_frame_gets_no_answer() {
        let hi = frame(ECHO, b"hi");
        for end in 0..hi.len() {
            assert_eq!(answered(&hi[..end]), Err("not a frame"));
        }
        for bytes in [&[0; 4][..], b"GET / HTTP/1.1\r\n\r\n"] {
            assert_eq!(answered(bytes), Err("not a frame"));
        }
        let two = [&hi[..], &hi].concat();
        assert_eq!(answered(&two), Err("more than one frame"));
        assert_eq!(answered(&two[..8]), Err("more than one frame"));
    }

    #[test]
    fn an_error_has_a_text_only_if_there_is_room() {
        let error = |code, text| {
            let mut bytes = Vec::new();
            encode_error(code, text, &mut bytes);
            Ok(bytes)
        };
        for (request, code, text) in [
            (add(100, 6), CONFLICT, ""),
            (add(36, 5), STALE_SEQ, ""),
            (add(101, i64::MAX), BAD_PAYLOAD, "the total would not fit"),
            (frame(ADD, &[0; 7]), BAD_PAYLOAD, ""),
            (frame(ADD, &[0; 23]), BAD_PAYLOAD, "bad ADD"),
            (frame(PING, &[0; 8]), UNKNOWN_KIND, ""),
            (frame(PING, &[0; 13]), UNKNOWN_KIND, "unknown kind"),
            (frame(PING, &[0]), UNKNOWN_KIND, ""),
        ] {
            assert_eq!(answered(&request), error(code, text));
        }
        let none = Err("too small for an ERROR");
        assert_eq!(answered(&frame(PING, &[])), none);
    }

    /// The kernel refuses to send, as it does to the port 0 of a forged
    /// address.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn it_outlives_an_answer_that_cannot_be_sent() {
        let free = ([127, 0, 0, 1], 0).into();
        let socket = bind(free).await.unwrap();
        let client = bind(free).await.unwrap();
        client.connect(socket.local_addr().unwrap()).await.unwrap();
        // It says that there is no connection, and does it.
        let write = std::net::Shutdown::Write;
        let _ = socket2::SockRef::from(&socket).shutdown(write);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let report = move |line| tell.send(line).unwrap();
        let server = tokio::spawn(run(socket, 1200, report));
        for _ in 0..2 {
            client.send(&frame(ECHO, b"hi")).await.unwrap();
            assert_eq!(told.recv().await.unwrap(), "echoes 2 bytes");
            let line = told.recv().await.unwrap();
            assert!(line.starts_with("cannot answer 127.0.0.1"), "{line}");
        }
        server.abort();
    }

    proptest! {
        /// Whatever a stranger sends, in a frame or not.
        #[test]
        fn no_answer_is_larger_or_gets_an_answer(
            kind in prop_oneof![0u8..8, any::<u8>()],
            payload in prop_oneof![vec(any::<u8>(), 0..64), vec(0u8..3, 24)],
            is_framed in any::<bool>(),
        ) {
            let framed = frame(kind, &payload);
            let bytes = if is_framed { framed } else { payload };
            if let Ok(reply) = answered(&bytes) {
                prop_assert!(reply.len() <= bytes.len());
                prop_assert!(answered(&reply).is_err());
            }
        }
    }
}

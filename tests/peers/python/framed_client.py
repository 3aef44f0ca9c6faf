"""Sends each TEXT in a frame, and prints the replies, a line each.

    python3 framed_client.py PORT [TEXT]...

A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
N counts the kind and the payload: 1 <= N <= 65536.
"""

import os
import socket
import struct
import sys
import threading

ECHO, ECHO_REPLY, ERROR = 0x01, 0x81, 0x7F


class ProtocolError(Exception):
    pass


def send(connection, texts):
    try:
        for text in texts:
            header = struct.pack(">IB", 1 + len(text), ECHO)
            connection.sendall(header + text)
        connection.shutdown(socket.SHUT_WR)  # FIN: no more requests
    except OSError:
        pass  # then a reply is missing, which the receiver reports


def read_exactly(stream, n):
    data = stream.read(n)  # waits for n bytes, or for the end
    if len(data) < n:
        raise ProtocolError("the server ended in the middle of a reply")
    return data


def read_reply(stream):
    (length,) = struct.unpack(">I", read_exactly(stream, 4))
    if not 1 <= length <= 65536:  # before it costs any memory
        raise ProtocolError(f"the server sent the length {length}")
    body = read_exactly(stream, length)
    kind, payload = body[0], body[1:]
    if kind == ERROR:  # !r: a terminal must not obey what is in it
        raise ProtocolError(f"the server answered error {payload[:201]!r}")
    if kind != ECHO_REPLY:
        raise ProtocolError(f"the server sent the kind {kind:#04x}")
    return payload


def talk(connection, texts):
    """Sends in a thread of its own: if nobody read the replies meanwhile, the
    server could not write them, would stop reading, and all would wait."""
    sending = threading.Thread(target=send, args=(connection, texts))
    sending.daemon = True  # an error below ends the program at once
    sending.start()
    stream, received = connection.makefile("rb"), 0
    while stream.peek(1):  # b"": the server has ended
        payload = read_reply(stream)
        received += 1
        if received > len(texts):
            raise ProtocolError("a reply to no message")
        sys.stdout.buffer.write(payload + b"\n")
        sys.stdout.flush()
    if received < len(texts):
        raise ProtocolError(f"{received} replies to {len(texts)} messages")


if len(sys.argv) < 2:
    sys.exit("usage: framed_client.py PORT [TEXT]...")
port, texts = int(sys.argv[1]), [os.fsencode(text) for text in sys.argv[2:]]
if any(len(text) > 65535 for text in texts):
    sys.exit("a TEXT has more than 65535 bytes")
try:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk(connection, texts)
except (OSError, ProtocolError) as error:
    sys.exit(f"127.0.0.1:{port}: {error}")

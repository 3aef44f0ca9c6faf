"""Echoes framed messages, each client in its own thread.

    python3 framed_server.py [PORT]      default 8888; 0 is any free port

A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
N counts the kind and the payload: 1 <= N <= 65536.
"""

import socket
import struct
import sys
import threading
import time

ECHO, ECHO_REPLY, ERROR = 0x01, 0x81, 0x7F


def frame(kind, payload):
    return struct.pack(">IB", 1 + len(payload), kind) + payload


def reply(data):
    """Takes all whole frames out of data. Returns the replies, and whether
    the client is in step: after a bad length no frame can be found."""
    replies, start = bytearray(), 0
    while len(data) - start >= 4:
        (length,) = struct.unpack_from(">I", data, start)
        if not 1 <= length <= 65536:  # its 4 bytes suffice to refuse it
            error = b"\x01too large" if length else b"\x02length 0"
            return replies + frame(ERROR, error), False
        end = start + 4 + length
        if len(data) < end:
            break  # the rest is still on its way
        if data[start + 4] == ECHO:
            replies += frame(ECHO_REPLY, data[start + 5 : end])
        else:
            replies += frame(ERROR, b"\x03unknown kind")
        start = end
    del data[:start]
    return replies, True


def serve(connection, peer):
    try:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data, in_step = bytearray(), True
            while in_step and (received := connection.recv(65536)):
                data += received
                replies, in_step = reply(data)
                connection.sendall(replies)  # many replies, one write
            if not in_step:
                drain(connection)
    except OSError as error:
        print(f"{peer}: {error}", file=sys.stderr)  # nobody else notices


def drain(connection):
    """A close with bytes unread sends RST, and the client may lose the ERROR.
    So we end our direction first, and discard for one second in all."""
    connection.shutdown(socket.SHUT_WR)
    end = time.monotonic() + 1
    while (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(65536):
            break


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8888
# create_server sets SO_REUSEADDR: the port of a restart is not "in use".
with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        client = None  # closes the one that got no thread
        try:
            client = listener.accept()
            threading.Thread(target=serve, args=client, daemon=True).start()
        except (OSError, RuntimeError) as error:
            print(f"cannot accept: {error}", file=sys.stderr)
            time.sleep(0.1)  # no descriptor or thread left: do not spin

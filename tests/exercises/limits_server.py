"""The server of step 5: frames, a thread for each client, three limits."""

import os
import socket
import struct
import sys
import threading
import time

ECHO, ECHO_REPLY, ERROR = 0x01, 0x81, 0x7F
NOW = time.monotonic


def setting(name, default):
    return int(os.environ.get(name) or default) / 1000


IDLE = setting("TCP_IDLE_MS", 60000)
FRAME = setting("TCP_FRAME_MS", 10000)
WRITE = setting("TCP_WRITE_MS", 10000)
SILENT, HALF = b"\x05no frame started in time", b"\x05a frame was not whole"


class Refused(Exception):
    """The payload of the ERROR that ends the connection."""


def frame(kind, payload):
    return struct.pack(">IB", 1 + len(payload), kind) + payload


def take_frames(data):
    """Takes all whole frames out of data. Returns the replies, and what is
    wrong with the frame behind them."""
    replies, start, wrong = bytearray(), 0, None
    while len(data) - start >= 4:
        (length,) = struct.unpack_from(">I", data, start)
        if not 1 <= length <= 65536:
            wrong = b"\x01too large" if length else b"\x02length 0"
            break
        end = start + 4 + length
        if len(data) < end:
            break  # the rest is still on its way
        if data[start + 4] == ECHO:
            replies += frame(ECHO_REPLY, data[start + 5 : end])
        else:
            replies += frame(ERROR, b"\x03unknown kind")
        start = end
    del data[:start]
    return replies, wrong


def receive(connection, end, error):
    # Twice: if this program was stopped, the limit may have passed although
    # the bytes have come meanwhile.
    for left in end - NOW(), 0:
        connection.settimeout(max(left, 0.001))
        try:
            return connection.recv(131072)  # more than a frame
        except socket.timeout:  # which is TimeoutError since Python 3.10
            pass
    raise Refused(error)


def send(connection, data):
    connection.settimeout(WRITE)  # anew for each part that the kernel takes
    while data:
        data = data[connection.send(data) :]


def answer(connection):
    data, end, error = bytearray(), NOW() + IDLE, SILENT
    while received := receive(connection, end, error):
        data += received
        replies, wrong = take_frames(data)
        send(connection, replies)
        if wrong:
            raise Refused(wrong)
        if not data:
            end, error = NOW() + IDLE, SILENT
        elif replies or error is SILENT:  # a frame has started
            end, error = NOW() + FRAME, HALF
        elif NOW() >= end:  # each byte comes in time, but the frame does not
            raise Refused(error)


def refuse(connection, error):
    """Sends the ERROR and FIN, and discards what comes for a second."""
    connection.settimeout(1)
    connection.sendall(frame(ERROR, error))
    connection.shutdown(socket.SHUT_WR)
    end = NOW() + 1
    while receive(connection, end, error):
        if NOW() >= end:
            raise Refused(error)


def serve(connection, peer):
    with connection:
        try:
            try:
                no_delay = socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
                connection.setsockopt(*no_delay)
                answer(connection)
            except Refused as refused:
                refuse(connection, *refused.args)
        except (OSError, Refused) as error:
            print(f"{peer}: {error}", file=sys.stderr)
            # It does not read: reset, so that the kernel keeps nothing for it.
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )


host, port = sys.argv[1].rsplit(":", 1)
try:
    listener = socket.create_server((host, int(port)), backlog=1024)
except OSError as error:
    sys.exit(f"cannot listen on {host}:{port}: {error}")
# The clients' sockets inherit it: with a small buffer, a client that reads
# slowly makes room in time.
listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
print("listening on {}:{}".format(*listener.getsockname()), flush=True)
while True:
    client = None  # closes the one that got no thread
    try:
        client = listener.accept()
        threading.Thread(target=serve, args=client, daemon=True).start()
    except (OSError, RuntimeError) as error:
        print(f"cannot accept: {error}", file=sys.stderr)
        time.sleep(0.1)  # no descriptor or thread left: do not spin

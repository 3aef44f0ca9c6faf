"""Asks until the server answers, within limits of time.

    python3 retry_client.py PORT TEXT

Exit codes: 0 answered, 2 wrong usage, 3 certainly not executed, 4 unknown,
5 the server broke the protocol, 6 the server answered with a definite error.
"""

import os
import random
import socket
import struct
import sys
import time

ECHO, ECHO_REPLY, ERROR = 0x01, 0x81, 0x7F
ANSWERED, USAGE, NOT_EXECUTED, UNKNOWN, BROKEN, DEFINITE = 0, 2, 3, 4, 5, 6

# What each code of an ERROR frame means for the request.
ERRORS = dict.fromkeys((1, 2, 3, 4, 7, 9), DEFINITE)
ERRORS.update({5: UNKNOWN, 6: NOT_EXECUTED, 8: NOT_EXECUTED})


class Failed(Exception):
    """Why an attempt failed, and the exit code if it is the last one."""

    def __init__(self, code, why):
        super().__init__(why)
        self.code = code


def setting(name, default):
    value = os.environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit()):
        print(f"{name} is not a number", file=sys.stderr)
        sys.exit(USAGE)
    return int(value)


CONNECT = setting("TCP_CONNECT_MS", 4000) / 1000  # one connect, in seconds
REQUEST = setting("TCP_REQUEST_MS", 5000) / 1000  # from send to whole reply
DEADLINE = setting("TCP_DEADLINE_MS", 30000) / 1000  # everything
ATTEMPTS = setting("TCP_ATTEMPTS", 5)  # with the first one
BASE = setting("TCP_BACKOFF_BASE_MS", 100) / 1000  # longest first wait
CAP = setting("TCP_BACKOFF_CAP_MS", 2000) / 1000  # longest wait of all


def left(end):
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


def receive(connection, n, end):
    data = b""
    while len(data) < n:
        # Anew for each piece: a server that sends a byte now and then would
        # start a timeout of its own again and again.
        connection.settimeout(left(end))
        piece = connection.recv(n - len(data))
        if not piece:
            raise ConnectionError("the server ended before a whole reply")
        data += piece
    return data


def attempt(port, text, deadline):
    """Returns the payload of the reply, or raises Failed. The connection is
    closed in any case: a late reply must not answer the next request."""
    try:
        limit = left(min(deadline, time.monotonic() + CONNECT))
        connection = socket.create_connection(("127.0.0.1", port), limit)
        if connection.getsockname() == connection.getpeername():
            connection.close()  # no server: the kernel gave us its port
            raise ConnectionError("connected to itself")
    except OSError as error:
        raise Failed(NOT_EXECUTED, f"cannot connect: {error}") from error
    end = min(deadline, time.monotonic() + REQUEST)
    try:
        with connection:
            connection.settimeout(left(end))
            header = struct.pack(">IB", 1 + len(text), ECHO)
            connection.sendall(header + text)
            (length,) = struct.unpack(">I", receive(connection, 4, end))
            if not 1 <= length <= 65536:
                raise Failed(BROKEN, f"the server sent the length {length}")
            body = receive(connection, length, end)
    except OSError as error:  # from here on it may have been executed
        raise Failed(UNKNOWN, error) from error
    kind, payload = body[0], body[1:]
    if kind == ERROR and payload and payload[0] in ERRORS:
        raise Failed(ERRORS[payload[0]], f"error {payload[0]}")
    if kind != ECHO_REPLY or payload != text:
        raise Failed(BROKEN, f"kind {kind:#04x} is not the reply to TEXT")
    return payload


def ask(port, text):
    deadline = time.monotonic() + DEADLINE
    code, ceiling = NOT_EXECUTED, BASE
    for n in range(1, ATTEMPTS + 1):
        try:
            reply = attempt(port, text, deadline)
        except Failed as failed:
            print(f"attempt {n}: {failed}", file=sys.stderr)
            if failed.code in (BROKEN, DEFINITE):
                # Asking again would not help, and undoes no UNKNOWN.
                return UNKNOWN if code == UNKNOWN else failed.code
            code = max(code, failed.code)  # one UNKNOWN, and it stays so
        else:
            sys.stdout.buffer.write(reply + b"\n")
            return ANSWERED
        # Full jitter: clients that failed together do not come back together.
        wait = random.uniform(0, min(CAP, ceiling))
        if n == ATTEMPTS or time.monotonic() + wait >= deadline:
            break
        time.sleep(wait)
        ceiling = min(CAP, 2 * ceiling)
    print(f"127.0.0.1:{port}: gave up", file=sys.stderr)
    return code


if len(sys.argv) != 3 or len(os.fsencode(sys.argv[2])) > 65535:
    print("usage: retry_client.py PORT TEXT (65535 bytes)", file=sys.stderr)
    sys.exit(USAGE)
sys.exit(ask(int(sys.argv[1]), os.fsencode(sys.argv[2])))

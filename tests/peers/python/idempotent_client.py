"""Adds to a total, exactly once, however often it has to ask.

    python3 idempotent_client.py PORT --add AMOUNT

TCP_CLIENT_ID and TCP_SEQ name the operation. If the outcome is unknown, run it
again under the same name: the server does not add the AMOUNT a second time.

Exit codes: 0 answered, 2 wrong usage, 3 certainly not executed, 4 unknown,
5 the server broke the protocol, 6 the server answered with a definite error.
"""

import os
import random
import socket
import struct
import sys
import time

PING, ADD, ERROR = 0x02, 0x03, 0x7F
REPLY = 0x80  # a reply has the kind of its request and this bit
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

# The name of the operation, chosen once and kept in all attempts: whose it is
# (at random, because no two clients may have the same id), and its number.
CLIENT = setting("TCP_CLIENT_ID", random.SystemRandom().getrandbits(64))
SEQ = setting("TCP_SEQ", 1)


def left(end):
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


def send(connection, kind, payload, end):
    connection.settimeout(left(end))
    connection.sendall(struct.pack(">IB", 1 + len(payload), kind) + payload)


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


def exchange(connection, add, end):
    """Returns the total that the reply to this ADD says."""
    send(connection, ADD, add, end)
    while True:
        (length,) = struct.unpack(">I", receive(connection, 4, end))
        if not 1 <= length <= 65536:
            raise Failed(BROKEN, f"the server sent the length {length}")
        body = receive(connection, length, end)
        kind, payload = body[0], body[1:]
        if kind == PING and len(payload) == 8:
            send(connection, PING | REPLY, payload, end)
        elif kind == ADD | REPLY and len(payload) == 24:
            client, seq, total = struct.unpack(">QQq", payload)
            if (client, seq) == (CLIENT, SEQ):  # not that to another ADD
                return total
        elif kind == ERROR and payload and payload[0] in ERRORS:
            why = f"error {payload[0]}: {payload[1:201]!r}"
            raise Failed(ERRORS[payload[0]], why)
        elif kind != PING | REPLY:
            raise Failed(BROKEN, f"kind {kind:#04x} is not the reply to ADD")


def attempt(port, add, deadline):
    """Returns the total, or raises Failed. Each has its own connection."""
    try:
        limit = left(min(deadline, time.monotonic() + CONNECT))
        connection = socket.create_connection(("127.0.0.1", port), limit)
        if connection.getsockname() == connection.getpeername():
            connection.close()  # no server: the kernel gave us its port
            raise ConnectionError("connected to itself")
    except OSError as error:
        raise Failed(NOT_EXECUTED, f"cannot connect: {error}") from error
    try:
        with connection:
            end = min(deadline, time.monotonic() + REQUEST)
            return exchange(connection, add, end)
    except OSError as error:  # from here on it may have been executed
        raise Failed(UNKNOWN, error) from error


def ask(port, add):
    deadline = time.monotonic() + DEADLINE
    code, ceiling = NOT_EXECUTED, BASE
    for n in range(1, ATTEMPTS + 1):
        try:
            print(attempt(port, add, deadline))
            return ANSWERED
        except Failed as failed:
            print(f"attempt {n}: {failed}", file=sys.stderr)
            if code != UNKNOWN:  # which stays so, whatever comes
                code = failed.code
            if failed.code in (BROKEN, DEFINITE):
                break  # asking again would not help
        # Full jitter: clients that failed together do not come back together.
        wait = random.uniform(0, min(CAP, ceiling))
        if n == ATTEMPTS or time.monotonic() + wait >= deadline:
            break
        time.sleep(wait)
        ceiling = min(CAP, 2 * ceiling)
    print(f"gave up on operation {SEQ} of client {CLIENT}", file=sys.stderr)
    return code


try:
    _, port, option, amount = sys.argv
    port, add = int(port), struct.pack(">QQq", CLIENT, SEQ, int(amount))
    if option != "--add":
        raise ValueError(option)
except (ValueError, struct.error):  # that is also for numbers over 64 bits
    print("usage: idempotent_client.py PORT --add AMOUNT", file=sys.stderr)
    sys.exit(USAGE)
sys.exit(ask(port, add))

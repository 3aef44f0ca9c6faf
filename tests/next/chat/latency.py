#!/usr/bin/env python3
"""How old is a message when it arrives? 20 small ones a second over TCP, each
with the time at which it was written; both ends read the same clock. Beside
them, if asked for, an upload over a connection of its own.

    cargo build -p lab
    target/debug/lab wan --step tests/next/chat/latency.py --loss 3% 20

The client's arguments: SECONDS, then perhaps `upload`, and a limit for the
upload in bytes per second.
"""

import socket
import sys
import threading
import time

PACE = 0.05  # between two messages, in seconds


def receive(stream):
    """Notes the age of each message, or reads an upload and forgets it."""
    with stream, stream.makefile("rb") as lines:
        if lines.readline() == b"upload\n":
            try:
                while lines.read1(65536):
                    pass
            except ConnectionResetError:
                pass  # how an upload ends, see below
            return
        ages = sorted(time.monotonic() - float(line) for line in lines)
        marks = [ages[len(ages) * part // 100] for part in (50, 95)] + [ages[-1]]
        words = " ".join(f"{1000 * age:.0f}" for age in marks)
        stream.sendall(f"{len(ages)} messages, ages {words} ms\n".encode())


def serve(addr):
    listener = socket.create_server(addr)
    print("listening on %s:%d" % listener.getsockname(), flush=True)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=receive, args=[stream], daemon=True).start()


def upload(addr, limit, end):
    stream = socket.create_connection(addr)
    if limit:
        SO_MAX_PACING_RATE = 47  # the kernel sends no faster, see tc-fq(8)
        stream.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, limit)
    stream.settimeout(1)
    stream.sendall(b"upload\n")
    while time.monotonic() < end:
        try:
            stream.send(bytes(16384))
        except TimeoutError:
            pass
    # What still waits here must not delay the end of the other connection.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.close()


def send(addr, seconds, more):
    stream = socket.create_connection(addr)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(b"messages\n")
    end = time.monotonic() + seconds
    if more:
        limit = int(more[1]) if more[1:] else 0
        threading.Thread(target=upload, args=[addr, limit, end], daemon=True).start()
    due = time.monotonic()
    while due < end:
        time.sleep(max(0, due - time.monotonic()))
        stream.sendall(b"%.6f\n" % time.monotonic())
        due += PACE
    stream.shutdown(socket.SHUT_WR)
    print(stream.makefile().readline(), end="", flush=True)


def main():
    role, _, text, *more = sys.argv[1:]
    host, port = text.split(":")
    if role == "server":
        serve((host, int(port)))
    else:
        send((host, int(port)), float(more[0]), more[1:])


main()

"""Sends an ECHO each millisecond by the clock, and prints p50 and p99.

    python3 open_loop.py IP:PORT SECONDS
"""

import socket
import struct
import sys
import threading
import time

addr, seconds = sys.argv[1:]
host, port = addr.rsplit(":", 1)
total = 1000 * int(seconds)
server = socket.create_connection((host, int(port)), timeout=60)
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
start = time.monotonic()


def due(i):
    return start + i / 1000  # by the clock, whatever became of the others


def send():
    for i in range(total):
        time.sleep(max(0, due(i) - time.monotonic()))
        server.sendall(struct.pack(">IBQ", 9, 0x01, i))


threading.Thread(target=send, daemon=True).start()
latencies = []
replies = server.makefile("rb")
for i in range(total):
    reply = replies.read(13)
    if reply != struct.pack(">IBQ", 9, 0x81, i):
        sys.exit(f"not the reply to request {i}: {reply!r}")
    latencies.append(1000 * (time.monotonic() - due(i)))
latencies.sort()
p50, p99 = (latencies[total * part // 100] for part in (50, 99))
print(f"{total} requests: p50 {p50:.1f} ms, p99 {p99:.1f} ms")

"""Plays a page that does something strange: room.py IP:PORT SCENE."""

import base64
import os
import socket
import sys
import time

TEXT, MORE, CLOSE, PING, LAST = 1, 0, 8, 9, 0x80


def connect(addr):
    host, port = addr.rsplit(":", 1)
    page = socket.create_connection((host, int(port)), timeout=60)
    key = base64.b64encode(os.urandom(16)).decode()
    page.sendall(
        f"GET /room HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    answer = page.makefile("rb")
    while answer.readline().strip():
        pass  # the head
    return page, answer


def send(page, text, kind=LAST | TEXT):
    """Sends a frame of at most 125 bytes; its mask is 0, 0, 0, 0."""
    page.sendall(bytes([kind, 0x80 | len(text)]) + bytes(4) + text.encode())


def hear(answer):
    """Returns the next text or, if the server says goodbye, its code."""
    while True:
        kind, length = answer.read(2)
        if length == 126:
            length = int.from_bytes(answer.read(2), "big")
        payload = answer.read(length)
        if kind == LAST | TEXT:
            return payload.decode()
        if kind == LAST | CLOSE:
            code = int.from_bytes(payload[:2], "big")
            return f"CLOSE {code} {payload[2:].decode()}"


def order(page, answer):
    """A text that was written later overtakes the one before it."""
    texts = []
    for line in ["say 2 and goodbye", "say 1 hello", "ping"]:
        print("sends", line)
        send(page, line)
        while (line := hear(answer)).startswith("message"):
            texts.append(line)
        print("hears", line)
    for line in texts:
        print("has heard", line)


def fragments(page, answer):
    """A text that never ends, in fragments, with a PING between two."""
    try:
        for n in range(30):
            send(page, "x", MORE if n else TEXT)
            send(page, "", LAST | PING)
            time.sleep(0.1)
    except OSError:
        pass  # the server has closed
    else:
        send(page, "ping x", LAST | MORE)
        print("the server has waited for 30 fragments, and says at their end:")
    while not (line := hear(answer)).startswith("CLOSE"):
        pass
    print(line)


try:
    page, answer = connect(sys.argv[1])
    send(page, "join lobby ann 0-0 00000000000000aa")
    hear(answer)
    {"order": order, "fragments": fragments}[sys.argv[2]](page, answer)
except OSError as error:
    sys.exit(f"error: {error}")

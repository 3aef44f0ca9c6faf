"""Sends a body that is too large, then reads the answer."""

import socket
import sys

host, port = sys.argv[1].rsplit(":", 1)
with socket.create_connection((host, int(port)), timeout=60) as server:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n"
    try:
        server.sendall(head + bytes(20_000))
        while text := server.recv(4096):
            print(text.decode(), end="")
    except OSError as error:
        print(f"error: {error}")

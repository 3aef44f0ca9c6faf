"""A client that encrypts what it sends, and does not ask to whom."""

import socket
import ssl
import sys

host, port = sys.argv[1].rsplit(":", 1)
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
try:
    tcp = socket.create_connection((host, int(port)), timeout=60)
    with context.wrap_socket(tcp) as server:
        text = b"my password"
        server.sendall((1 + len(text)).to_bytes(4, "big") + b"\x01" + text)
        reply = b""
        while len(reply) < 5 + len(text):
            more = server.recv(4096)
            if not more:
                sys.exit(f"error: the server ended after {reply}")
            reply += more
        print(f"{server.version()} {server.cipher()[0]}: {reply[5:]}")
        server.unwrap()  # close_notify
except OSError as error:
    sys.exit(f"error: cannot ask {host}:{port}: {error}")

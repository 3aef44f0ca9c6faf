"""Asks a server of TLS once, and prints which records it sends."""

import socket
import ssl
import sys

KINDS = {20: "change_cipher_spec", 21: "alert", 22: "handshake"}
REQUEST = b"\x00\x00\x00\x03\x01hi"


def records(received):
    while received:
        size = 5 + int.from_bytes(received[3:5], "big")
        kind = KINDS.get(received[0], "application_data")
        print(f"{size:4} bytes: {kind}")
        received = received[size:]


def talk(server, ask):
    """Lets TLS do one thing, and gives it what it waits for."""
    while True:
        try:
            done = ask()
        except ssl.SSLWantReadError:
            done = None
        server.sendall(outgoing.read())
        if done is not None:
            return done
        received = server.recv(65536)
        if not received:
            sys.exit("error: the server ended")
        everything.extend(received)
        incoming.write(received)


host, port = sys.argv[1].rsplit(":", 1)
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
incoming, outgoing, everything = ssl.MemoryBIO(), ssl.MemoryBIO(), bytearray()
tls = context.wrap_bio(incoming, outgoing)
try:
    server = socket.create_connection((host, int(port)), timeout=60)
    talk(server, lambda: tls.do_handshake() or True)
    tls.write(REQUEST)
    talk(server, lambda: tls.read(100))
except OSError as error:
    sys.exit(f"error: cannot ask {host}:{port}: {error}")
records(everything)

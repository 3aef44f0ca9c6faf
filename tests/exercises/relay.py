"""Relays each connection to a server: bytes, the end and a reset.

    python3 relay.py IP:PORT [IP:PORT]   where it listens, and the server
"""

import contextlib
import socket
import struct
import sys
import threading
import time


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def close_with_reset(end):
    now = struct.pack("ii", 1, 0)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)


def direction(source, sink):
    """Passes on bytes, the end and a reset."""
    what = socket.SHUT_WR  # at the end: a FIN
    try:
        while data := source.recv(65536):
            try:
                sink.sendall(data)
            except OSError:
                return  # it has gone; its last words are on their way back
    except OSError as error:  # a reset: the other peer gets one, too
        print(f"a connection was lost: {error}", file=sys.stderr)
        close_with_reset(sink)
        what = socket.SHUT_RD  # no FIN, but it wakes the other direction up
    with contextlib.suppress(OSError):  # it may have gone, too
        sink.shutdown(what)


def relay(client, peer):
    with client:
        try:
            server = socket.create_connection(to, 10)
        except OSError as error:
            print(f"{peer}: cannot connect to {to}: {error}", file=sys.stderr)
            return close_with_reset(client)
        with server:
            server.settimeout(None)
            for end in client, server:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            up = threading.Thread(target=direction, args=(client, server))
            up.start()
            direction(server, client)
            up.join()


to = address(sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:8888")
try:
    listener = socket.create_server(address(sys.argv[1]), backlog=1024)
except OSError as error:
    sys.exit(f"cannot listen on {sys.argv[1]}: {error}")
print("listening on {}:{}".format(*listener.getsockname()), flush=True)
while True:
    client = None  # closes the one that got no thread
    try:
        client = listener.accept()
        threading.Thread(target=relay, args=client, daemon=True).start()
    except (OSError, RuntimeError) as error:
        print(f"cannot accept: {error}", file=sys.stderr)
        time.sleep(0.1)  # no descriptor or thread left: do not spin

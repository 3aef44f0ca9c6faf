"""An echo server that notices when a client is gone. It needs Linux."""

import socket
import sys
import threading
import time


def notice(conn):
    """Asks a silent peer, and gives up after 90 s, even with bytes on the way."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    tcp = {
        socket.TCP_KEEPIDLE: 60,  # s of silence before the first question
        socket.TCP_KEEPINTVL: 10,  # s to the next one
        socket.TCP_KEEPCNT: 3,
        socket.TCP_USER_TIMEOUT: 90_000,  # ms: 60 s and three times 10 s
    }
    for option, value in tcp.items():
        conn.setsockopt(socket.IPPROTO_TCP, option, value)


def serve(conn, peer):
    try:
        notice(conn)
        while data := conn.recv(1024):
            conn.sendall(data)
    except OSError as error:
        print(peer, error, file=sys.stderr)
    conn.close()


host, port = sys.argv[1].split(":")
try:
    server = socket.create_server((host, int(port)), backlog=1024)
except OSError as error:
    sys.exit(f"cannot listen on {host}:{port}: {error}")
print("listening on %s:%d" % server.getsockname(), flush=True)
while True:
    client = None  # closes the one that got no thread
    try:
        client = server.accept()
        threading.Thread(target=serve, args=client, daemon=True).start()
    except (OSError, RuntimeError) as error:
        print("cannot accept:", error, file=sys.stderr)
        time.sleep(0.1)  # too few descriptors or threads: that may last

import socket
import sys
import threading
import time


def serve(conn, peer):
    conn.settimeout(5)
    try:
        while data := conn.recv(1 << 24):
            conn.send(data)
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

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
    try:
        conn, peer = server.accept()
    except OSError as error:  # no descriptor is left: it may pass
        print("accept:", error, file=sys.stderr)
        time.sleep(0.1)
        continue
    threading.Thread(target=serve, args=(conn, peer), daemon=True).start()

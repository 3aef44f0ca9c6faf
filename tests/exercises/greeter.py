"""The server of step 1: it reads once, greets and closes."""

import socket
import sys
import time

host, port = sys.argv[1].rsplit(":", 1)
try:
    server = socket.create_server((host, int(port)), backlog=1024)
except OSError as error:
    sys.exit(f"cannot listen on {host}:{port}: {error}")
print("listening on {}:{}".format(*server.getsockname()), flush=True)
while True:
    try:
        connection, peer = server.accept()
    except OSError as error:
        print(f"cannot accept: {error}", file=sys.stderr)
        time.sleep(0.1)  # too few descriptors: that may last
        continue
    with connection:
        try:
            text = connection.recv(1024)
            connection.sendall(b"Hello, client!")
        except OSError as error:
            text = error
    try:
        print(f"{peer}: {text!r}", flush=True)
    except OSError:
        pass  # whoever read this has left; the clients have not

"""The server of step 3: each client has a thread of its own."""

import socket
import sys
import threading
import time


def say(text):
    try:
        print(text, flush=True)
    except OSError:
        pass  # whoever read this has left; the clients have not


def serve(connection, peer):
    try:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := connection.recv(65536):
                connection.sendall(data)
    except OSError as error:
        say(f"{peer}: {error}")


host, port = sys.argv[1].rsplit(":", 1)
try:
    server = socket.create_server((host, int(port)), backlog=1024)
except OSError as error:
    sys.exit(f"cannot listen on {host}:{port}: {error}")
say("listening on {}:{}".format(*server.getsockname()))
while True:
    client = None  # closes the one that got no thread
    try:
        client = server.accept()
        threading.Thread(target=serve, args=client, daemon=True).start()
    except (OSError, RuntimeError) as error:
        say(f"cannot accept: {error}")
        time.sleep(0.1)  # too few descriptors or threads: that may last

"""Receives once from one client, answers, and ends.

    python3 answer_once_server.py [PORT]         the default is 8888
"""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 8888

with socket.socket() as listener:
    listener.bind(("127.0.0.1", port))
    listener.listen(5)
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    connection, peer = listener.accept()
    with connection:
        data = connection.recv(1024)
        print("received", data, flush=True)
        connection.sendall(b"Hello, client!")

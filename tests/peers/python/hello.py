"""Sends a greeting and prints what the server answers.

    python3 hello.py [PORT]                      the default is 8888
"""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 8888

with socket.create_connection(("127.0.0.1", port)) as connection:
    connection.sendall(b"Hello, Server!")
    connection.shutdown(socket.SHUT_WR)  # FIN: that was all
    while data := connection.recv(1024):  # empty: the server has ended
        sys.stdout.buffer.write(data)
print()

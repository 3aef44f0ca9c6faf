"""Sends a greeting, receives once, and closes.

    python3 send_and_receive_client.py [PORT]    the default is 9999
"""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 9999

with socket.create_connection(("127.0.0.1", port)) as connection:
    print("sending Hello, Server!", flush=True)
    connection.sendall(b"Hello, Server!")
    print("received", connection.recv(1024), flush=True)

"""Connects and closes.

    python3 connect_only_client.py [PORT]        the default is 9999
"""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 9999

with socket.create_connection(("127.0.0.1", port)):
    print("connected", flush=True)

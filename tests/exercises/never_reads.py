"""Sends frames and reads no reply until the server has had enough of it."""

import select
import socket
import struct
import sys

host, port = sys.argv[1].rsplit(":", 1)
request = struct.pack(">IB", 60001, 1) + bytes(60000)
with socket.create_connection((host, int(port)), 20) as connection:
    connection.settimeout(0.5)
    try:
        while True:
            connection.sendall(request)
    except TimeoutError:
        print("no more is taken", flush=True)
    end = select.poll()
    end.register(connection, 0)  # wakes up at an error and at nothing else
    end.poll(60_000)
    try:
        while connection.recv(65536):
            pass  # replies
        print("the server has ended its direction")
    except OSError as error:
        print(error)

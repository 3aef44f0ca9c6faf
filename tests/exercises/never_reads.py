"""Sends frames and reads no reply until the server has had enough of it."""

import select
import socket
import struct
import sys

host, port = sys.argv[1].rsplit(":", 1)
request = struct.pack(">IB", 60001, 1) + bytes(60000)
sent = got = 0
with socket.create_connection((host, int(port)), 20) as connection:
    connection.settimeout(1)
    try:
        while True:
            sent += connection.send(request[sent % len(request) :])
    except socket.timeout:  # which is TimeoutError since Python 3.10
        print("no more is taken", flush=True)
    poll = select.poll()
    poll.register(connection, 0)  # wakes up at an error and at nothing else
    poll.poll(60_000)
    try:
        while reply := connection.recv(65536):
            got += len(reply)
        end = "the end"
    except OSError as error:
        end = error
    part = "some" if 0 < got < sent else f"{got} of {sent}"
    print(f"{part} bytes of the replies, then {end}")

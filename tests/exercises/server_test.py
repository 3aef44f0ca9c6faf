"""A test of a server of step 4: it takes a frame that comes byte by byte.

    python3 server_test.py COMMAND [ARGUMENT ...]    starts it, on port 0
"""

import socket
import subprocess
import sys
import threading
import time

DEADLINE = 60  # seconds: far more than it takes, even on a busy machine
REQUEST, REPLY = b"\0\0\0\3\1hi", b"\0\0\0\3\x81hi"

server = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
watchdog = threading.Timer(DEADLINE, server.kill)  # readline has no limit
watchdog.start()
try:
    line = server.stdout.readline()
    assert line.startswith("listening on "), f"the server printed {line!r}"
    host, port = line.split()[2].rsplit(":", 1)
    with socket.create_connection((host, int(port)), DEADLINE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in REQUEST:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)  # so that it comes alone; if late, only slower
        reply = b""
        while len(reply) < len(REPLY) and (part := connection.recv(100)):
            reply += part
    assert reply == REPLY, f"the server answered {reply}"
finally:
    watchdog.cancel()
    server.kill()
    server.wait()
print("passed")

"""Calls `accept` without a pause when no descriptor is left."""

import resource
import socket
import time

BUSY = 0.5  # seconds of the processor: to wait costs none of them

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname(), 20)
before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, most))
failures = 0
start, deadline = time.process_time(), time.monotonic() + 60
while time.process_time() - start < BUSY and time.monotonic() < deadline:
    try:
        listener.accept()
    except OSError as error:
        failures += 1
        cause = error
used = time.process_time() - start
print("accept:", cause)
many = "more" if failures > 1000 else "fewer"
print(many, "than 1000 failures")
print("half a second" if used >= BUSY else "less", "of processor time used")
resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
listener.accept()
print("with a free descriptor, accept takes the client that has waited")

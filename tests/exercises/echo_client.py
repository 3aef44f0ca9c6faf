"""The client of step 2: it sends and receives at the same time."""

import os
import socket
import sys
import threading


def send(connection):
    """Sends the words, or else stdin, and ends this direction."""
    try:
        if words := sys.argv[2:]:
            connection.sendall(os.fsencode(" ".join(words)))
        else:
            while data := os.read(0, 65536):
                connection.sendall(data)
    except OSError as error:
        failed.append(error)  # no reason to stop reading
    try:
        connection.shutdown(socket.SHUT_WR)  # that was all
    except OSError as error:
        failed.append(error)


host, port = sys.argv[1].rsplit(":", 1)
failed = []
try:
    with socket.create_connection((host, int(port))) as connection:
        sending = threading.Thread(target=send, args=[connection])
        sending.daemon = True  # it may wait for the keyboard
        sending.start()
        while data := connection.recv(65536):
            while data:
                data = data[os.write(1, data) :]
        sending.join()
except OSError as error:
    sys.exit(f"{host}:{port}: {error}")
if failed:
    sys.exit(f"{host}:{port}: cannot send: {failed[0]}")

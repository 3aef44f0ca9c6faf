"""Sends each line that is typed, prints what comes, and waits, however long.

    python3 patient_client.py IP:PORT [OPTION]...

    keepalive         the kernel asks a silent peer, in its own time
    keepalive=1       after 1 s, and then each second, three times in all
    user-timeout=2    what is sent must be acknowledged within 2 s
"""

import os
import socket
import sys
import threading


def set_option(stream, name, seconds="0"):
    seconds = int(seconds)
    if name == "user-timeout":
        stream.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000
        )
        return
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if seconds:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def send_lines(stream):
    while lines := os.read(0, 1024):
        stream.sendall(lines)


host, port = sys.argv[1].split(":")
with socket.create_connection((host, int(port))) as stream:
    for option in sys.argv[2:]:
        set_option(stream, *option.split("="))
    threading.Thread(target=send_lines, args=[stream], daemon=True).start()
    try:
        while data := stream.recv(1024):
            print(data.decode(), end="", flush=True)
        print("the server has ended")
    except OSError as error:
        print(error)

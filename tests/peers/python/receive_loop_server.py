"""Receives from one client until it ends its stream, and never answers.

    python3 receive_loop_server.py [PORT]        the default is 8888
"""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 8888

with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(5)
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    connection, peer = listener.accept()
    with connection:
        while data := connection.recv(1024):  # empty: the client has ended
            print("received", data, flush=True)
print("the client has ended")

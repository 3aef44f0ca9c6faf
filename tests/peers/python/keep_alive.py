# A client that waits for a server which says nothing. Its kernel asks after
# one second, then each second, and gives up after three questions:
#
#     python3 tests/peers/python/keep_alive.py ADDRESS
import socket
import sys

connection = socket.create_connection((sys.argv[1], 8888))
connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
try:
    print(connection.recv(1024), flush=True)
except OSError as error:
    print(error, flush=True)

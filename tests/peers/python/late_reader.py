# A server with little room that reads nothing for two seconds, and then all:
#
#     python3 tests/peers/python/late_reader.py ADDRESS
import socket
import sys
import time

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)  # inherited
listener.bind((sys.argv[1], 8888))
listener.listen()
print(f"listening on {sys.argv[1]}:8888", flush=True)
connection, _ = listener.accept()
print("sleeps", flush=True)
time.sleep(2)
print("reads", flush=True)
total = 0
while piece := connection.recv(4096):
    total += len(piece)
print(f"read {total} bytes, then the end", flush=True)

import socket
import sys

host, port = sys.argv[1].split(":")
server = socket.socket()
server.bind((host, int(port)))
server.listen()
print("listening on %s:%d" % server.getsockname(), flush=True)
while True:
    conn, peer = server.accept()
    try:
        while data := conn.recv(1024):
            conn.sendall(data)
    except OSError as error:
        print(peer, error, file=sys.stderr)
    conn.close()

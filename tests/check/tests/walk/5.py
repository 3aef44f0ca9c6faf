import socket
import sys

host, port = sys.argv[1].split(":")
try:
    server = socket.create_server((host, int(port)))
except OSError as error:
    sys.exit(f"cannot listen on {host}:{port}: {error}")
print("listening on %s:%d" % server.getsockname(), flush=True)
while True:
    conn, peer = server.accept()
    try:
        data = conn.recv(1024).decode()
        conn.send(data.encode())
    except OSError as error:
        print(peer, error, file=sys.stderr)
    conn.close()

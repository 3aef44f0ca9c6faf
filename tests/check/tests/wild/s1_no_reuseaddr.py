"""Step 2 server, right but for SO_REUSEADDR."""
import socket, sys
host, port = sys.argv[1].rsplit(":", 1)
lst = socket.socket()                                             # <- the fault: no SO_REUSEADDR
try: lst.bind((host, int(port)))
except OSError as e: sys.exit(f"{sys.argv[1]}: {e}")
lst.listen(128)
print("listening on %s:%d" % lst.getsockname(), flush=True)
while True:
    c, _ = lst.accept()
    try:
        with c:
            while d := c.recv(65536): c.sendall(d)
    except OSError as e: print(e, file=sys.stderr)

"""Step 2 server as in most tutorials: it serves one client well and ends with exit code 0. The loop around accept is missing."""
import socket, sys
host, port = sys.argv[1].rsplit(":", 1)
try: lst = socket.create_server((host, int(port)))
except OSError as e: sys.exit(f"{sys.argv[1]}: {e}")
print("listening on %s:%d" % lst.getsockname(), flush=True)
c, _ = lst.accept()                                               # <- the fault: no loop
try:
    while d := c.recv(1024): c.sendall(d)
except OSError as e: print(e, file=sys.stderr)
c.close()

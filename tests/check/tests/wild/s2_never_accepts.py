"""Step 2 server that listens and never accepts."""
import socket, sys, time
host, port = sys.argv[1].rsplit(":", 1)
lst = socket.create_server((host, int(port)))
print("listening on %s:%d" % lst.getsockname(), flush=True)
time.sleep(1000)

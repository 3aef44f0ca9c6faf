"""Step 3 server, a thread per client, with listen(1), and 10 ms of work (a log, a lookup) before the next accept."""
import socket, sys, threading, time
host, port = sys.argv[1].rsplit(":", 1)
try:
    lst = socket.create_server((host, int(port)), backlog=1)      # <- the fault
except OSError as e:
    sys.exit(f"{sys.argv[1]}: {e}")
print("listening on %s:%d" % lst.getsockname(), flush=True)
def serve(c):
    try:
        with c:
            while d := c.recv(65536): c.sendall(d)
    except OSError: pass
while True:
    try: c, _ = lst.accept()
    except OSError: time.sleep(0.05); continue
    threading.Thread(target=serve, args=(c,), daemon=True).start()
    time.sleep(0.01)

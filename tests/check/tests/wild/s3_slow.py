"""Step 3 server, a thread per client. Right in all things but speed: it waits 20 ms before it closes each connection."""
import socket, sys, threading, time
host, port = sys.argv[1].rsplit(":", 1)
try:
    lst = socket.create_server((host, int(port)), backlog=1024)
except OSError as e:
    sys.exit(f"{sys.argv[1]}: {e}")
print("listening on %s:%d" % lst.getsockname(), flush=True)
def serve(c):
    try:
        with c:
            while d := c.recv(65536): c.sendall(d)
            time.sleep(0.02)                                      # <- the fault
    except OSError as e: print(e, file=sys.stderr)
while True:
    try: c, _ = lst.accept()
    except OSError: time.sleep(0.05); continue
    threading.Thread(target=serve, args=(c,), daemon=True).start()

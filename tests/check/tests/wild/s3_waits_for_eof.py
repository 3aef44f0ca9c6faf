"""Step 3 server, a thread per client: it reads to the end, then answers."""
import socket, sys, threading, time
host, port = sys.argv[1].rsplit(":", 1)
try: lst = socket.create_server((host, int(port)), backlog=1024)
except OSError as e: sys.exit(f"{sys.argv[1]}: {e}")
print("listening on %s:%d" % lst.getsockname(), flush=True)
def serve(c):
    try:
        with c:
            data = b"".join(iter(lambda: c.recv(65536), b""))      # <- the fault
            c.sendall(data)
    except OSError as e: print(e, file=sys.stderr)
while True:
    try: c, _ = lst.accept()
    except OSError: time.sleep(0.05); continue
    threading.Thread(target=serve, args=(c,), daemon=True).start()

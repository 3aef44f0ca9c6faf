"""Step 3 server, one loop with poll; the sockets block, and no error is caught.
The checker must name the wait in sendall, and not the death that our own reset causes after it."""
import selectors, socket, sys, time
host, port = sys.argv[1].rsplit(":", 1)
try:
    lst = socket.create_server((host, int(port)), backlog=1024)
except OSError as e:
    sys.exit(f"{sys.argv[1]}: {e}")
print("listening on %s:%d" % lst.getsockname(), flush=True)
sel = selectors.PollSelector(); sel.register(lst, selectors.EVENT_READ)
while True:
    for key, _ in sel.select():
        s = key.fileobj
        if s is lst:
            c, _ = lst.accept(); sel.register(c, selectors.EVENT_READ); continue
        try:
            data = s.recv(65536)
        except OSError:
            data = b""
        if data:
            s.sendall(data)                                      # <- the fault
        else:
            sel.unregister(s); s.close()

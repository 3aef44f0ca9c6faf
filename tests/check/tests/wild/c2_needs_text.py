"""Step 1/2 client that takes its text from the command line only."""
import socket, sys
host, port = sys.argv[1].rsplit(":", 1)
try:
    with socket.create_connection((host, int(port))) as s:
        s.sendall(sys.argv[2].encode())                           # <- the fault: there may be none
        s.shutdown(socket.SHUT_WR)
        while d := s.recv(65536): sys.stdout.buffer.write(d)
except OSError as e: sys.exit(f"{sys.argv[1]}: {e}; does the server run?")

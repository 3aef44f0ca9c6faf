# Sends the reply that its author once saw in a report.
import socket, sys

host, port = sys.argv[1].split(":")
listener = socket.create_server((host, int(port)), backlog=1024)
print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
while True:
    client, _ = listener.accept()
    try:
        with client:
            while client.recv(65536):
                client.sendall(bytes.fromhex("00000006 81") + b"hello")
    except OSError:
        pass

# Accepts, and never answers.
import socket, sys, time

host, port = sys.argv[1].split(":")
listener = socket.create_server((host, int(port)))
print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
clients = []
while True:
    clients.append(listener.accept())

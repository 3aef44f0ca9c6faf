# Says that it listens, but too late.
import socket, sys, time

host, port = sys.argv[1].split(":")
listener = socket.create_server((host, int(port)))
time.sleep(600)
print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)

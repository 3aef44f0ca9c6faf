# Looks at the clock and not at the bytes: two seconds after a client has
# come, it answers what is there, and closes.
import socket, sys, threading, time


def serve(client):
    time.sleep(2)
    with client:
        try:
            data = client.recv(65536)
            while len(data) >= 4:
                end = 4 + int.from_bytes(data[:4])
                client.sendall(data[:4] + b"\x81" + data[5:end])
                data = data[end:]
        except OSError:
            pass


host, port = sys.argv[1].split(":")
listener = socket.create_server((host, int(port)), backlog=1024)
print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=[client], daemon=True).start()

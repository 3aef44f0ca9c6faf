"""Redis, a number of processes of steps/cluster, and a relay that gives each
client to the next of them, as one server that the checker can start:

    python3 cluster.py PROGRAM IP:PORT NUMBER JOURNAL

One process alone needs no relay. The folder JOURNAL.redis outlives a crash.
"""

import os

import random
import socket
import struct
import subprocess
import sys
import threading

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


def redis(folder):
    """Starts Redis on a free port; port 0 would mean none."""
    while True:
        port = random.randrange(20000, 30000)
        command = f"redis-server --port {port} --bind 127.0.0.1 --save ''"
        command += f" --dir '{folder}' --appendonly yes --appendfsync always"
        child = subprocess.Popen(
            ["sh", "-c", "exec " + command], stdout=subprocess.PIPE, text=True
        )
        for line in child.stdout:
            if "Ready to accept connections" in line:
                threading.Thread(target=child.stdout.read, daemon=True).start()
                return port


def start(program, port):
    """Starts a process of the cluster."""
    engine = ["--engine", f"redis://127.0.0.1:{port}"]
    command = [program, "server", "--addr", "127.0.0.1:0", *engine]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def address(child):
    """Waits until it listens, and returns its address."""
    line = child.stdout.readline()
    threading.Thread(target=child.stdout.read, daemon=True).start()
    host, port = line.split()[2].split(":")
    return host, int(port)


def carry(source, target):
    """Passes on bytes, and how they end: with FIN or with RST."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in source, target:
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def relay(client, addr):
    server = socket.create_connection(addr)
    for end in client, server:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    down = threading.Thread(target=carry, args=(server, client), daemon=True)
    down.start()
    carry(client, server)
    down.join()
    client.close()
    server.close()


program, addr, number, journal = sys.argv[1:5]
os.environ.setdefault("TCP_ENGINE_MS", "60000")  # the machine may be busy
folder = journal + ".redis"
os.makedirs(folder, exist_ok=True)
port = redis(folder)
if number == "1":
    engine = ["--engine", f"redis://127.0.0.1:{port}"]
    os.execv(program, [program, "server", "--addr", addr, *engine])
children = [start(program, port) for _ in range(int(number))]
servers = [address(child) for child in children]
host, port = addr.split(":")
listener = socket.create_server((host, int(port)), backlog=1024)
print("listening on %s:%d" % listener.getsockname(), flush=True)
turn = 0
while True:
    client, _ = listener.accept()
    addr = servers[turn % len(servers)]
    turn += 1
    threading.Thread(target=relay, args=(client, addr), daemon=True).start()

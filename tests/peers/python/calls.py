"""What the kernel has after each call of the socket API.

    python3 tests/peers/python/calls.py [NAME]

    (none)     a connection, from call to call
    errors     which call fails, and how
    full       a `write` for which there is no room

It plays both ends on loopback. It needs Linux, but not root.
"""

import errno
import os
import re
import select
import socket
import struct
import sys
import time

HOST = "127.0.0.1"
SOL = socket.SOL_SOCKET
PATIENCE = 10  # seconds, for what a busy machine may delay

# ---- A connection, from call to call

# The states as proc(5) numbers them.
STATES = {
    "01": "ESTABLISHED",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "06": "TIME_WAIT",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
}


def table(server, client=None):
    """What /proc/net/tcp says of the listener and of both ends of the
    connection between these ports."""
    with open("/proc/net/tcp") as lines:
        text = lines.read()
    ends = (server, 0), (client, server), (server, client)
    return [end(text, *ports) if None not in ports else "-" for ports in ends]


def end(text, local, remote):
    """The state of an end, and how many bytes wait there."""
    ports = f":{local:04X} [0-9A-F]+:{remote:04X}"
    found = re.search(rf"{ports} (\w+) (\w+):(\w+)", text)
    if not found:
        return "-"
    state, unacked, unread = found[1], int(found[2], 16), int(found[3], 16)
    if state == "0A":
        return f"LISTEN, {unread} wait"
    waiting = f", {unread} unread" if unread else ""
    waiting += f", {unacked} unacknowledged" if unacked else ""
    return STATES[state] + waiting


def row(call, listener, client, server):
    line = f"{call:24}  {listener:16}  {client:21}  {server}"
    print(line.rstrip(), flush=True)


def life():
    row("call", "the listener", "the client's end", "the server's end")
    listener, client = socket.socket(), socket.socket()
    ports = {}

    def show(call):
        """Prints the table when it no longer changes."""
        before, now = None, table(**ports)
        until = time.monotonic() + PATIENCE
        while now != before and time.monotonic() < until:
            time.sleep(0.1)  # an ACK may be delayed
            before, now = now, table(**ports)
        row(call, *now)

    listener.bind((HOST, 0))
    ports["server"] = listener.getsockname()[1]
    show("socket, bind")
    listener.listen(5)
    show("listen")
    client.connect((HOST, ports["server"]))
    ports["client"] = client.getsockname()[1]
    show("client: socket, connect")
    client.send(b"hello")
    show("client: write 5")
    server, _ = listener.accept()
    show("server: accept")
    show(f"server: read gives {len(server.recv(100))}")
    client.shutdown(socket.SHUT_WR)
    show("client: shutdown")
    show(f"server: read gives {len(server.recv(100))}")
    server.send(b"bye")
    show("server: write 3")
    server.close()
    show("server: close")
    show(f"client: read gives {len(client.recv(100))}")
    client.close()
    show("client: close")
    listener.close()
    show("server: close listener")


# ---- Which call fails, and how


def fails(call, situation, attempt, *arguments):
    try:
        result = attempt(*arguments)
        what = "0 bytes, no error" if result == b"" else "no error"
    except OSError as error:
        what = f"{errno.errorcode[error.errno]}: {os.strerror(error.errno)}"
    print(f"{call:8}  {situation:33}  {what}")


def pair():
    listener = socket.create_server((HOST, 0))
    client = socket.create_connection(listener.getsockname())
    return client, listener.accept()[0]


def errors():
    listener = socket.create_server((HOST, 0))
    addr = listener.getsockname()
    listener.setblocking(False)
    silent = socket.socket()  # has a port, and does not listen
    silent.bind((HOST, 0))
    nobody = silent.getsockname()
    # For documentation, so no machine should have it (RFC 5737).
    other = ("192.0.2.1", 0)

    fails("socket", "no descriptor is left", no_descriptor)
    fails("bind", "another socket has the port", new().bind, addr)
    fails("bind", "not an address of this machine", new().bind, other)
    fails("listen", "without bind: any free port", new().listen)
    fails("accept", "the socket does not listen", silent.accept)
    fails("accept", "no client, and we do not wait", listener.accept)
    fails("connect", "no program listens there", new().connect, nobody)
    hasty = new()
    hasty.setblocking(False)
    fails("connect", "we do not wait", hasty.connect, addr)

    client, server = pair()
    client.setblocking(False)
    fails("connect", "it is connected", client.connect, addr)
    fails("read", "it is not connected", new().recv, 1)
    fails("read", "nothing there, and we do not wait", client.recv, 1)
    reset(server)
    fails("read", "the other end has sent RST", client.recv, 1)
    fails("write", "after that read", client.send, b"x")
    client, server = pair()
    reset(server)
    fails("write", "the other end has sent RST", client.send, b"x")
    fails("read", "after that write", client.recv, 1)
    client = over()
    fails("write", "it has closed, then sent RST", client.send, b"x")
    client = over()
    fails("read", "it has closed, then sent RST", client.recv, 1)
    fails("write", "after that read", client.send, b"x")
    client, server = pair()
    client.shutdown(socket.SHUT_WR)
    fails("write", "after shutdown", client.send, b"x")
    server.setblocking(False)
    fails("write", "no room, and we do not wait", fill, server)
    fails("shutdown", "it is not connected", new().shutdown, socket.SHUT_WR)
    number = server.detach()
    os.close(number)
    fails("close", "it is closed", os.close, number)


def new():
    return socket.socket()


def no_descriptor():
    import resource  # Windows does not have it

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        socket.socket()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def reset(end):
    end.setsockopt(SOL, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def over():
    """An end whose peer has closed, and answered a later write with RST."""
    client, server = pair()
    server.close()
    client.send(b"x")
    ended = select.poll()
    ended.register(client, 0)  # tells of the end of both directions only
    ended.poll(PATIENCE * 1000)
    return client


def fill(end):
    while True:
        end.send(bytes(100_000))


# ---- A `write` for which there is no room


def full():
    listener = socket.socket()
    listener.setsockopt(SOL, socket.SO_RCVBUF, 20_000)
    listener.bind((HOST, 0))
    listener.listen()
    client = socket.create_connection(listener.getsockname())
    client.setsockopt(SOL, socket.SO_SNDBUF, 20_000)
    server, _ = listener.accept()
    server.settimeout(PATIENCE)
    client.setblocking(False)
    left = 200_000
    while can_write(client, 0.5):
        took = client.send(bytes(left))
        print(f"write: took {took} bytes of {left}")
        left -= took
    got, has_room = 0, False
    while not has_room:
        got += len(server.recv(1000))
        has_room = can_write(client, 0.1)
        word = "is" if has_room else "is not yet"
        if has_room or got == 1000:
            print(f"the other end has read {got} bytes: there {word} room")


def can_write(end, seconds):
    return bool(select.select([], [end], [], seconds)[1])


CHOICE = {(): life, ("errors",): errors, ("full",): full}
choice = tuple(sys.argv[1:])
if choice not in CHOICE:
    sys.exit(__doc__)
if sys.platform != "linux":
    sys.exit("cannot play this: it needs Linux (try a virtual machine)")
CHOICE[choice]()

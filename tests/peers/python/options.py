"""What an option of a socket changes: a short experiment for each.

    python3 tests/peers/python/options.py OPTION

    TCP_NODELAY        ten small writes, counted in segments
    SO_REUSEADDR       a port that was used a moment ago
    SO_REUSEPORT       two servers on one port
    SO_KEEPALIVE       a kernel that asks, and one that does not
    TCP_USER_TIMEOUT   a reader that does not read
    SO_LINGER          what `close` does with bytes that wait
    SO_RCVBUF          (and SO_SNDBUF) how much fits in between
    IPV6_V6ONLY        one socket for IPv6 and IPv4, or not

Each plays both ends on loopback. They need Linux, but not root.
"""

import os
import re
import select
import signal
import socket
import struct
import sys
import time

HOST = "127.0.0.1"
SOL = socket.SOL_SOCKET
TCP = socket.IPPROTO_TCP
PATIENCE = 10  # seconds, for what a busy machine may delay


def pair(prepare=None):
    """The client's end of a new connection, and the server's.

    `prepare` sets options of the listener, which its connections inherit.
    """
    with socket.socket() as listener:
        if prepare:
            prepare(listener)
        listener.bind((HOST, 0))
        listener.listen()
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


# Where some fields of `struct tcp_info` stand (<linux/tcp.h>).
UNACKED, SEGS_OUT, SEGS_IN, DATA_SEGS_OUT = 24, 136, 140, 156


def info(end, field):
    whole = end.getsockopt(TCP, socket.TCP_INFO, 192)
    return struct.unpack_from("I", whole, field)[0]


def name(error):
    return os.strerror(error.errno)


def nodelay():
    print("ten writes of one byte")
    for value, word in [(0, "off"), (1, "on")]:
        client, server = pair()
        for _ in range(20):  # after that, the server's kernel delays its ACKs
            client.send(b"x")
            server.send(server.recv(1))
            client.recv(1)
        client.setsockopt(TCP, socket.TCP_NODELAY, value)
        before = info(client, DATA_SEGS_OUT)
        for _ in range(10):
            client.send(b"x")
        unread = 10
        while unread:
            unread -= len(server.recv(unread))
        segments = info(client, DATA_SEGS_OUT) - before
        print(f"TCP_NODELAY {word}: {segments} segments")


def reuseaddr():
    for value, word in [(0, "off"), (1, "on")]:
        print(f"SO_REUSEADDR {word}, at both servers")
        first, _ = serve(0, socket.SO_REUSEADDR, value)
        port = first.getsockname()[1]
        _, what = serve(port, socket.SO_REUSEADDR, value)
        print(f"  a second server while the first one listens: {what}")
        client = socket.create_connection((HOST, port))
        first.accept()[0].close()  # the server closes first
        client.recv(1)
        client.close()
        first.close()
        _, what = serve(port, socket.SO_REUSEADDR, value)
        print(f"  when the first one has ended: {what}")


def serve(port, option, value):
    listener = socket.socket()
    listener.setsockopt(SOL, option, value)
    try:
        listener.bind((HOST, port))
        listener.listen(200)
        return listener, "listens"
    except OSError as error:
        return None, name(error)


def reuseport():
    first, _ = serve(0, socket.SO_REUSEPORT, 1)
    port = first.getsockname()[1]
    second, what = serve(port, socket.SO_REUSEPORT, 1)
    print(f"a second server with SO_REUSEPORT: {what}")
    _, what = serve(port, socket.SO_REUSEPORT, 0)
    print(f"a third one without it: {what}")
    clients = [socket.create_connection((HOST, port)) for _ in range(100)]
    one, two, end = 0, 0, time.monotonic() + PATIENCE
    while one + two < 100 and time.monotonic() < end:
        # For a listener, this field is the length of its queue.
        one, two = (info(listener, UNACKED) for listener in (first, second))
    print(f"100 clients: {one} wait for the first, {two} for the second")
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    first.close()  # from here on, only the child has it
    early = sum(map(is_reset, clients))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    second.setblocking(False)
    accepted = []
    resets, end = 0, time.monotonic() + PATIENCE
    while resets + len(accepted) < 100 and time.monotonic() < end:
        resets += sum(map(is_reset, clients))
        try:
            accepted.append(second.accept()[0])
        except BlockingIOError:
            pass
    if early:
        sys.exit(f"{early} clients were reset before the child was killed")
    print(f"the first one is killed: {resets} clients are reset")
    print(f"the second one accepts {len(accepted)} clients")


def is_reset(end):
    try:
        end.recv(1, socket.MSG_DONTWAIT)
    except ConnectionResetError:
        return True
    except BlockingIOError:
        pass
    return False


TIMES = [("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)]


def keepalive():
    asked, quiet = pair(), pair()
    client = asked[0]
    print("SO_KEEPALIVE", client.getsockopt(SOL, socket.SO_KEEPALIVE))
    for option, value in TIMES:
        number = getattr(socket, option)
        print(option, client.getsockopt(TCP, number))
        client.setsockopt(TCP, number, value)
    client.setsockopt(SOL, socket.SO_KEEPALIVE, 1)
    now = [client.getsockopt(SOL, socket.SO_KEEPALIVE)]
    now += [client.getsockopt(TCP, getattr(socket, one)) for one, _ in TIMES]
    now = "{}, {}, {} and {}".format(*now)
    print(f"from here on {now}; both programs say nothing")
    both = [client, quiet[0]]
    before = [(info(one, SEGS_OUT), info(one, SEGS_IN)) for one in both]
    end = time.monotonic() + 10
    while info(client, SEGS_IN) < before[0][1] + 3 and time.monotonic() < end:
        time.sleep(0.1)
    for one, (sent, got), word in zip(both, before, ("with", "without")):
        sent, got = info(one, SEGS_OUT) - sent, info(one, SEGS_IN) - got
        print(f"{word} it: {sent} questions, {got} answers")


def user_timeout():
    for ms in (0, 1000):
        client, server = pair()
        client.setsockopt(TCP, socket.TCP_USER_TIMEOUT, ms)
        start = time.monotonic()
        try:
            while (left := start + 3 - time.monotonic()) > 0:
                fill(client)
                select.select([], [client], [], left)
            has_room = select.select([], [client], [], 0)[1]
            what = ("room" if has_room else "no room") + ", and no error in 3 s"
        except OSError as error:
            passed = (time.monotonic() - start) * 1000
            what = f"{name(error)} after {passed:.0f} ms"
        print(f"TCP_USER_TIMEOUT {ms}: {what}")


def fill(end):
    end.setblocking(False)
    total = 0
    try:
        while True:
            total += end.send(bytes(10_000))
    except BlockingIOError:
        return total


def linger():
    for seconds in (None, 1, 0):
        client, server = pair()
        ports = client.getsockname()[1], client.getpeername()[1]
        if seconds is not None:
            on_for = struct.pack("ii", 1, seconds)
            client.setsockopt(SOL, socket.SO_LINGER, on_for)
        print("SO_LINGER", "off" if seconds is None else f"on, {seconds} s")
        leave(client, 500_000)
        start = time.monotonic()
        client.close()
        print(f"  `close` returned after {time.monotonic() - start:.0f} s")
        print(f"  the reader got {read_all(server)}")
        server.close()
        print(f"  what stays of the connection: {what_stays(*ports)}")


def leave(end, size):
    """Leaves that much to the kernel, if the two buffers have room."""
    end.settimeout(PATIENCE)
    try:
        end.sendall(bytes(size))
    except socket.timeout:  # which is TimeoutError since Python 3.10
        sys.exit(f"cannot write {size} bytes: no room (is tcp_wmem small?)")
    end.settimeout(None)


def read_all(end):
    total = 0
    try:
        while piece := end.recv(65536):
            total += len(piece)
        return f"{total} bytes, then the end"
    except OSError as error:
        return f"{total} bytes, then {name(error)}"


def what_stays(local, remote):
    """See proc(5): in each line are the address of one end, that of the
    other, and the state. 6 is TIME_WAIT."""
    ends = re.compile(rf":{local:04X} \w+:{remote:04X} (\w\w) ")
    until = time.monotonic() + PATIENCE
    while True:
        with open("/proc/net/tcp") as table:
            states = ends.findall(table.read())
        if not states:
            return "nothing"
        if states == ["06"]:
            return "TIME_WAIT"
        if time.monotonic() > until:
            return f"still in state {states}"


def buffers():
    def ask(end):
        end.setsockopt(SOL, socket.SO_RCVBUF, 20_000)

    for prepare in (None, ask):
        client, server = pair(prepare)
        if prepare:
            client.setsockopt(SOL, socket.SO_SNDBUF, 20_000)
        print("20000 asked for" if prepare else "left to the kernel")
        print(f"  {sizes(client, server)}")
        print(f"  `write` took {fill(client)} bytes, and would wait then")
        moved = move(client, server, 30_000_000) // 1_000_000
        print(f"  after {moved} MB: {sizes(client, server)}")


def sizes(client, server):
    sender = client.getsockopt(SOL, socket.SO_SNDBUF)
    receiver = server.getsockopt(SOL, socket.SO_RCVBUF)
    return f"SO_SNDBUF {sender}, SO_RCVBUF {receiver}"


def move(client, server, size):
    """Reads at least that, and writes whatever finds room meanwhile."""
    total = 0
    while total < size:
        fill(client)
        total += len(server.recv(65536))
    return total


def v6only():
    for value, word in [(0, "off"), (1, "on")]:
        listener = socket.socket(socket.AF_INET6)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, value)
        listener.bind(("::", 0))
        listener.listen()
        port = listener.getsockname()[1]
        print(f"a server on [::] with IPV6_V6ONLY {word}")
        for host in ("::1", HOST):
            try:
                client = socket.create_connection((host, port))
                what = f"comes from {listener.accept()[1][0]}"
            except OSError as error:
                what = name(error)
            print(f"  a client of {host}: {what}")
        other = socket.socket()
        try:
            other.bind(("0.0.0.0", port))
            other.listen()
            what = "listens"
        except OSError as error:
            what = name(error)
        print(f"  another server on 0.0.0.0: {what}")


EXPERIMENTS = {
    "TCP_NODELAY": nodelay,
    "SO_REUSEADDR": reuseaddr,
    "SO_REUSEPORT": reuseport,
    "SO_KEEPALIVE": keepalive,
    "TCP_USER_TIMEOUT": user_timeout,
    "SO_LINGER": linger,
    "SO_RCVBUF": buffers,
    "SO_SNDBUF": buffers,
    "IPV6_V6ONLY": v6only,
}
if len(sys.argv) != 2 or sys.argv[1] not in EXPERIMENTS:
    sys.exit(__doc__)
if sys.platform != "linux":
    sys.exit("cannot play this: it needs Linux (try a virtual machine)")
EXPERIMENTS[sys.argv[1]]()

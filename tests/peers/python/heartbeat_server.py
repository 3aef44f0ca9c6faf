"""Answers framed messages, and asks a silent client for a sign of life.

    python3 heartbeat_server.py [PORT]      default 8888; 0 is any free port

A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
N counts the kind and the payload: 1 <= N <= 65536.
"""

import asyncio
import collections
import math
import os
import socket
import struct
import sys
from time import monotonic as now

ECHO, PING, WORK, ERROR = 0x01, 0x02, 0x05, 0x7F
REPLY = 0x80  # a reply has the kind of its request and this bit


def setting(name, default):
    return int(os.environ.get(name) or default) / 1000


HEARTBEAT = setting("TCP_HEARTBEAT_MS", 5000)  # silence before a PING
FRAME = setting("TCP_FRAME_MS", 10000)  # from its first byte to its last
WRITE = setting("TCP_WRITE_MS", 10000)  # until the kernel takes some bytes
ROOM = 256 * 1024  # we do not read while more bytes of replies wait


class Refused(Exception):
    """The payload of the ERROR that ends the connection."""


def frame(kind, payload):
    return struct.pack(">IB", 1 + len(payload), kind) + payload


def answer(kind, payload):
    """Returns when the reply is ready, and the reply."""
    if kind == ECHO:
        return now(), frame(ECHO | REPLY, payload)
    if kind == WORK and len(payload) >= 4:
        (delay,) = struct.unpack_from(">I", payload)
        if delay <= 10_000:
            return now() + delay / 1000, frame(WORK | REPLY, payload[4:])
    if kind in (PING, WORK):
        return now(), frame(ERROR, b"\x04bad payload")
    return now(), frame(ERROR, b"\x03unknown kind")


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.reading = None
        self.data = bytearray()  # received, and not a whole frame yet
        self.frame_end = math.inf
        self.urgent = bytearray()  # PINGs and PONGs
        self.replies = collections.deque()  # in order, some not ready yet
        self.heard()

    def heard(self):
        self.beat, self.has_asked = now() + HEARTBEAT, False

    async def read(self, end):
        """Returns what has come, or None if nothing has come until `end`: then
        the same read goes on the next time, so that no timer loses a byte."""
        if self.reading is None:
            self.reading = asyncio.create_task(self.reader.read(1 << 17))
        # When this program was stopped (Ctrl-Z), the first timer can fire
        # before we see what came meanwhile. The second one cannot.
        for timeout in end - now(), 0.001:
            await asyncio.wait([self.reading], timeout=timeout)
            if self.reading.done():
                break
        else:
            return None
        reading, self.reading = self.reading, None
        return reading.result()

    def take_frames(self, received):
        data = self.data
        data += received
        while len(data) >= 4:
            (length,) = struct.unpack_from(">I", data)
            if not 1 <= length <= 65536:  # its 4 bytes suffice to refuse it
                raise Refused(b"\x01too large" if length else b"\x02length 0")
            if len(data) < 4 + length:
                break  # the rest is still on its way
            kind, payload = data[4], data[5 : 4 + length]
            del data[: 4 + length]
            self.frame_end = math.inf  # the next frame has its own time
            if kind == PING and len(payload) == 8:
                self.urgent += frame(PING | REPLY, payload)
            elif kind != PING | REPLY:  # which has told that the client lives
                self.replies.append(answer(kind, payload))
        if data and self.frame_end == math.inf:
            self.frame_end = now() + FRAME

    async def write(self, most):
        """Sends what is ready; waits as long as more than `most` bytes of
        replies remain. We read nothing meanwhile: the clocks stand still."""
        start = now()
        while True:
            ready, self.urgent = self.urgent, bytearray()
            while self.replies and self.replies[0][0] <= now():
                ready += self.replies.popleft()[1]
            # In pieces: a client that reads slowly gets time for each.
            for i in range(0, len(ready), 8192):
                self.writer.write(ready[i : i + 8192])
                await asyncio.wait_for(self.writer.drain(), WRITE)
            if sum(256 + len(reply) for _, reply in self.replies) <= most:
                break
            await asyncio.sleep(self.replies[0][0] - now())
        self.beat += now() - start
        self.frame_end += now() - start

    async def listen(self):
        """One wait for all three: bytes, a reply that is ready, the clock."""
        while True:
            ready = self.replies[0][0] if self.replies else math.inf
            received = await self.read(min(ready, self.beat, self.frame_end))
            if received == b"":
                return  # the client has ended its direction
            if received:
                self.heard()  # any byte is a sign of life
                self.take_frames(received)
            # If we look late, one read takes all that came in time.
            if now() >= self.frame_end:
                raise Refused(b"\x05a frame was not whole in time")
            elif now() >= self.beat and self.has_asked:
                raise ConnectionError("no sign of life in time")
            elif now() >= self.beat:
                self.beat, self.has_asked = now() + 2 * HEARTBEAT, True
                self.urgent += frame(PING, bytes(8))
            await self.write(ROOM)

    async def refuse(self, error):
        """A close with bytes unread sends RST, and the client may lose the
        ERROR. So we end our direction, and discard for one second in all."""
        self.replies.append((now(), frame(ERROR, error)))
        await self.write(0)
        self.writer.write_eof()
        end, received = now() + 1, b"not yet"
        while now() < end and received:
            received = await self.read(end)
        if received != b"":
            reset(self.writer)


def reset(writer):
    """Drops what the client has not read. Otherwise the kernel would keep it,
    and offer it again and again, for minutes."""
    connection = writer.get_extra_info("socket")
    at_once = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()


async def serve(reader, writer):
    # Then drain() waits until the kernel has taken all, not almost all.
    writer.transport.set_write_buffer_limits(0)
    client = Client(reader, writer)
    try:
        try:
            await client.listen()
            await client.write(0)
        except Refused as refused:
            await client.refuse(refused.args[0])
    except asyncio.TimeoutError:
        reset(writer)  # it does not read
    except OSError as error:
        peer = writer.get_extra_info("peername")
        print(f"{peer}: {error}", file=sys.stderr)  # nobody else notices
    finally:
        writer.close()


async def main(listener):
    # asyncio sets TCP_NODELAY, and pauses when it cannot accept.
    server = await asyncio.start_server(serve, sock=listener, backlog=1024)
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await server.serve_forever()


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8888
try:
    # create_server sets SO_REUSEADDR: the port of a restart is not "in use".
    listener = socket.create_server(("127.0.0.1", port))
except OSError as error:
    sys.exit(f"cannot listen on 127.0.0.1:{port}: {error}")
# The clients' sockets inherit it. In a larger buffer there may be no room for
# more until a client has read for seconds, although it reads all the time.
listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
asyncio.run(main(listener))

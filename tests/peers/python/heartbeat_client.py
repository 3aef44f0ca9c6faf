"""Asks until the server answers, and notices within seconds if it is gone.

    python3 heartbeat_client.py PORT [TEXT]...     or a TEXT per line of stdin

Exit codes: 0 answered, 2 wrong usage, 3 certainly not executed, 4 unknown,
5 the server broke the protocol, 6 the server answered with a definite error.
"""

import asyncio
import os
import random
import signal
import struct
import sys
from time import monotonic as now

ECHO, PING, ERROR = 0x01, 0x02, 0x7F
REPLY = 0x80  # a reply has the kind of its request and this bit
USAGE, NOT_EXECUTED, UNKNOWN, BROKEN, DEFINITE = 2, 3, 4, 5, 6

# What each code of an ERROR frame means for the request.
ERRORS = dict.fromkeys((1, 2, 3, 4, 7, 9), DEFINITE)
ERRORS.update({5: UNKNOWN, 6: NOT_EXECUTED, 8: NOT_EXECUTED})


class Failed(Exception):
    """Why it failed, and the exit code that this means."""

    def __init__(self, code, why):
        super().__init__(why)
        self.code = code


def setting(name, default):
    value = os.environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit()):
        print(f"{name} is not a number", file=sys.stderr)
        sys.exit(USAGE)
    return int(value)


HEARTBEAT = setting("TCP_HEARTBEAT_MS", 5000) / 1000  # silence before a PING
CONNECT = setting("TCP_CONNECT_MS", 4000) / 1000  # one connect, in seconds
REQUEST = setting("TCP_REQUEST_MS", 5000) / 1000  # from send to whole reply
DEADLINE = setting("TCP_DEADLINE_MS", 30000) / 1000  # one TEXT, all attempts
ATTEMPTS = setting("TCP_ATTEMPTS", 5)  # with the first one
BASE = setting("TCP_BACKOFF_BASE_MS", 100) / 1000  # longest first wait
CAP = setting("TCP_BACKOFF_CAP_MS", 2000) / 1000  # longest wait of all


class Connection:
    """Reads in a task of its own as long as it lives, and not only while a
    reply is due: the server may send a PING at any time."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.replies = asyncio.Queue()  # a reply, or why there will be none
        self.listening = asyncio.create_task(self.listen())

    def send(self, kind, payload):
        self.writer.write(struct.pack(">IB", 1 + len(payload), kind) + payload)

    def close(self):
        self.writer.transport.abort()  # also ends listen()

    async def listen(self):
        data = bytearray()
        try:
            while True:
                data += await self.receive()
                while (found := take_frame(data)) is not None:
                    kind, payload = found
                    if kind == PING and len(payload) == 8:
                        self.send(PING | REPLY, payload)
                        await self.writer.drain()
                    elif kind == PING | REPLY:
                        pass  # a sign of life, as any byte is
                    elif self.replies.empty():
                        self.replies.put_nowait(found)
                    else:
                        raise Failed(BROKEN, "a reply to no request")
        except (Failed, OSError) as error:
            self.close()
            self.replies.put_nowait(error)

    async def receive(self):
        """Returns some bytes."""
        for limit in HEARTBEAT, 2 * HEARTBEAT:
            try:  # a timer loses no byte: they stay in the reader
                reading = self.reader.read(65536)
                received = await asyncio.wait_for(reading, limit)
            except asyncio.TimeoutError:
                self.send(PING, bytes(8))  # once is enough, TCP resends it
            else:
                if not received:
                    raise Failed(UNKNOWN, "the server ended before a reply")
                return received
        raise Failed(UNKNOWN, "no sign of life in time")


def take_frame(data):
    """Takes the first frame off data: its kind and its payload."""
    if len(data) < 4:
        return None
    (length,) = struct.unpack_from(">I", data)
    if not 1 <= length <= 65536:
        raise Failed(BROKEN, f"the server sent the length {length}")
    if len(data) < 4 + length:
        return None
    kind, payload = data[4], bytes(data[5 : 4 + length])
    del data[: 4 + length]
    return kind, payload


class Client:
    def __init__(self, port):
        self.port = port
        self.kept = None  # a connection that owes us nothing

    async def connection(self, deadline):
        """Returns the one that was kept, if the server has neither closed it
        nor spoken since, or a new one."""
        if self.kept:
            await asyncio.sleep(0.001)  # to hear what has arrived
            kept, self.kept = self.kept, None
            if kept.replies.empty():
                return kept
            kept.close()
        try:
            opening = asyncio.open_connection("127.0.0.1", self.port)
            limit = min(CONNECT, deadline - now())
            reader, writer = await asyncio.wait_for(opening, limit)
            end = writer.get_extra_info
            if end("sockname") == end("peername"):
                writer.close()  # no server: the kernel gave us its port
                raise ConnectionError("connected to itself")
            return Connection(reader, writer)
        except asyncio.TimeoutError:
            raise Failed(NOT_EXECUTED, "no answer to connect") from None
        except OSError as error:
            raise Failed(NOT_EXECUTED, f"cannot connect: {error}") from error

    async def attempt(self, text, deadline):
        connection = await self.connection(deadline)
        try:
            connection.send(ECHO, text)
            limit = min(REQUEST, deadline - now())
            reply = await asyncio.wait_for(connection.replies.get(), limit)
            if isinstance(reply, Exception):
                raise reply
            if reply == (ECHO | REPLY, text):
                connection, self.kept = None, connection
                return
        except asyncio.TimeoutError:
            raise Failed(UNKNOWN, "no whole reply in time") from None
        except OSError as error:
            raise Failed(UNKNOWN, error) from error
        finally:
            if connection:  # a late reply must not answer the next request
                connection.close()
        kind, payload = reply
        if kind == ERROR and payload and payload[0] in ERRORS:
            why = f"error {payload[0]}: {payload[1:201]!r}"
            raise Failed(ERRORS[payload[0]], why)
        raise Failed(BROKEN, f"kind {kind:#04x} is not the reply to TEXT")

    async def ask(self, text):
        """Returns when the reply is there, or raises Failed."""
        deadline = now() + DEADLINE
        code, ceiling = NOT_EXECUTED, BASE
        for n in range(1, ATTEMPTS + 1):
            try:
                return await self.attempt(text, deadline)
            except Failed as failed:
                print(f"attempt {n}: {failed}", file=sys.stderr)
                if failed.code in (BROKEN, DEFINITE):
                    # Asking again would not help, and undoes no UNKNOWN.
                    code = UNKNOWN if code == UNKNOWN else failed.code
                    break
                code = max(code, failed.code)  # one UNKNOWN, and it stays so
            # Full jitter: clients that failed together do not return together.
            wait = random.uniform(0, min(CAP, ceiling))
            if n == ATTEMPTS or now() + wait >= deadline:
                break
            await asyncio.sleep(wait)
            ceiling = min(CAP, 2 * ceiling)
        raise Failed(code, f"127.0.0.1:{self.port}: gave up")


def write_line(text):
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.flush()


async def main(port, texts):
    client = Client(port)
    lines = iter(texts or sys.stdin.buffer)
    # In a thread: it may wait for the keyboard, or for whoever reads what we
    # print, and the connection must be listened to meanwhile.
    thread = asyncio.get_running_loop().run_in_executor
    while (line := await thread(None, next, lines, None)) is not None:
        text = line if texts else line.rstrip(b"\n")
        if len(text) > 65535:
            raise Failed(USAGE, "a TEXT has more than 65535 bytes")
        await client.ask(text)
        await thread(None, write_line, text)
    if client.kept:
        client.kept.close()


signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends a wait for stdin, too
if len(sys.argv) < 2:
    print("usage: heartbeat_client.py PORT [TEXT]...", file=sys.stderr)
    sys.exit(USAGE)
try:
    asyncio.run(main(int(sys.argv[1]), [os.fsencode(t) for t in sys.argv[2:]]))
except Failed as failed:
    print(failed, file=sys.stderr)
    sys.exit(failed.code)

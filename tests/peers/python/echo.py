"""Echoes bytes to all clients in one event loop, with a Protocol of asyncio.

    python3 echo.py [PORT]                  default 8888; 0 is any free port
"""

import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport  # asyncio sets TCP_NODELAY

    def data_received(self, data):
        self.transport.write(data)

    # A client that does not read is not read from.
    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

    # There is no eof_received: asyncio sends what is owed, and closes.


async def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8888
    loop = asyncio.get_running_loop()
    # The event loop pauses when it cannot accept.
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.serve_forever()


asyncio.run(main())

"""The server of step 3, on the address that it is given."""

import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport  # asyncio sets TCP_NODELAY
        self.peer = transport.get_extra_info("peername")

    def data_received(self, data):
        self.transport.write(data)

    # A client that does not read is not read from.
    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

    def connection_lost(self, error):
        if error:
            print(f"{self.peer}: {error}", file=sys.stderr)


async def main(host, port):
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(Echo, host, int(port), backlog=1024)
    except OSError as error:
        sys.exit(f"cannot listen on {host}:{port}: {error}")
    address = server.sockets[0].getsockname()
    print("listening on {}:{}".format(*address), flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1].rsplit(":", 1)))

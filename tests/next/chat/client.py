"""Talks to `steps/chat` with the library `websockets`, which checks frames,
fragments, pings and closes of its own.

    python3 tests/next/chat/client.py IP:PORT
"""

import asyncio
import sys

import websockets

URL = f"ws://{sys.argv[1]}/room"


async def hear(socket, word):
    async with asyncio.timeout(20):
        while True:
            line = await socket.recv()
            if line.split(" ")[0] == word:
                return line


async def join(name, client, last="0-0"):
    # It offers compression, which the server does not take.
    socket = await websockets.connect(URL, ping_interval=None)
    await socket.send(f"join lobby {name} {last} {client:016x}")
    await hear(socket, "welcome")
    return socket


async def main():
    ann, bob = await join("ann", 1), await join("bob", 2)
    await ann.send("say 1 Grüße, 世界")
    assert (await hear(bob, "message")).endswith(" ann Grüße, 世界")
    await ann.send(["say 2 ", "in three ", "fragments"])
    line = await hear(bob, "message")
    assert line.endswith(" ann in three fragments")
    pong = await bob.ping(b"still there?")
    async with asyncio.timeout(20):
        await pong
    await asyncio.sleep(5)  # five intervals: the library answers the pings
    last = line.split(" ")[1]
    await bob.close()
    assert bob.close_code == 1000
    await hear(ann, "left")
    await ann.send("say 3 you missed this")
    bob = await join("bob", 2, last)
    assert (await hear(bob, "message")).endswith(" you missed this")
    for wrong, code in [(b"binary", 1003), ("shout", 1008), ("x" * 5000, 1009)]:
        socket = await join("cid", 3)
        await socket.send(wrong)
        try:
            async with asyncio.timeout(20):
                while True:
                    await socket.recv()
        except websockets.ConnectionClosed:
            assert socket.close_code == code, (wrong, socket.close_code)
    await ann.close()
    await bob.close()
    print("fine")


asyncio.run(main())

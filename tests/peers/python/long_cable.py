"""A long cable for Linux, as root: it makes two network interfaces, called
`left` and `right`. What is sent into one comes out of the other 50 ms later.

    python3 long_cable.py
"""
import collections
import fcntl
import os
import select
import struct
import time

DELAY = 0.050
TUNSETIFF = 0x400454CA  # from <linux/if_tun.h>, as are these two:
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000


def end_of_cable(name):
    end = os.open("/dev/net/tun", os.O_RDWR)
    request = struct.pack("16sH", name, IFF_TAP | IFF_NO_PI)
    fcntl.ioctl(end, TUNSETIFF, request)
    return end


left, right = end_of_cable(b"left"), end_of_cable(b"right")
other = {left: right, right: left}
travelling = collections.deque()  # when each frame arrives, where, its bytes
print("the cable is there", flush=True)
while True:
    wait = None
    if travelling:
        wait = max(0, travelling[0][0] - time.monotonic())
    for end in select.select([left, right], [], [], wait)[0]:
        arrival = time.monotonic() + DELAY
        travelling.append((arrival, other[end], os.read(end, 65536)))
    while travelling and travelling[0][0] <= time.monotonic():
        _, end, frame = travelling.popleft()
        try:
            os.write(end, frame)
        except OSError:
            pass  # the interface is not up (yet)

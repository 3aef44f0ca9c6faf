"""Two frames, each sent in one piece, and read as a TCP program reads them."""

import socket


def frame(text):
    return (1 + len(text)).to_bytes(4, "big") + b"\x01" + text


def halves(kind):
    listener = socket.socket(socket.AF_INET, kind)
    listener.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        listener.listen()
    sender = socket.socket(socket.AF_INET, kind)
    sender.connect(listener.getsockname())
    receiver = listener
    if kind == socket.SOCK_STREAM:
        receiver, _ = listener.accept()
    receiver.settimeout(60)
    for text in [b"one", b"two"]:
        sender.send(frame(text))
    length = receiver.recv(4)
    return length, receiver.recv(int.from_bytes(length, "big"))


for name in ["SOCK_STREAM", "SOCK_DGRAM"]:
    print(f"{name}: length {{}}, then {{}}".format(*halves(getattr(socket, name))))

"""Gives a decoder of frames the same bytes in many slices, each chosen by a
seed, and says which seed it does not survive.

    python3 slices.py            10000 seeds
    python3 slices.py bug        the same with a bug in the decoder
    python3 slices.py bug SEED   one seed again
"""

import random
import struct
import sys

TEXTS = [b"", b"one", b"two\n", b"x" * 300]
STREAM = b"".join(struct.pack(">IB", 1 + len(t), 1) + t for t in TEXTS)


def take_frames(data, has_bug):
    """Takes all whole frames out of data, and returns their texts."""
    texts, start = [], 0
    while len(data) - start >= 4:
        (length,) = struct.unpack_from(">I", data, start)
        if len(data) - start < 4 + length:
            break
        texts.append(bytes(data[start + 5 : start + 4 + length]))
        start += 4 + length
    if has_bug and 0 < start and len(data) - start < 4:
        start = len(data)  # forgets a piece of the next length
    del data[:start]
    return texts


def play(seed, has_bug):
    """Returns the slices of this seed, and what the decoder made of them."""
    chance = random.Random(seed)
    longest = chance.choice([400, 1400])
    slices, texts, data, at = [], [], bytearray(), 0
    while at < len(STREAM):
        slices.append(1 + int(chance.random() * longest))
        data += STREAM[at : at + slices[-1]]
        at += slices[-1]
        texts += take_frames(data, has_bug)
    return slices, texts


has_bug = sys.argv[1:2] == ["bug"]
seeds = [int(sys.argv[2])] if len(sys.argv) > 2 else range(10_000)
for seed in seeds:
    slices, texts = play(seed, has_bug)
    if texts != TEXTS:
        lost = len(TEXTS) - len(texts)
        sys.exit(f"seed {seed}: slices of {slices} lose {lost} of the texts")
print(f"{len(seeds)} seeds, and each gives the same {len(TEXTS)} texts")

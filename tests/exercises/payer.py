"""Adds an AMOUNT once, even if this program is killed before it knows.

    python3 payer.py FILE IP:PORT AMOUNT
"""

import json
import os
import secrets
import subprocess
import sys

STEP7 = os.environ.get("STEP7") or "target/debug/step7"


def keep(state):
    """A new file takes the place of the old one, so that no crash can tear
    it; and it is on disk before anything else happens."""
    with open(path + ".new", "w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file)
    os.replace(path + ".new", path)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    os.fsync(folder)  # now its new name is on disk, too
    os.close(folder)


def ask(state):
    client, seq, amount = state
    name = ["--client-id", str(client), "--seq", str(seq)]
    asked = [STEP7, "client", "--addr", addr, *name, f"--add={amount}"]
    code = subprocess.run(asked).returncode
    if code in (0, 6):  # a final answer; otherwise it stays in the file
        keep([client, seq + 1, None])
    if code != 0:
        sys.exit(code)


_, path, addr, amount = sys.argv
amount = int(amount)
if not -(2**63) <= amount < 2**63:  # the server would never take it
    sys.exit("AMOUNT does not fit into 64 bits")
try:
    with open(path) as file:
        client, seq, pending = json.load(file)
except FileNotFoundError:
    client, seq, pending = secrets.randbits(64), 1, None
if pending is not None:  # asked, and killed before the reply
    ask([client, seq, pending])
    seq += 1
keep([client, seq, amount])
ask([client, seq, amount])

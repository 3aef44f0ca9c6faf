"""A server that does one request after the other, at different loads.

Requests come at random, and need 1 ms on average, at random, too.
"""

import random

chance = random.Random(1)
print("load  p50     p99")
for load in 0.1, 0.5, 0.8, 0.95:
    now = free = 0  # ms; from `free` on, the server has nothing to do
    latencies = []
    for _ in range(200_000):
        now += chance.expovariate(load)
        free = max(now, free) + chance.expovariate(1)
        latencies.append(free - now)
    latencies.sort()
    p50, p99 = latencies[100_000], latencies[198_000]
    print(f"{load:4.0%}  {p50:4.1f} ms {p99:5.1f} ms")

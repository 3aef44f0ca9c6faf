# Takes memory without end.
kept = []
while True:
    kept.append(bytearray(50_000_000))

#!/bin/bash
# Starts Redis with the files JOURNAL.redis/…, and a server that uses it:
# ./cluster.sh IP:PORT JOURNAL
set -e
mkdir -p "$2.redis"
cd "$2.redis"
redis-server --port 0 --unixsocket "$2.redis/socket" --dir "$2.redis" \
  --save '' --appendonly yes --appendfsync always >log &
until redis-cli -s "$2.redis/socket" ping 2>&1 | grep -q PONG; do
  sleep 0.05
done
cd - >/dev/null
exec python3 tests/peers/python/heartbeat_server.py "${1##*:}" "$2.redis/socket"

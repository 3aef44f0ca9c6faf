#!/bin/bash
# Starts Redis with the files JOURNAL.redis/…, and a server that uses it:
# ./cluster.sh IP:PORT JOURNAL
set -e
mkdir -p "$2.redis"
dir=$(cd "$2.redis" && pwd)
redis-server --port 0 --unixsocket "$dir/socket" --dir "$dir" \
  --save '' --appendonly yes --appendfsync always >"$dir/log" &
until redis-cli -s "$dir/socket" ping 2>&1 | grep -q PONG; do
  kill -0 $! # ends this script if Redis has ended (see its log)
  sleep 0.05
done
exec python3 tests/peers/python/heartbeat_server.py "${1##*:}" "$dir/socket"

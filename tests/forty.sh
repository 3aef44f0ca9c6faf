#!/usr/bin/env bash
# A class on one machine: forty servers of step 3 at once, each on the port of a
# seat, and a client for each.
#
#     bash tests/forty.sh
#
# prints a table, which tests/bench/forty.md has for our machine. It needs Linux,
# and takes seconds.
set -euo pipefail
[ $# -eq 0 ] || { echo "cannot understand $1: no argument is known" >&2; exit 64; }
cd "$(dirname "$0")/.."
cargo build --locked --bin step3
# A server has no descriptors of whoever started us.
for fd in /proc/$$/fd/*; do
  fd=${fd##*/}
  if [ "$fd" -gt 2 ] && [ "$fd" -ne 255 ]; then eval "exec $fd>&-"; fi # 255 is bash's
done
target=${CARGO_TARGET_DIR:-target}
bin=$(cd "$target/debug" && pwd)
work=$(mktemp -d)
seats=$(seq 40)
servers=()
# Only what is started here is ended here.
trap 'kill "${servers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

for seat in $seats; do
  "$bin/step3" server --addr "127.0.0.1:$((8800 + seat))" >"$work/$seat" 2>&1 &
  servers+=($!)
done
for seat in $seats; do
  for _ in $(seq 600); do
    if grep -q listening "$work/$seat"; then break; fi
    kill -0 "${servers[seat - 1]}" 2>/dev/null || break
    sleep 0.1
  done
  grep -q listening "$work/$seat" ||
    { echo "seat $seat does not listen: $(cat "$work/$seat")" >&2; exit 1; }
done
clients=0
for seat in $seats; do
  answer=$(timeout 60 "$bin/step3" client --addr "127.0.0.1:$((8800 + seat))" "seat $seat")
  [ "$answer" = "seat $seat" ] && clients=$((clients + 1))
done
sum() { awk -v key="$1" '$1 == key { sum += $2 } END { print sum }' "${@:2}"; }
status=("${servers[@]/#//proc/}")
memory=$(sum Pss: "${status[@]/%//smaps_rollup}")
threads=$(sum Threads: "${status[@]/%//status}")
files=$(find "${status[@]/%//fd}" -mindepth 1 | wc -l)

cat <<END
| forty servers, and a client for each | |
| --- | ---: |
| clients of step 3 that got their own text back | $clients |
| memory of the forty servers together | $((memory / 1024)) MB |
| their threads | $threads |
| their open descriptors | $files |
END

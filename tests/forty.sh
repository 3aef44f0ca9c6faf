#!/usr/bin/env bash
# A class on one machine: forty servers of step 3 at once, each on the port of a
# seat, a client for each, and then forty checkers at the same time.
#
#     bash tests/forty.sh
#
# writes the table tests/bench/forty.md. It needs Linux, and takes a few minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --locked --bin step3 --bin step4
cargo build --locked -p check
bin=$PWD/${CARGO_TARGET_DIR:-target}/debug
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
    grep -q listening "$work/$seat" && break
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

checkers=()
for seat in $seats; do
  "$bin/check" server step4 --keep-going --seed "$seat" \
    --cmd "$bin/step4 server --addr {addr}" >"$work/check$seat" 2>&1 &
  checkers+=($!)
done
passed=0 unsure=0 failed=0
for checker in "${checkers[@]}"; do
  code=0
  wait "$checker" || code=$?
  case $code in
    0) passed=$((passed + 1)) ;;
    2) unsure=$((unsure + 1)) ;;
    *) failed=$((failed + 1)) ;;
  esac
done
tee tests/bench/forty.md <<END
| forty seats on one machine with $(nproc) cores | |
| --- | ---: |
| clients of step 3 that got their own text back | $clients |
| memory of the forty servers together | $((memory / 1024)) MB |
| their threads | $threads |
| their open descriptors | $files |
| checkers at the same time: everything passes | $passed |
| a case could not be judged, because the machine was too busy | $unsure |
| a case failed | $failed |
END

#!/usr/bin/env bash
# What a new reader types, one command after the other, in a fresh clone of the
# last commit: does each do what the README says, and how long does it take?
# With --cold, Cargo has to download every crate first.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset CARGO_TARGET_DIR # a clone has a folder of its own
case ${1-} in
  --cold) export CARGO_HOME=$work/cargo ;;
  '') ;;
  *) echo "cannot understand $1: only --cold is known" >&2 && exit 64 ;;
esac
limit=$(command -v timeout >/dev/null && echo 'timeout -k 10 1500' || true)
typed=0 total=0

row() { # what the reader has then, command, seconds
  typed=$((typed + 1)) total=$((total + $3))
  printf '| %s | %s | `%s` | %s | %s |\n' "$1" $typed "$2" "$3" $total
}

try() { # what the reader has then, exit code, words it prints, command
  local start=$SECONDS code=0
  $limit bash -c "$4" </dev/null >"$work/log" 2>&1 || code=$?
  if [ "$code" != "$2" ] || ! grep -qF -e "$3" "$work/log"; then
    tail -n 30 "$work/log" >&2
    echo "FAIL: $4: ends with $code after the lines above;" >&2
    echo "due are exit code $2 and a line with: $3" >&2
    exit 1
  fi
  row "$1" "$4" $((SECONDS - start))
}

echo '| what you have then | commands | the last of them | seconds | in all |'
echo '| --- | ---: | --- | ---: | ---: |'
git clone -q "$project" "$work/clone"
cd "$work/clone"
row 'the code' 'git clone …' $SECONDS
try 'the first transcript' 0 'client: received "Hello, client!", then the end' \
  'cargo run --bin step1'
try 'the first failing check' 1 '✗ S2-01' \
  "cargo run -p check -- server step2 --cmd 'target/debug/step1 server --addr {addr}'"
try 'the first passing check' 0 '7 passed' \
  "cargo run -p check -- server step1 --cmd 'target/debug/step1 server --addr {addr}'"
try 'the book in your browser' 0 'the book: open file://' 'cargo run -p book'

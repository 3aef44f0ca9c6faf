#!/usr/bin/env bash
# Builds from the archive of tests/offline.sh as a class would: in a network
# namespace without a road to anywhere, and with nothing that cargo kept.
#
#     bash tests/offline-try.sh [ARCHIVE]
#
# It needs Linux, and root or user namespaces. Each command has its time limit.
set -euo pipefail
project=$(realpath "$(dirname "$0")/..")
archive=$(realpath "${1:-$project/target/tcp-step-by-step-offline.tar.gz}")
cd "$project"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$archive" -C "$work"
export CARGO_TARGET_DIR=$work/target RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"
cargo=$(command -v cargo)
export CARGO_HOME=$work/cargo PATH="$(dirname "$cargo"):$PATH"

# shellcheck disable=SC2016 # the inner shell is to see these
timeout --kill-after=10 2400 unshare --map-root-user --net bash -euc '
  ip link set lo up
  cd "$1/tcp-step-by-step"
  if ip route get 192.0.2.1 2>/dev/null; then
    echo "FAIL: there is a road out" >&2
    exit 1
  fi
  cargo build --locked
  timeout 60 cargo run --locked --bin step1
  cargo build --locked -p check
  timeout 300 cargo run --locked -p check -- server step1 \
    --cmd "$CARGO_TARGET_DIR/debug/step1 server --addr {addr}"
  du -sh "$CARGO_TARGET_DIR"
  # The same without one crate must fail, or this has proved nothing.
  mv vendor/anyhow-* ..
  if cargo build --locked 2>"$1/words"; then
    echo "FAIL: it builds without a crate that it needs" >&2
    exit 1
  fi
  grep anyhow "$1/words"
' bash "$work"
test -s "$work/tcp-step-by-step/html/index.html"
test ! -d "$work/cargo/registry/cache" # nothing was fetched
echo 'the archive builds without a network'

#!/bin/sh
# Puts the checker, and the languages of the class, into Gradescope's machine.
set -e
apt-get update
apt-get install -y --no-install-recommends \
  ca-certificates curl gcc git golang-go libc6-dev python3
curl -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
git clone https://github.com/OWNER/tcp-step-by-step /course # this project
git -C /course checkout COMMIT # so that all students get the same cases
"$HOME/.cargo/bin/cargo" install --locked --path /course/tests/check \
  --bin check --root /usr/local

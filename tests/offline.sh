#!/usr/bin/env bash
# One archive for a room without internet: the project as the last commit has
# it, the source of every crate, and the book to read.
#
#     bash tests/offline.sh [ARCHIVE]    target/tcp-step-by-step-offline.tar.gz
#
# It needs git, cargo, mdbook, tar and gzip. With GNU tar, the same commit gives
# the same bytes. `bash tests/offline-try.sh` builds from it without a network.
set -euo pipefail
refuse() { echo "cannot make the archive: $1" >&2; exit 64; }
[ $# -le 1 ] || refuse "one file is enough, but there are $#"
archive=${1-}
case $archive in
  -*) refuse "no option is known, but $archive looks like one" ;;
  '' | /*) ;;
  *) archive=$PWD/$archive ;; # where the user is, not where the project is
esac
[ ! -d "$archive" ] && [ "$archive" = "${archive%/}" ] ||
  refuse "$archive is a folder; name a file in it"
cd "$(dirname "$0")/.."
archive=${archive:-$PWD/target/tcp-step-by-step-offline.tar.gz}
name=tcp-step-by-step
for tool in git cargo mdbook tar gzip; do
  command -v "$tool" >/dev/null ||
    { echo "cannot make the archive: $tool is not installed" >&2
      [ "$tool" != mdbook ] || echo 'try: cargo install mdbook --locked' >&2
      exit 2; }
done
[ -z "$(git status --porcelain)" ] ||
  echo "note: what you have not committed is not in the archive" >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/$name" "$(dirname "$archive")"
git archive HEAD | tar -x -C "$work/$name"
cargo vendor --quiet --locked --versioned-dirs "$work/$name/vendor" >/dev/null
(
  cd "$work/$name"
  # It goes on after an error, so whatever it says ends this.
  words=$(MDBOOK_LOG=warn mdbook build book --dest-dir "$PWD/html" 2>&1) ||
    { echo "$words" >&2; exit 1; }
  [ -z "$words" ] ||
    { printf 'cannot build the book without errors:\n%s\n' "$words" >&2; exit 1; }
  cat >>.cargo/config.toml <<'END'

# Every crate is in the folder `vendor`, so no network is asked for one.
[source.crates-io]
replace-with = "vendored-sources"
[source.vendored-sources]
directory = "vendor"
[net]
offline = true
END
  cat >START.txt <<'END'
TCP, Step by Step, for a room without internet
==============================================

The book:              open html/index.html in a browser.
The first step:        cargo run --bin step1
Is the machine ready?  cargo run -p check -- server step1 --cmd "target/debug/step1 server --addr {addr}"

You need Rust 1.89 or later, and nothing from the network: every crate is in
the folder `vendor`. Type the commands in this folder, where Cargo.toml is.
How to bring Rust itself: html/classroom.html#offline
To undo an exercise, unpack the archive once more: there is no git in it.
The checker needs Linux, macOS or WSL.
END
)

# What would differ from run to run, or from machine to machine.
same=()
if tar --version | grep -q GNU; then
  same=(--sort=name --owner=0 --group=0 --numeric-owner --format=gnu
    --mode=go=rX,u+rw "--mtime=@$(git log -1 --format=%ct)")
fi
tar "${same[@]}" -C "$work" -cf - "$name" | gzip -n -9 >"$archive.part"
mv "$archive.part" "$archive"
du -h "$archive" | sed 's/\t/  /'

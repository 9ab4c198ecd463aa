#!/bin/sh
# usage: scripts/npm.sh
# Makes sure that tests/interop/js/node_modules holds exactly what package-lock.json says, for the tests with stock
# JavaScript clients and for the peers of the benchmarks. Node.js 18 (Debian 12) or later, whoever installed it.
# Prints every command it runs, and runs none if there is nothing to do.
set -eu
cd "$(dirname "$0")/.."
. scripts/debian.sh

folder=tests/interop/js
stamp=$folder/node_modules/.wsactors
wanted=$(cat $folder/package.json $folder/package-lock.json $folder/.npmrc | cksum)

missing=
command -v node >/dev/null || missing="$missing nodejs"
if [ "$(cat $stamp 2>/dev/null || true)" != "$wanted" ]; then
    command -v npm >/dev/null || missing="$missing npm"
fi
if [ -n "$missing" ]; then
    # The tests that need them say so and are skipped: go on.
    # shellcheck disable=SC2086
    need $missing || exit 0
fi
[ "$(cat $stamp 2>/dev/null || true)" = "$wanted" ] && exit 0

major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
if [ "$major" -lt 18 ]; then
    echo "The tests with JavaScript clients need Node.js 18 or later, and node is $(node --version): they are skipped." >&2
    exit 0
fi
rm -f $stamp
say npm --prefix $folder ci --silent
echo "$wanted" > $stamp

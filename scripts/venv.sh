#!/bin/sh
# usage: scripts/venv.sh EXTRA [DEBIAN-PACKAGE...]
# Makes sure that .venv holds the project with EXTRA ("run" or "dev") for $PYTHON, and that the Debian packages are there.
# Prints every command it runs, and runs none if there is nothing to do.
set -eu
cd "$(dirname "$0")/.."
extra=$1
shift
python=${PYTHON:-}
. scripts/debian.sh

missing=
for package in "$@"; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true) in
        *" installed") ;;
        *) missing="$missing $package" ;;
    esac
done
# The tests that need an absent package say so and are skipped: go on.
# shellcheck disable=SC2086
[ -z "$missing" ] || need $missing || true

# Without PYTHON= an environment that is there is kept, whichever interpreter made it.
if [ -z "$python" ]; then
    python=python3
    [ ! -x .venv/bin/python ] || python=.venv/bin/python
fi
command -v "$python" >/dev/null || { echo "There is no $python here. Install it, or say PYTHON=..." >&2; exit 1; }
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
    3.11 | 3.12 | 3.13) ;;
    *) echo "wsactors runs on Python 3.11 to 3.13, and $python is $version. Try PYTHON=python3.13 make ..." >&2; exit 1 ;;
esac

# "dev" holds all of "run".
wanted() { echo "$1 $version $(cat pyproject.toml constraints.txt | cksum)"; }
have=$(cat .venv/.wsactors 2>/dev/null || true)
[ "$have" = "$(wanted "$extra")" ] && exit 0
[ "$have" = "$(wanted dev)" ] && exit 0

if [ "$(.venv/bin/python -c 'import sys, pip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)" != "$version" ]; then
    [ "$python" != .venv/bin/python ] || python=python3
    rm -rf .venv
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        need "python$version-venv" || exit 1
    fi
    say "$python" -m venv .venv
fi
rm -f .venv/.wsactors
echo "Installing what \"$extra\" needs (up to 130 MB on a fresh machine)" >&2
# Byte code is made when a module is first used: most of what numpy and PyAV bring never is.
say .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e ".[$extra]"
wanted "$extra" > .venv/.wsactors

# For scripts that are run from the project's root: . scripts/debian.sh

# Runs a command and shows it.
say() { echo "+ $*" >&2; "$@"; }

# Installs Debian packages. With root and apt it does so; without, the person is told what to run.
need() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -mmin -1440 2>/dev/null | head -n 1)" ] || say apt-get update -qq
        DEBIAN_FRONTEND=noninteractive say apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        echo "Missing: $*. Install with: sudo apt-get install --no-install-recommends $*" >&2
        return 1
    fi
}

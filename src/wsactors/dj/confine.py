"""What a child process does first: tie its life to its parent's, and give up what it will not need.

Runs in the child, before it touches anything hostile. Standard library only: every import counts in its start-up time.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

import attrs

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_DUMPABLE = 4


@attrs.frozen
class Limits:
    """Hard limits of one child process; it cannot raise them again."""

    address_space: int
    """Bytes of virtual memory."""
    cpu_seconds: int | None
    """Seconds of processor time until SIGXCPU; None for a process that is meant to run on."""
    file_bytes: int
    """Largest file, memfds included, that it may grow."""
    open_files: int
    """Highest file descriptor number plus one. What is open stays open; 0 means: nothing more may be opened."""


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends, however it ends; exit now if it already has.

    The kernel watches the *thread* that started us (prctl(2), PR_SET_PDEATHSIG), so the parent must start children from
    a thread that lives as long as it does.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    # An interrupt or hang-up of the terminal reaches the whole foreground group, a service manager's SIGTERM the whole
    # control group; the parent decides when we end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")


def limit(limits: Limits) -> None:
    """Apply `limits`, soft and hard, and forbid core files."""
    for what, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits.address_space),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
    ):
        if value is None:
            continue
        _soft, hard = resource.getrlimit(what)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (allowed, allowed))

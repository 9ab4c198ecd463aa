"""Starting, watching and ending a Python child process from Trio, so that none is ever left behind.

A `Child` runs one module of this package (``python -m``), inherits only the descriptors it is given, sees next to no
environment, and dies with us (`wsactors.dj.confine.die_with_parent`). Leaving its ``async with`` block, cancelled or
not, kills and reaps it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
# BLAS threads spin: two of them make the same work cost four times the CPU.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Child:
    """A running child process. Made by `run_child`."""

    __slots__ = ("_errors", "_pidfd", "_popen")

    def __init__(self, popen: subprocess.Popen[bytes], pidfd: int, errors: int) -> None:
        self._popen = popen
        self._pidfd = pidfd
        self._errors = errors

    @property
    def pid(self) -> int:
        """The operating system's process id."""
        return self._popen.pid

    def kill(self) -> None:
        """End it now (SIGKILL). Does nothing to one that has ended."""
        self._popen.kill()

    async def wait(self) -> int:
        """Wait until it has ended: the exit status, or minus the number of the signal that killed it."""
        while (status := self._popen.poll()) is None:
            await trio.lowlevel.wait_readable(self._pidfd)
        return status

    def activity(self) -> tuple[bool, float]:
        """Whether it runs, or would if a processor were free, and how many seconds of processor it has had so far.

        Of its main thread; (False, 0.0) when it has ended, and where the system does not tell.
        """
        try:
            state = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
            used = int(Path(f"/proc/{self.pid}/schedstat").read_bytes().split()[0])
        except (OSError, IndexError, ValueError):
            return False, 0.0
        return state == b"R", used / 1e9

    def last_words(self) -> str:
        """The last line of its standard error, at most 300 characters: for logs, since it may quote hostile input."""
        size = os.fstat(self._errors).st_size
        lines = os.pread(self._errors, 2048, max(0, size - 2048)).decode("utf-8", "replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def describe_exit(status: int) -> str:
    """An exit status in words: ``exit status 1``, ``killed by SIGXCPU``."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


@asynccontextmanager
async def run_child(module: str, arguments: Sequence[str], descriptors: Sequence[int]) -> AsyncIterator[Child]:
    """Run ``python -m module PARENT_PID *arguments`` with `descriptors` open in it under the same numbers.

    The child's standard input and output are /dev/null, its standard error is kept in memory (`Child.last_words`). At
    the end of the block it is killed and reaped.
    """
    environment = {"PYTHONPATH": str(_PACKAGE_ROOT), "LANG": "C.UTF-8", **_ONE_THREAD}
    # -P and -s: neither the working directory nor the user's site directory is importable in the child.
    command = [sys.executable, "-P", "-s", "-m", module, str(os.getpid()), *arguments]
    errors = os.memfd_create("wsactors-stderr", os.MFD_CLOEXEC)
    # Popen here, not trio.run_process: that starts the child from a pool thread, and when an idle pool thread ends
    # after ten seconds, the kernel tells its children that their parent has died.
    try:
        popen = subprocess.Popen(  # noqa: S603, ASYNC220 - our own module; returns once the child has exec'ed, about 1 ms
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=tuple(descriptors),
            env=environment,
            cwd="/",
        )
        pidfd = -1
        try:
            pidfd = os.pidfd_open(popen.pid)
            yield Child(popen, pidfd, errors)
        finally:
            popen.kill()
            with trio.CancelScope(shield=True):
                while popen.poll() is None and pidfd >= 0:
                    await trio.lowlevel.wait_readable(pidfd)
            if pidfd >= 0:
                os.close(pidfd)
    finally:
        os.close(errors)

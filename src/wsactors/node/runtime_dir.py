"""Where a node's local admin socket lies: a directory that nobody else on the machine can enter."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

__all__ = ["UnsafeFolder", "private_folder", "runtime_folder"]


class UnsafeFolder(Exception):
    """The directory for sockets belongs to, or may be entered by, somebody else; the text says which and what to do."""


def runtime_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where sockets go: ``$XDG_RUNTIME_DIR/wsactors``, else for root ``/run/wsactors``, else ``/tmp/wsactors-UID``."""
    environ = os.environ if environ is None else environ
    if base := environ.get("XDG_RUNTIME_DIR"):
        return Path(base) / "wsactors"
    return Path("/run/wsactors") if os.geteuid() == 0 else Path(f"/tmp/wsactors-{os.geteuid()}")  # noqa: S108 - checked below


def private_folder(folder: Path) -> Path:
    """Make ``folder`` with mode 0700, or make sure that it is this user's alone.

    Raises:
        UnsafeFolder: it is a link or a file, belongs to somebody else, or others may enter it.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # lstat: in /tmp anybody could have put a link there first.
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeFolder(f"{folder} is not a directory; remove it, or set admin.socket to another place")
    if status.st_uid != os.geteuid():
        raise UnsafeFolder(f"{folder} belongs to user {status.st_uid}; set admin.socket to a place of your own")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise UnsafeFolder(f"{folder} may be entered by others; run `chmod 700 {folder}`")
    return folder

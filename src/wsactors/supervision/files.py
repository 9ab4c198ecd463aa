"""Opens supervisor files the careful way: they are code, so who could have written them matters."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any, Final

from wsactors.supervision.spec import did_you_mean

__all__ = ["UnreadableError", "inside", "read_toml"]

MAX_BYTES: Final = 1_000_000
"""Longer than any supervisor file."""


class UnreadableError(ValueError):
    """The file cannot be used; the text says why and what to do."""


def read_toml(path: Path) -> dict[str, Any]:
    """The document in ``path``.

    Raises:
        UnreadableError: it is missing, no regular file, writable by everybody, too large, or no TOML.
    """
    try:
        # Checks are made on the open descriptor, so that nobody can swap the file in between; a FIFO must not block us.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise UnreadableError(
            f"cannot be read: {getattr(error, 'strerror', None) or error}.{_neighbour(path)}"
        ) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise UnreadableError("expected a file, got a directory" if stat.S_ISDIR(mode) else "is no regular file")
        if mode & stat.S_IWOTH:
            raise UnreadableError(f"may be written by everybody, and it is code; run: chmod o-w {path}")
        with open(descriptor, "rb", closefd=False) as file:
            raw = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    folder = path.resolve().parent
    folder_mode = folder.stat().st_mode
    if folder_mode & stat.S_IWOTH and not folder_mode & stat.S_ISVTX:
        raise UnreadableError(f"lies in a directory that everybody may write; run: chmod o-w {folder}")
    if len(raw) > MAX_BYTES:
        raise UnreadableError(f"is larger than {MAX_BYTES} bytes; this is no supervisor file")
    try:
        return tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(f"is no valid TOML: {error}") from error


def inside(folder: Path, reference: str, root: Path) -> Path:
    """The file ``reference`` (relative to ``folder``), which must lie in the directory ``root`` once links are followed.

    Raises:
        UnreadableError: it is absolute, leads out of ``root``, or is no ``.toml``.
    """
    relative = PurePosixPath(reference)
    if relative.suffix != ".toml":
        raise UnreadableError(f'expected the name of a .toml file, got "{reference}"')
    path = folder / relative
    try:
        resolved = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL in the name
        raise UnreadableError(f"is no usable path: {error}") from error
    if relative.is_absolute() or not resolved.is_relative_to(root):
        raise UnreadableError(
            f'"{reference}" is outside the directory of the tree ({root}); a tree stays in its directory'
        )
    return path


def _neighbour(path: Path) -> str:
    try:
        return did_you_mean(path.name, [entry.name for entry in path.parent.glob("*.toml")])
    except OSError:
        return ""

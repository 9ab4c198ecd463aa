"""A file whose meaning is kept in memory, and read again when the file has changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import trio

from wsactors.actors.log import log
from wsactors.errors import WsactorsError

__all__ = ["FileUnusable", "WatchedFile"]

T = TypeVar("T")
LARGEST = 4 * 1024 * 1024
LOOK_SECONDS = 1.0


class FileUnusable(WsactorsError):
    """A file that authentication needs cannot be used: the text names it and says why."""


class WatchedFile(Generic[T]):
    """What ``parse`` makes of the bytes of ``path``.

    A file that becomes unusable changes nothing: a typing error in it must neither lock everybody out nor let revoked ones
    in. It is logged, once for each change.

    >>> keys = WatchedFile(Path("jwks.json"), read_jwks)                              # doctest: +SKIP
    >>> keys.load()
    >>> (await keys.fresh())
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        """``parse`` raises ``ValueError`` for what it cannot use, and does not repeat secrets."""
        self.path = path
        self._parse = parse
        self._value: T
        self._seen: tuple[int, ...] = ()
        self._looked = -LOOK_SECONDS
        self._looking = False

    def load(self) -> T:
        """Read it now, waiting for the disk.

        Raises:
            FileUnusable: it cannot be read, may be written by everybody, or does not say what it should.
        """
        self._seen = self._signature()
        self._value = self._read()
        return self._value

    async def fresh(self) -> T:
        """What it says; a change is noticed within a second. Never raises because of the file."""
        if not self._looking and trio.current_time() >= self._looked + LOOK_SECONDS:
            self._looking = True
            try:
                await trio.to_thread.run_sync(self._look)
            finally:
                self._looking = False
                self._looked = trio.current_time()
        return self._value

    @property
    def value(self) -> T:
        """What it said when somebody last looked."""
        return self._value

    def _look(self) -> None:
        signature = self._signature()
        if signature == self._seen:
            return
        self._seen = signature
        try:
            self._value = self._read()
        except FileUnusable as error:
            log(__name__, "error", "file_not_reloaded", file=self.path.name, why=str(error))
        else:
            log(__name__, "info", "file_reloaded", file=self.path.name)

    def _signature(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError as error:
            return (error.errno or -1,)
        return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _read(self) -> T:
        try:
            # Opened first and looked at then, and without waiting for the other end of a pipe.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                self._check(os.fstat(descriptor).st_mode)
                data = _up_to(descriptor, LARGEST + 1)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise FileUnusable(f"{self.path} cannot be read: {error.strerror}") from None
        if len(data) > LARGEST:
            raise FileUnusable(f"{self.path} is larger than {LARGEST} bytes")
        try:
            return self._parse(data)
        except ValueError as error:
            raise FileUnusable(f"{self.path}: {error}") from None

    def _check(self, mode: int) -> None:
        if not stat.S_ISREG(mode):
            raise FileUnusable(f"{self.path} is no regular file")
        if mode & stat.S_IWOTH:
            raise FileUnusable(f"{self.path} may be written by everybody; run `chmod o-w {self.path}`")


def _up_to(descriptor: int, most: int) -> bytes:
    parts: list[bytes] = []
    while most > 0 and (part := os.read(descriptor, most)):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)

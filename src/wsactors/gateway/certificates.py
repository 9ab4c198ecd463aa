"""The certificate that new connections get: read again when its files change, or when somebody says so.

A connection keeps what it began with; nobody is dropped. Files that do not fit each other, as while they are being replaced,
change nothing: the old certificate stays until both are right.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

import trio

from wsactors.actors.log import log

from .options import GatewayRefused, TlsOptions
from .tls import server_context


class Certificates:
    """The TLS side of one port.

    Raises:
        GatewayRefused: The files cannot be used.
    """

    def __init__(
        self,
        options: TlsOptions,
        hosts: Iterable[str],
        directory: Path | None,
        *,
        protocols: Sequence[str] = ("http/1.1",),
    ) -> None:
        self._options = options
        self._hosts = tuple(hosts)
        self._directory = directory
        self._protocols = protocols
        self._stamp = self._look()
        self.context: ssl.SSLContext = self._load()
        """For the next connection."""

    def reload(self) -> bool:
        """Read the files again; False, and all as before, when they cannot be used."""
        self._stamp = self._look()
        try:
            self.context = self._load()
        except GatewayRefused as refused:
            log(__name__, "error", "certificate_not_reloaded", reason=str(refused))
            return False
        log(__name__, "info", "certificate_reloaded", cert=str(self._options.cert))
        return True

    async def watch(self) -> None:
        """Reload whenever the files have changed, until cancelled. Returns at once if there is nothing to watch."""
        if self._options.cert is None or not self._options.reload_seconds:
            return
        while True:
            await trio.sleep(self._options.reload_seconds)
            if self._look() != self._stamp:
                self.reload()

    def _load(self) -> ssl.SSLContext:
        context = server_context(self._options, self._hosts, self._directory)
        context.set_alpn_protocols(list(self._protocols))
        return context

    def _look(self) -> tuple[object, ...]:
        """What changes when a file is written or replaced, also when it is the target of a link."""
        return tuple(stamp_of(path) for path in (self._options.cert, self._options.key) if path is not None)


def stamp_of(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file is written or replaced; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

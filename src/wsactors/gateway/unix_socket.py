"""The gateway on a UNIX socket: bound with the right mode from its first moment on, in place of what a dead node left."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
from pathlib import Path

from .options import GatewayRefused

BACKLOG = 512
_PROBE_SECONDS = 1.0


class UnixListener:
    """A listening socket at ``path``; whoever holds its directory decides who may replace it.

    The socket is bound beside ``path``, given its mode, and then put in place in one step: nobody ever meets it with another
    mode, and nobody finds the place empty.

    Raises:
        GatewayRefused: Somebody serves there, something else lies there, or it cannot be bound.
    """

    def __init__(self, path: Path, mode: int) -> None:
        self.path = path
        _check_place(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            _bind(self.socket, beside, mode)
            self._identity = _identity(beside)
            beside.replace(path)
        except OSError as error:
            self.socket.close()
            with contextlib.suppress(OSError):
                beside.unlink()
            raise GatewayRefused(f"gateway.unix_socket = {str(path)!r} cannot be used: {error.strerror}") from error

    def close(self) -> None:
        """Stop listening, and take the socket away unless somebody else has put his there."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._identity:
                self.path.unlink()


def _bind(sock: socket.socket, path: Path, mode: int) -> None:
    before = os.umask(0o177)  # without an await in between nobody else makes a file with this mask
    try:
        sock.bind(str(path))
    finally:
        os.umask(before)
    path.chmod(mode)
    sock.listen(BACKLOG)


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _check_place(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise GatewayRefused(f"gateway.unix_socket = {str(path)!r} cannot be used: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise GatewayRefused(f"gateway.unix_socket = {str(path)!r}: something that is no socket lies there; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # left behind by a process that was killed
        except OSError as error:
            raise GatewayRefused(f"gateway.unix_socket = {str(path)!r} cannot be used: {error.strerror}") from error
    raise GatewayRefused(f"gateway.unix_socket = {str(path)!r}: another process serves there; choose another path")

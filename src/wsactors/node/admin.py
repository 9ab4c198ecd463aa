"""The local admin socket: what ``wsactors top`` and other tools of this machine's owner read.

A UNIX socket, mode 0600, in a directory of mode 0700; the kernel says who connects (``SO_PEERCRED``) and only the node's own
user and root are answered. One JSON object per line, both ways. It shows; it changes things only if ``admin.allow_changes``
is set.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket as sockets
import struct
from pathlib import Path
from typing import Final

import trio

from wsactors.actors import Ignore, ProcessActor
from wsactors.node.admin_answers import Refused, answer
from wsactors.node.context import context_of
from wsactors.node.runtime_dir import private_folder, runtime_folder
from wsactors.supervision import Node

__all__ = ["AdminSocket"]

_MAX_REQUEST_BYTES: Final = 65_536
_MAX_CONNECTIONS: Final = 16
_IDLE_SECONDS: Final = 120.0
_PEER: Final = struct.Struct("3i")
"""struct ucred of socket(7): pid, uid, gid."""


class AdminSocket(ProcessActor):
    """Serves the admin socket of its node until it is told to stop; does not start if ``admin.enabled`` is false."""

    async def init(self) -> object:
        """Bind the socket; decline to start where none is wanted.

        Raises:
            UnsafeFolder: others could reach the socket's directory.
            OSError: it cannot be bound; another node serves the path that ``admin.socket`` names.
        """
        context = context_of(self.pid.node)
        if not context.settings.admin.enabled:
            return Ignore()
        self._bound, self._path = _bind(context.settings.admin.socket, self.pid.node)
        context.admin = self._path
        return None

    async def run(self) -> None:
        """Answer connections, one task each."""
        own = self._path.stat().st_ino
        slots = trio.CapacityLimiter(_MAX_CONNECTIONS)
        with trio.socket.from_stdlib_socket(self._bound) as listener:
            try:
                async with trio.open_nursery() as nursery:
                    while True:
                        connection, _ = await listener.accept()
                        nursery.start_soon(self._serve, connection, slots)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    if self._path.stat().st_ino == own:
                        self._path.unlink()

    async def _serve(self, connection: trio.socket.SocketType, slots: trio.CapacityLimiter) -> None:
        # A local tool that misbehaves loses its connection; the node and the other tools go on.
        with connection, contextlib.suppress(OSError, trio.WouldBlock):
            slots.acquire_nowait()
            try:
                if _peer_uid(connection) in {os.geteuid(), 0}:
                    await self._converse(connection)
            finally:
                slots.release()

    async def _converse(self, connection: trio.socket.SocketType) -> None:
        buffer = bytearray()
        while True:
            with trio.move_on_after(_IDLE_SECONDS) as idle:
                piece = await connection.recv(4_096)
            if idle.cancelled_caught or not piece or len(buffer) + len(piece) > _MAX_REQUEST_BYTES:
                return
            buffer += piece
            while (end := buffer.find(b"\n")) >= 0:
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                await trio.SocketStream(connection).send_all(await self._answer(line))

    async def _answer(self, line: bytes) -> bytes:
        context, node = context_of(self.pid.node), self.node
        if not isinstance(node, Node):
            raise TypeError("the admin socket runs on a Node")
        try:
            uptime = trio.current_time() - context.booted
            said = await answer(node, json.loads(line), may_change=context.settings.admin.allow_changes, uptime=uptime)
        except Refused as refusal:
            said = {"error": str(refusal)}
        except (ValueError, RecursionError):
            said = {"error": "expected one JSON object per line"}
        return json.dumps(said).encode() + b"\n"


def _peer_uid(connection: trio.socket.SocketType) -> int:
    raw = connection.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(raw)[1])


def _bind(chosen: Path | None, node: str) -> tuple[sockets.socket, Path]:
    """A listening socket and where it lies."""
    wanted = runtime_folder() / f"{node}.sock" if chosen is None else chosen
    path = _claim(private_folder(wanted.parent) / wanted.name, fixed=chosen is not None)
    bound = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    # Without an await in between nobody else makes a file with this mask, and the socket never has another mode.
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(before)
    bound.listen(_MAX_CONNECTIONS)
    return bound, path


def _claim(path: Path, *, fixed: bool) -> Path:
    """A path that no living node has: ``path`` itself, once a dead node's socket is removed from it, or one with our pid."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return path
        except ConnectionRefusedError:
            path.unlink()  # nobody listens: left behind by a kill -9
            return path
    if fixed:
        raise OSError(
            errno.EADDRINUSE, "another node serves this admin socket; set admin.socket to another path", str(path)
        )
    return path.with_name(f"{path.stem}-{os.getpid()}.sock")

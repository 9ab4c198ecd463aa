"""``/socket.io/socket.io.js`` and its kin: the browser's client, from the npm package that the operator has installed.

The package is not part of this project. It is looked for once, in the configured folder, else in ``node_modules`` of the
directory in which the node was started and of those above it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

NAMES: Final = (
    "socket.io.js",
    "socket.io.min.js",
    "socket.io.esm.min.js",
    "socket.io.msgpack.min.js",
    "socket.io.js.map",
    "socket.io.min.js.map",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js.map",
)
MAX_BYTES: Final = 2 * 1024 * 1024
MISSING: Final = (
    "The browser's Socket.IO client is not installed here. Run `npm install socket.io-client` in the directory of this node, "
    "or name the folder that holds socket.io.js in gateway.socketio.client_files. Then restart the node.\n"
)


def find_files(folder: Path | None, start: Path) -> Mapping[str, bytes]:
    """The client's files by name; none when there is no package in ``folder``, or without it from ``start`` upwards."""
    for place in [folder] if folder is not None else _places(start):
        found = {name: body for name in NAMES if (body := _read(place / name)) is not None}
        if found:
            return found
    return {}


def _places(start: Path) -> Iterator[Path]:
    for directory in (start, *start.parents):
        yield directory / "node_modules" / "socket.io-client" / "dist"
        yield directory / "node_modules" / "socket.io" / "client-dist"


def _read(path: Path) -> bytes | None:
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


class ClientFiles:
    """Serves them. A request can only name one of `NAMES`, never a path.

    Args:
        folder: Where they are; None: in an npm package near ``start``.
    """

    def __init__(self, folder: Path | None, start: Path) -> None:
        self._folder = folder
        self._start = start
        self._files: Mapping[str, bytes] | None = None
        self._etags: dict[str, str] = {}

    async def __call__(self, request: Request) -> Response:
        """Answer one request for the file that is the last part of its path."""
        if self._files is None:
            # A few files, once, the first time that a page asks: not worth a thread.
            self._files = find_files(self._folder, self._start)
            self._etags = {name: f'"{hashlib.sha256(body).hexdigest()[:32]}"' for name, body in self._files.items()}
        name = request.url.path.rpartition("/")[2]
        body = self._files.get(name)
        if body is None:
            return PlainTextResponse(MISSING, 404)
        kind = "application/json" if name.endswith(".map") else "text/javascript; charset=utf-8"
        headers = {"etag": self._etags[name], "cache-control": "no-cache", "content-type": kind}
        if self._etags[name] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers)

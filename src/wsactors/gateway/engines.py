"""The Engine.IO endpoints of a port: Socket.IO on ``/socket.io/``, and an echo on ``/engine.io/`` if it is wanted."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute, Route

from wsactors.supervision import ChildSpec
from wsactors.supervision.classes import find_class

from .conversation import Conversation
from .engineio import EngineServer
from .engineio_echo import EchoApp
from .socketio import SocketIo
from .socketio_files import NAMES, ClientFiles
from .socketio_namespace import Namespace
from .socketio_options import SocketIoOptions
from .socketio_rooms import topics_of

if TYPE_CHECKING:
    from .port import Port

SOCKETIO_PATH: Final = "/socket.io"
ECHO_PATH: Final = "/engine.io"


class Engines:
    """What is served at the endpoints of one port. A port without a node has none."""

    def __init__(self, port: Port) -> None:
        self.servers: dict[str, EngineServer] = {}
        self.children: list[ChildSpec] = []
        self._files: ClientFiles | None = None
        if port.runtime is None:
            return
        node, options = port.runtime, port.options
        shared = port.drain, port.meters, port.requests
        if options.socketio.enabled:
            app = SocketIo(node, options.socketio, namespaces_of(options.socketio))
            self.children.append(app.child())
            self._add(SOCKETIO_PATH, EngineServer(node, options.engineio, app, *shared, "socketio"))
            self._files = ClientFiles(options.socketio.client_files, Path.cwd())
            with contextlib.suppress(LookupError):  # the node's topics may start later
                topics_of(node)
        if options.engineio.echo:
            server = EngineServer(node, options.engineio, EchoApp(), *shared, "engineio")
            self._add(ECHO_PATH, server)

    def __repr__(self) -> str:
        return f"<Engines {self.servers}>"

    @classmethod
    def of(cls, port: Port) -> Engines:
        """Those of ``port``, made when first asked for. Raises `ValueError` when a namespace's class is none."""
        found = _engines.get(port)
        if found is None:
            found = _engines[port] = cls(port)
        return found

    def _add(self, path: str, server: EngineServer) -> None:
        self.servers[path] = server
        self.children.append(server.child())

    def routes(self) -> Sequence[BaseRoute]:
        """HTTP's."""
        routes: list[BaseRoute] = []
        if self._files is not None:
            routes += [Route(f"{SOCKETIO_PATH}/{name}", self._files.__call__) for name in NAMES]
        for path, server in self.servers.items():
            routes += [Route(each, server) for each in (f"{path}/", path)]
        return routes

    def conversations(self) -> Mapping[str, Conversation]:
        """WebSockets', by path."""
        paths = ((path, server) for path, server in self.servers.items())
        return {each: server.websocket for path, server in paths for each in (f"{path}/", path)}


_engines: weakref.WeakKeyDictionary[Port, Engines] = weakref.WeakKeyDictionary()


def namespaces_of(options: SocketIoOptions) -> dict[str, type[Namespace]]:
    """The classes that ``options`` names. Raises `ValueError` for what is none."""
    namespaces: dict[str, type[Namespace]] = {}
    for name, path in options.namespaces.items():
        found = find_class(path, options.allowed_packages)
        if not issubclass(found, Namespace):
            raise ValueError(f"{path} is no namespace: it must be a subclass of Namespace")
        namespaces[name] = found
    return namespaces


def routes_of(port: Port) -> Sequence[BaseRoute]:
    """The routes of this module."""
    return Engines.of(port).routes()


def services_of(port: Port) -> Sequence[ChildSpec]:
    """What runs beside the connections."""
    return Engines.of(port).children


def conversations_of(port: Port) -> Mapping[str, Conversation]:
    """What this module talks on WebSockets."""
    return Engines.of(port).conversations()

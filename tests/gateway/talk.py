"""A conversation that the test leads, on a gateway with a path for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import trio

from tests.gateway.harness import NOBODY, Gateway, open_gateway
from wsactors.actors import Pid
from wsactors.gateway.options import GatewayOptions, Limits
from wsactors.gateway.port import Port
from wsactors.gateway.ws import WebSocket, WebSocketClosed
from wsactors.wire.http_head import RequestHead


class Talk:
    """A conversation that the test leads."""

    def __init__(self, *, accept: dict[str, Any] | None = None) -> None:
        self.came = trio.Event()
        self.ended = trio.Event()
        self.heard: list[str | bytes] = []
        self.closed: WebSocketClosed | None = None
        self.crash: Exception | None = None
        self.go_on = trio.Event()
        self._accept = accept or {}
        self.ws: WebSocket

    async def __call__(self, ws: WebSocket, request: RequestHead, port: Port, owner: Pid) -> None:
        assert owner is NOBODY
        self.ws = ws
        ws.accept(**self._accept)
        self.came.set()
        try:
            while True:
                message = await ws.receive()
                if message == "return":
                    return
                if message == "crash":
                    raise LookupError("as asked")
                self.heard.append(message)
        except WebSocketClosed as closed:
            self.closed = closed
            raise
        finally:
            self.ended.set()


@asynccontextmanager
async def talking(
    talk: Talk | None = None, *, limits: Limits | None = None, **options: Any
) -> AsyncIterator[tuple[Gateway, Talk]]:
    talk = talk or Talk()
    with trio.fail_after(60):
        async with open_gateway(GatewayOptions(port=0, limits=limits or Limits(), **options)) as gateway:
            cast("dict[str, Any]", gateway.shared.conversations)["/talk"] = talk
            yield gateway, talk

"""Who talks on a WebSocket: a conversation is chosen by the path that was asked for, and is run to its end here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from .ws import INTERNAL_ERROR, RESTART, WebSocket, WebSocketClosed

if TYPE_CHECKING:
    from wsactors.actors import Pid
    from wsactors.wire.http_head import RequestHead

    from .port import Port
    from .stream import ConnectionStream

LINGER_SECONDS = 1.0
"""In which a peer that was refused should have read why."""


class Conversation(Protocol):
    """A protocol on one WebSocket, from the handshake to the end.

    It calls ``ws.accept()`` or ``ws.refuse()`` before anything else, then ``ws.receive()`` until that raises
    `WebSocketClosed`, which it need not catch. When it returns, the WebSocket is closed if it is still open.

    Args:
        ws: The WebSocket, with the handshake still to be answered.
        request: The handshake. Keep nothing of it that is not needed: there are many connections.
        port: What all connections share.
        owner: The actor of the connection: whatever is started for it should end with it.
    """

    async def __call__(self, ws: WebSocket, request: RequestHead, port: Port, owner: Pid, /) -> None:
        """Talk."""
        ...


async def converse(
    conversation: Conversation,
    ws: WebSocket,
    request: list[RequestHead],
    port: Port,
    owner: Pid,
    stream: ConnectionStream,
) -> None:
    """Run ``conversation`` until either side closes. What it raises comes out, and its client is told 1011.

    The ``request`` comes in a list, and is taken out of it: else it would be kept here for as long as the conversation lasts.
    """
    port.websockets.add(ws)
    port.drain.enter(ws)
    try:
        try:
            await conversation(ws, request.pop(), port, owner)
        except* WebSocketClosed:
            pass
    except BaseException as error:
        if ws.is_accepted:
            ws.close(INTERNAL_ERROR if isinstance(error, Exception) else RESTART)
        raise
    finally:
        port.websockets.discard(ws)
        port.drain.leave(ws)
        ws.ask = ws.goodbye = None  # they belong to what has ended, and refer to this: cycles outlast their connection
    if ws.is_accepted:
        await ws.finish()
    else:
        await stream.linger(LINGER_SECONDS)


async def echo(ws: WebSocket, _request: RequestHead, _port: Port, _owner: Pid) -> None:
    """Send every message back: for clients that test themselves."""
    ws.accept()
    while True:
        message = await ws.receive()
        while not ws.sink.is_idle and ws.closed is None:  # a message at a time: it reads as fast as the client does
            await ws.sink.wait_sent()
        if isinstance(message, str):
            ws.send_text(message)
        else:
            ws.send_bytes(message)
        await trio.lowlevel.checkpoint()

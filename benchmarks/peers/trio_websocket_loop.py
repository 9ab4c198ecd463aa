"""A broadcast server on trio-websocket's own ``send_message``, one after another, for benchmarks/gateway.py.

Says ``ok PORT``, then answers every line ``broadcast COUNT PAUSE-SECONDS TEXT`` with ``ok`` when all has been handed over.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, WebSocketServer, serve_websocket

connected: dict[WebSocketConnection, None] = {}


async def client(request: WebSocketRequest) -> None:
    """One client, until it leaves."""
    connection = await request.accept()
    connected[connection] = None
    try:
        with suppress(ConnectionClosed):
            while True:
                await connection.get_message()
    finally:
        del connected[connection]


async def main() -> None:
    """Serve until stdin closes."""
    async with trio.open_nursery() as nursery:
        serve = partial(serve_websocket, client, "127.0.0.1", 0, None)
        server: WebSocketServer = await nursery.start(serve)
        print("ok", server.port, flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            _, count, pause, text = line.split()
            for turn in range(int(count)):
                if turn:
                    await trio.sleep(float(pause))
                for connection in list(connected):
                    await connection.send_message(text)
            print("ok", flush=True)
        nursery.cancel_scope.cancel()


trio.run(main)

"""A room on `python-socketio`, served by uvicorn, for benchmarks/gateway.py.

Says ``ok PORT``, then answers every line ``broadcast COUNT PAUSE-SECONDS TEXT`` with ``ok`` when all has been handed over.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import socketio
import uvicorn

# Heartbeats stay out of the measurement, as on every side.
server: Any = socketio.AsyncServer(async_mode="asgi", ping_interval=3600, cors_allowed_origins="*")


async def connect(sid: str, *_: object) -> None:
    """Everybody is in one room."""
    await server.enter_room(sid, "room")


server.on("connect", connect)


async def main() -> None:
    """Serve until stdin closes."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        socketio.ASGIApp(server),
        log_level="critical",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="off",
    )
    host = uvicorn.Server(config)
    serving = asyncio.create_task(host.serve(sockets=[listener]))
    print("ok", listener.getsockname()[1], flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        _, count, pause, text = line.split()
        for turn in range(int(count)):
            if turn:
                await asyncio.sleep(float(pause))
            await server.emit("message", text, room="room")
        print("ok", flush=True)
    host.force_exit = host.should_exit = True
    serving.cancel()


asyncio.run(main())

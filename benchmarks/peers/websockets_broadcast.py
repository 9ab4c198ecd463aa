"""A broadcast server on `websockets` (asyncio), for benchmarks/gateway.py.

Says ``ok PORT``, then answers every line ``broadcast COUNT PAUSE-SECONDS TEXT`` with ``ok`` when all has been handed over.
"""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

connected: set[ServerConnection] = set()


async def client(connection: ServerConnection) -> None:
    """One client, until it leaves."""
    connected.add(connection)
    try:
        await connection.wait_closed()
    finally:
        connected.discard(connection)


async def main() -> None:
    """Serve until stdin closes."""
    async with serve(client, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=4096) as server:
        print("ok", next(iter(server.sockets)).getsockname()[1], flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            _, count, pause, text = line.split()
            for turn in range(int(count)):
                if turn:
                    await asyncio.sleep(float(pause))
                broadcast(connected, text)
            print("ok", flush=True)


asyncio.run(main())

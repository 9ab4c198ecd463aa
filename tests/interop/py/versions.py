"""Which clients are installed, loaded as an application would: a scenario that needs no node."""

from __future__ import annotations

from importlib.metadata import version

import realtime
import socketio
import websockets

from tests.interop.py.talk import main, say, told


async def body() -> None:
    """Say them, then what the test says."""
    for name in ("python-socketio", "realtime", "websockets"):
        say(name=name, version=version(name))
    say(loaded=all(map(callable, (realtime.AsyncRealtimeClient, socketio.AsyncClient, websockets.connect))))
    say(echo=await told())


if __name__ == "__main__":
    main(body)

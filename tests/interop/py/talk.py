"""The client's side of tests/interop/children.py: what every program here begins with.

Example:
    >>> async def body(url: str) -> None:  # doctest: +SKIP
    ...     say(joined=True)
    ...     order = await told()
    >>> main(body)  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any


def say(**message: object) -> None:
    """Say one JSON line."""
    print(json.dumps(message), flush=True)


async def told() -> dict[str, Any]:
    """The next line from the test."""
    line = await asyncio.to_thread(sys.stdin.readline)
    if not line:
        raise EOFError("the test has ended")
    order: dict[str, Any] = json.loads(line)
    return order


def main(body: Callable[..., Awaitable[None]]) -> None:
    """Run the program's body with the command line's arguments."""

    async def run() -> None:
        await body(*sys.argv[1:])

    asyncio.run(run())

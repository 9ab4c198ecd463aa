"""A program that hears a session of a melody and says as JSON what it heard: run in a network namespace by a test.

``python -m tests.client.hear_once URL SHA256 SESSION SECONDS SEED BEGAN``; ``BEGAN`` is when the melody began (`time.monotonic`).
"""

from __future__ import annotations

import json
import sys
import time

import attrs
import numpy as np
import trio

from tests.client.listeners import MOST_MELODY, SETTLED, Ear
from tests.client.melody import Melody, ages
from wsactors.client import Rhythm, connect
from wsactors.client.hearing import hear


async def listen(url: str, digest: str, session: str, seconds: float, seed: int, began: float) -> dict[str, object]:
    """What was heard."""
    ear = Ear()
    async with connect(url, certificate_sha256=digest, rhythm=Rhythm(latency=None), timeout=60) as client:
        listening = await client.join(session)
        clocks = time.monotonic() - trio.current_time()
        async with trio.open_nursery() as nursery:
            settled: list[dict[str, int]] = []

            async def settle() -> None:
                await trio.sleep(min(SETTLED, seconds / 2))
                settled.append(attrs.asdict(ear.statistics()))

            nursery.start_soon(settle)
            [quality] = (await hear(client, listening, lambda _: None, hearing=ear, seconds=seconds)).values()
        connections = client.connections
    assert ear.began is not None
    heard_from = ear.began + clocks - began
    stretches = ages(Melody(seed, MOST_MELODY), np.concatenate(ear.blocks), heard_from)
    return {
        "statistics": attrs.asdict(quality.statistics),
        "settled": settled[0],
        "began": heard_from,
        "jitter": quality.jitter,
        "buffer": quality.buffer,
        "connections": connections,
        "copied_at": ear.copied_at,
        "stretches": [(each.at, each.age) for each in stretches],
    }


if __name__ == "__main__":
    _, url, digest, session, seconds, seed, began = sys.argv
    print(json.dumps(trio.run(listen, url, digest, session, float(seconds), int(seed), float(began))))

"""Listeners that stop reading: nobody else notices, memory stays bounded, and what they hear afterwards is live.

The full size (500 listeners, interleaved rounds) is ``benchmarks/_gateway_stall.py``.
"""

from __future__ import annotations

import pytest
import trio

from tests.gateway.harness import RATE, TestDirectory, TestSession, open_gateway, until
from wsactors.gateway.options import GatewayOptions
from wsactors.loadtest import LightListener, gaps, percentile

pytestmark = pytest.mark.alone

LISTENERS = 60
STALLED = 6
FRAME_BYTES = 330


async def pace(session: TestSession, started: list[float], late: list[float]) -> None:
    """Offer a frame each 20 ms, on time by the clock; ``late`` says by how many seconds it was not."""
    started.append(trio.current_time())
    while True:
        session.offer_frame(bytes(FRAME_BYTES))
        await trio.sleep_until(due := started[0] + session.timestamp / RATE)
        late.append(trio.current_time() - due)


async def test_stalled_listeners_disturb_nobody_and_hear_nothing_old_when_they_resume() -> None:
    directory = TestDirectory()
    session = directory.add(TestSession("main"))
    async with open_gateway(GatewayOptions(port=0), directory) as gateway, trio.open_nursery() as nursery:
        started: list[float] = []
        late: list[float] = []
        nursery.start_soon(pace, session, started, late)
        everybody = [LightListener(receive_buffer=4096 if n < STALLED else None) for n in range(LISTENERS)]
        for listener in everybody:
            await nursery.start(listener.run, gateway.port, "main")
        stalled, others = everybody[:STALLED], everybody[STALLED:]
        for listener in everybody:
            listener.forget()
        late.clear()

        for listener in stalled:
            listener.stall()
        await until(lambda: sum(s.aged_out > 50 for s in gateway.shared.statistics().sinks) == STALLED, seconds=60)
        resumed = trio.current_time()
        for listener in stalled:
            listener.forget()
            listener.resume()
        await until(lambda: all(len(listener.heard) > 50 for listener in stalled), seconds=60)
        nursery.cancel_scope.cancel()

    statistics = gateway.shared.statistics().sinks
    for each in statistics:
        assert each.buffered_peak < 24 * 1024  # half a second of audio, and then some
        assert each.oldest_audio_sent <= 0.5
    assert all(listener.skipped + listener.missed > 50 for listener in stalled), "there was something old to leave out"
    if max(late) > 0.2:
        pytest.skip(
            f"too busy a machine: it let nobody run for {max(late):.1f} s, which looks like a stall of everybody"
        )
    for listener in stalled:
        ages = [now - (started[0] + timestamp / RATE) for timestamp, now in listener.heard]
        assert listener.heard[0][1] >= resumed
        assert max(ages) < 0.5 + 0.3  # against the sender's own clock; the rest for a busy machine
    for listener in others:
        assert listener.missed == listener.skipped == 0
    assert percentile(gaps(others), 0.5) < 0.025

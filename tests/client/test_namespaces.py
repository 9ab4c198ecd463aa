"""Native clients in network namespaces: another process, the kernel's own network, the real clock.

Each has a line of its own with an MTU of 1,280 bytes, which netem makes worse where the kernel has it. On a machine that is held
up sound comes late without the network's doing, so shares of samples are left to `test_lossy_links` and ``tests/soak``: here
it is judged that sound comes through, and comes back. Skipped where namespaces or netem are not permitted, saying so.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.client.listeners import Stage
from tests.client.namespaces import Namespace, NotPermitted, namespaces
from tests.gateway.harness import TestSession
from tests.gateway.quic_harness import open_quic_gateway
from wsactors.gateway.quic_server import QuicOptions
from wsactors.media.quic.endpoint import EndpointOptions

ROOT = Path(__file__).parents[2]
SETTLED = 3.0
HOLE = 3.0
SEED = 5

pytestmark = pytest.mark.alone


@pytest.fixture
def spaces() -> Iterator[Sequence[Namespace]]:
    try:
        with namespaces(3) as made:
            yield made
    except NotPermitted as error:
        pytest.skip(str(error))


@pytest.fixture
def lossy(spaces: Sequence[Namespace]) -> Sequence[Namespace]:
    """With 3 % lost; with 10 % lost in bursts of 3 (Gilbert-Elliott); with 30 ms of jitter."""
    lines = (
        ("delay", "20ms", "loss", "3%"),
        ("delay", "20ms", "loss", "gemodel", "3.7%", "33.3%"),
        ("delay", "40ms", "30ms"),
    )
    try:
        for space, netem in zip(spaces, lines, strict=True):
            space.impair(*netem)
    except NotPermitted as error:
        pytest.skip(str(error))
    return spaces


@asynccontextmanager
async def playing(spaces: Sequence[Namespace]) -> AsyncIterator[Stage]:
    quic = QuicOptions(endpoint=EndpointOptions(host="0.0.0.0"))  # of each line another address
    async with open_quic_gateway(quic=quic) as gateway, trio.open_nursery() as nursery:
        stage = Stage(gateway, seed=SEED)
        for each in spaces:
            gateway.directory.add(TestSession(each.name))
        nursery.start_soon(stage.play)
        yield stage
        nursery.cancel_scope.cancel()


async def listen(stage: Stage, space: Namespace, seconds: float) -> dict[str, Any]:
    """What a client in ``space`` says it has heard."""
    gateway = stage.gateway
    began = time.monotonic() - (trio.current_time() - stage.began)
    url = f"quic://{space.node}:{gateway.port}"
    arguments: list[str] = [url, gateway.offer.hashes()[0].hex(), space.name, str(seconds), str(SEED), str(began)]
    done = await trio.run_process(
        ["ip", "netns", "exec", space.name, sys.executable, "-m", "tests.client.hear_once", *arguments],
        capture_stdout=True,
        cwd=ROOT,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    print(space.name, {name: value for name, value in found.items() if name != "stretches"})
    return found


async def joined(stage: Stage, space: Namespace) -> None:
    """Wait until the client in ``space`` is there, and has settled."""
    await stage.gateway.directory.by_name[space.name].member_came.wait()
    await trio.sleep(SETTLED)


def heard_after(found: dict[str, Any], at: float) -> list[float | None]:
    """How old what was heard was, for each stretch whose middle is after ``at``."""
    return [age for when, age in found["stretches"] if when > at]


def mostly_live(ages: list[float | None], *, limit: float = 0.8) -> bool:
    """Nothing of it is stale, and most of it is sound: a machine that is held up has its gaps."""
    heard = [age for age in ages if age is not None]
    return len(heard) >= 0.5 * len(ages) > 0 and max(heard) <= limit


async def test_sound_comes_through_back_after_a_hole_and_follows_another_address(spaces: Sequence[Namespace]) -> None:
    found: dict[str, dict[str, Any]] = {}
    times: dict[str, float] = {}
    plain, cut, moved = spaces
    with trio.fail_after(120):
        async with playing(spaces) as stage, trio.open_nursery() as nursery:

            async def one(space: Namespace, seconds: float) -> None:
                found[space.name] = await listen(stage, space, seconds)

            async def hole() -> None:
                await joined(stage, cut)
                cut.cut()
                await trio.sleep(HOLE)
                cut.mend()
                times["mended"] = trio.current_time() - stage.began

            async def move() -> None:
                await joined(stage, moved)
                moved.move()
                times["moved"] = trio.current_time() - stage.began

            nursery.start_soon(one, plain, SETTLED + 1)
            nursery.start_soon(one, cut, SETTLED + HOLE + 3.5)
            nursery.start_soon(one, moved, SETTLED + 4)
            nursery.start_soon(hole)
            nursery.start_soon(move)
    assert all(each["connections"] == 1 for each in found.values())
    assert mostly_live(heard_after(found[plain.name], 1.0))
    assert mostly_live(heard_after(found[cut.name], times["mended"] + 1.3))
    assert mostly_live(heard_after(found[moved.name], times["moved"] + 1.3))


async def test_sound_is_repaired_on_lines_that_lose_and_reorder(lossy: Sequence[Namespace]) -> None:
    found: dict[str, dict[str, Any]] = {}
    with trio.fail_after(120):
        async with playing(lossy) as stage, trio.open_nursery() as nursery:

            async def one(space: Namespace) -> None:
                found[space.name] = await listen(stage, space, SETTLED + 4)

            for space in lossy:
                nursery.start_soon(one, space)
    losing, bursting, reordered = (found[space.name] for space in lossy)
    for each in (losing, bursting):
        assert each["copied_at"] is not None
        assert each["statistics"]["recovered"] > 0
    assert reordered["jitter"] > 0.005
    for each in found.values():
        assert mostly_live(heard_after(each, each["began"] + SETTLED))

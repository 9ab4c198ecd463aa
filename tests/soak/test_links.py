"""Native clients behind bad ways for minutes, by the real clock: the limits that sound over QUIC has to keep.

``make soak`` runs it; ``SOAK_LINK_SECONDS=30 make soak`` for a short look. In virtual time the same is judged in every run of the
suite (``tests/client/test_lossy_links.py``), and in network namespaces that sound comes through.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import trio

from tests.client.listeners import SETTLED, Case, Outcome, Stage
from tests.client.lossy_link import LossyLink, Way, at_random, in_bursts
from tests.client.namespaces import Namespace, NotPermitted, namespaces
from tests.client.test_namespaces import listen, playing
from tests.gateway.quic_harness import open_quic_gateway
from tests.soak.test_node import resident_bytes

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("SOAK_LINK_SECONDS", "180"))
HOLE = 10.0
AGED = 0.4
GROWTH_BYTES = 40_000_000
"""By which the process may grow beside what the test records: seven clients, a node, and the analysis of what they heard."""
NETEM: tuple[tuple[str, ...], ...] = (
    ("delay", "20ms"),
    ("delay", "20ms", "loss", "3%"),
    ("delay", "20ms", "loss", "gemodel", "3.7%", "33.3%"),
    ("delay", "40ms", "30ms"),
)


async def holes(link: LossyLink) -> None:
    """Ten seconds of nothing, over and over."""
    while True:
        link.is_cut = True
        await trio.sleep(HOLE)
        link.is_cut = False
        await trio.sleep(HOLE)


async def rebind(link: LossyLink) -> None:
    while True:
        link.rebind()
        await trio.sleep(5.0)


async def test_bad_ways_for_minutes() -> None:
    cases = [
        (Case("clean"), SECONDS),
        (Case("random", Way(loss=at_random(0.03))), SECONDS),
        (Case("bursts", Way(loss=in_bursts(0.1, 3.0))), SECONDS),
        (Case("jitter", Way(delay=0.04, jitter=0.03)), SECONDS),
        (Case("all", Way(delay=0.04, jitter=0.03, loss=at_random(0.03))), SECONDS),
        (Case("rebound", trouble=rebind), SECONDS),
        (Case("hole", trouble=holes), SECONDS),
    ]
    async with open_quic_gateway() as gateway:
        before = resident_bytes(os.getpid())
        found = await Stage(gateway).listen_all(cases)
        grown = resident_bytes(os.getpid()) - before
    check_shares(found)
    for each in found.values():
        assert each.connections == 1, each.name
        assert [age.age for age in each.stretches if age.age is not None and age.age > AGED] == [], each.name
        assert each.most_in_flight < 40_000, each.name
    for number in range(int((SECONDS - SETTLED) / (2 * HOLE))):
        end = found["hole"].settled_at + HOLE * (2 * number + 1)
        assert found["hole"].first_sound(end) <= 1.0
    assert grown < GROWTH_BYTES + 3 * sum(each.sound.nbytes for each in found.values())


def check_shares(found: dict[str, Outcome]) -> None:
    clean, random, bursts = found["clean"], found["random"], found["bursts"]
    assert clean.concealed <= 0.002
    assert clean.longest <= 0.04
    assert random.concealed <= 0.01
    assert random.residual <= 0.0015
    assert bursts.residual <= 0.02
    assert found["jitter"].residual <= 0.0015
    assert found["all"].residual <= 0.0015


@pytest.fixture
def lines() -> Iterator[Sequence[Namespace]]:
    try:
        with namespaces(len(NETEM)) as made:
            for space, netem in zip(made, NETEM, strict=True):
                space.impair(*netem)
            yield made
    except NotPermitted as error:
        pytest.skip(str(error))


async def test_netem_for_minutes(lines: Sequence[Namespace]) -> None:
    found: dict[str, dict[str, Any]] = {}
    async with playing(lines) as stage, trio.open_nursery() as nursery:

        async def one(space: Namespace) -> None:
            found[space.name] = await listen(stage, space, SECONDS)

        for space in lines:
            nursery.start_soon(one, space)
    clean, random, bursts, jitter = (shares(found[space.name]) for space in lines)
    print(json.dumps([clean, random, bursts, jitter]))
    assert clean["concealed"] <= 0.002
    assert random["concealed"] <= 0.01
    assert random["residual"] <= 0.0015
    assert bursts["residual"] <= 0.02
    assert jitter["residual"] <= 0.0015


def shares(heard: dict[str, Any]) -> dict[str, float]:
    """What was not heard and what was guessed since the listener had settled."""
    since = {name: count - heard["settled"][name] for name, count in heard["statistics"].items()}
    frames = since["received"] + since["lost"]
    return {
        "residual": (since["lost"] - since["recovered"] + since["skipped"]) / frames,
        "concealed": since["concealed"] / since["played"],
    }

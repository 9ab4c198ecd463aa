"""What a native client hears of a node by QUIC when the way between them is bad: real sockets, endpoint and client.

All clients listen side by side, each behind its own `lossy_link`. It is the kernel's loopback that carries the packets, but the
time is a `MockClock`'s: it jumps on when nothing is left to be done, so a busy machine makes nobody late, minutes of sound take
seconds, and what is judged is the network's doing. ``tests/client/test_namespaces.py`` and ``tests/soak/test_links.py`` do it by
the real clock.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from tests.client.listeners import SETTLED, Case, Outcome, Stage
from tests.client.lossy_link import LossyLink, Way, at_random, in_bursts
from tests.gateway.quic_harness import open_quic_gateway
from wsactors.media.quic.hub import Hub

HOLE = 10.0
REBOUND_AFTER = 1.33
AGED = 0.35
"""Seconds: older sound is stale. Half as much again as waiting for the farthest copies makes it."""


async def cut(link: LossyLink) -> None:
    link.is_cut = True
    await trio.sleep(HOLE)
    link.is_cut = False


async def rebind(link: LossyLink) -> None:
    await trio.sleep(REBOUND_AFTER)
    link.rebind()


# How long each is listened to: where shares are judged, so that the limit is far outside of what chance does.
CASES = [
    (Case("clean"), 15.0),
    # 2,000 frames, of which 60 are lost; of those that two copies do not bring back, 0.05 are expected and 3 allowed.
    (Case("random", Way(loss=at_random(0.03))), 45.0),
    # In a minute 0.8 % stay lost, give or take 0.35 % (eight seeds): here the limit is four such deviations away.
    (Case("bursts", Way(loss=in_bursts(0.1, 3.0))), 100.0),
    (Case("jitter", Way(delay=0.04, jitter=0.03)), 20.0),
    (Case("all", Way(delay=0.04, jitter=0.03, loss=at_random(0.03))), 20.0),
    (Case("rebound", trouble=rebind), 10.0),
    (Case("hole", trouble=cut), SETTLED + HOLE + 4.0),
]


async def listen() -> dict[str, Outcome]:
    async with open_quic_gateway() as gateway:
        # The node has begun, which takes threads; from here on nothing waits for anything but packets and time.
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        clock.rate, clock.autojump_threshold = 0.0, 0.0
        return await Stage(gateway).listen_all(CASES)


@pytest.fixture(scope="module")
def heard() -> Mapping[str, Outcome]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsactors.media.quic.endpoint.Hub", functools.partial(Hub, clock=trio.current_time))
        found = trio.run(listen, clock=MockClock(rate=1.0))
    print(f"after the hole: {found['hole'].first_sound(found['hole'].settled_at + HOLE):.2f} s")
    return found


def is_live(outcome: Outcome, begin: float, end: float = 1e9) -> bool:
    """Whether the melody is heard throughout, and none of it too late."""
    stretches = outcome.between(begin, end)
    return bool(stretches) and all(each.age is not None and each.age <= AGED for each in stretches)


def test_a_clean_way_is_heard_as_it_is(heard: Mapping[str, Outcome]) -> None:
    clean = heard["clean"]
    assert clean.concealed <= 0.002
    assert clean.longest <= 0.04
    assert clean.residual == 0
    assert 0 < clean.quality.buffer < 0.06
    assert clean.distances == ()
    assert clean.dropped == 0
    assert is_live(clean, 1.0)


def test_what_is_lost_at_random_is_repaired_once_the_listener_has_told(heard: Mapping[str, Outcome]) -> None:
    found = heard["random"]
    assert 0.02 < found.lost < 0.045
    assert found.copied_at is not None
    assert found.distances
    assert found.concealed <= 0.01
    assert found.residual <= 0.0015
    assert is_live(found, SETTLED)


def test_losses_in_bursts_are_repaired_by_copies_from_farther_back(heard: Mapping[str, Outcome]) -> None:
    found = heard["bursts"]
    assert 0.06 < found.lost < 0.16
    assert max(found.distances) > 2
    assert found.residual <= 0.02
    assert all(each.age is None or each.age <= AGED for each in found.stretches)


def test_jitter_and_reordering_cost_delay_and_no_sound(heard: Mapping[str, Outcome]) -> None:
    found = heard["jitter"]
    assert found.quality.jitter > 0.01
    assert found.concealed <= 0.01
    assert found.residual <= 0.0015
    assert is_live(found, SETTLED)


def test_jitter_and_losses_together(heard: Mapping[str, Outcome]) -> None:
    found = heard["all"]
    assert found.lost > 0.015
    assert found.concealed <= 0.01
    # 750 frames: two of them are more than the share.
    assert found.residual <= 0.003
    assert is_live(found, SETTLED)


def test_another_port_of_the_client_is_followed(heard: Mapping[str, Outcome]) -> None:
    found = heard["rebound"]
    assert (found.link.rebound, found.connections) == (1, 1)
    changed = found.settled_at + REBOUND_AFTER
    assert is_live(found, SETTLED, changed - 0.3)
    assert is_live(found, changed + 1.3)


def test_after_ten_seconds_of_nothing_sound_is_back_within_one(heard: Mapping[str, Outcome]) -> None:
    found = heard["hole"]
    begin, end = found.settled_at, found.settled_at + HOLE
    assert found.connections == 1
    # A stretch is 0.6 s; what is guessed at its beginning is the last of the hole.
    assert all(each.loud == 0 for each in found.between(begin + 1.0, end - 0.3))
    assert found.first_sound(end) <= 1.0
    assert is_live(found, end + 1.3)
    assert found.quality.statistics.stale == 0
    assert found.dropped > 0.8 * HOLE * 50


def test_nothing_stale_is_ever_played_and_little_waits(heard: Mapping[str, Outcome]) -> None:
    for found in heard.values():
        assert [each.age for each in found.stretches if each.age is not None and each.age > AGED] == []
        assert found.most_waiting < 40, found.name
        assert found.most_in_flight < 40_000, found.name


def test_every_packet_fits_the_least_path_of_ipv6(heard: Mapping[str, Outcome]) -> None:
    assert [each.link.too_large for each in heard.values()] == [0] * len(CASES)
    # Two copies went along: it was not for want of size.
    assert heard["random"].link.largest > 900
    assert np.mean([each.quality.statistics.received for each in heard.values()]) > 500

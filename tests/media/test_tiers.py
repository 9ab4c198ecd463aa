from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.links import FRAME, gilbert_elliott, listening, packet
from wsactors.media.forwarder import COPY_DISTANCES
from wsactors.media.reports import Reports, track_report
from wsactors.media.tiers import CopyChooser, TierChooser, TierOptions
from wsactors.wire.audio_frame import AudioFrame
from wsactors.wire.receiver_report import ReceiverReport


def test_heavy_loss_goes_down_at_once_and_light_loss_after_a_second_look() -> None:
    chooser = TierChooser(4)
    assert [chooser.hear(loss, now=at) for at, loss in enumerate([0.0, 0.2, 0.05, 0.0, 0.05, 0.05])] == [
        0,
        1,
        1,
        1,
        1,
        2,
    ]
    assert [chooser.hear(0.5, now=10.0) for _ in range(5)] == [3] * 5


def test_it_goes_up_after_a_while_and_ever_more_slowly_where_that_was_a_mistake() -> None:
    chooser = TierChooser(2)
    went_up = []
    for second in range(600):
        before = chooser.tier
        # The link does not carry the best tier.
        chooser.hear(0.2 if before == 0 else 0.0, now=float(second))
        if before == 1 and chooser.tier == 0:
            went_up.append(second)
    pauses = [after - before for before, after in itertools.pairwise(went_up)]
    assert 10 <= went_up[0] <= 12
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 120
    assert len(went_up) < 10


@given(st.lists(st.floats(0, 1), max_size=200), st.integers(1, 5))
def test_a_tier_is_always_one_there_is_and_moves_by_one(losses: list[float], count: int) -> None:
    chooser, before = TierChooser(count, TierOptions(wait=3.0)), 0
    for second, loss in enumerate(losses):
        tier = chooser.hear(loss, now=float(second))
        assert 0 <= tier < count
        assert abs(tier - before) <= 1
        before = tier


def test_copies_reach_as_far_back_as_losses_are_long() -> None:
    assert CopyChooser().hear(50, 0, 0, now=1.0) == 0
    single = CopyChooser()
    assert [single.hear(50, 2, 2, now=float(at)) for at in range(5)][-1] == COPY_DISTANCES[0]
    short = CopyChooser()
    assert [short.hear(50, 5, 3, now=float(at)) for at in range(5)][-1] == COPY_DISTANCES[1]
    long = CopyChooser()
    assert [long.hear(50, 6, 2, now=float(at)) for at in range(5)][-1] == COPY_DISTANCES[2]
    assert long.hear(0, 0, 0, now=6.0) == COPY_DISTANCES[2]
    assert {long.hear(50, 0, 0, now=float(at)) for at in range(7, 90)} == {0, COPY_DISTANCES[2]}
    assert long.distance == 0


def closed_loop(is_lost: Callable[[], bool], seconds: int) -> tuple[float, float, list[int]]:
    """A listener that reports once a second and gets copies for that; residual loss and concealment after ten seconds."""
    chance = random.Random(9)
    listener, reports, chooser = listening(), Reports(), CopyChooser()
    distances: list[int] = []
    before: tuple[int, int, int] = (0, 0, 0)
    for second in range(seconds):
        coming = []
        for number in range(second * 50, second * 50 + 50):
            distance = chooser.distance if number >= chooser.distance else 0
            copy = packet(number - distance) if distance else b""
            frame = AudioFrame(1, number, number * FRAME, packet(number), 30, 0, copy, distance)
            if not is_lost():
                coming.append((number / 50 + chance.random() * 0.005, frame))
        listener.run(coming, second + 1)
        report = ReceiverReport((track_report(1, listener.buffer),))
        distances += [
            chooser.hear(heard.frames, heard.lost, heard.runs, now=float(second))
            for heard in reports.take(report, float(second))
        ]
        statistics = listener.buffer.statistics
        if second == 10:
            before = statistics.lost - statistics.recovered, statistics.concealed, statistics.played
    statistics = listener.buffer.statistics
    residual = (statistics.lost - statistics.recovered - before[0]) / ((seconds - 11) * 50)
    return residual, (statistics.concealed - before[1]) / (statistics.played - before[2]), distances


@pytest.mark.parametrize("seed", [1, 2])
def test_what_a_listener_reports_brings_the_copies_that_it_needs(seed: int) -> None:
    chance = random.Random(seed)
    residual, concealed, distances = closed_loop(lambda: chance.random() < 0.03, 150)
    assert residual <= 0.0025  # 7,000 frames: 0.09 % is expected
    assert concealed <= 0.01
    assert set(distances[5:]) == {1}

    residual, concealed, distances = closed_loop(gilbert_elliott(chance, 0.10, 3), 150)
    assert residual <= 0.02
    assert concealed <= 0.025
    assert distances[-1] == COPY_DISTANCES[-1]

    residual, concealed, distances = closed_loop(lambda: False, 20)
    assert (residual, concealed, set(distances)) == (0.0, 0.0, {0})
